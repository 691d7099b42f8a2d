"""Until when a subscription is paid for, and what Perma.cc is told of it (perma-2026.md §6)."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings, strategies as st

from perma_payments.billing import coverage
from perma_payments.billing.coverage import Coverage, Proof, midnight
from perma_payments.billing.schedules import Frequency, Schedule

# Charged on the 13th of each month, or on 13 December of each year.
MONTHLY = Schedule(Frequency.MONTHLY, date(2026, 12, 13))
ANNUALLY = Schedule(Frequency.ANNUALLY, date(2026, 12, 13))


def day(text):
    return date.fromisoformat(text)


def covered(until, proof):
    return Coverage(midnight(day(until)), proof)


CHECKOUT = covered("2026-12-13", Proof.CHECKOUT)


def of_report(schedule, made_on, next_charge_on=None):
    return coverage.of_report(
        schedule, made_on=day(made_on), next_charge_on=next_charge_on and day(next_charge_on), grace_days=31
    )


def after_ending(schedule, known, made_on):
    return coverage.after_ending(schedule, known, made_on=day(made_on), grace_days=31)


def test_a_checkout_pays_until_the_first_scheduled_charge():
    assert coverage.of_checkout(MONTHLY) == CHECKOUT


@pytest.mark.parametrize(
    "schedule, made_on, until, proof",
    [
        (MONTHLY, "2026-11-20", "2026-12-13", Proof.REPORT),
        (MONTHLY, "2026-12-11", "2026-12-13", Proof.REPORT),
        # On a due date, or one day beside it, nobody can know whether that day's charge ran.
        (MONTHLY, "2026-12-12", "2027-01-13", Proof.UNPROVEN),
        (MONTHLY, "2026-12-13", "2027-01-13", Proof.UNPROVEN),
        (MONTHLY, "2026-12-14", "2027-01-13", Proof.UNPROVEN),
        (MONTHLY, "2026-12-15", "2027-01-13", Proof.REPORT),
        (ANNUALLY, "2026-12-13", "2027-01-13", Proof.UNPROVEN),
        (ANNUALLY, "2026-12-15", "2027-12-13", Proof.REPORT),
        (Schedule(Frequency.WEEKLY, date(2026, 12, 13)), "2026-12-20", "2026-12-27", Proof.UNPROVEN),
        (Schedule(Frequency.QUARTERLY, date(2026, 12, 13)), "2027-03-13", "2027-04-13", Proof.UNPROVEN),
    ],
)
def test_a_report_of_current_proves_the_charges_before_it(schedule, made_on, until, proof):
    assert of_report(schedule, made_on) == covered(until, proof)


def test_the_date_that_a_report_gives_for_the_next_charge_counts():
    assert of_report(MONTHLY, "2026-12-13", "2027-01-12") == covered("2027-01-12", Proof.REPORT)


@pytest.mark.parametrize(
    "next_charge_on, plausible",
    [
        ("2026-12-20", False),
        ("2026-12-21", True),
        ("2027-01-13", True),
        ("2027-02-13", True),
        ("2027-02-14", False),
    ],
)
def test_a_next_charge_is_at_most_two_due_dates_ahead(next_charge_on, plausible):
    made_on = day("2026-12-20")
    assert coverage.is_plausible_next_charge(MONTHLY, day(next_charge_on), made_on=made_on) is plausible


@pytest.mark.parametrize(
    "known, proven, after",
    [
        (None, covered("2027-01-13", Proof.REPORT), covered("2027-01-13", Proof.REPORT)),
        (CHECKOUT, covered("2027-01-13", Proof.REPORT), covered("2027-01-13", Proof.REPORT)),
        # Never taken away.
        (
            covered("2027-02-01", Proof.STAFF),
            covered("2027-01-13", Proof.REPORT),
            covered("2027-02-01", Proof.STAFF),
        ),
        # What was unproven may be confirmed, and what was proven does not become doubtful.
        (
            covered("2027-01-13", Proof.UNPROVEN),
            covered("2027-01-13", Proof.REPORT),
            covered("2027-01-13", Proof.REPORT),
        ),
        (
            covered("2027-01-13", Proof.REPORT),
            covered("2027-01-13", Proof.UNPROVEN),
            covered("2027-01-13", Proof.REPORT),
        ),
    ],
)
def test_a_proof_extends_what_is_covered(known, proven, after):
    assert coverage.extended(known, proven) == after


@pytest.mark.parametrize(
    "known, made_on, after",
    [
        (CHECKOUT, "2026-12-20", CHECKOUT),
        (CHECKOUT, "2026-12-13", CHECKOUT),
        # The day before, a report called it Current: but the charge has failed.
        (covered("2027-01-13", Proof.UNPROVEN), "2026-12-14", covered("2026-12-13", Proof.REPORT)),
        (covered("2027-01-13", Proof.STAFF), "2026-12-14", covered("2027-01-13", Proof.STAFF)),
        (covered("2027-01-13", Proof.REPORT), "2026-12-20", covered("2027-01-13", Proof.REPORT)),
    ],
)
def test_a_hold_around_a_due_date_means_that_its_charge_failed(known, made_on, after):
    assert coverage.after_failed_charge(MONTHLY, known, made_on=day(made_on)) == after


@pytest.mark.parametrize(
    "schedule, known, made_on, after",
    [
        (MONTHLY, CHECKOUT, "2026-12-06", CHECKOUT),
        (MONTHLY, CHECKOUT, "2026-12-12", covered("2027-01-13", Proof.UNPROVEN)),
        (MONTHLY, CHECKOUT, "2026-12-13", covered("2027-01-13", Proof.UNPROVEN)),
        (MONTHLY, CHECKOUT, "2026-12-14", covered("2027-01-13", Proof.UNPROVEN)),
        (MONTHLY, CHECKOUT, "2026-12-15", CHECKOUT),
        (ANNUALLY, CHECKOUT, "2026-12-13", covered("2027-01-13", Proof.UNPROVEN)),
        # The charge of that day is known to have been made.
        (MONTHLY, covered("2027-01-13", Proof.REPORT), "2026-12-14", covered("2027-01-13", Proof.REPORT)),
    ],
)
def test_an_ending_around_a_due_date_leaves_its_charge_unproven(schedule, known, made_on, after):
    assert after_ending(schedule, known, made_on) == after


@pytest.mark.parametrize(
    "next_charge_on, now, told",
    [
        (None, "2026-11-13T00:00:00", "2026-12-13"),
        (None, "2026-12-12T23:59:59", "2026-12-13"),
        # On the day of the charge itself the date has moved on, though the charge may not have run.
        (None, "2026-12-13T00:00:00", "2027-01-13"),
        (None, "2026-12-13T09:00:00", "2027-01-13"),
        ("2026-12-15", "2026-12-13T09:00:00", "2026-12-15"),
        ("2026-12-15", "2026-12-15T00:00:00", "2027-01-13"),
    ],
)
def test_a_charged_subscription_shows_its_next_due_date(next_charge_on, now, told):
    known_until, date_of_report = midnight(day("2026-12-13")), next_charge_on and day(next_charge_on)
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert coverage.paid_through_for_perma("Current", MONTHLY, known_until, date_of_report, moment) == midnight(
        day(told)
    )


@pytest.mark.parametrize("status", ["Hold", "Canceled"])
def test_an_uncharged_subscription_shows_what_is_covered(status):
    until, later = midnight(day("2026-12-13")), datetime(2027, 3, 1, tzinfo=UTC)
    assert coverage.paid_through_for_perma(status, MONTHLY, until, day("2027-04-13"), later) == until


@pytest.mark.parametrize("frequency", Frequency)
@settings(deadline=None)
@given(start=st.dates(date(2020, 1, 1), date(2036, 12, 31)), seconds=st.integers(0, 500_000_000))
def test_a_charged_subscription_never_shows_a_past_date(frequency, start, seconds):
    now = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    schedule = Schedule(frequency, start)
    assert coverage.paid_through_for_perma("Current", schedule, midnight(start), None, now) > now


def test_a_month_is_granted_in_full_whatever_the_grace_period():
    granted = coverage.of_report(MONTHLY, made_on=day("2026-12-13"), next_charge_on=None, grace_days=5)
    assert granted == covered("2027-01-13", Proof.UNPROVEN)
