"""What Perma.cc is told a subscription is paid through, asked over HTTP (perma-2026.md §6, with its examples)."""

from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

import pytest
from bs4 import BeautifulSoup
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone

from perma_payments.models import StaffTask, StatusReport, SubscriptionAgreement
from perma_payments.services.status_reports.apply import apply_report
from perma_payments.services.status_reports.plan import plan_report
from perma_payments.services.status_reports.revert import revert_report
from perma_payments.services.status_reports.warnings import required_checks

from . import perma_cc, records
from .conftest import Post
from .lives.model import due

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def noon(day: date) -> datetime:
    return datetime.combine(day, time(12), tzinfo=UTC)


def day(text: str) -> date:
    return date.fromisoformat(text)


class Customer:
    """A customer's subscription, as it goes through the calendar; each step says on which day it happens."""

    def __init__(self, post: Post, call_back: Post, clock: pytest.MonkeyPatch, staff: User) -> None:
        self._post, self._call_back, self._clock, self._staff = post, call_back, clock, staff

    def _at(self, moment: datetime) -> None:
        self._clock.setattr(timezone, "now", lambda: moment)
        self._now = moment

    def begin(self, on: date, start: date, frequency: str = "monthly") -> dict[str, str]:
        """Go to CyberSource; return the form that leads there."""
        self._at(noon(on))
        page = self._post(
            "subscribe", now=self._now, recurring_frequency=frequency, recurring_start_date=start.isoformat()
        )
        fields = BeautifulSoup(page.content, "html.parser").select("form input[type=hidden]")
        return {str(field["name"]): str(field["value"]) for field in fields}

    def subscribe(self, on: date, start: date, frequency: str = "monthly") -> None:
        """Subscribe and pay."""
        assert self._call_back(self.begin(on, start, frequency)).status_code == 200

    def ask_to_cancel(self, on: date) -> None:
        self._at(noon(on))
        assert self._post("cancel-request", now=self._now).status_code == 302

    def is_reported(
        self, on: date, status: str, *, next_charge: str = "", made_on: date | None = None
    ) -> StatusReport:
        """Staff upload a report of the subscription, and confirm it."""
        self._at(noon(on))
        reference_number = SubscriptionAgreement.objects.latest("id").reference_number
        text = (
            f"Date: {made_on or on:%b %d %Y}\n\nMerchant Reference Code,Status,Next Scheduled Date\n"
            f"{reference_number},{status},{next_charge}\n"
        )
        report = plan_report(text.encode(), by=self._staff, now=self._now)
        return apply_report(
            report.pk, revision=report.revision, by=self._staff, checks=required_checks(report), now=self._now
        )

    def is_told(self, at: date | datetime) -> tuple[str, date] | None:
        """The status and the day that Perma.cc is told; the day begins at midnight."""
        self._at(at if isinstance(at, datetime) else noon(at))
        reply = perma_cc.open_reply(self._post("subscription", now=self._now).json())["subscription"]
        if reply is None:
            return None
        moment = perma_cc.read_datetime(reply["paid_through"])
        assert moment.time() == time()
        return reply["status"], moment.date()


@pytest.fixture
def customer(post: Post, call_back: Post, monkeypatch: pytest.MonkeyPatch) -> Iterator[Customer]:
    return Customer(post, call_back, monkeypatch, User.objects.create_user("staff"))


# --- After signing up -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "on, start, later",
    [
        ("2026-07-01", "2026-08-01", [("2026-08-01", "2026-09-01")]),
        ("2026-05-13", "2026-06-13", [("2026-06-13", "2026-07-13"), ("2026-07-13", "2026-08-13")]),
        ("2026-01-29", "2026-02-28", [("2026-02-28", "2026-03-28"), ("2026-03-28", "2026-04-28")]),
        ("2026-01-31", "2026-02-28", [("2026-02-28", "2026-03-28"), ("2026-03-28", "2026-04-28")]),
        ("2028-01-30", "2028-02-29", [("2028-02-29", "2028-03-29"), ("2028-03-29", "2028-04-29")]),
        ("2026-03-31", "2026-04-30", [("2026-04-30", "2026-05-30"), ("2026-05-30", "2026-06-30")]),
        (
            "2026-08-31",
            "2026-09-30",
            [("2026-09-30", "2026-10-30"), ("2027-01-30", "2027-02-28"), ("2027-02-28", "2027-03-30")],
        ),
        (
            "2026-12-31",
            "2027-01-31",
            [
                ("2027-01-31", "2027-02-28"),
                ("2027-02-28", "2027-03-31"),
                ("2027-03-31", "2027-04-30"),
                ("2027-04-30", "2027-05-31"),
            ],
        ),
        # The client of 2024.
        ("2026-05-13", "2026-06-01", [("2026-06-01", "2026-07-01"), ("2026-07-01", "2026-08-01")]),
    ],
)
def test_a_month_is_paid_through_the_next_due_date(customer, on, start, later):
    customer.subscribe(day(on), day(start))

    assert customer.is_told(day(on)) == ("Current", day(start))
    for now, next_due in later:
        assert customer.is_told(day(now) - DAY) == ("Current", day(now))
        assert customer.is_told(datetime.combine(day(now), time(), tzinfo=UTC)) == ("Current", day(next_due))


@pytest.mark.parametrize(
    "on, start, later",
    [
        ("2026-07-15", "2027-07-15", [("2027-07-15", "2028-07-15")]),
        ("2028-02-29", "2029-02-28", [("2029-02-28", "2030-02-28"), ("2031-02-28", "2032-02-28")]),
    ],
)
def test_a_year_is_paid_through_the_next_due_date(customer, on, start, later):
    customer.subscribe(day(on), day(start), "annually")

    assert customer.is_told(day(on)) == ("Current", day(start))
    for now, next_due in later:
        assert customer.is_told(day(now) - DAY) == ("Current", day(now))
        assert customer.is_told(day(now)) == ("Current", day(next_due))


def same_day_next(on: date, frequency: str) -> date:
    """The start that the client of 2026 sends."""
    if frequency == "annually":
        return on.replace(year=on.year + 1, day=28 if (on.month, on.day) == (2, 29) else on.day)
    year, month = divmod(on.year * 12 + on.month, 12)
    return date(year, month + 1, min(on.day, monthrange(year, month + 1)[1]))


SIGN_UP_DAYS = [
    "2026-11-01",
    "2026-11-02",
    "2026-11-13",
    "2026-11-15",
    "2026-11-28",
    "2026-11-29",
    "2026-11-30",
    "2026-12-15",
    "2026-12-31",
    "2027-01-01",
    "2027-01-29",
    "2027-01-30",
    "2027-01-31",
    "2027-02-28",
    "2027-12-31",
    "2028-01-31",
    "2028-02-28",
    "2028-02-29",
]


@pytest.mark.parametrize(
    "on, frequency",
    [
        *((on, "monthly") for on in SIGN_UP_DAYS),
        *((on, "annually") for on in ("2026-11-13", "2027-02-28", "2027-12-31", "2028-02-28", "2028-02-29")),
    ],
)
def test_the_schedule_is_followed_from_any_sign_up_day(customer, on, frequency):
    start = same_day_next(day(on), frequency)
    customer.subscribe(day(on), start, frequency)

    for number in range(13 if frequency == "monthly" else 5):
        due_date, next_one = due(start, frequency, number), due(start, frequency, number + 1)
        assert customer.is_told(due_date - DAY) == ("Current", due_date)
        assert customer.is_told(due_date) == ("Current", next_one)
    # Half a year without any report: what is charged is told no date that has passed.
    assert customer.is_told(due_date + 180 * DAY)[1] > due_date + 180 * DAY


# --- Reports ------------------------------------------------------------------------------------------

START = day("2026-06-13")  # signed up on 13 May, charged on the 13th


@pytest.fixture
def subscriber(customer: Customer) -> Customer:
    customer.subscribe(day("2026-05-13"), START)
    return customer


def test_a_failed_charge_shows_what_is_known(subscriber):
    """The example of perma-2026.md §6, step by step."""
    subscriber.is_reported(day("2026-06-01"), "CURRENT")
    assert subscriber.is_told(day("2026-06-13")) == ("Current", day("2026-07-13"))
    subscriber.is_reported(day("2026-06-15"), "RETRY")
    assert subscriber.is_told(day("2026-06-15")) == ("Current", day("2026-07-13"))
    subscriber.is_reported(day("2026-06-20"), "HOLD")
    assert subscriber.is_told(day("2026-06-20")) == ("Hold", day("2026-06-13"))
    subscriber.is_reported(day("2026-06-27"), "CURRENT")
    assert subscriber.is_told(day("2026-06-27")) == ("Current", day("2026-07-13"))
    assert not StaffTask.objects.exists()


def test_a_cancellation_keeps_what_is_paid_for(subscriber):
    subscriber.is_reported(day("2026-06-01"), "CURRENT")
    subscriber.ask_to_cancel(day("2026-06-05"))
    assert subscriber.is_told(day("2026-06-05")) == ("Cancellation Requested", day("2026-06-13"))
    subscriber.is_reported(day("2026-06-06"), "CANCELED")

    assert subscriber.is_told(day("2026-06-12")) == ("Canceled", day("2026-06-13"))
    assert subscriber.is_told(datetime(2026, 6, 13, 0, 0, 1, tzinfo=UTC)) is None


def tasks() -> list[str]:
    return list(StaffTask.objects.filter(done_at=None).values_list("kind", flat=True))


@pytest.mark.parametrize("on", ["2026-06-12", "2026-06-13", "2026-06-14"])
def test_a_cancellation_near_a_due_date_counts_as_charged(subscriber, on):
    subscriber.is_reported(day("2026-06-01"), "CURRENT")
    subscriber.is_reported(day(on), "CANCELED")

    assert subscriber.is_told(day(on)) == ("Canceled", day("2026-07-13"))
    assert tasks() == ["unproven charge"]


def test_an_unproven_charge_is_asked_about_at_the_end(subscriber):
    subscriber.is_reported(START, "CURRENT")
    assert tasks() == []
    subscriber.is_reported(day("2026-06-20"), "CANCELED")

    assert subscriber.is_told(day("2026-06-20")) == ("Canceled", day("2026-07-13"))
    assert tasks() == ["unproven charge"]


def test_reverting_a_report_withdraws_its_task(subscriber):
    report = subscriber.is_reported(START, "CANCELED")
    revert_report(report.pk, by=User.objects.get(), now=noon(START))

    assert (subscriber.is_told(START), tasks()) == (("Current", day("2026-07-13")), [])


# What each report means on each day: before the charge of 13 June, around it, and after it. The last report before
# it was made on 1 June, and said Current.
@pytest.mark.parametrize(
    "status, on, told",
    [
        ("CURRENT", "2026-06-11", ("Current", "2026-06-13")),
        ("CURRENT", "2026-06-12", ("Current", "2026-06-13")),
        ("CURRENT", "2026-06-13", ("Current", "2026-07-13")),
        ("CURRENT", "2026-06-15", ("Current", "2026-07-13")),
        ("RETRY", "2026-06-11", ("Current", "2026-06-13")),
        ("RETRY", "2026-06-13", ("Current", "2026-07-13")),
        ("RETRY", "2026-06-15", ("Current", "2026-07-13")),
        ("HOLD", "2026-06-11", ("Hold", "2026-06-13")),
        ("HOLD", "2026-06-13", ("Hold", "2026-06-13")),
        ("HOLD", "2026-06-15", ("Hold", "2026-06-13")),
        ("CANCELED", "2026-06-11", ("Canceled", "2026-06-13")),
        ("CANCELED", "2026-06-13", ("Canceled", "2026-07-13")),
        ("CANCELED", "2026-06-15", None),
    ],
)
def test_a_report_means_what_its_day_allows(subscriber, status, on, told):
    subscriber.is_reported(day("2026-06-01"), "CURRENT")
    subscriber.is_reported(day(on), status)

    assert subscriber.is_told(day(on)) == (told and (told[0], day(told[1])))


@pytest.mark.parametrize(
    "frequency, start, proven_until, ending",
    [
        ("monthly", "2026-12-13", "2027-01-13", "HOLD"),
        ("monthly", "2026-12-13", "2027-01-13", "CANCELED"),
        ("annually", "2027-11-13", "2028-11-13", "CANCELED"),
    ],
)
def test_a_hold_or_cancellation_keeps_a_reported_period(customer, frequency, start, proven_until, ending):
    customer.subscribe(day("2026-11-13"), day(start), frequency)
    after_the_charge = day(start) + 5 * DAY
    customer.is_reported(after_the_charge, "CURRENT")
    customer.is_reported(after_the_charge + 3 * DAY, ending)

    assert customer.is_told(after_the_charge + 3 * DAY) == (ending.capitalize(), day(proven_until))


@pytest.mark.parametrize("ending, told", [("HOLD", ("Hold", "2026-11-20")), ("CANCELED", None)])
def test_a_charge_that_failed_pays_for_nothing(customer, ending, told):
    """A year that was paid to 20 November; on the 21st its charge is being retried."""
    customer.subscribe(day("2025-11-20"), day("2026-11-20"), "annually")
    customer.is_reported(day("2026-11-22"), "RETRY")
    assert customer.is_told(day("2026-11-22")) == ("Current", day("2027-11-20"))

    customer.is_reported(day("2026-12-05"), ending)
    assert customer.is_told(day("2026-12-05")) == (told and (told[0], day(told[1])))


def test_an_unknown_yearly_charge_pays_for_a_month(customer):
    customer.subscribe(day("2025-11-20"), day("2026-11-20"), "annually")
    customer.is_reported(day("2026-11-20"), "CURRENT")
    customer.is_reported(day("2026-11-25"), "CANCELED")

    assert customer.is_told(day("2026-11-25")) == ("Canceled", day("2026-12-21"))
    assert tasks() == ["unproven charge"]


def test_a_report_proves_no_charge_after_the_day_it_was_made(subscriber):
    subscriber.is_reported(day("2026-06-20"), "CURRENT", made_on=day("2026-06-02"))
    subscriber.is_reported(day("2026-06-21"), "HOLD")

    assert subscriber.is_told(day("2026-06-21")) == ("Hold", day("2026-06-13"))


def test_a_report_from_the_future_proves_no_more_than_its_upload(subscriber):
    subscriber.is_reported(day("2026-06-02"), "CURRENT", made_on=day("2036-06-02"))
    subscriber.is_reported(day("2026-06-03"), "HOLD")

    assert subscriber.is_told(day("2026-06-03")) == ("Hold", day("2026-06-13"))


def test_a_next_date_of_the_report_counts_while_it_is_to_come(subscriber):
    subscriber.is_reported(day("2026-06-20"), "CURRENT", next_charge="2026-07-14")
    assert subscriber.is_told(day("2026-06-20")) == ("Current", day("2026-07-14"))
    assert subscriber.is_told(day("2026-07-14")) == ("Current", day("2026-08-13"))

    subscriber.is_reported(day("2026-07-20"), "HOLD")
    assert subscriber.is_told(day("2026-07-20")) == ("Hold", day("2026-07-14"))


def test_a_next_date_that_cannot_be_right_is_named_and_left_out(subscriber):
    report = subscriber.is_reported(day("2026-06-20"), "CURRENT", next_charge="2036-07-14")

    assert "implausible dates" in [warning["kind"] for warning in report.warnings]
    assert subscriber.is_told(day("2026-06-20")) == ("Current", day("2026-07-13"))


def test_one_that_would_end_at_once_is_named_before_it_does(subscriber):
    report = subscriber.is_reported(day("2026-07-05"), "CANCELED")

    assert "immediate ending" in [warning["kind"] for warning in report.warnings]
    assert subscriber.is_told(day("2026-07-05")) is None


def test_a_resumed_subscription_is_charged_again(subscriber):
    subscriber.is_reported(day("2026-06-02"), "CANCELED")
    subscriber.is_reported(day("2026-06-20"), "CURRENT")

    assert subscriber.is_told(day("2026-06-20")) == ("Current", day("2026-07-13"))


# --- A response that was lost ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frequency, start, status, told",
    [
        ("monthly", "2026-12-13", "CURRENT", "Current"),
        ("annually", "2027-11-13", "HOLD", "Hold"),
        ("annually", "2027-11-13", "CANCELED", "Canceled"),
    ],
)
def test_a_lost_response_keeps_what_the_checkout_paid_for(customer, frequency, start, status, told):
    customer.begin(day("2026-11-13"), day(start), frequency)
    customer.is_reported(day("2026-12-02"), status)

    assert customer.is_told(day("2026-12-02")) == (told, day(start))


def test_a_late_response_takes_away_nothing_proven(customer, call_back):
    form = customer.begin(day("2026-11-13"), day("2026-12-13"))
    customer.is_reported(day("2026-12-20"), "CURRENT")
    call_back(form)
    customer.is_reported(day("2026-12-22"), "HOLD")

    assert customer.is_told(day("2026-12-22")) == ("Hold", day("2027-01-13"))


@pytest.mark.parametrize("status", ["Current", "Hold", "Canceled"])
def test_the_database_refuses_a_subscription_without_a_date(status):
    with pytest.raises(IntegrityError, match="agreement_standing_is_complete"), transaction.atomic():
        records.standing_agreement(status=status, covered_until=None, coverage_proof="")
