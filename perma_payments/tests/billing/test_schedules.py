"""On which days a subscription is charged: examples, and an independent slow walk through the calendar."""

from calendar import monthrange
from datetime import date, timedelta

import pytest
from hypothesis import given, settings, strategies as st

from perma_payments.billing.schedules import Frequency, Schedule

DAY = timedelta(days=1)

days = st.dates(date(2020, 1, 1), date(2036, 12, 31))


def dues(frequency, start, count):
    """The first due dates of a schedule."""
    found, day = [], date.fromisoformat(start) - DAY
    for _ in range(count):
        day = Schedule(Frequency(frequency), date.fromisoformat(start)).first_due_after(day)
        found.append(day.isoformat())
    return found


@pytest.mark.parametrize(
    "frequency, start, following",
    [
        ("weekly", "2026-12-28", ["2027-01-04", "2027-01-11"]),
        ("bi-weekly", "2028-02-24", ["2028-03-09", "2028-03-23"]),
        ("quad-weekly", "2026-11-02", ["2026-11-30", "2026-12-28"]),
        ("monthly", "2026-08-01", ["2026-09-01", "2026-10-01"]),
        # A day that a month lacks is that month's last, and comes back in longer months.
        ("monthly", "2027-01-31", ["2027-02-28", "2027-03-31", "2027-04-30", "2027-05-31"]),
        ("monthly", "2026-12-30", ["2027-01-30", "2027-02-28", "2027-03-30"]),
        ("monthly", "2028-01-29", ["2028-02-29", "2028-03-29"]),
        # One that starts on a short month's last day stays on that day.
        ("monthly", "2026-02-28", ["2026-03-28", "2026-04-28"]),
        ("monthly", "2028-02-29", ["2028-03-29", "2028-04-29"]),
        ("semi-monthly", "2026-11-10", ["2026-11-15", "2026-12-01", "2026-12-15", "2027-01-01"]),
        ("quarterly", "2026-11-30", ["2027-02-28", "2027-05-30"]),
        ("semi-annually", "2027-08-31", ["2028-02-29", "2028-08-31"]),
        ("annually", "2027-07-15", ["2028-07-15", "2029-07-15"]),
        ("annually", "2028-02-29", ["2029-02-28", "2030-02-28", "2031-02-28", "2032-02-29"]),
        ("annually", "2029-02-28", ["2030-02-28", "2031-02-28", "2032-02-28"]),
    ],
)
def test_due_dates_are_counted_from_the_first(frequency, start, following):
    assert dues(frequency, start, 1 + len(following)) == [start, *following]


@settings(deadline=None)
@given(start=days, day=days)
def test_a_monthly_due_date_falls_on_the_first_ones_day(start, day):
    due = Schedule(Frequency.MONTHLY, start).first_due_after(day)
    assert due.day == min(start.day, monthrange(due.year, due.month)[1])


@pytest.mark.parametrize("frequency", Frequency)
@settings(deadline=None)
@given(start=days, day=days)
def test_the_first_due_date_after_a_day_is_the_nearest_one(frequency, start, day):
    schedule = Schedule(frequency, start)
    due = schedule.first_due_after(day)
    assert due > day
    # No due date lies between: from every day in between, the same one is the next.
    assert {schedule.first_due_after(day + DAY * ahead) for ahead in range(min((due - day).days, 400))} == {due}


@pytest.mark.parametrize(
    "day, around",
    [
        ("2026-12-11", None),
        ("2026-12-12", "2026-12-13"),
        ("2026-12-13", "2026-12-13"),
        ("2026-12-14", "2026-12-13"),
        ("2026-12-15", None),
        ("2027-01-12", "2027-01-13"),
        ("2026-11-13", None),
    ],
)
def test_a_day_beside_a_due_date_is_around_it(day, around):
    found = Schedule(Frequency.MONTHLY, date(2026, 12, 13)).due_around(date.fromisoformat(day))
    assert found == (around and date.fromisoformat(around))


@pytest.mark.parametrize("frequency", Frequency)
def test_every_frequency_is_charged_as_often_as_it_is_due(frequency):
    day, due = date(2027, 1, 1), []
    while (day := Schedule(frequency, date(2027, 1, 1)).first_due_after(day)) <= date(2027, 12, 31):
        due.append(day)
    # The start is the first due date of the year.
    assert frequency.charges_per_year in (len(due), len(due) + 1)


@pytest.mark.parametrize("frequency", Frequency)
def test_the_calendar_ends_with_a_due_date(frequency):
    assert Schedule(frequency, date(9999, 12, 31)).first_due_after(date(9999, 12, 31)) == date.max
