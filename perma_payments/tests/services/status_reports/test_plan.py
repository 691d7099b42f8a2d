"""Staff upload CyberSource's report of subscriptions: look, confirm, undo."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User

from perma_payments.billing.customers import Customer
from perma_payments.billing.transactions import Kind
from perma_payments.cybersource.csv_table import UnreadableFile
from perma_payments.models import (
    OutgoingTransaction,
    StaffTask,
    StatusReport,
    StatusReportLine,
    SubscriptionAgreement,
)
from perma_payments.models.history import HistorySource
from perma_payments.services import staff_tasks
from perma_payments.services.callbacks.receive import receive_callback
from perma_payments.services.perma_queries import standing_subscription
from perma_payments.services.status_reports.apply import CannotBeDone, DataHasMoved, apply_report
from perma_payments.services.status_reports.plan import plan_report, purge_ids_of_old_plans
from perma_payments.services.status_reports.revert import revert_report

from ... import cyber_source, records
from ...records import REGISTRAR

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 12, 2, 12, tzinfo=UTC)
# The subscriptions of these tests are charged on the 13th, and were last charged in November.
LAST_CHARGE, NEXT_CHARGE = datetime(2026, 11, 13, tzinfo=UTC), datetime(2026, 12, 13, tzinfo=UTC)
HEADER = "Subscription ID,Merchant Reference Code,Customer Name,Amount,Currency,Status"


@pytest.fixture
def staff() -> User:
    return User.objects.create_user("staff")


def report(*rows: tuple[SubscriptionAgreement | str, str], token: str = "7408214003316000008888") -> bytes:
    """A report of some subscriptions with their statuses, in the shape of cybersource.md §8.3."""
    lines = ["Subscription Search Results", "Merchant ID: example", "Date: Dec 02 2026", "", HEADER]
    lines += [f'{token},{subject},"Example, Erin",15.00,USD,{status}' for subject, status in rows]
    return "\n".join(lines).encode()


def standing(pk: int = 7, **changes: Any) -> SubscriptionAgreement:
    return records.standing_agreement(
        Customer(REGISTRAR.type, pk),
        **{
            "schedule_start": LAST_CHARGE.date(),
            "covered_until": NEXT_CHARGE,
            "coverage_proof": "report",
            **changes,
        },
    )


def checkout(agreement: SubscriptionAgreement) -> OutgoingTransaction:
    """The checkout of a subscription that is to be charged from the 13th on."""
    return records.outgoing(Kind.SUBSCRIBE, agreement, recurring_start_date=NEXT_CHARGE.date())


def confirm(upload_id: int, **arguments: Any) -> StatusReport:
    """Confirm a preview as it is now."""
    arguments.setdefault("revision", StatusReport.objects.get(pk=upload_id).revision)
    return apply_report(upload_id, **arguments)


def apply(data: bytes, staff: User, *, leave_out: bool = False) -> StatusReport:
    return confirm(plan_report(data, by=staff, now=NOW).pk, by=staff, leave_out=leave_out, now=NOW)


def state(agreement: SubscriptionAgreement) -> dict[str, Any]:
    """All columns of an agreement, as the database has them now, but for the time of the last change."""
    row = SubscriptionAgreement.objects.filter(pk=agreement.pk).values().get()
    del row["updated_at"]
    return row


def changes(upload: StatusReport) -> list[dict[str, Any]]:
    """What an upload does to each agreement that it changes."""
    changed = upload.lines.filter(after__isnull=False).order_by("agreement")
    return list(changed.values("agreement", "before", "after", "takes_token"))


# --- Preview ----------------------------------------------------------------------------------------


def test_a_preview_says_what_would_change_and_changes_nothing(staff):
    held, same = standing(1), standing(2, status="Hold")
    before = [state(held), state(same)]
    upload = plan_report(report((held, "HOLD"), (same, "Hold"), ("ORDER-1", "CURRENT")), by=staff, now=NOW)

    assert [state(held), state(same)] == before
    assert (upload.state, upload.row_count, upload.matched_count, upload.unknown_count) == ("planned", 3, 2, 1)
    assert upload.unknown_references == ["ORDER-1"]
    assert changes(upload) == [
        {"agreement": held.pk, "before": {"status": "Current"}, "after": {"status": "Hold"}, "takes_token": False}
    ]
    assert upload.change_count == 1


def test_no_name_of_the_file_is_kept(staff):
    agreement = standing()
    apply(report((agreement, "HOLD"), ("ORDER-1", "CURRENT"), (agreement, "SUPERSEDED")), staff)

    kept = [*StatusReport.objects.values(), *StatusReportLine.objects.values()]
    assert len(kept) == 2
    assert "Erin" not in str(kept)


def test_a_file_that_is_no_report_leaves_nothing(staff):
    with pytest.raises(UnreadableFile):
        plan_report(b"%PDF-1.7", by=staff, now=NOW)
    assert not StatusReport.objects.exists()


@pytest.mark.parametrize("text", ["Erin Example", "erin@example.com", "Example", "12 Example Street"])
def test_what_does_not_look_like_a_reference_number_is_counted_and_not_kept(staff, text):
    rows = [(standing(), "CURRENT"), ("ORDER-1", "CURRENT"), (text, "CURRENT"), (text, "HOLD")]
    upload = plan_report(report(*rows), by=staff, now=NOW)

    assert (upload.unknown_count, upload.unknown_references) == (2, ["ORDER-1"])
    assert (upload.duplicate_count, upload.duplicates) == (1, [])
    assert text not in str(StatusReport.objects.values().get())


def test_our_reference_numbers_that_come_several_times_are_named_with_what_counts(staff):
    agreement = standing()
    upload = plan_report(report((agreement, "SUPERSEDED"), (agreement, "HOLD")), by=staff, now=NOW)

    assert upload.duplicates == [[agreement.reference_number, (6, 7), ("Superseded", "Hold"), "Hold"]]
    assert [change["after"] for change in changes(upload)] == [{"status": "Hold"}]


def test_a_subscription_id_is_kept_only_where_it_may_be_needed(staff):
    lacking = standing(1, payment_token="")
    rows = [(lacking, "CURRENT"), (standing(2), "CURRENT"), (standing(3, payment_token=""), "COMPLETED")]
    upload = plan_report(report(*rows, token="7408214003316000001111"), by=staff, now=NOW)

    assert [row.agreement for row in upload.lines.exclude(subscription_id="")] == [lacking]


def test_ids_of_a_preview_that_nobody_confirmed_are_forgotten_after_a_day(staff):
    plan_report(report((standing(payment_token=""), "CURRENT")), by=staff, now=NOW)

    assert purge_ids_of_old_plans(now=NOW + timedelta(days=1, hours=1)) == 0
    assert purge_ids_of_old_plans(now=NOW + timedelta(days=1, hours=1, seconds=1)) == 1
    assert not StatusReportLine.objects.exclude(subscription_id="").exists()


# --- Confirm ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reported", ["Current", "Hold", "Canceled", "Completed", "Superseded"])
@pytest.mark.parametrize("held", ["Current", "Hold", "Canceled", "Completed", "Superseded"])
def test_a_report_sets_every_status_and_only_current_moves_the_date(staff, held, reported):
    agreement = standing(status=held, covered_until=LAST_CHARGE)
    apply(report((agreement, reported.upper())), staff)

    after = state(agreement)
    assert after["status"] == reported
    assert after["covered_until"] == (NEXT_CHARGE if reported == "Current" else LAST_CHARGE)


def test_the_same_file_twice_changes_nothing_the_second_time(staff):
    agreement = standing()
    data = report((agreement, "HOLD"))
    apply(data, staff)

    again = plan_report(data, by=staff, now=NOW)
    assert (again.change_count, changes(again)) == (0, [])
    assert again.digest == StatusReport.objects.get(state="applied").digest


def test_rows_that_cannot_be_read_are_left_out_only_if_a_person_says_so(staff):
    good, odd = standing(1), standing(2)
    upload = plan_report(report((good, "HOLD"), (odd, "SLEEPING")), by=staff, now=NOW)
    assert [line for line, why in upload.unread_rows] == [7]
    assert upload.unread_rows[0][1] == f"{odd}: “SLEEPING” is not a status that we know."

    with pytest.raises(CannotBeDone, match="leave them out"):
        confirm(upload.pk, by=staff, leave_out=False, now=NOW)
    assert state(good)["status"] == "Current"
    confirm(upload.pk, by=staff, leave_out=True, now=NOW)
    assert (state(good)["status"], state(odd)["status"]) == ("Hold", "Current")


def test_a_report_that_changes_nothing_can_be_confirmed_and_undone(staff):
    upload = apply(report((standing(status="Hold"), "HOLD")), staff)

    assert (upload.state, upload.change_count) == ("applied", 0)
    assert revert_report(upload.pk, by=staff, now=NOW).state == "reverted"


def test_a_report_about_nobody_of_ours_cannot_be_confirmed(staff):
    with pytest.raises(CannotBeDone, match="nothing to confirm"):
        apply(report(("ORDER-1", "CURRENT")), staff)


def test_a_preview_of_more_than_a_day_ago_cannot_be_confirmed(staff):
    agreement = standing()
    upload = plan_report(report((agreement, "HOLD")), by=staff, now=NOW)

    with pytest.raises(CannotBeDone, match="more than a day old"):
        confirm(upload.pk, by=staff, leave_out=False, now=NOW + timedelta(days=1, seconds=1))
    assert state(agreement)["status"] == "Current"
    confirm(upload.pk, by=staff, leave_out=False, now=NOW + timedelta(days=1))


def test_a_report_proves_the_charges_before_it_was_made_whenever_it_is_confirmed(staff):
    agreement = standing(covered_until=LAST_CHARGE)
    upload = plan_report(report((agreement, "CURRENT")), by=staff, now=datetime(2026, 12, 13, 23, tzinfo=UTC))
    confirm(upload.pk, by=staff, leave_out=False, now=datetime(2026, 12, 14, 9, tzinfo=UTC))

    assert state(agreement)["covered_until"] == NEXT_CHARGE


def test_what_was_worked_out_anew_is_counted_and_warned_of_anew(staff):
    touched, other = standing(1), standing(2)
    upload = plan_report(report((touched, "HOLD"), (other, "HOLD")), by=staff, now=NOW)
    for agreement, status in ((touched, "Hold"), (other, "Canceled")):
        SubscriptionAgreement.objects.filter(pk=agreement.pk).update(status=status)

    with pytest.raises(DataHasMoved):
        confirm(upload.pk, by=staff, leave_out=False, now=NOW)
    upload.refresh_from_db()
    assert [change["before"] for change in changes(upload)] == [{"status": "Canceled"}]
    assert upload.lines.get(agreement=touched).before is None
    assert upload.change_count == 1
    assert any("come back from an ending" in warning for warning in upload.warnings)


def test_what_was_worked_out_anew_is_confirmed_only_by_who_has_looked_at_it(staff):
    agreement = standing()
    upload = plan_report(report((agreement, "HOLD")), by=staff, now=NOW)
    SubscriptionAgreement.objects.update(status="Canceled")
    with pytest.raises(DataHasMoved):
        confirm(upload.pk, by=staff, leave_out=False, now=NOW)

    # The second click on the same page.
    with pytest.raises(CannotBeDone, match="recomputed after you opened it"):
        confirm(upload.pk, revision=upload.revision, by=staff, leave_out=False, now=NOW)
    assert state(agreement)["status"] == "Canceled"


def test_a_report_cannot_be_confirmed_after_a_later_one(staff):
    agreement = standing()
    early = plan_report(report((agreement, "HOLD")), by=staff, now=NOW)
    late = plan_report(report((agreement, "CURRENT")), by=staff, now=NOW + timedelta(minutes=1))
    confirm(late.pk, by=staff, leave_out=False, now=NOW + timedelta(minutes=2))

    with pytest.raises(CannotBeDone, match="A later report has been confirmed"):
        confirm(early.pk, by=staff, leave_out=False, now=NOW + timedelta(minutes=3))
    assert state(agreement)["status"] == "Current"


def test_an_upload_is_confirmed_once(staff):
    upload = apply(report((standing(), "HOLD")), staff)

    with pytest.raises(CannotBeDone, match="already confirmed"):
        confirm(upload.pk, by=staff, leave_out=False, now=NOW)


@pytest.mark.parametrize(
    "moved", [{"status": "Canceled"}, {"status": "Hold"}, {"covered_until": LAST_CHARGE, "status": "Completed"}]
)
def test_nothing_is_applied_if_the_ledger_has_moved_since_the_preview(staff, moved):
    touched, other = standing(1), standing(2)
    upload = plan_report(report((touched, "HOLD"), (other, "HOLD")), by=staff, now=NOW)
    SubscriptionAgreement.objects.filter(pk=touched.pk).update(**moved)

    with pytest.raises(DataHasMoved):
        confirm(upload.pk, by=staff, leave_out=False, now=NOW)
    assert (state(touched)["status"], state(other)["status"]) == (moved["status"], "Current")
    # The preview has been worked out anew, and can be confirmed as it is.
    confirm(upload.pk, by=staff, leave_out=False, now=NOW)
    assert (state(touched)["status"], state(other)["status"]) == ("Hold", "Hold")


def test_a_report_of_canceled_completes_the_cancellation(staff):
    agreement = standing(cancellation_requested_at=NOW)
    task = StaffTask.objects.create(kind="cancellation", agreement=agreement)
    apply(report((agreement, "CANCELED")), staff)

    task.refresh_from_db()
    assert (task.resolution, task.done_by, task.done_at) == ("done", staff, NOW)
    assert (state(agreement)["status"], state(agreement)["cancellation_requested_at"]) == ("Canceled", None)


def test_a_report_of_current_leaves_a_requested_cancellation_as_it_is(staff):
    agreement = standing(cancellation_requested_at=NOW)
    task = StaffTask.objects.create(kind="cancellation", agreement=agreement)
    apply(report((agreement, "CURRENT")), staff)

    task.refresh_from_db()
    assert task.done_at is None
    assert standing_subscription(REGISTRAR, now=NOW).status == "Cancellation Requested"


def test_the_history_names_the_upload_and_who_confirmed_it(staff):
    agreement = standing()
    upload = apply(report((agreement, "HOLD")), staff)

    assert agreement.events.order_by("pgh_id").last().pgh_context == {
        "source": HistorySource.STATUS_REPORT,
        "report": upload.pk,
        "user": staff.pk,
    }


# --- Rescue -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("unpaid", ["Pending", "Rejected", "Aborted"])
def test_a_subscription_whose_response_went_astray_is_completed(staff, unpaid):
    agreement = records.agreement(status=unpaid)
    outgoing = checkout(agreement)
    apply(report((agreement, "CURRENT"), token="7408214003316000001234"), staff)

    told = standing_subscription(REGISTRAR, now=NOW)
    assert (told.status, told.rate) == ("Current", Decimal("45.00"))
    assert (told.frequency, told.link_limit) == ("monthly", "100")
    assert told.link_limit_effective_timestamp == outgoing.link_limit_effective_timestamp
    assert told.paid_through == NEXT_CHARGE
    assert state(agreement)["payment_token"] == "7408214003316000001234"


def test_a_subscription_that_was_reported_as_ended_before_it_was_ever_paid_is_completed_when_it_lives(staff):
    agreement = records.agreement()
    checkout(agreement)
    apply(report((agreement, "COMPLETED")), staff)
    apply(report((agreement, "CURRENT")), staff)

    assert standing_subscription(REGISTRAR, now=NOW).rate == Decimal("45.00")


@pytest.mark.parametrize("token", ["", "no token", "1" * 40, "7.40821E+21"])
def test_a_subscription_is_completed_without_a_usable_subscription_id(staff, token):
    agreement = records.agreement()
    checkout(agreement)
    apply(report((agreement, "CURRENT"), token=token), staff)

    assert (state(agreement)["status"], state(agreement)["payment_token"]) == ("Current", "")


def test_a_subscription_that_is_completed_without_a_token_is_told_to_staff(staff):
    agreement = records.agreement()
    checkout(agreement)
    upload = plan_report(report((agreement, "CURRENT"), token="7.40821E+21"), by=staff, now=NOW)
    assert any("without a token" in warning and "rounded" in warning for warning in upload.warnings)
    assert upload.lines.get().remarks == ["completed from its checkout", "without a token"]

    confirm(upload.pk, by=staff, leave_out=False, now=NOW)
    task = StaffTask.objects.get()
    assert (task.kind, task.agreement, task.done_at) == ("token missing", agreement, None)
    revert_report(upload.pk, by=staff, now=NOW)
    task.refresh_from_db()
    assert task.resolution == "withdrawn"


def test_a_subscription_that_lacks_its_token_takes_it_from_the_report_and_that_ends_the_task(staff):
    agreement = standing(payment_token="")
    task = StaffTask.objects.create(kind="token missing", agreement=agreement)
    before = state(agreement)
    upload = plan_report(report((agreement, "CURRENT"), token="7408214003316000009999"), by=staff, now=NOW)
    assert changes(upload) == [{"agreement": agreement.pk, "before": {}, "after": {}, "takes_token": True}]
    assert upload.lines.get().remarks == ["takes its token from the report"]

    confirm(upload.pk, by=staff, leave_out=False, now=NOW)
    assert state(agreement)["payment_token"] == "7408214003316000009999"
    task.refresh_from_db()
    assert (task.resolution, task.done_by) == ("done", staff)
    assert not StatusReportLine.objects.exclude(subscription_id="").exists()
    revert_report(upload.pk, by=staff, now=NOW)
    task.refresh_from_db()
    assert (state(agreement), task.resolution) == (before, "")


@pytest.mark.parametrize("reported", ["CANCELED", "COMPLETED", "SUPERSEDED"])
def test_a_subscription_that_has_ended_takes_no_token(staff, reported):
    agreement = standing(payment_token="")
    apply(report((agreement, reported), token="7408214003316000009999"), staff)

    assert state(agreement)["payment_token"] == ""


def test_a_token_that_is_there_is_not_replaced(staff):
    agreement = standing()
    apply(report((agreement, "HOLD"), token="7408214003316000001111"), staff)

    assert state(agreement)["payment_token"] == records.TOKEN


def test_a_rescue_that_gives_a_customer_two_subscriptions_is_told_to_staff(staff):
    standing()
    agreement = records.agreement()
    checkout(agreement)
    upload = apply(report((agreement, "CURRENT")), staff)

    (task,) = StaffTask.objects.all()
    assert (task.kind, task.agreement) == ("second subscription", agreement)
    revert_report(upload.pk, by=staff, now=NOW)
    task.refresh_from_db()
    assert task.resolution == "withdrawn"


def test_two_rescues_of_one_customer_are_one_task_about_the_younger(staff):
    older, younger = records.agreement(), records.agreement()
    for agreement in (older, younger):
        checkout(agreement)
    upload = plan_report(report((older, "CURRENT"), (younger, "CURRENT")), by=staff, now=NOW)
    assert any("2 subscriptions would be one of several that a customer pays" in each for each in upload.warnings)

    confirm(upload.pk, by=staff, leave_out=False, now=NOW)
    task = StaffTask.objects.get()
    assert (task.kind, task.agreement) == ("second subscription", younger)


def test_a_subscription_that_replaces_another_in_the_same_report_is_no_second_one(staff):
    old, new = standing(), records.agreement()
    checkout(new)
    upload = apply(report((old, "SUPERSEDED"), (new, "CURRENT")), staff)

    assert not StaffTask.objects.exists()
    assert not any("one of several" in warning for warning in upload.warnings)


def test_a_token_that_changes_with_the_card_is_told_to_staff(staff):
    agreement = standing(payment_token="")
    apply(report((agreement, "CURRENT"), token="9902000012345678"), staff)

    assert [task.kind for task in StaffTask.objects.all()] == ["token changes"]


def test_a_task_that_is_open_already_is_not_opened_again(staff):
    agreement = standing(payment_token="", status="Completed")
    StaffTask.objects.create(kind="token missing", agreement=agreement)
    apply(report((agreement, "CURRENT"), token=""), staff)

    assert StaffTask.objects.count() == 1


def test_a_subscription_without_a_checkout_is_named_and_left_alone(staff):
    agreement = records.agreement()
    upload = apply(report((agreement, "CURRENT")), staff)

    assert upload.lines.get(is_incomplete=True).agreement == agreement
    assert any(agreement.reference_number in warning for warning in upload.warnings)
    assert state(agreement)["status"] == "Pending"


# --- Undo -------------------------------------------------------------------------------------------


def test_undo_puts_everything_back(staff):
    held, current, canceled = standing(1), standing(2), standing(3, cancellation_requested_at=NOW)
    rescued = records.agreement(Customer(REGISTRAR.type, 4))
    checkout(rescued)
    task = StaffTask.objects.create(kind="cancellation", agreement=canceled)
    everyone = [held, current, canceled, rescued]
    before = [state(each) for each in everyone]
    rows = [(held, "HOLD"), (current, "CURRENT"), (canceled, "CANCELED"), (rescued, "CURRENT")]
    upload = apply(report(*rows), staff)
    assert [state(each) for each in everyone] != before

    undone = revert_report(upload.pk, by=staff, now=NOW)
    assert [state(each) for each in everyone] == before
    task.refresh_from_db()
    assert (task.done_at, task.resolution) == (None, "")
    assert (undone.state, undone.reverted_by) == ("reverted", staff)


def test_an_upload_is_undone_once_and_only_after_it_was_confirmed(staff):
    upload = plan_report(report((standing(), "HOLD")), by=staff, now=NOW)
    with pytest.raises(CannotBeDone, match="cannot be undone"):
        revert_report(upload.pk, by=staff, now=NOW)

    confirm(upload.pk, by=staff, leave_out=False, now=NOW)
    revert_report(upload.pk, by=staff, now=NOW)
    with pytest.raises(CannotBeDone, match="it is undone"):
        revert_report(upload.pk, by=staff, now=NOW)


# In transactions of its own, as it would be: the history's context lasts as long as its transaction.
@pytest.mark.django_db(transaction=True)
def test_an_upload_cannot_be_undone_when_something_else_has_changed_one_of_its_subscriptions(staff):
    touched, other = standing(1), standing(2)
    upload = apply(report((touched, "HOLD"), (other, "HOLD")), staff)
    # There and back again: what the callback, or whoever it was, did must not be overwritten unseen.
    for status in ("Current", "Hold"):
        SubscriptionAgreement.objects.filter(pk=touched.pk).update(status=status)

    with pytest.raises(CannotBeDone, match=touched.reference_number):
        revert_report(upload.pk, by=staff, now=NOW)
    assert state(other)["status"] == "Hold"


def test_two_uploads_are_undone_in_the_reverse_order(staff):
    agreement = standing()
    before = state(agreement)
    first = apply(report((agreement, "HOLD")), staff)
    second = apply(report((agreement, "CANCELED")), staff)

    with pytest.raises(CannotBeDone):
        revert_report(first.pk, by=staff, now=NOW)
    revert_report(second.pk, by=staff, now=NOW)
    assert state(agreement)["status"] == "Hold"
    revert_report(first.pk, by=staff, now=NOW)
    assert state(agreement) == before


def test_a_report_is_not_undone_while_a_later_one_says_the_same(staff):
    agreement = standing()
    first = apply(report((agreement, "HOLD")), staff)
    later = plan_report(report((agreement, "HOLD")), by=staff, now=NOW + timedelta(hours=1))
    confirm(later.pk, by=staff, leave_out=False, now=NOW + timedelta(hours=1))

    with pytest.raises(CannotBeDone, match="is confirmed and has some of the same"):
        revert_report(first.pk, by=staff, now=NOW)
    revert_report(later.pk, by=staff, now=NOW)
    revert_report(first.pk, by=staff, now=NOW)
    assert state(agreement)["status"] == "Current"


def test_a_later_report_about_others_does_not_keep_one_from_being_undone(staff):
    first = apply(report((standing(1), "HOLD")), staff)
    later = plan_report(report((standing(2), "HOLD")), by=staff, now=NOW + timedelta(hours=1))
    confirm(later.pk, by=staff, leave_out=False, now=NOW + timedelta(hours=1))

    assert revert_report(first.pk, by=staff, now=NOW).state == "reverted"


def test_after_an_undo_whoever_is_charged_twice_still_has_a_task(staff):
    oldest, middle, youngest = standing(status="Completed"), standing(status="Completed"), standing()
    first = apply(report((middle, "CURRENT")), staff)
    apply(report((oldest, "CURRENT")), staff)
    revert_report(first.pk, by=staff, now=NOW)

    assert state(middle)["status"] == "Completed"
    open_tasks = StaffTask.objects.filter(kind="second subscription", done_at=None)
    assert youngest in [task.agreement for task in open_tasks]


def test_of_two_subscriptions_one_task_is_enough(staff):
    older, younger = standing(), standing(status="Completed")
    # Told about the older one: its payment was the second to arrive.
    StaffTask.objects.create(kind="second subscription", agreement=older)
    apply(report((younger, "CURRENT")), staff)

    assert StaffTask.objects.count() == 1


def test_undoing_what_made_a_customer_subscribe_again_is_told_to_staff(staff):
    agreement = standing()
    upload = apply(report((agreement, "COMPLETED")), staff)
    again = standing()
    revert_report(upload.pk, by=staff, now=NOW)

    task = StaffTask.objects.get()
    assert (task.kind, task.agreement) == ("second subscription", again)


def test_a_late_response_after_a_rescue_brings_the_token_and_keeps_the_upload_from_being_undone(staff):
    agreement = records.agreement()
    outgoing = checkout(agreement)
    upload = apply(report((agreement, "CURRENT"), token=""), staff)
    fields = cyber_source.response(records.form(outgoing))
    receive_callback(b"body", list(fields.items()), now=NOW + timedelta(hours=1))

    assert state(agreement)["payment_token"] == fields["transaction_id"]
    with pytest.raises(CannotBeDone):
        revert_report(upload.pk, by=staff, now=NOW)


def test_a_cancellation_that_staff_ended_themselves_stays_ended(staff):
    agreement = standing(cancellation_requested_at=NOW)
    task = StaffTask.objects.create(kind="cancellation", agreement=agreement)
    staff_tasks.finish(task.pk, by=staff, note="Cancelled.", now=NOW)
    upload = apply(report((agreement, "CANCELED")), staff)
    revert_report(upload.pk, by=staff, now=NOW)

    task.refresh_from_db()
    assert (task.resolution, task.note) == ("done", "Cancelled.")


def test_a_report_ends_the_cancellation_of_what_was_canceled_by_hand_before(staff):
    agreement = standing(status="Canceled", cancellation_requested_at=NOW)
    task = StaffTask.objects.create(kind="cancellation", agreement=agreement)
    apply(report((agreement, "CANCELED")), staff)

    task.refresh_from_db()
    assert task.resolution == "done"


def test_a_subscription_that_ends_unpaid_is_no_rescue_and_takes_no_token(staff):
    agreement = records.agreement()
    checkout(agreement)
    upload = apply(report((agreement, "SUPERSEDED")), staff)

    assert [list(change["after"]) for change in changes(upload)] == [["status"]]
    assert (state(agreement)["status"], state(agreement)["payment_token"]) == ("Superseded", "")


def test_a_report_that_brings_back_a_second_subscription_is_told_to_staff(staff):
    standing()
    ended = standing(status="Completed")
    apply(report((ended, "CURRENT")), staff)

    assert StaffTask.objects.get().kind == "second subscription"
