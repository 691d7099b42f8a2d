"""Staff are asked for the report that is due, once."""

from datetime import UTC, date, datetime, timedelta

import pytest
from django.contrib.auth.models import User

from perma_payments.models import StaffTask, SubscriptionAgreement
from perma_payments.services import staff_tasks
from perma_payments.services.status_reports.expect import expect_report

from ... import records
from ...business_center import report
from .steps import apply, plan, revert, standing

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def at(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 9, tzinfo=UTC)


def asked(now: datetime) -> bool:
    expect_report(now=now)
    return StaffTask.objects.filter(kind="report missing", done_at=None).exists()


@pytest.mark.parametrize(
    ("day", "is_asked"),
    [
        (date(2026, 12, 1), False),
        (date(2026, 12, 2), True),  # a Wednesday
        (date(2026, 12, 31), True),
        (date(2027, 1, 2), False),  # a Saturday
        (date(2027, 1, 3), False),
        (date(2027, 1, 4), True),
        (date(2027, 2, 28), True),
    ],
)
def test_a_months_report_is_due_on_the_second_or_the_first_working_day_after(day, is_asked):
    records.standing_agreement()

    assert asked(at(day)) == is_asked


def test_staff_are_asked_once():
    records.standing_agreement()
    for days in range(3):
        expect_report(now=at(date(2026, 12, 2)) + days * DAY)

    assert StaffTask.objects.filter(kind="report missing").count() == 1


def test_the_history_says_that_the_scheduler_asked():
    records.standing_agreement()
    expect_report(now=at(date(2026, 12, 2)))

    assert StaffTask.objects.get().events.get().pgh_context == {"source": "scheduler"}


def test_without_subscriptions_no_report_is_due():
    records.agreement()

    assert not asked(at(date(2026, 12, 9)))


def test_a_subscription_that_is_running_out_is_one():
    standing(status="Canceled", covered_until=at(date(2026, 12, 10)))

    assert asked(at(date(2026, 12, 9)))


def test_a_confirmed_report_ends_the_task_until_next_month():
    agreement = standing()
    assert asked(at(date(2026, 12, 2)))
    apply(plan(report((agreement, "CURRENT"))))  # of Dec 2, 2026, at noon

    assert not asked(at(date(2026, 12, 31)))
    assert asked(at(date(2027, 1, 4)))


def test_a_report_that_is_undone_opens_it_again():
    agreement = standing()
    expect_report(now=at(date(2026, 12, 2)))
    applied = apply(plan(report((agreement, "HOLD"))))
    revert(applied)

    assert StaffTask.objects.filter(kind="report missing", done_at=None).exists()


@pytest.fixture
def canceled() -> SubscriptionAgreement:
    """A subscription whose cancellation was marked as done on Dec 10, after the month's report."""
    agreement = standing()
    apply(plan(report((agreement, "CURRENT"))))
    SubscriptionAgreement.objects.update(cancellation_requested_at=at(date(2026, 12, 9)))
    task = StaffTask.objects.create(kind="cancellation", agreement=agreement)
    staff_tasks.finish(task.pk, by=User.objects.create_user("anne"), note="Done.", now=at(date(2026, 12, 10)))
    return agreement


def test_a_report_is_due_a_day_after_a_cancellation(canceled):
    assert not asked(at(date(2026, 12, 11)) - timedelta(seconds=1))
    assert asked(at(date(2026, 12, 11)))


@pytest.mark.parametrize("change", [{"status": "Canceled"}, {"cancellation_requested_at": None}])
def test_no_report_is_due_if_the_cancellation_is_known_to_be_made_or_withdrawn(canceled, change):
    SubscriptionAgreement.objects.update(**change)

    assert not asked(at(date(2026, 12, 20)))


def made_on(day: date, agreement: SubscriptionAgreement) -> bytes:
    return report((agreement, "CURRENT"), made_on=f"{day:%b %d %Y}")


def test_a_report_of_last_month_is_not_this_months_whenever_it_is_confirmed():
    day = date(2026, 11, 30)
    apply(plan(made_on(day, standing()), now=at(day)), now=at(day) + DAY)

    assert asked(at(date(2026, 12, 2)))


@pytest.mark.parametrize(("day", "is_asked"), [(date(2026, 12, 9), True), (date(2026, 12, 10), False)])
def test_a_report_tells_only_of_cancellations_that_were_made_before_it(canceled, day, is_asked):
    marked_as_done = at(date(2026, 12, 10))
    planned = plan(made_on(day, canceled), now=marked_as_done - timedelta(minutes=1))
    apply(planned, now=marked_as_done + timedelta(minutes=1))

    assert asked(marked_as_done + DAY) == is_asked


@pytest.mark.parametrize(
    ("made", "applied", "is_asked"),
    [
        # Someone may have canceled it between the two.
        (at(date(2026, 12, 10)), at(date(2026, 12, 10)) - timedelta(seconds=1), True),
        (at(date(2026, 12, 10)), at(date(2026, 12, 10)), False),
        (at(date(2026, 12, 9)), at(date(2026, 12, 11)), True),
    ],
)
def test_a_report_knows_of_what_was_done_before_it_was_confirmed_and_on_the_day_it_was_made(
    canceled, made, applied, is_asked
):
    apply(plan(made_on(made.date(), canceled), now=applied - timedelta(hours=1)), now=applied)

    assert asked(at(date(2026, 12, 10)) + DAY) == is_asked


@pytest.mark.parametrize(("done", "is_asked"), [(timedelta(microseconds=-1), False), (timedelta(), True)])
def test_what_is_done_at_midnight_is_done_on_the_next_day(canceled, done, is_asked):
    midnight = datetime(2026, 12, 11, tzinfo=UTC)
    StaffTask.objects.filter(kind="cancellation").update(done_at=midnight + done)
    apply(plan(made_on(date(2026, 12, 10), canceled), now=midnight), now=midnight + timedelta(hours=1))

    assert asked(midnight + 2 * DAY) == is_asked
