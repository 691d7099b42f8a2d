"""Each lock is waited for: without any one of them, one of these tests is red.

The lock is held in this thread's transaction, and the service that needs it runs in another, until it waits. A
service that would write the locked row anyway, and so wait even without a lock of its own, is given a case in
which it writes nothing; or the test looks at what would have been overwritten.
"""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice

from perma_payments.admin.login import second_factors
from perma_payments.billing.statuses import Status
from perma_payments.billing.transactions import Kind
from perma_payments.models import (
    Purchase,
    ReferenceNumber,
    Response,
    StaffTask,
    StatusReport,
    SubscriptionAgreement,
    TaskKind,
)
from perma_payments.perma.messages import ChangeMessage, PurchaseMessage, SubscribeMessage, UpdateMessage
from perma_payments.postgres import base
from perma_payments.services import acknowledgement, corrections, locks, staff_tasks
from perma_payments.services.callbacks import apply, receive
from perma_payments.services.callbacks.apply import apply_or_record_failure, apply_response
from perma_payments.services.callbacks.receive import receive_callback
from perma_payments.services.callbacks.retry import retry_responses
from perma_payments.services.cancellation import TooLateToKeep, request_cancellation, take_cancellation_back
from perma_payments.services.checkouts import begin
from perma_payments.services.checkouts.abandon import abandon_checkouts
from perma_payments.services.checkouts.modifiable import NothingToModify
from perma_payments.services.moving import write
from perma_payments.services.resealing import replace_sealed
from perma_payments.services.status_reports.apply import CannotBeDone, PlanIsStale, apply_report
from perma_payments.services.status_reports.plan import plan_report, recompute_plan
from perma_payments.services.status_reports.purge import purge_reports
from perma_payments.services.status_reports.revert import revert_report
from perma_payments.services.status_reports.warnings import required_checks

from .. import cyber_source, perma_cc, records
from ..records import REGISTRAR

pytestmark = pytest.mark.django_db(transaction=True)

Service = Callable[[], object]

# Before the tests are patient.
LOCK = apply.LOCK


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gives up while a test is slow to let go."""
    monkeypatch.setattr(base, "LOCK_SECONDS", 300)
    monkeypatch.setattr(apply, "LOCK", 300)
    monkeypatch.setattr(apply, "APPLYING", 300)
    monkeypatch.setattr(receive, "KEEPING", 300)


@pytest.fixture(autouse=True)
def running() -> Iterator[list["Future[Any]"]]:
    """What runs elsewhere has ended when the test has."""
    yield _running
    while _running:
        _running.pop().exception()


_running: list["Future[Any]"] = []


def elsewhere(service: Service) -> "Future[Any]":
    """Run a service on another connection, until it ends or waits for a lock that this one holds."""

    def run() -> object:
        try:
            return service()
        finally:
            connection.close()

    pool = ThreadPoolExecutor(1)
    _running.append(pool.submit(run))
    pool.shutdown(wait=False)
    with connection.cursor() as cursor:
        while not _running[-1].done():
            cursor.execute(
                "SELECT pg_stat_clear_snapshot(), EXISTS (SELECT FROM pg_stat_activity"
                " WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid)))"
            )
            if cursor.fetchone()[1]:
                break
    return _running[-1]


def waits(service: Service) -> bool:
    """Whether a service waits for a lock that this connection holds."""
    return not elsewhere(service).done()


def staff() -> User:
    return User.objects.get_or_create(username="staff")[0]


def message(message_class: Any, route: str) -> Any:
    return message_class.from_json(perma_cc.fields(route), today=timezone.now().date())


def kept_response(outgoing: Any, decision: str = "ACCEPT", *, applied: bool = True) -> Response:
    fields = cyber_source.response(records.form(outgoing), decision)
    response = receive_callback(b"body", list(fields.items()), now=timezone.now())
    if not applied:
        Response.objects.filter(pk=response.pk).update(applied_at=None, outcome="")
    return response


# --- The customer's lock ------------------------------------------------------------------------------


def subscribing() -> Service:
    return lambda: begin.subscribe(message(SubscribeMessage, "subscribe"), nonce=bytes(24), now=timezone.now())


def buying() -> Service:
    return lambda: begin.purchase(message(PurchaseMessage, "purchase"), nonce=bytes(24), now=timezone.now())


def changing() -> Service:
    records.standing_agreement()
    return lambda: begin.change(message(ChangeMessage, "change"), nonce=bytes(24), now=timezone.now())


def updating() -> Service:
    records.standing_agreement()
    return lambda: begin.update(message(UpdateMessage, "update"), nonce=bytes(24), now=timezone.now())


def canceling() -> Service:
    if not SubscriptionAgreement.objects.exists():
        records.standing_agreement()
    return lambda: request_cancellation(records.REGISTRAR, nonce=bytes(24), now=timezone.now())


def keeping() -> Service:
    if not SubscriptionAgreement.objects.exists():
        records.standing_agreement()
    return lambda: take_cancellation_back(records.REGISTRAR, nonce=bytes(24), now=timezone.now())


def applying_a_response() -> Service:
    response = kept_response(records.outgoing(Kind.SUBSCRIBE), "DECLINE")
    return lambda: apply_response(response, now=timezone.now())


def correcting_an_agreement() -> Service:
    agreement = records.standing_agreement()
    return lambda: corrections.correct_agreement(
        agreement.pk,
        status=Status.CURRENT,
        covered_until=agreement.covered_until,
        seen=agreement.updated_at,
        by=staff(),
        reason="x",
        now=timezone.now(),
    )


def matching_a_response() -> Service:
    """It is refused, as the response is about another reference number."""
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    fields = cyber_source.response({**records.form(outgoing), "transaction_uuid": "1", "reference_number": "2"})
    response = receive_callback(b"body", list(fields.items()), now=timezone.now())
    return lambda: corrections.match_response(
        response.pk, transaction_uuid=outgoing.transaction_uuid, by=staff(), reason="x", now=timezone.now()
    )


def ending_a_task() -> Service:
    task = StaffTask.objects.create(kind=TaskKind.TOKEN_MISSING, agreement=records.standing_agreement())
    return lambda: staff_tasks.finish(task.pk, by=staff(), note="x", now=timezone.now())


@pytest.mark.parametrize(
    "prepare",
    [
        subscribing,
        buying,
        changing,
        updating,
        canceling,
        keeping,
        applying_a_response,
        correcting_an_agreement,
        matching_a_response,
        ending_a_task,
    ],
)
def test_it_waits_for_the_customers_lock(prepare):
    service = prepare()
    with transaction.atomic():
        locks.lock_customer(REGISTRAR)
        assert waits(service)


# --- Locks of rows --------------------------------------------------------------------------------------


def test_a_second_cancellation_waits_for_the_agreement():
    agreement = records.standing_agreement()
    StaffTask.objects.create(kind=TaskKind.CANCELLATION, agreement=agreement)
    service = canceling()
    with transaction.atomic():
        locks.lock_rows(SubscriptionAgreement.objects.filter(pk=agreement.pk))
        assert waits(service)


def test_taking_a_cancellation_back_waits_for_staff_who_are_ending_its_task():
    agreement = records.standing_agreement(cancellation_requested_at=timezone.now())
    task = StaffTask.objects.create(kind=TaskKind.CANCELLATION, agreement=agreement)
    staff = User.objects.create_user("staff")
    with transaction.atomic():
        staff_tasks.finish(task.pk, by=staff, note="Done.", now=timezone.now())
        future = elsewhere(keeping())
    with pytest.raises(TooLateToKeep):
        future.result()


def test_of_two_who_claim_a_task_at_once_the_second_learns_of_the_first():
    task = StaffTask.objects.create(kind="duplicate charge", agreement=records.standing_agreement())
    first, second = (User.objects.create_user(name) for name in ("anne", "ben"))
    with transaction.atomic():
        staff_tasks.claim(task.pk, by=first, now=timezone.now())
        future = elsewhere(lambda: staff_tasks.claim(task.pk, by=second, now=timezone.now()))
    with pytest.raises(staff_tasks.Claimed):
        future.result()


def test_a_cancellation_sees_an_ending_of_the_same_moment():
    agreement = records.standing_agreement()
    with transaction.atomic():
        SubscriptionAgreement.objects.filter(pk=agreement.pk).update(
            status="Canceled", covered_until=timezone.now() - timedelta(days=1)
        )
        future = elsewhere(canceling())
    with pytest.raises(NothingToModify):
        future.result()


def test_an_applied_response_is_not_applied_without_its_lock():
    response = kept_response(records.outgoing(Kind.SUBSCRIBE))
    with transaction.atomic():
        locks.lock_rows(Response.objects.filter(pk=response.pk))
        assert waits(lambda: apply_response(response, now=timezone.now()))


@pytest.mark.parametrize(
    ("kind", "settle", "decision"),
    [
        (Kind.SUBSCRIBE, {"status": "Superseded"}, "DECLINE"),
        (Kind.PURCHASE, {"status": "Paid", "paid_at": timezone.now()}, "CANCEL"),
    ],
)
def test_a_response_waits_for_what_it_is_about(kind, settle, decision):
    outgoing = records.outgoing(kind)
    type(outgoing.subject).objects.filter(pk=outgoing.subject.pk).update(**settle)
    response = kept_response(outgoing, decision, applied=False)
    with transaction.atomic():
        locks.lock_rows(type(outgoing.subject).objects.filter(pk=outgoing.subject.pk))
        assert waits(lambda: apply_response(response, now=timezone.now()))


@pytest.mark.parametrize(("minutes", "opened"), [(4, []), (6, ["not applied"]), (-6, ["not applied"])])
def test_a_response_does_not_wait_long_for_a_lock_and_is_tried_again_quietly(monkeypatch, caplog, minutes, opened):
    assert LOCK <= 1
    monkeypatch.setattr(apply, "LOCK", 0.2)
    caplog.set_level(logging.INFO)
    response = kept_response(records.outgoing(Kind.SUBSCRIBE), "DECLINE", applied=False)
    now = response.received_at + timedelta(minutes=minutes)
    with transaction.atomic():
        locks.lock_rows(SubscriptionAgreement.objects.all())
        assert elsewhere(lambda: apply_or_record_failure(response, now=now)).result(timeout=60) is False

    assert list(StaffTask.objects.values_list("kind", flat=True)) == opened
    response.refresh_from_db()
    assert (response.applied_at, response.failed_at) == (None, now if opened else None)
    said = {record.levelname for record in caplog.records if f"response {response.pk} " in record.getMessage()}
    assert ("ERROR" in said) == bool(opened)
    # What has failed is tried again once a minute, and what waits every few seconds.
    assert retry_responses(now=now, only_waiting=True) == ((0, 0) if opened else (1, 0))


def test_abandoning_checkouts_locks_agreements_in_their_order():
    """Others lock all of a customer's, so each could wait for the other."""
    now = timezone.now()
    first, _ = (records.outgoing(Kind.SUBSCRIBE).agreement for _ in range(2))
    SubscriptionAgreement.objects.update(created_at=now - timedelta(days=2))
    # In the table, the first is behind the second now.
    SubscriptionAgreement.objects.filter(pk=first.pk).update(created_at=now - timedelta(days=1, hours=1))
    with transaction.atomic():
        locks.lock_rows(SubscriptionAgreement.objects.filter(pk=first.pk))
        abandoning = elsewhere(lambda: abandon_checkouts(now=now))
        locks.lock_agreements_of(REGISTRAR)
    assert abandoning.result() == 2


def test_an_import_locks_tables_in_the_order_in_which_checkouts_write_to_them():
    """Otherwise, each could wait for the other."""

    @transaction.atomic
    def importing() -> bool:
        write._lock_tables()
        return True

    with transaction.atomic():
        number = ReferenceNumber.issue()
        future = elsewhere(importing)
        records.outgoing(Kind.SUBSCRIBE, records.agreement(reference_number=number))
    assert future.result()


def test_resealing_waits_for_the_response():
    response = kept_response(records.outgoing(Kind.SUBSCRIBE))
    # It is sealed to this key already, so nothing is written.
    key = response.archive_key_id

    @transaction.atomic
    def resealing() -> bool:
        return replace_sealed(
            response.pk, old_key_id="old", old_digest="", new_key_id=key, sealed=b"", keep=lambda _: None
        )

    with transaction.atomic():
        locks.lock_rows(Response.objects.filter(pk=response.pk))
        assert waits(resealing)


def test_a_correction_waits_for_the_agreement():
    service = correcting_an_agreement()
    with transaction.atomic():
        locks.lock_rows(SubscriptionAgreement.objects.all())
        assert waits(service)


def test_a_correction_waits_for_the_purchase():
    paid = records.paid_purchase()
    with transaction.atomic():
        locks.lock_rows(Purchase.objects.filter(pk=paid.pk))
        assert waits(
            lambda: corrections.correct_purchase(
                paid.pk, credited=False, seen=paid.updated_at, by=staff(), reason="x", now=timezone.now()
            )
        )


def test_matching_waits_for_the_response():
    service = matching_a_response()
    with transaction.atomic():
        locks.lock_rows(Response.objects.all())
        assert waits(service)


@pytest.mark.parametrize("rows", [StaffTask.objects, SubscriptionAgreement.objects], ids=["task", "agreement"])
def test_ending_a_task_waits_for_it_and_for_its_agreement(rows):
    ended = {"done_at": timezone.now(), "resolution": "done"}
    task = StaffTask.objects.create(kind=TaskKind.TOKEN_MISSING, agreement=records.standing_agreement(), **ended)
    with transaction.atomic():
        locks.lock_rows(rows.all())
        assert waits(lambda: staff_tasks.finish(task.pk, by=staff(), note="x", now=timezone.now()))


def test_a_correction_does_not_overwrite_the_end_of_a_task():
    agreement = records.standing_agreement()
    task = StaffTask.objects.create(kind=TaskKind.CANCELLATION, agreement=agreement)
    by = staff()
    with transaction.atomic():
        StaffTask.objects.filter(pk=task.pk).update(done_at=timezone.now(), resolution="done", note="The first.")
        future = elsewhere(
            lambda: corrections.correct_agreement(
                agreement.pk,
                status=Status.CANCELED,
                covered_until=agreement.covered_until,
                seen=agreement.updated_at,
                by=by,
                reason="The second.",
                now=timezone.now(),
            )
        )
    future.result()
    assert StaffTask.objects.get().note == "The first."


def test_a_doubt_that_is_being_settled_is_left_alone():
    paid = records.paid_purchase()
    unanswered = acknowledgement.acknowledge_purchase(
        paid.pk, is_awaited=lambda: True, now=timezone.now() - timedelta(hours=1)
    )
    with transaction.atomic():
        locks.lock_rows(acknowledgement.UnansweredAcknowledgement.objects.filter(pk=unanswered))
        found = elsewhere(lambda: acknowledgement.open_tasks_for_doubts(now=timezone.now()))
        assert found.done()
    assert found.result() == 0


def test_a_failure_is_not_recorded_of_what_is_being_applied(monkeypatch):
    """Another process has just applied the response: no task says that it could not be."""
    response = kept_response(records.outgoing(Kind.SUBSCRIBE), applied=False)
    monkeypatch.setattr("perma_payments.services.callbacks.apply.apply_response", lambda *args, **kwargs: 1 / 0)
    with transaction.atomic():
        Response.objects.filter(pk=response.pk).update(applied_at=timezone.now(), outcome="took effect")
        future = elsewhere(lambda: apply_or_record_failure(response, now=timezone.now()))
    assert future.result() is False
    assert not StaffTask.objects.exists()


# --- Status reports -------------------------------------------------------------------------------------


def planned(agreement: SubscriptionAgreement, status: str) -> StatusReport:
    data = f"Merchant Reference Code,Status\n{agreement},{status}\n".encode()
    return plan_report(data, by=staff(), now=timezone.now())


def applying(report: StatusReport) -> Service:
    by = staff()
    return lambda: apply_report(report.pk, revision=1, by=by, checks=required_checks(report), now=timezone.now())


def reverting(report: StatusReport) -> Service:
    by = staff()
    return lambda: revert_report(report.pk, by=by, now=timezone.now())


def test_a_payment_waits_for_a_report_that_revives_another_subscription_of_its_customer():
    report = planned(records.outgoing(Kind.SUBSCRIBE).agreement, "CURRENT")
    fields = list(cyber_source.response(records.form(records.outgoing(Kind.SUBSCRIBE))).items())
    with transaction.atomic():
        applying(report)()
        future = elsewhere(lambda: receive_callback(b"body", fields, now=timezone.now()))
    future.result()
    assert StaffTask.objects.filter(kind="second subscription").count() == 1


@pytest.mark.parametrize("act", ["applying", "reverting"])
def test_a_report_waits_for_a_correction_that_revives_another_subscription_of_the_customer(act):
    ended, revived = records.standing_agreement(status="Canceled"), records.standing_agreement()
    report = planned(revived, "CANCELED")
    applying(report)()
    service = reverting(report) if act == "reverting" else applying(planned(revived, "CURRENT"))
    by = staff()
    with transaction.atomic():
        corrections.correct_agreement(
            ended.pk,
            status=Status.CURRENT,
            covered_until=ended.covered_until,
            seen=ended.updated_at,
            by=by,
            reason="x",
            now=timezone.now(),
        )
        future = elsewhere(service)
    future.result()
    assert StaffTask.objects.filter(kind="second subscription").count() == 1


@pytest.mark.parametrize(
    ("act", "read"),
    [
        ("applying", "perma_payments_outgoingtransaction"),
        ("reverting", "perma_payments_subscriptionagreementevent"),
    ],
)
def test_no_subscription_is_locked_while_a_report_looks_for_changes_since(act, read):
    """That takes long: here, until it can read a table."""
    report = planned(records.outgoing(Kind.SUBSCRIBE).agreement, "CURRENT")
    if act == "reverting":
        applying(report)()
    service = applying(report) if act == "applying" else reverting(report)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {read} IN ACCESS EXCLUSIVE MODE")
        future = elsewhere(service)
        assert not future.done()
        assert len(SubscriptionAgreement.objects.select_for_update(nowait=True)) == 1
    future.result()


def test_a_report_sees_a_change_of_the_same_moment():
    agreement = records.standing_agreement()
    report = planned(agreement, "HOLD")
    with transaction.atomic():
        SubscriptionAgreement.objects.filter(pk=agreement.pk).update(status="Superseded")
        future = elsewhere(applying(report))
    with pytest.raises(PlanIsStale):
        future.result()
    agreement.refresh_from_db()
    assert agreement.status == "Superseded"


def test_a_report_sees_a_change_of_a_subscription_that_it_would_have_left_alone():
    changing, same = records.standing_agreement(), records.standing_agreement(status="Hold")
    data = f"Merchant Reference Code,Status\n{changing},HOLD\n{same},HOLD\n".encode()
    report = plan_report(data, by=staff(), now=timezone.now())
    with transaction.atomic():
        locks.lock_rows(SubscriptionAgreement.objects.filter(pk=changing.pk))
        SubscriptionAgreement.objects.filter(pk=same.pk).update(status="Current")
        future = elsewhere(applying(report))
    with pytest.raises(PlanIsStale):
        future.result()


def test_a_change_of_the_same_moment_that_the_plan_does_not_depend_on_is_kept():
    agreement = records.standing_agreement()
    report = planned(agreement, "HOLD")
    with transaction.atomic():
        SubscriptionAgreement.objects.filter(pk=agreement.pk).update(payment_token="7408214003316000009999")
        future = elsewhere(applying(report))
    future.result()
    agreement.refresh_from_db()
    assert (agreement.status, agreement.payment_token) == ("Hold", "7408214003316000009999")


def test_reverting_sees_a_change_of_the_same_moment():
    agreement = records.standing_agreement()
    report = planned(agreement, "HOLD")
    applying(report)()
    with transaction.atomic():
        SubscriptionAgreement.objects.filter(pk=agreement.pk).update(status="Superseded")
        future = elsewhere(reverting(report))
    with pytest.raises(CannotBeDone, match=str(agreement)):
        future.result()


@pytest.mark.parametrize(
    "act",
    [applying, lambda report: lambda: recompute_plan(report.pk, now=timezone.now())],
    ids=["applying", "recomputing"],
)
def test_an_applied_report_is_not_touched_without_its_lock(act):
    report = planned(records.standing_agreement(), "HOLD")
    applying(report)()
    service = act(report)
    with transaction.atomic():
        locks.lock_rows(StatusReport.objects.all())
        assert waits(service)


@pytest.mark.parametrize("act", [applying, reverting])
def test_one_report_is_applied_or_reverted_at_a_time(act):
    service = act(planned(records.standing_agreement(), "HOLD"))
    with transaction.atomic():
        assert locks.try_to_lock("status reports")
        with pytest.raises(CannotBeDone, match="right now"):
            elsewhere(service).result()


# --- Logins ---------------------------------------------------------------------------------------------


def test_two_second_factors_are_not_made_at_once():
    user = staff()
    with transaction.atomic():
        locks.lock_rows(User.objects.filter(pk=user.pk))
        assert waits(lambda: second_factors.add(user))


def test_a_code_is_not_checked_while_another_is():
    user = staff()
    device = TOTPDevice.objects.create(
        user=user, name="app", throttling_failure_count=9, throttling_failure_timestamp=timezone.now()
    )
    with transaction.atomic():
        locks.lock_rows(TOTPDevice.objects.filter(pk=device.pk))
        assert waits(lambda: second_factors.device_that_accepts(user, "123456"))


# --- What nobody waits for ------------------------------------------------------------------------------


def test_a_preview_that_is_just_being_confirmed_is_not_deleted_by_a_clock_that_is_ahead():
    report = planned(records.standing_agreement(), "CURRENT")
    with transaction.atomic():
        applying(report)()
        deleting = elsewhere(lambda: purge_reports(now=timezone.now() + timedelta(days=2)))
        assert deleting.done() and deleting.result() == (0, 0)

    assert StatusReport.objects.get().lines.count() == report.matched_count == 1


def test_a_task_about_a_subscription_is_opened_while_a_report_is_applied():
    agreement = records.standing_agreement()
    with transaction.atomic():
        applying(planned(agreement, "HOLD"))()
        assert not waits(lambda: StaffTask.objects.create(kind=TaskKind.HELD_FOR_REVIEW, agreement=agreement))
