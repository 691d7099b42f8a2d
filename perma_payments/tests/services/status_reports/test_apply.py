"""A planned status report is applied as a whole, or not at all."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from perma_payments.models import StaffTask, StatusReport, StatusReportLine, SubscriptionAgreement
from perma_payments.models.history import HistorySource
from perma_payments.services.perma_queries import standing_subscription
from perma_payments.services.status_reports.apply import CannotBeDone, PlanIsStale, apply_report
from perma_payments.services.status_reports.warnings import Checks, required_checks

from ... import records
from ...business_center import report
from ...records import REGISTRAR
from .steps import LAST_CHARGE, NEXT_CHARGE, NOW, apply, checkout_of, plan, staff, standing, state, unpaid

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("reported", ["Current", "Hold", "Canceled", "Completed", "Superseded"])
@pytest.mark.parametrize("status", ["Current", "Hold", "Canceled", "Completed", "Superseded"])
def test_every_status_is_applied_and_only_current_moves_the_date(status, reported):
    agreement = standing(status=status, covered_until=LAST_CHARGE)
    apply(plan(report((agreement, reported.upper()))))

    after = state(agreement)
    assert after["status"] == reported
    assert after["covered_until"] == (NEXT_CHARGE if reported == "Current" else LAST_CHARGE)


def test_the_same_file_changes_nothing_the_second_time():
    data = report((standing(), "HOLD"))
    first = apply(plan(data))

    again = plan(data)
    assert (again.change_count, again.digest) == (0, first.digest)


def test_a_report_that_changes_nothing_can_be_applied():
    applied = apply(plan(report((standing(status="Hold"), "HOLD"))))
    assert (applied.state, applied.applied_by, applied.applied_at) == ("applied", staff(), NOW)


def test_a_report_proves_no_charge_after_it_was_made():
    agreement = standing(covered_until=LAST_CHARGE)
    planned = plan(report((agreement, "CURRENT")), now=datetime(2026, 12, 13, 23, tzinfo=UTC))
    apply(planned, now=datetime(2026, 12, 14, 9, tzinfo=UTC))

    assert state(agreement)["covered_until"] == NEXT_CHARGE


def test_the_history_says_which_report_and_who_confirmed_it():
    agreement = standing()
    applied = apply(plan(report((agreement, "HOLD"))))

    assert agreement.events.order_by("pgh_id").last().pgh_context == {
        "source": HistorySource.STATUS_REPORT,
        "report": applied.pk,
        "user": staff().pk,
    }


# --- What is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("unchecked", ["unread rows", "missing", "many changes"])
def test_a_report_is_refused_until_each_serious_warning_is_checked(unchecked):
    good, unread = standing(1), standing(2)
    planned = plan(report((good, "HOLD"), (unread, "SLEEPING")))
    required = required_checks(planned)
    assert required.kinds == {"unread rows", "missing", "many changes"}

    with pytest.raises(CannotBeDone, match="check each point"):
        apply(planned, checks=Checks(required.kinds - {unchecked}))
    assert state(good)["status"] == "Current"
    apply(planned, checks=Checks(required.kinds))
    assert (state(good)["status"], state(unread)["status"]) == ("Hold", "Current")


@pytest.mark.parametrize("typed", [None, 1, 3])
def test_a_report_with_many_endings_is_refused_without_their_number(typed):
    agreements = [standing(pk) for pk in (1, 2, 3)]
    planned = plan(report(*zip(agreements, ["CANCELED", "COMPLETED", "CURRENT"], strict=True)))
    required = required_checks(planned)
    assert required.endings == 2

    with pytest.raises(CannotBeDone, match="the number that you typed"):
        apply(planned, checks=Checks(required.kinds, typed))
    assert state(agreements[0])["status"] == "Current"
    apply(planned, checks=required)
    assert [state(each)["status"] for each in agreements] == ["Canceled", "Completed", "Current"]


def test_a_report_that_shows_an_upgrade_as_cancellations_is_refused():
    agreements = [standing(pk) for pk in range(1, 6)]
    planned = plan(report(*[(each, "CANCELED") for each in agreements]))

    with pytest.raises(CannotBeDone, match="CyberSource's upgrade of Recurring Billing"):
        apply(planned)
    assert {state(each)["status"] for each in agreements} == {"Current"}


def test_a_report_with_nothing_of_ours_is_refused():
    with pytest.raises(CannotBeDone, match="nothing to confirm"):
        apply(plan(report(("ORDER-1", "CURRENT"))))


def test_a_plan_that_is_more_than_a_day_old_is_refused():
    agreement = standing()
    planned = plan(report((agreement, "HOLD")))

    with pytest.raises(CannotBeDone, match="more than a day old"):
        apply(planned, now=NOW + timedelta(days=1, seconds=1))
    assert state(agreement)["status"] == "Current"
    apply(planned, now=NOW + timedelta(days=1))


def test_a_report_is_not_applied_after_a_later_one():
    agreement = standing()
    early = plan(report((agreement, "HOLD")))
    late = plan(report((agreement, "CURRENT")), now=NOW + timedelta(minutes=1))
    apply(late, now=NOW + timedelta(minutes=2))

    with pytest.raises(CannotBeDone, match="A later report has been confirmed"):
        apply(early, now=NOW + timedelta(minutes=3))
    assert state(agreement)["status"] == "Current"


def test_a_report_is_applied_once():
    applied = apply(plan(report((standing(), "HOLD"))))

    with pytest.raises(CannotBeDone, match="already confirmed"):
        apply(applied)


@pytest.mark.parametrize(
    "moved", [{"status": "Canceled"}, {"status": "Hold"}, {"covered_until": LAST_CHARGE, "status": "Completed"}]
)
def test_nothing_is_applied_if_our_records_have_moved(moved):
    touched, other = standing(1), standing(2)
    planned = plan(report((touched, "HOLD"), (other, "HOLD")))
    SubscriptionAgreement.objects.filter(pk=touched.pk).update(**moved)

    with pytest.raises(PlanIsStale):
        apply(planned)
    assert (state(touched)["status"], state(other)["status"]) == (moved["status"], "Current")
    # It has been planned again.
    apply(planned)
    assert (state(touched)["status"], state(other)["status"]) == ("Hold", "Hold")


def test_a_recomputed_plan_is_applied_only_after_a_look_at_it():
    agreement = standing()
    planned = plan(report((agreement, "HOLD")))
    SubscriptionAgreement.objects.update(status="Canceled")
    with pytest.raises(PlanIsStale):
        apply(planned)

    # The second click on the same page.
    with pytest.raises(CannotBeDone, match="recomputed after you opened it"):
        apply_report(planned.pk, revision=planned.revision, by=staff(), checks=required_checks(planned), now=NOW)
    assert state(agreement)["status"] == "Canceled"


# --- Recovery and tokens ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["Pending", "Rejected", "Aborted"])
def test_a_payment_whose_response_never_came_is_recovered(status):
    agreement = records.agreement(status=status)
    checkout = checkout_of(agreement)
    apply(plan(report((agreement, "CURRENT"), token="7408214003316000001234")))

    told = standing_subscription(REGISTRAR, now=NOW)
    assert (told.status, told.rate) == ("Current", Decimal("45.00"))
    assert (told.frequency, told.link_limit) == ("monthly", "100")
    assert told.link_limit_effective_timestamp == checkout.link_limit_effective_timestamp
    assert told.paid_through == NEXT_CHARGE
    assert state(agreement)["payment_token"] == "7408214003316000001234"


def test_what_ended_unpaid_is_recovered_when_it_is_alive_after_all():
    agreement = unpaid()
    apply(plan(report((agreement, "COMPLETED"))))
    apply(plan(report((agreement, "CURRENT"))))

    assert standing_subscription(REGISTRAR, now=NOW).rate == Decimal("45.00")


@pytest.mark.parametrize("token", ["", "no token", "1" * 40, "7.40821E+21"])
def test_a_recovery_without_a_usable_id_opens_a_task(token):
    agreement = unpaid()
    apply(plan(report((agreement, "CURRENT"), token=token)))

    assert (state(agreement)["status"], state(agreement)["payment_token"]) == ("Current", "")
    task = StaffTask.objects.get()
    assert (task.kind, task.agreement, task.done_at) == ("token missing", agreement, None)


def test_a_token_from_the_report_ends_the_task_about_it():
    agreement = standing(payment_token="")
    task = StaffTask.objects.create(kind="token missing", agreement=agreement)
    apply(plan(report((agreement, "CURRENT"), token="7408214003316000009999")))

    assert state(agreement)["payment_token"] == "7408214003316000009999"
    task.refresh_from_db()
    assert (task.resolution, task.done_by) == ("done", staff())
    assert not StatusReportLine.objects.exclude(subscription_id="").exists()


@pytest.mark.parametrize("reported", ["CANCELED", "COMPLETED", "SUPERSEDED"])
def test_a_subscription_that_has_ended_takes_no_token(reported):
    agreement = standing(payment_token="")
    apply(plan(report((agreement, reported))))

    assert state(agreement)["payment_token"] == ""


def test_a_token_is_not_replaced():
    agreement = standing()
    apply(plan(report((agreement, "HOLD"), token="7408214003316000001111")))

    assert state(agreement)["payment_token"] == records.TOKEN


def test_a_token_that_came_after_the_plan_is_not_replaced():
    agreement = standing(payment_token="")
    planned = plan(report((agreement, "CURRENT"), token="7408214003316000001111"))
    SubscriptionAgreement.objects.update(payment_token=records.TOKEN)

    with pytest.raises(PlanIsStale):
        apply(planned)
    apply(planned)
    assert state(agreement)["payment_token"] == records.TOKEN


@pytest.mark.parametrize(("token", "kinds"), [("9902000012345678", ["token changes"]), ("9" * 17, [])])
def test_a_token_that_changes_with_the_card_opens_a_task(token, kinds):
    apply(plan(report((standing(payment_token=""), "CURRENT"), token=token)))
    assert [task.kind for task in StaffTask.objects.all()] == kinds


# --- Other staff tasks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["Current", "Canceled"])
def test_canceled_completes_a_requested_cancellation(status):
    agreement = standing(status=status, cancellation_requested_at=NOW)
    task = StaffTask.objects.create(kind="cancellation", agreement=agreement)
    apply(plan(report((agreement, "CANCELED"))))

    task.refresh_from_db()
    assert (task.resolution, task.done_by, task.done_at) == ("done", staff(), NOW)
    assert (state(agreement)["status"], state(agreement)["cancellation_requested_at"]) == ("Canceled", None)


def test_canceled_ends_an_open_cancellation_that_was_not_requested():
    agreement = standing()
    task = StaffTask.objects.create(kind="cancellation", agreement=agreement)
    apply(plan(report((agreement, "CANCELED"))))

    task.refresh_from_db()
    assert task.resolution == "done"


def test_current_leaves_a_requested_cancellation_alone():
    agreement = standing(cancellation_requested_at=NOW)
    task = StaffTask.objects.create(kind="cancellation", agreement=agreement)
    apply(plan(report((agreement, "CURRENT"))))

    task.refresh_from_db()
    assert task.done_at is None
    assert standing_subscription(REGISTRAR, now=NOW).status == "Cancellation Requested"


@pytest.mark.parametrize("ended", ["Pending", "Completed"])
def test_a_second_subscription_of_a_customer_opens_a_task(ended):
    standing()
    second = unpaid() if ended == "Pending" else standing(status=ended)
    apply(plan(report((second, "CURRENT"))))

    (task,) = StaffTask.objects.all()
    assert (task.kind, task.agreement) == ("second subscription", second)


def test_two_recoveries_of_a_customer_open_one_task():
    older, younger = unpaid(), unpaid()
    apply(plan(report((older, "CURRENT"), (younger, "CURRENT"))))

    task = StaffTask.objects.get()
    assert (task.kind, task.agreement) == ("second subscription", younger)


def test_a_subscription_that_replaces_another_opens_no_task():
    apply(plan(report((standing(), "SUPERSEDED"), (unpaid(), "CURRENT"))))
    assert not StaffTask.objects.exists()


def test_an_open_task_is_not_opened_again():
    agreement = standing(payment_token="", status="Completed")
    StaffTask.objects.create(kind="token missing", agreement=agreement)
    apply(plan(report((agreement, "CURRENT"), token="")))

    assert StaffTask.objects.count() == 1


def test_of_two_subscriptions_one_task_is_enough():
    older, younger = standing(), standing(status="Completed")
    # It is about the older one: its payment was the second to arrive.
    StaffTask.objects.create(kind="second subscription", agreement=older)
    apply(plan(report((younger, "CURRENT"))))

    assert StaffTask.objects.count() == 1


@pytest.mark.parametrize("reported", ["CANCELED", "HOLD"])
def test_an_ending_around_a_charge_opens_a_task(reported):
    agreement = standing(schedule_start=NOW.date(), covered_until=NOW.replace(hour=0))
    apply(plan(report((agreement, reported))))

    tasks = [(task.kind, task.agreement) for task in StaffTask.objects.all()]
    assert tasks == ([("unproven charge", agreement)] if reported == "CANCELED" else [])


def test_an_unproven_charge_opens_no_task_before_the_end():
    apply(plan(report((standing(coverage_proof="unproven"), "HOLD"))))
    assert not StaffTask.objects.exists()


def test_applying_is_recorded_with_its_tasks():
    ended = StaffTask.objects.create(kind="cancellation", agreement=standing(1))
    standing(2)
    applied = apply(plan(report((ended.agreement, "CANCELED"), (unpaid(2), "CURRENT"))))

    opened = StaffTask.objects.get(kind="second subscription")
    applied = StatusReport.objects.get(pk=applied.pk)
    assert (applied.tasks_ended, applied.tasks_opened) == ([ended.pk], [opened.pk])


def test_a_cancellation_that_was_marked_as_done_but_not_made_opens_a_task_and_its_making_ends_it():
    agreement = standing(cancellation_requested_at=NOW)
    StaffTask.objects.create(kind="cancellation", agreement=agreement, done_at=NOW, resolution="done")
    for _ in range(2):
        apply(plan(report((agreement, "CURRENT"))))

    task = StaffTask.objects.get(kind="still charged")
    assert (task.agreement, task.done_at, task.notified_at) == (agreement, None, None)
    apply(plan(report((agreement, "CANCELED"))))
    task.refresh_from_db()
    assert task.resolution == "done"
