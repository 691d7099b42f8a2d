"""How often, and on which days, CyberSource charges a subscription (cybersource.md §3.2)."""

from datetime import date, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from dateutil.relativedelta import relativedelta


class Frequency(StrEnum):
    """CyberSource's eight values of ``recurring_frequency``, in its own spelling."""

    WEEKLY = "weekly"
    BI_WEEKLY = "bi-weekly"
    QUAD_WEEKLY = "quad-weekly"
    MONTHLY = "monthly"
    SEMI_MONTHLY = "semi-monthly"
    QUARTERLY = "quarterly"
    SEMI_ANNUALLY = "semi-annually"
    ANNUALLY = "annually"

    @property
    def charges_per_year(self) -> int:
        """How often it is charged in a year, taking a year to have 52 weeks."""
        return _CHARGES_PER_YEAR[self]


_CHARGES_PER_YEAR = {
    Frequency.WEEKLY: 52,
    Frequency.BI_WEEKLY: 26,
    Frequency.QUAD_WEEKLY: 13,
    Frequency.MONTHLY: 12,
    Frequency.SEMI_MONTHLY: 24,
    Frequency.QUARTERLY: 4,
    Frequency.SEMI_ANNUALLY: 2,
    Frequency.ANNUALLY: 1,
}
_STEPS = {
    Frequency.WEEKLY: relativedelta(weeks=1),
    Frequency.BI_WEEKLY: relativedelta(weeks=2),
    Frequency.QUAD_WEEKLY: relativedelta(weeks=4),
    Frequency.MONTHLY: relativedelta(months=1),
    Frequency.QUARTERLY: relativedelta(months=3),
    Frequency.SEMI_ANNUALLY: relativedelta(months=6),
    Frequency.ANNUALLY: relativedelta(years=1),
}
# CyberSource does not say in which time zone, or at what hour, it charges (cybersource.md §3.2).
_DAY_OFF = timedelta(days=1)


class Schedule(NamedTuple):
    """How often a subscription is charged, and the date of its first scheduled charge (UTC).

    The due dates are ``start`` plus whole periods, each counted from ``start``: the 31st falls on the last day of
    a short month, and is the 31st again in the next long one. Semi-monthly means the 1st and the 15th.
    """

    frequency: Frequency
    start: date

    def first_due_after(self, day: date) -> date:
        """The first due date that is later than a day; the calendar's last day if there is none before its end."""
        if day < self.start:
            return self.start
        try:
            return _first_due_after(self, day)
        except (OverflowError, ValueError):
            return date.max

    def due_around(self, day: date) -> date | None:
        """The due date that is this day or one day away from it; None if there is none."""
        due = self.first_due_after(day - 2 * _DAY_OFF)
        return due if due <= day + _DAY_OFF else None


@lru_cache(
    10_000
)  # A status report asks for the same few days about many subscriptions that began on the same day.
def _first_due_after(schedule: Schedule, day: date) -> date:
    frequency, start = schedule
    if frequency is Frequency.SEMI_MONTHLY:
        return day.replace(day=15) if day.day < 15 else day + relativedelta(months=1, day=1)
    step = _STEPS[frequency]
    # Jump close to the day, taking all months to be long, then walk.
    count = (day - start).days // (366 * step.years + 31 * step.months + 7 * step.weeks)
    while start + step * count <= day:
        count += 1
    return start + step * count
