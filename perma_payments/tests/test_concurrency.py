"""The same request many times at once, over HTTP, with real connections and locks."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import requests
from bs4 import BeautifulSoup
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from perma_payments.billing.customers import Customer, CustomerType
from perma_payments.billing.transactions import Kind
from perma_payments.management import jobs
from perma_payments.models import (
    CheckoutFreeze,
    OutgoingTransaction,
    Purchase,
    ReferenceNumber,
    Response,
    StaffTask,
    StatusReport,
    SubscriptionAgreement,
)
from perma_payments.services import acknowledgement, freeze
from perma_payments.services.callbacks import apply, receive
from perma_payments.services.callbacks.retry import retry_responses
from perma_payments.services.status_reports.apply import CannotBeDone, apply_report
from perma_payments.services.status_reports.plan import plan_report
from perma_payments.services.status_reports.revert import revert_report
from perma_payments.services.status_reports.warnings import required_checks
from perma_payments.views import queries

from . import cyber_source, perma_cc, records

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many at once are slow on a busy machine. Only for locks nobody waits longer than ever."""
    monkeypatch.setattr(receive, "KEEPING", 60)
    monkeypatch.setattr(apply, "APPLYING", 60)


def at_once(*calls: Callable[[], requests.Response]) -> list[int]:
    """Make all calls at the same time, and return the statuses of their responses."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result().status_code for future in [pool.submit(call) for call in calls]]


def callback(server: Any, form: dict[str, str], decision: str = "ACCEPT") -> Callable[[], requests.Response]:
    fields = cyber_source.response(form, decision)
    return lambda: requests.post(f"{server.url}/cybersource-callback/", data=fields, timeout=30)


def test_the_same_callback_twenty_times_at_once_has_one_effect(live_server):
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    same = callback(live_server, records.form(outgoing))

    assert at_once(*[same] * 20) == [200] * 20
    assert Response.objects.count() == 1
    outgoing.agreement.refresh_from_db()
    assert outgoing.agreement.status == "Current"
    # It was created and became Current; nothing else ever happened to it.
    assert outgoing.agreement.events.count() == 2
    assert not StaffTask.objects.exists()


def test_different_responses_at_once_end_in_accept(live_server):
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    form = records.form(outgoing)
    answers = [callback(live_server, form, decision) for decision in ("DECLINE", "ACCEPT", "CANCEL", "ERROR") * 3]

    assert at_once(*answers) == [200] * 12
    retry_responses(now=timezone.now())  # those that had to wait too long
    outgoing.agreement.refresh_from_db()
    assert outgoing.agreement.status == "Current"
    # CANCEL has no transaction id, so three of them are the same response; each ACCEPT is a charge.
    assert Response.objects.count() == 10
    assert StaffTask.objects.filter(kind="duplicate charge").count() == 2


def test_two_subscriptions_paid_at_the_same_time_are_noticed_once(live_server):
    forms = [records.form(records.outgoing(Kind.SUBSCRIBE)) for _ in range(4)]

    assert at_once(*[callback(live_server, form) for form in forms]) == [200] * 4
    retry_responses(now=timezone.now())  # those that had to wait too long
    assert SubscriptionAgreement.objects.filter(status="Current").count() == 4
    assert StaffTask.objects.filter(kind="second subscription").count() == 3


@pytest.mark.parametrize("route", ["subscribe", "purchase", "change", "update"])
def test_one_message_eight_times_at_once_begins_one_checkout(live_server, route):
    if route in ("change", "update"):
        records.standing_agreement()
    data = perma_cc.form(route)
    pages = []

    def send() -> requests.Response:
        pages.append(requests.post(f"{live_server.url}/{route}/", data=data, timeout=30))
        return pages[-1]

    assert at_once(*[send] * 8) == [200] * 8
    outgoing = OutgoingTransaction.objects.get()
    fields = [
        BeautifulSoup(page.text, "html.parser").find("input", {"name": "transaction_uuid"}) for page in pages
    ]
    assert {field["value"] for field in fields} == {str(outgoing.transaction_uuid)}
    assert ReferenceNumber.objects.count() == 1


def test_callbacks_and_queries_of_many_customers_run_at_once(live_server):
    customers = [records.Customer(records.REGISTRAR.type, pk) for pk in range(1, 9)]
    outgoing = [records.outgoing(Kind.SUBSCRIBE, records.agreement(customer)) for customer in customers]
    calls = [callback(live_server, records.form(transaction)) for transaction in outgoing]
    query = perma_cc.form("subscription")
    calls += [lambda: requests.post(f"{live_server.url}/subscription/", data=query, timeout=30)] * 8

    assert at_once(*calls) == [200] * 16
    retry_responses(now=timezone.now())  # those that had to wait too long
    assert SubscriptionAgreement.objects.filter(status="Current").count() == 8


def test_one_of_ten_acknowledgements_at_once_counts(live_server, monkeypatch):
    # The last one waits for all others.
    monkeypatch.setattr(acknowledgement, "ACKNOWLEDGING", 30)
    monkeypatch.setattr(queries.acknowledge_purchase, "time_limit", 30)
    bought = records.paid_purchase()

    def acknowledge() -> requests.Response:
        # Ten of Perma.cc's workers, each with its own message.
        data = perma_cc.form("acknowledge-purchase", purchase_pk=bought.pk)
        return requests.post(f"{live_server.url}/acknowledge-purchase/", data=data, timeout=30)

    assert sorted(at_once(*[acknowledge] * 10)) == [200] + [400] * 9


@pytest.mark.parametrize("same_message", [True, False])
def test_eight_cancellations_at_once_are_one_task(live_server, same_message):
    agreement = records.standing_agreement()
    data = perma_cc.form("cancel-request")

    def cancel() -> requests.Response:
        fields = data if same_message else perma_cc.form("cancel-request")
        return requests.post(f"{live_server.url}/cancel-request/", data=fields, timeout=30, allow_redirects=False)

    assert at_once(*[cancel] * 8) == [302] * 8
    assert StaffTask.objects.get().agreement == agreement


def test_four_schedulers_at_once_do_each_job_once(mailbox):
    now = timezone.now().replace(hour=23)
    StaffTask.objects.create(kind="cancellation", agreement=records.standing_agreement(), opened_at=now)

    def tick() -> None:
        try:
            assert jobs.send_mails(now=now)
            jobs.apply_responses(now=now)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(tick) for _ in range(4)]:
            future.result()
    assert sorted(subject.split(":")[0] for subject in mailbox.subjects) == [
        "Cancel a subscription in CyberSource",
        "Still to do",
    ]


@contextmanager
def meanwhile() -> Iterator[None]:
    """Another process's transaction, which ends after the block."""
    with transaction.atomic():
        yield


def in_another_thread(call: Callable[[], Any]) -> Any:
    def run() -> Any:
        try:
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


def test_a_late_acknowledgement_is_not_recorded(live_server):
    bought = records.paid_purchase()
    data = perma_cc.form("acknowledge-purchase", purchase_pk=bought.pk)
    with meanwhile():
        Purchase.objects.filter(pk=bought.pk).update(updated_at=timezone.now())
        answer = in_another_thread(
            lambda: requests.post(f"{live_server.url}/acknowledge-purchase/", data=data, timeout=30)
        )
    assert answer.status_code == 503
    bought.refresh_from_db()
    assert bought.acknowledged_at is None


def confirm_in_thread(report: StatusReport, staff: User) -> None:
    """Apply a report on its own connection."""
    try:
        apply_report(
            report.pk, revision=report.revision, by=staff, checks=required_checks(report), now=timezone.now()
        )
    finally:
        connection.close()


def test_a_report_and_callbacks_at_once_lose_nothing(live_server):
    agreements = [records.standing_agreement(Customer(CustomerType.REGISTRAR, pk)) for pk in range(1, 9)]
    calls = [callback(live_server, records.form(records.outgoing(Kind.CHANGE, each))) for each in agreements]
    staff = User.objects.create_user("staff")
    rows = "".join(f"{agreement},HOLD\n" for agreement in agreements)
    report = plan_report(f"Merchant Reference Code,Status\n{rows}".encode(), by=staff, now=timezone.now())

    with ThreadPoolExecutor(len(calls) + 1) as pool:
        confirmation = pool.submit(confirm_in_thread, report, staff)
        answers = [future.result().status_code for future in [pool.submit(call) for call in calls]]
        confirmation.result()
    retry_responses(now=timezone.now())  # the responses that had to wait too long

    assert answers == [200] * len(calls)
    assert set(SubscriptionAgreement.objects.values_list("status", "current_link_limit")) == {("Hold", "500")}
    assert not StaffTask.objects.filter(done_at=None).exists()


def test_a_callback_is_answered_while_a_report_is_applied(live_server):
    """It is kept, and applied once the report has been; one about another subscription takes effect at once."""
    changing, other = (records.standing_agreement(Customer(CustomerType.REGISTRAR, pk)) for pk in (1, 2))
    callbacks = [
        callback(live_server, records.form(records.outgoing(Kind.CHANGE, each))) for each in (changing, other)
    ]
    task = StaffTask.objects.create(kind="cancellation", agreement=changing)
    staff = User.objects.create_user("staff")
    data = f"Merchant Reference Code,Status\n{changing},CANCELED\n{other},CURRENT\n".encode()
    report = plan_report(data, by=staff, now=timezone.now())

    with ThreadPoolExecutor(1) as pool:
        with meanwhile():
            # The last thing that the report needs.
            StaffTask.objects.select_for_update().get(pk=task.pk)
            confirmation = pool.submit(confirm_in_thread, report, staff)
            wait_until_locked(changing)
            assert [in_another_thread(each).status_code for each in callbacks] == [200, 200]
        confirmation.result()
    applied = Response.objects.values_list("outgoing__agreement", "outcome", "failed_at")
    assert set(applied) == {(changing.pk, "", None), (other.pk, "took effect", None)}
    assert set(StaffTask.objects.all()) == {task}
    jobs.apply_waiting_responses(now=timezone.now())

    # Canceled, with the change that was paid for: it is paid for until its end.
    assert set(SubscriptionAgreement.objects.values_list("status", "current_link_limit")) == {
        ("Canceled", "500"),
        ("Current", "500"),
    }


def wait_until_locked(agreement: SubscriptionAgreement) -> None:
    """Wait until another transaction holds an agreement's lock."""
    row = SubscriptionAgreement.objects.filter(pk=agreement.pk)
    while in_another_thread(transaction.atomic(lambda: row.select_for_update(skip_locked=True).exists())):
        pass


def test_reverting_a_report_and_callbacks_at_once_lose_nothing(live_server):
    agreements = [records.standing_agreement(Customer(CustomerType.REGISTRAR, pk)) for pk in range(1, 5)]
    calls = [callback(live_server, records.form(records.outgoing(Kind.CHANGE, each))) for each in agreements]
    staff = User.objects.create_user("staff")
    rows = "".join(f"{agreement},HOLD\n" for agreement in agreements)
    report = plan_report(f"Merchant Reference Code,Status\n{rows}".encode(), by=staff, now=timezone.now())
    apply_report(report.pk, revision=1, by=staff, checks=required_checks(report), now=timezone.now())

    def undo_it() -> str:
        try:
            revert_report(report.pk, by=staff, now=timezone.now())
            return "Current"
        except CannotBeDone:
            return "Hold"  # The callback came first.
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls) + 1) as pool:
        undoing = pool.submit(undo_it)
        for future in [pool.submit(call) for call in calls]:
            assert future.result().status_code == 200
        status = undoing.result()
    retry_responses(now=timezone.now())  # the responses that had to wait too long

    assert set(SubscriptionAgreement.objects.values_list("status", "current_link_limit")) == {(status, "500")}


def test_a_recovery_and_a_payment_at_once_open_a_task(live_server):
    """Whichever comes first, the other one sees it, because both take the customer's lock."""
    recovered = records.outgoing(Kind.SUBSCRIBE).agreement
    paying = callback(live_server, records.form(records.outgoing(Kind.SUBSCRIBE)))
    staff = User.objects.create_user("staff")
    data = f"Merchant Reference Code,Status,Subscription ID\n{recovered},CURRENT,7408214003316000001111\n".encode()
    report = plan_report(data, by=staff, now=timezone.now())

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(confirm_in_thread, report, staff), pool.submit(paying)]:
            future.result()
    retry_responses(now=timezone.now())

    assert set(SubscriptionAgreement.objects.values_list("status", flat=True)) == {"Current"}
    assert StaffTask.objects.filter(done_at=None).get().kind == "second subscription"


def test_two_who_freeze_and_resume_at_once_do_so_once():
    users = [User.objects.create_user(f"staff {number}") for number in range(4)]

    def outcomes(act: Callable[..., object]) -> list[str]:
        def run(user: User) -> str:
            try:
                act(by=user, reason=user.username, now=timezone.now())
                return "done"
            except (freeze.AlreadyFrozen, freeze.NotFrozen) as error:
                return type(error).__name__
            finally:
                connection.close()

        with ThreadPoolExecutor(len(users)) as pool:
            return sorted(pool.map(run, users))

    assert outcomes(freeze.begin_freeze) == ["AlreadyFrozen"] * 3 + ["done"]
    begun = CheckoutFreeze.objects.get()
    assert outcomes(partial(freeze.end_freeze, begun.pk)) == ["NotFrozen"] * 3 + ["done"]
    ended = CheckoutFreeze.objects.get()
    assert (ended.began_by.username, ended.ended_by.username) == (ended.reason, ended.end_reason)
    assert ended.events.count() == 2
