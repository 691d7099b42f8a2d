"""The timeline of a subscription or a purchase, and the pages that show it."""

import secrets
import threading
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pghistory
import pytest
from bs4 import BeautifulSoup
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from perma_payments.admin.timeline import Event, EventKind, timeline_of
from perma_payments.billing.transactions import Kind
from perma_payments.management import jobs
from perma_payments.models import (
    OutgoingTransaction,
    Purchase,
    Response,
    StaffTask,
    StatusReport,
    SubscriptionAgreement,
)
from perma_payments.models.history import HistorySource
from perma_payments.services import staff_tasks
from perma_payments.services.acknowledgement import acknowledge_purchase
from perma_payments.services.checkouts.abandon import abandon_checkouts
from perma_payments.services.recovery import record_payment
from perma_payments.services.status_reports.apply import apply_report
from perma_payments.services.status_reports.plan import plan_report
from perma_payments.services.status_reports.revert import revert_report
from perma_payments.services.status_reports.warnings import required_checks

from .. import records
from ..accounts import log_in
from ..business_center import report
from ..pages import words

EVERYTHING = [
    "view_stafftask",
    "view_subscriptionagreement",
    "view_purchase",
    "view_response",
    "view_statusreport",
    "view_outgoingtransaction",
]


def page_of(subject: SubscriptionAgreement | Purchase) -> str:
    return f"/admin/perma_payments/{subject._meta.model_name}/{subject.pk}/change/"


def response(outgoing: OutgoingTransaction | None, **changes: Any) -> Response:
    return Response.objects.create(
        **{
            "outgoing": outgoing,
            "fingerprint": secrets.token_bytes(32),
            "transaction_uuid": "x",
            "decision": "ACCEPT",
            "reason_code": "100",
            "transaction_type": "sale",
            "reference_number": "PERMA-0000-0001",
            "sealed": b"x",
            "archive_key_id": "k",
            **changes,
        }
    )


def told(subject: SubscriptionAgreement | Purchase) -> list[str]:
    return [event.text for event in timeline_of(subject)]


def event_of(subject: SubscriptionAgreement | Purchase, start: str) -> Event:
    found = [event for event in timeline_of(subject) if event.text.startswith(start)]
    assert len(found) == 1, told(subject)
    return found[0]


def confirmed(file: bytes) -> StatusReport:
    """The report that jane uploads and confirms."""
    user, now = User.objects.create_user("jane"), timezone.now()
    upload = plan_report(file, by=user, now=now)
    return apply_report(upload.pk, revision=upload.revision, by=user, checks=required_checks(upload), now=now)


# --- From click to cancellation ------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_timeline_of_a_subscription_from_click_to_end(call_back, post, mailbox):
    """Each step is a transaction of its own, as in life, so the order is that of the clock."""
    checkout = records.outgoing(Kind.SUBSCRIBE)
    agreement, form = checkout.agreement, records.form(checkout)
    call_back(form, "DECLINE")
    call_back(form, "ACCEPT")
    post("cancel-request")
    jobs.send_task_mails(now=timezone.now())
    user = User.objects.create_user("jane")
    staff_tasks.withdraw(StaffTask.objects.get().pk, by=user, note="They have called.", now=timezone.now())
    upload = plan_report(report((agreement, "HOLD")), by=user, now=timezone.now())
    apply_report(upload.pk, revision=upload.revision, by=user, checks=required_checks(upload), now=timezone.now())
    revert_report(upload.pk, by=user, now=timezone.now())
    SubscriptionAgreement.objects.filter(pk=agreement.pk).update(status="Completed")

    named = f"status report of {upload.uploaded_at:%Y-%m-%d %H:%M} UTC"
    events = timeline_of(agreement)
    assert [(event.kind.value, event.text) for event in events] == [
        ("change", "Created as Pending."),
        (
            "request",
            "The customer went to CyberSource to subscribe: $12.50 now, then $45.00 monthly starting "
            f"{checkout.recurring_start_date}, with a link limit of 100.",
        ),
        ("response", "CyberSource declined: the bank declined without saying why (reason code 203)."),
        ("change", "Changed by CyberSource's response."),
        ("response", "CyberSource accepted: successful (reason code 100)."),
        ("change", "Changed by CyberSource's response."),
        ("change", "Changed at the customer's request."),
        ("task", "Task opened: Cancel a subscription in CyberSource."),
        ("task", "Staff were emailed about the task: Cancel a subscription in CyberSource."),
        ("change", "Changed by jane."),
        ("task", "Task withdrawn by jane: Cancel a subscription in CyberSource."),
        ("change", f"Changed by the {named}, confirmed by jane, undone later."),
        ("change", f"Changed back: jane undid the {named}."),
        ("change", "Changed directly in the database (SQL)."),
    ]
    changes = [event.details for event in events if event.kind == EventKind.CHANGE]
    assert changes[1] == ("status: Pending → Rejected",)
    assert changes[2][:2] == ("status: Rejected → Current", "rate: none → $45.00")
    assert changes[4][0] == "Reason: They have called."
    assert changes[5] == ("status: Current → Hold",)
    assert changes[6] == ("status: Hold → Current",)
    assert changes[7] == ("status: Current → Completed",)
    assert events[10].details == ("Note: They have called.",)


@pytest.mark.django_db
def test_a_replaced_token_is_mentioned_but_never_shown(client):
    log_in(client, *EVERYTHING)
    agreement = records.standing_agreement(payment_token="A" * 22)
    answer = response(records.outgoing(Kind.UPDATE, agreement), payment_token="C" * 22)
    with pghistory.context(source=HistorySource.CYBERSOURCE_RESPONSE, response=answer.pk):
        agreement.payment_token = "B" * 22
        agreement.save()
    page = client.get(page_of(agreement))

    assert event_of(agreement, "Changed by CyberSource's response.").details == ("token replaced",)
    assert [token for token in "ABC" if token * 22 in page.content.decode()] == []


@pytest.mark.django_db
def test_a_change_of_only_the_token_says_so():
    agreement = records.standing_agreement()
    agreement.save()

    assert event_of(agreement, "Changed directly").details == (
        "nothing, except perhaps the token, which the history does not keep",
    )


@pytest.mark.django_db
def test_a_change_by_a_matched_response_names_who_matched_it():
    user = User.objects.create_user("jane")
    agreement = records.standing_agreement()
    answer = response(records.outgoing(Kind.UPDATE, agreement))
    with pghistory.context(source=HistorySource.STAFF, user=user.pk, reason="Found it."):
        with pghistory.context(source=HistorySource.CYBERSOURCE_RESPONSE, response=answer.pk):
            agreement.status = "Hold"
            agreement.save()

    event = event_of(agreement, "Changed by")
    assert event.text == "Changed by CyberSource's response, matched by jane."
    assert event.details == ("Reason: Found it.", "status: Current → Hold")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("context", "sentence", "first_detail"),
    [
        (
            {"source": HistorySource.STAFF, "user": 0, "reason": "They called."},
            "Changed by someone.",
            "Reason: They called.",
        ),
        ({"source": HistorySource.STAFF, "user": None}, "Changed by someone.", "status: Current → Hold"),
        (
            {"source": HistorySource.STATUS_REPORT, "report": 0},
            "Changed by the status report, confirmed by someone.",
            "status: Current → Hold",
        ),
        ({"source": "a source to come"}, "Changed by a source to come.", "status: Current → Hold"),
        ({"url": "/x"}, "Changed directly in the database (SQL).", "status: Current → Hold"),
    ],
)
def test_every_source_of_a_change_has_a_sentence(context, sentence, first_detail):
    agreement = records.standing_agreement()
    with pghistory.context(**context):
        agreement.status = "Hold"
        agreement.save()

    assert event_of(agreement, "Changed").text == sentence
    assert event_of(agreement, "Changed").details[0] == first_detail


@pytest.mark.django_db
def test_every_kind_of_request_has_a_sentence():
    agreement = records.standing_agreement()
    records.outgoing(Kind.CHANGE, agreement, amount=Decimal("1200.50"))
    records.outgoing(Kind.UPDATE, agreement)

    assert event_of(agreement, "The customer went to CyberSource to upgrade").text.endswith(
        "to upgrade the subscription: $1,200.50 now, then $90.00 each time, with a link limit of 500 starting "
        "2026-11-21 12:00."
    )
    assert event_of(agreement, "The customer went to CyberSource to update their card")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "sentence", "details"),
    [
        ({"decision": "CANCEL", "reason_code": ""}, "The customer canceled at CyberSource.", ()),
        (
            {"decision": "REVIEW", "reason_code": "480"},
            "CyberSource accepted, but is holding the payment for review: held for review by CyberSource's "
            "Decision Manager (reason code 480).",
            (),
        ),
        (
            {"decision": "ERROR", "reason_code": "999"},
            "CyberSource could not process the request: a reason we don't know (999) (reason code 999).",
            (),
        ),
        (
            {"decision": "PERHAPS", "reason_code": ""},
            "CyberSource sent a decision that we do not know, PERHAPS.",
            (),
        ),
        (
            {"auth_amount": "45.00", "currency": "USD", "transaction_id": "123"},
            "CyberSource accepted: successful (reason code 100).",
            ("Authorized: 45.00 USD", "CyberSource's transaction id: 123"),
        ),
        (
            {"applied_at": timezone.now(), "outcome": "no effect"},
            "CyberSource accepted: successful (reason code 100).",
            ("Result: no effect",),
        ),
    ],
)
def test_every_kind_of_response_has_a_sentence(changes, sentence, details):
    outgoing = records.outgoing(Kind.UPDATE)
    response(outgoing, **changes)
    event = next(event for event in timeline_of(outgoing.agreement) if event.kind == EventKind.RESPONSE)

    assert event.text == sentence
    assert set(details) < set(event.details)
    assert ("not applied yet" in " ".join(event.details)) == ("applied_at" not in changes)


@pytest.mark.django_db
def test_a_report_that_is_not_confirmed_is_not_listed():
    agreement = records.standing_agreement()
    plan_report(report((agreement, "HOLD")), by=User.objects.create_user("jane"), now=timezone.now())

    assert told(agreement) == ["Created as Current."]


@pytest.mark.django_db
def test_a_report_that_changed_nothing_is_not_listed():
    agreement = records.standing_agreement(status="Hold")
    upload = confirmed(report((agreement, "HOLD")))

    assert upload.state == "applied"
    assert told(agreement) == ["Created as Hold."]


@pytest.mark.django_db
def test_a_report_that_changed_it_is_listed_once():
    agreement = records.standing_agreement()
    upload = confirmed(report((agreement, "HOLD")))

    assert told(agreement) == ["Created as Current.", f"Changed by the {upload}, confirmed by jane."]


@pytest.mark.django_db
def test_a_report_that_could_not_complete_it_is_listed_once_confirmed():
    agreement = records.agreement()
    other = records.standing_agreement(records.INDIVIDUAL)
    said = "lists it as Current, but it could not be completed"
    plan_report(report((agreement, "CURRENT")), by=User.objects.create_user("john"), now=timezone.now())
    assert said not in str(told(agreement))

    upload = confirmed(report((agreement, "CURRENT"), (other, "HOLD")))
    event = event_of(agreement, "The status report")
    assert event.text.startswith(f"The {upload}, confirmed by jane, {said}")
    assert event.link.url == f"/admin/perma_payments/statusreport/{upload.pk}/change/"


@pytest.mark.django_db(transaction=True)
def test_a_change_that_waited_for_another_comes_after_it():
    agreement = records.standing_agreement()
    began, first_is_in = threading.Event(), threading.Event()

    def waits() -> None:
        with transaction.atomic():
            SubscriptionAgreement.objects.exists()  # its transaction begins here
            began.set()
            first_is_in.wait()
            SubscriptionAgreement.objects.update(status="Canceled")
        connection.close()

    thread = threading.Thread(target=waits)
    thread.start()
    began.wait()
    SubscriptionAgreement.objects.update(status="Hold")
    first_is_in.set()
    thread.join()

    changes = [event.details for event in timeline_of(agreement) if event.kind == EventKind.CHANGE]
    assert changes[1:] == [("status: Current → Hold",), ("status: Hold → Canceled",)]


@pytest.mark.django_db
def test_the_timeline_of_another_customer_is_not_shown():
    agreement = records.agreement()
    other = records.outgoing(Kind.SUBSCRIBE, records.standing_agreement(records.INDIVIDUAL))
    StaffTask.objects.create(kind="token missing", agreement=other.agreement, response=response(other))
    response(None)

    assert told(agreement) == ["Created as Pending."]


@pytest.mark.django_db
def test_a_long_timeline_takes_few_statements(django_assert_max_num_queries):
    agreement = records.standing_agreement()
    for number in range(6):
        checkout = records.outgoing(Kind.CHANGE, agreement)
        answer = response(checkout)
        user = User.objects.create_user(f"user{number}")
        with pghistory.context(source=HistorySource.STAFF, user=user.pk, reason="x"):
            agreement.current_link_limit = str(number)
            agreement.save()
        task = StaffTask.objects.create(kind="duplicate charge", agreement=agreement, response=answer)
        staff_tasks.finish(task.pk, by=user, note="Refunded.", now=timezone.now())
    with django_assert_max_num_queries(8):
        assert len(timeline_of(agreement)) > 24


# --- The page ------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_page_says_what_perma_cc_is_told_now(client):
    log_in(client, *EVERYTHING)
    agreement = records.standing_agreement(cancellation_requested_at=timezone.now())
    said = words(client.get(page_of(agreement)))

    assert "Status Cancellation Requested Rate $45.00 monthly Link limit 100, starting" in said
    assert "All times are in UTC." in said


@pytest.mark.django_db
def test_the_history_page_has_the_timeline(client):
    log_in(client, *EVERYTHING)
    history = page_of(records.standing_agreement()).replace("/change/", "/history/")

    assert "Created as Current." in words(client.get(history))


@pytest.mark.django_db
def test_the_page_says_if_perma_cc_sees_another_subscription(client):
    log_in(client, *EVERYTHING)
    pending = records.agreement()
    assert "This customer has no subscription." in words(client.get(page_of(pending)))

    standing = records.standing_agreement()
    said = words(client.get(page_of(pending)))
    assert f"Perma.cc sees another subscription of this customer, {standing.reference_number}" in said


@pytest.mark.django_db
def test_what_people_wrote_is_only_text_on_the_page(client):
    user = log_in(client, *EVERYTHING)
    agreement = records.standing_agreement()
    task = StaffTask.objects.create(kind="token missing", agreement=agreement)
    staff_tasks.finish(task.pk, by=user, note="<script>alert(1)</script>\nand more", now=timezone.now())
    response(records.outgoing(Kind.UPDATE, agreement), decision="<b>x</b>")
    page = client.get(page_of(agreement))

    assert b"<script>alert" not in page.content and b"<b>x" not in page.content
    assert "Note: <script>alert(1)</script> and more" in words(page)


@pytest.mark.django_db
def test_events_take_permission_to_view_their_tables(client):
    agreement = records.standing_agreement()
    response(records.outgoing(Kind.UPDATE, agreement))
    StaffTask.objects.create(kind="token missing", agreement=agreement, notified_at=timezone.now())
    log_in(client, "view_subscriptionagreement")
    said = words(client.get(page_of(agreement)))

    assert "Created as Current." in said
    assert "Task opened" not in said and "CyberSource accepted" not in said
    assert "4 more events that you don't have access to." in said


@pytest.mark.django_db
def test_the_page_takes_permission_to_view_subscriptions(client):
    log_in(client, "view_purchase")

    assert client.get(page_of(records.agreement())).status_code == 403


@pytest.mark.django_db
def test_a_missing_subscription_leads_to_the_front_page(client):
    log_in(client, *EVERYTHING)

    assert client.get("/admin/perma_payments/subscriptionagreement/999999/change/").status_code == 302


@pytest.mark.django_db
def test_all_links_of_the_timeline_work(client):
    log_in(client, *EVERYTHING)
    agreement = records.standing_agreement()
    answer = response(records.outgoing(Kind.UPDATE, agreement))
    with pghistory.context(source=HistorySource.CYBERSOURCE_RESPONSE, response=answer.pk):
        agreement.status = "Hold"
        agreement.save()
    StaffTask.objects.create(kind="token missing", agreement=agreement)
    confirmed(report((agreement, "CURRENT")))
    page = BeautifulSoup(client.get(page_of(agreement)).content, "html.parser")

    links = {link["href"] for link in page.select(".timeline a")}
    assert len(links) == 4
    assert {client.get(link).status_code for link in links} == {200}


# --- Purchases -----------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_timeline_of_a_purchase(client, call_back):
    checkout = records.outgoing(Kind.PURCHASE)
    bought = checkout.purchase
    call_back(records.form(checkout))
    log_in(client, *EVERYTHING)
    assert "10 links are paid for and waiting to be credited." in words(client.get(page_of(bought)))
    acknowledge_purchase(bought.pk, is_awaited=lambda: True, now=timezone.now())

    assert told(bought) == [
        "Created as Pending.",
        "The customer went to CyberSource to buy 10 links for $15.00.",
        "CyberSource accepted: successful (reason code 100).",
        "Changed by CyberSource's response.",
        "Perma.cc confirmed that it has credited the links.",
    ]
    assert "Perma.cc has confirmed that it credited them." in words(client.get(page_of(bought)))


@pytest.mark.django_db
def test_a_purchase_credited_in_sql_is_not_ascribed_to_perma_cc():
    bought = records.paid_purchase()
    Purchase.objects.filter(pk=bought.pk).update(acknowledged_at=timezone.now() - timedelta(hours=1))

    assert told(bought)[-1] == "Changed directly in the database (SQL)."


@pytest.mark.django_db
def test_perma_cc_is_not_told_of_an_unpaid_purchase(client):
    log_in(client, *EVERYTHING)

    assert "Nothing, because this purchase is not known to be paid." in words(
        client.get(page_of(records.purchase()))
    )


# --- Staff's and the scheduler's doings ---------------------------------------------------------------


@pytest.mark.django_db
def test_a_payment_that_staff_have_recorded_says_by_whom_and_why():
    outgoing = records.outgoing(Kind.PURCHASE)
    record_payment(
        outgoing.pk,
        transaction_id="7408214003316000001234",
        amount=outgoing.amount,
        paid_on=outgoing.created_at.date(),
        reference_number="",
        by=User.objects.create_user("jane"),
        reason="The Business Center shows it.",
        now=timezone.now(),
    )

    said = told(outgoing.purchase)
    assert any(text.startswith("jane recorded a payment from the Business Center: ") for text in said)
    changed = event_of(outgoing.purchase, "Changed by the payment that jane recorded.")
    assert changed.details[0] == "Reason: The Business Center shows it."


@pytest.mark.django_db
def test_an_abandoned_checkout_says_why():
    outgoing = records.outgoing(Kind.PURCHASE, records.purchase(created_at=timezone.now() - timedelta(days=2)))
    abandon_checkouts(now=timezone.now())

    event = event_of(outgoing.purchase, "The checkout had no response for a day.")
    assert event.details == ("status: Pending → Abandoned",)


@pytest.mark.django_db
def test_a_reopened_task_says_why():
    agreement = records.standing_agreement()
    task = StaffTask.objects.create(kind="duplicate charge", agreement=agreement)
    jane = User.objects.create_user("jane")
    staff_tasks.finish(task.pk, by=jane, note="Refunded.", now=timezone.now())
    staff_tasks.reopen(task.pk, by=jane, note="The refund failed.", now=timezone.now())

    assert event_of(agreement, "Task reopened:").details == ("Reason: The refund failed.",)
