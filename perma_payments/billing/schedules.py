"""How often, and on which days, CyberSource charges a subscription (cybersource.md §3.2)."""

from calendar import monthrange
from datetime import date, timedelta
from enum import StrEnum
from typing import NamedTuple


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
_WEEKS = {Frequency.WEEKLY: 1, Frequency.BI_WEEKLY: 2, Frequency.QUAD_WEEKLY: 4}
_MONTHS = {Frequency.MONTHLY: 1, Frequency.QUARTERLY: 3, Frequency.SEMI_ANNUALLY: 6, Frequency.ANNUALLY: 12}
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


def _first_due_after(schedule: Schedule, day: date) -> date:
    """The same for a day on or after the start. Raises OverflowError or ValueError at the end of the calendar."""
    frequency, start = schedule
    if frequency is Frequency.SEMI_MONTHLY:
        return day.replace(day=15) if day.day < 15 else _plus_months(day.replace(day=1), 1)
    if frequency in _WEEKS:
        period = timedelta(weeks=_WEEKS[frequency])
        return start + ((day - start) // period + 1) * period
    months = _MONTHS[frequency]
    periods = (12 * (day.year - start.year) + day.month - start.month) // months
    due = _plus_months(start, periods * months)
    return due if due > day else _plus_months(start, (periods + 1) * months)


def _plus_months(day: date, months: int) -> date:
    """The same day of a later month, or its last day if it is shorter."""
    years, month = divmod(day.month - 1 + months, 12)
    year = day.year + years
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
