"""Until when a subscription is paid for: examples, and an independent slow walk through the calendar."""
from calendar import isleap, monthrange
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perma_payments.billing.frequencies import Frequency, Schedule
from perma_payments.billing.paid_through import paid_through

DAY = timedelta(days=1)

days = st.dates(date(2020, 1, 1), date(2036, 12, 31))


def last_day(frequency, *, start=date(2020, 1, 1), created_on=date(2020, 1, 1), today, grace_days=31):
    moment = paid_through(Schedule(frequency, start), created_on=created_on, today=today, grace_days=grace_days)
    assert (moment.hour, moment.minute, moment.second, moment.microsecond) == (23, 59, 59, 0)
    assert moment.tzinfo is UTC
    return moment.date()


def day(text):
    return date.fromisoformat(text)


# --- Examples ---------------------------------------------------------------------------------------

def test_a_subscription_is_paid_through_the_last_second_of_a_day_in_utc():
    moment = paid_through(
        Schedule(Frequency.MONTHLY, date(2026, 1, 1)), created_on=date(2026, 1, 1), today=date(2026, 11, 21),
        grace_days=31,
    )
    assert moment == datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize("today, end", [
    ("2026-11-01", "2026-11-30"), ("2026-11-21", "2026-11-30"), ("2026-11-30", "2026-11-30"),
    ("2026-12-01", "2026-12-31"), ("2026-12-31", "2026-12-31"), ("2026-01-31", "2026-01-31"),
    ("2026-02-01", "2026-02-28"), ("2026-02-28", "2026-02-28"),
    ("2028-02-28", "2028-02-29"), ("2028-02-29", "2028-02-29"), ("2100-02-10", "2100-02-28"),
])
def test_a_month_is_paid_through_its_end(today, end):
    assert last_day(Frequency.MONTHLY, today=day(today)) == day(end)


def test_a_month_is_paid_through_its_end_also_before_the_schedule_starts():
    assert last_day(Frequency.MONTHLY, start=day("2026-12-01"), today=day("2026-11-21")) == day("2026-11-30")


@pytest.mark.parametrize("created_on, today, end", [
    # From the day it was made to the day before the anniversary.
    ("2025-11-21", "2025-11-21", "2026-11-21"), ("2025-11-21", "2025-11-22", "2026-11-21"),
    ("2025-11-21", "2025-12-31", "2026-11-21"), ("2025-11-21", "2026-01-01", "2026-11-21"),
    ("2025-11-21", "2026-11-20", "2026-11-21"),
    # On the anniversary nobody knows yet whether the charge succeeded.
    ("2025-11-21", "2026-11-21", "2026-12-22"),
    ("2025-11-21", "2026-11-22", "2027-11-21"), ("2025-11-21", "2031-11-20", "2031-11-21"),
    ("2025-11-21", "2031-11-21", "2031-12-22"), ("2025-11-21", "2031-11-22", "2032-11-21"),
    # Round the turn of the year.
    ("2025-12-31", "2026-12-30", "2026-12-31"), ("2025-12-31", "2026-12-31", "2027-01-31"),
    ("2025-12-31", "2027-01-01", "2027-12-31"), ("2026-01-01", "2026-12-31", "2027-01-01"),
    ("2026-01-01", "2027-01-01", "2027-02-01"), ("2026-01-01", "2027-01-02", "2028-01-01"),
    # Made on 29 February: the 28th in common years, the 29th again in leap years.
    ("2024-02-29", "2024-02-29", "2025-02-28"), ("2024-02-29", "2025-02-27", "2025-02-28"),
    ("2024-02-29", "2025-02-28", "2025-03-31"), ("2024-02-29", "2025-03-01", "2026-02-28"),
    ("2024-02-29", "2027-03-01", "2028-02-29"), ("2024-02-29", "2028-02-27", "2028-02-29"),
    ("2024-02-29", "2028-02-28", "2028-02-29"), ("2024-02-29", "2028-02-29", "2028-03-31"),
    ("2024-02-29", "2028-03-01", "2029-02-28"), ("2096-02-29", "2100-02-28", "2100-03-31"),
    ("2096-02-29", "2099-12-31", "2100-02-28"),
    # Round 29 February, when made on another day.
    ("2023-02-28", "2024-02-27", "2024-02-28"), ("2023-02-28", "2024-02-28", "2024-03-30"),
    ("2023-02-28", "2024-02-29", "2025-02-28"), ("2023-03-01", "2024-02-29", "2024-03-01"),
    ("2023-03-01", "2024-03-01", "2024-04-01"), ("2024-02-28", "2024-02-29", "2025-02-28"),
    ("2024-01-31", "2024-02-29", "2025-01-31"),
])
def test_a_year_is_paid_through_the_next_anniversary(created_on, today, end):
    assert last_day(Frequency.ANNUALLY, created_on=day(created_on), today=day(today)) == day(end)


@pytest.mark.parametrize("grace_days, end", [(0, "2026-11-21"), (1, "2026-11-22"), (31, "2026-12-22")])
def test_the_grace_on_an_anniversary_can_be_set(grace_days, end):
    created_on, today = day("2025-11-21"), day("2026-11-21")
    assert last_day(Frequency.ANNUALLY, created_on=created_on, today=today, grace_days=grace_days) == day(end)


def test_an_anniversary_is_that_of_the_first_day_and_not_of_the_schedule():
    end = last_day(
        Frequency.ANNUALLY, start=day("2026-05-05"), created_on=day("2025-11-21"), today=day("2026-03-01")
    )
    assert end == day("2026-11-21")


@pytest.mark.parametrize("frequency, start, today, end", [
    ("weekly", "2026-11-02", "2026-10-01", "2026-11-02"), ("weekly", "2026-11-02", "2026-11-01", "2026-11-02"),
    ("weekly", "2026-11-02", "2026-11-02", "2026-11-09"), ("weekly", "2026-11-02", "2026-11-08", "2026-11-09"),
    ("weekly", "2026-11-02", "2026-11-09", "2026-11-16"), ("weekly", "2026-12-28", "2026-12-31", "2027-01-04"),
    ("weekly", "2028-02-24", "2028-02-24", "2028-03-02"),
    ("bi-weekly", "2026-11-02", "2026-11-01", "2026-11-02"),
    ("bi-weekly", "2026-11-02", "2026-11-02", "2026-11-16"),
    ("bi-weekly", "2026-11-02", "2026-11-16", "2026-11-30"),
    ("quad-weekly", "2026-11-02", "2026-11-02", "2026-11-30"),
    ("quad-weekly", "2026-11-02", "2026-11-29", "2026-11-30"),
    ("quad-weekly", "2026-11-02", "2026-11-30", "2026-12-28"),
    ("semi-monthly", "2026-11-15", "2026-11-14", "2026-11-15"),
    ("semi-monthly", "2026-11-15", "2026-11-15", "2026-12-01"),
    ("semi-monthly", "2026-11-15", "2026-11-30", "2026-12-01"),
    ("semi-monthly", "2026-11-15", "2026-12-01", "2026-12-15"),
    ("semi-monthly", "2026-11-15", "2026-12-14", "2026-12-15"),
    ("semi-monthly", "2026-11-15", "2026-12-15", "2027-01-01"),
    ("semi-monthly", "2026-11-15", "2026-12-31", "2027-01-01"),
    ("semi-monthly", "2026-11-15", "2027-01-31", "2027-02-01"),
    ("semi-monthly", "2026-11-10", "2026-11-01", "2026-11-10"),
    ("semi-monthly", "2026-11-10", "2026-11-10", "2026-11-15"),
    ("quarterly", "2026-11-21", "2026-11-20", "2026-11-21"),
    ("quarterly", "2026-11-21", "2026-11-21", "2027-02-21"),
    ("quarterly", "2026-11-21", "2027-02-20", "2027-02-21"),
    ("quarterly", "2026-11-21", "2027-02-21", "2027-05-21"),
    # A day that a month lacks is that month's last, and comes back in longer months.
    ("quarterly", "2026-01-31", "2026-01-31", "2026-04-30"),
    ("quarterly", "2026-01-31", "2026-04-30", "2026-07-31"),
    ("quarterly", "2026-11-30", "2026-12-01", "2027-02-28"),
    ("quarterly", "2026-11-30", "2027-02-28", "2027-05-30"),
    ("quarterly", "2027-11-30", "2027-11-30", "2028-02-29"),
    ("quarterly", "2027-11-30", "2028-02-29", "2028-05-30"),
    ("semi-annually", "2026-11-21", "2026-11-20", "2026-11-21"),
    ("semi-annually", "2026-11-21", "2026-11-21", "2027-05-21"),
    ("semi-annually", "2026-08-31", "2026-08-31", "2027-02-28"),
    ("semi-annually", "2026-08-31", "2027-02-28", "2027-08-31"),
    ("semi-annually", "2027-08-31", "2028-02-28", "2028-02-29"),
    ("semi-annually", "2028-02-29", "2028-02-29", "2028-08-29"),
    ("semi-annually", "2028-02-29", "2028-08-29", "2029-02-28"),
])
def test_any_other_frequency_is_paid_through_the_next_date_of_its_schedule(frequency, start, today, end):
    assert last_day(Frequency(frequency), start=day(start), today=day(today)) == day(end)


# --- Any day ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("frequency", Frequency)
@settings(deadline=None)
@given(start=days, created_on=days, today=days, grace_days=st.integers(0, 366))
def test_what_is_current_today_is_paid_at_least_through_today(frequency, start, created_on, today, grace_days):
    end = last_day(frequency, start=start, created_on=created_on, today=today, grace_days=grace_days)
    assert end >= today


@settings(deadline=None)
@given(today=days)
def test_any_month_is_paid_through_its_last_day(today):
    end = last_day(Frequency.MONTHLY, today=today)
    assert (end.year, end.month) == (today.year, today.month)
    assert (end + DAY).day == 1


def is_anniversary(day, created_on):
    if (created_on.month, created_on.day) == (2, 29) and not isleap(day.year):
        return (day.month, day.day) == (2, 28)
    return (day.month, day.day) == (created_on.month, created_on.day)


@settings(deadline=None)
@given(made_and_today=st.tuples(days, days).map(sorted), grace_days=st.integers(0, 366))
@example(made_and_today=[date(2024, 2, 29), date(2027, 3, 1)], grace_days=31)
@example(made_and_today=[date(2024, 2, 29), date(2027, 2, 28)], grace_days=31)
@example(made_and_today=[date(2024, 2, 29), date(2028, 2, 28)], grace_days=31)
def test_any_year_is_paid_through_the_anniversary_that_a_slow_walk_finds(made_and_today, grace_days):
    created_on, today = made_and_today
    end = last_day(Frequency.ANNUALLY, created_on=created_on, today=today, grace_days=grace_days)

    expected = max(today, created_on + DAY)
    while not is_anniversary(expected, created_on):
        expected += DAY
    if expected == today:
        expected = today + grace_days * DAY
    assert end == expected
    assert end - today <= 366 * DAY


def months_later(day, months):
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


SCHEDULES = {
    Frequency.WEEKLY: lambda start, count: start + 7 * count * DAY,
    Frequency.BI_WEEKLY: lambda start, count: start + 14 * count * DAY,
    Frequency.QUAD_WEEKLY: lambda start, count: start + 28 * count * DAY,
    Frequency.QUARTERLY: lambda start, count: months_later(start, 3 * count),
    Frequency.SEMI_ANNUALLY: lambda start, count: months_later(start, 6 * count),
}


@pytest.mark.parametrize("frequency", SCHEDULES)
@settings(deadline=None)
@given(start=days, today=days)
@example(start=date(2023, 8, 31), today=date(2024, 2, 29))
@example(start=date(2023, 8, 31), today=date(2024, 2, 28))
def test_any_schedule_is_paid_through_the_date_that_a_slow_walk_finds(frequency, start, today):
    count = 0
    while SCHEDULES[frequency](start, count) <= today:
        count += 1
    assert last_day(frequency, start=start, today=today) == SCHEDULES[frequency](start, count)


@settings(deadline=None)
@given(start=days, today=days)
def test_any_half_month_is_paid_through_the_date_that_a_slow_walk_finds(start, today):
    expected = today + DAY
    while expected != start and (expected < start or expected.day not in (1, 15)):
        expected += DAY
    assert last_day(Frequency.SEMI_MONTHLY, start=start, today=today) == expected
