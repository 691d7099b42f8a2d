"""Until when a subscription is paid for: the last second, in UTC, of a day (design: docs/statuses.md).

Only a status of Current moves the date; that is for the caller to see to.
"""
from datetime import UTC, date, datetime, time, timedelta

from dateutil.relativedelta import relativedelta

from .frequencies import Frequency, Schedule

_STEPS = {
    Frequency.WEEKLY: relativedelta(weeks=1),
    Frequency.BI_WEEKLY: relativedelta(weeks=2),
    Frequency.QUAD_WEEKLY: relativedelta(weeks=4),
    Frequency.QUARTERLY: relativedelta(months=3),
    Frequency.SEMI_ANNUALLY: relativedelta(months=6),
}


def paid_through(
    schedule: Schedule,
    *,
    created_on: date,
    today: date,
    grace_days: int,
) -> datetime:
    """Return until when a subscription that is Current today is paid for.

    * monthly: the end of this month, because charges run on the 1st;
    * annually: the next anniversary of ``created_on``; on an anniversary itself nobody can know yet
      whether the charge succeeded, so ``today`` plus ``grace_days``;
    * any other frequency: the next date of the schedule.

    A day that a month lacks (29 February in common years, the 31st) counts as that month's last.
    """
    frequency, start = schedule
    match frequency:
        case Frequency.MONTHLY:
            return _end_of(today + relativedelta(day=31))
        case Frequency.ANNUALLY:
            return _end_of(_annual(created_on, today, grace_days))
        case Frequency.SEMI_MONTHLY:
            return _end_of(_semi_monthly(start, today))
        case _:
            return _end_of(_next_step(start, _STEPS[frequency], today))


def _end_of(day: date) -> datetime:
    return datetime.combine(day, time(23, 59, 59), tzinfo=UTC)


def _annual(created_on: date, today: date, grace_days: int) -> date:
    # Each anniversary is counted from the first day, not from the one before:
    # a 29 February must come back in leap years.
    years = max(today.year - created_on.year, 1)
    anniversary = created_on + relativedelta(years=years)
    if anniversary == today:
        return today + timedelta(days=grace_days)
    if anniversary < today:
        return created_on + relativedelta(years=years + 1)
    return anniversary


def _semi_monthly(start: date, today: date) -> date:
    if today < start:
        return start
    if today.day < 15:
        return today.replace(day=15)
    return today + relativedelta(months=1, day=1)


def _next_step(start: date, step: relativedelta, today: date) -> date:
    if today < start:
        return start
    # Jump close to today (no step is longer than 184 days, none shorter than 7), then walk.
    longest = 7 * step.weeks if step.weeks else 31 * step.months
    count = (today - start).days // longest
    while start + step * count <= today:
        count += 1
    return start + step * count
