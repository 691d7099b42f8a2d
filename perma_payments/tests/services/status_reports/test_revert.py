"""An applied status report is reverted as a whole, or not at all."""

from datetime import timedelta

import pytest

from perma_payments.models import StaffTask, StatusReport, SubscriptionAgreement
from perma_payments.models.history import HistorySource
from perma_payments.services import staff_tasks
from perma_payments.services.callbacks.receive import receive_callback
from perma_payments.services.status_reports import revert as revert_module
from perma_payments.services.status_reports.apply import CannotBeDone

from ... import cyber_source, records
from ...business_center import report
from .steps import NOW, apply, checkout_of, plan, revert, staff, standing, state, unpaid

pytestmark = pytest.mark.django_db


def test_reverting_puts_everything_back():
    held, current, canceled = standing(1), standing(2), standing(3, cancellation_requested_at=NOW)
    lacking, recovered = standing(4, payment_token=""), unpaid(5)
    everyone = [held, current, canceled, lacking, recovered]
    before = [state(each) for each in everyone]
    reported = ["HOLD", "CURRENT", "CANCELED", "CURRENT", "CURRENT"]
    applied = apply(plan(report(*zip(everyone, reported, strict=True))))
    assert [state(each) for each in everyone] != before

    reverted = revert(applied)
    assert [state(each) for each in everyone] == before
    assert (reverted.state, reverted.reverted_by, reverted.reverted_at) == ("reverted", staff(), NOW)
    assert held.events.order_by("pgh_id").last().pgh_context == {
        "source": HistorySource.STATUS_REPORT_REVERTED,
        "report": applied.pk,
        "user": staff().pk,
    }


def test_a_report_that_changed_nothing_can_be_reverted():
    assert revert(apply(plan(report((standing(status="Hold"), "HOLD"))))).state == "reverted"


def test_a_planned_report_cannot_be_reverted():
    with pytest.raises(CannotBeDone, match="cannot be undone: it is not confirmed"):
        revert(plan(report((standing(), "HOLD"))))


def test_a_report_is_reverted_once():
    applied = apply(plan(report((standing(), "HOLD"))))
    revert(applied)

    with pytest.raises(CannotBeDone, match="cannot be undone: it is undone"):
        revert(applied)


# In transactions of its own, as it would be: the history's context lasts as long as its transaction.
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("named", "said"), [(10, "PERMA-0000-0001, PERMA-0000-0002 c"), (1, "0001 and 1 more c")])
def test_later_changes_of_others_are_not_overwritten(monkeypatch, named, said):
    monkeypatch.setattr(revert_module, "MAX_NAMED", named)
    touched = [standing(pk, reference_number=f"PERMA-0000-000{pk}") for pk in (2, 1)]
    other = standing(3)
    applied = apply(plan(report(*[(each, "HOLD") for each in [*touched, other]])))
    # There and back: what someone did must not be overwritten unseen.
    for status in ("Current", "Hold"):
        SubscriptionAgreement.objects.filter(pk__in=[each.pk for each in touched]).update(status=status)

    with pytest.raises(CannotBeDone, match=f"{said}hanged after it was confirmed"):
        revert(applied)
    assert state(other)["status"] == "Hold"


def test_two_reports_are_reverted_in_the_reverse_order():
    agreement = standing()
    before = state(agreement)
    first = apply(plan(report((agreement, "HOLD"))))
    second = apply(plan(report((agreement, "CANCELED"))))

    with pytest.raises(CannotBeDone):
        revert(first)
    revert(second)
    assert state(agreement)["status"] == "Hold"
    revert(first)
    assert state(agreement) == before


def test_a_report_is_not_reverted_while_a_later_one_says_the_same():
    agreement = standing()
    first = apply(plan(report((agreement, "HOLD"))))
    later = apply(plan(report((agreement, "HOLD")), now=NOW + timedelta(hours=1)), now=NOW + timedelta(hours=1))

    with pytest.raises(CannotBeDone, match="is confirmed and has some of the same"):
        revert(first)
    revert(later)
    revert(first)
    assert state(agreement)["status"] == "Current"


def test_a_later_report_about_others_does_not_matter():
    first = apply(plan(report((standing(1), "HOLD"))))
    apply(plan(report((standing(2), "HOLD")), now=NOW + timedelta(hours=1)), now=NOW + timedelta(hours=1))

    assert revert(first).state == "reverted"


def test_a_late_response_to_a_recovery_is_not_overwritten():
    agreement = records.agreement()
    checkout = checkout_of(agreement)
    applied = apply(plan(report((agreement, "CURRENT"), token="")))
    fields = cyber_source.response(records.form(checkout))
    receive_callback(b"body", list(fields.items()), now=NOW + timedelta(hours=1))

    assert state(agreement)["payment_token"] == fields["transaction_id"]
    with pytest.raises(CannotBeDone):
        revert(applied)


# --- Staff tasks ------------------------------------------------------------------------------------------


def test_tasks_that_the_report_ended_are_open_again():
    agreement = standing(cancellation_requested_at=NOW)
    task = StaffTask.objects.create(kind="cancellation", agreement=agreement)
    revert(apply(plan(report((agreement, "CANCELED")))))

    task.refresh_from_db()
    assert (task.done_at, task.done_by, task.resolution, task.note) == (None, None, "", "")


def test_tasks_that_the_report_opened_are_withdrawn():
    standing()
    applied = apply(plan(report((unpaid(), "CURRENT"))))
    revert(applied)

    (task,) = StaffTask.objects.all()
    assert (task.resolution, task.done_by, task.note) == ("withdrawn", staff(), f"The {applied} was undone.")


def test_a_cancellation_that_staff_ended_stays_ended():
    agreement = standing(cancellation_requested_at=NOW)
    task = StaffTask.objects.create(kind="cancellation", agreement=agreement)
    staff_tasks.finish(task.pk, by=staff(), note="Canceled.", now=NOW)
    revert(apply(plan(report((agreement, "CANCELED")))))

    task.refresh_from_db()
    assert (task.resolution, task.note) == ("done", "Canceled.")


def test_a_customer_still_charged_twice_keeps_a_task():
    oldest, middle, youngest = standing(status="Completed"), standing(status="Completed"), standing()
    first = apply(plan(report((middle, "CURRENT"))))
    apply(plan(report((oldest, "CURRENT"))))
    revert(first)

    assert state(middle)["status"] == "Completed"
    open_tasks = StaffTask.objects.filter(kind="second subscription", done_at=None)
    assert youngest in [task.agreement for task in open_tasks]


def test_reviving_a_second_subscription_opens_a_task():
    agreement = standing()
    applied = apply(plan(report((agreement, "COMPLETED"))))
    again = standing()
    revert(applied)

    task = StaffTask.objects.get()
    assert (task.kind, task.agreement) == ("second subscription", again)
    assert StatusReport.objects.get().tasks_opened == []


def test_undoing_leaves_the_task_about_a_customer_who_is_still_charged():
    agreement = standing(cancellation_requested_at=NOW - timedelta(days=9))
    StaffTask.objects.create(
        kind="cancellation", agreement=agreement, resolution="done", done_at=NOW - timedelta(days=5)
    )
    revert(apply(plan(report((agreement, "CURRENT")))))

    assert StaffTask.objects.get(kind="still charged").done_at is None


def test_a_report_can_be_undone_while_the_next_one_is_missing():
    agreement = standing()
    first = StaffTask.objects.create(kind="report missing")
    applied = apply(plan(report((agreement, "HOLD"))))
    StaffTask.objects.create(kind="report missing")
    revert(applied)

    first.refresh_from_db()
    assert first.done_at is not None
    assert state(agreement)["status"] == "Current"
