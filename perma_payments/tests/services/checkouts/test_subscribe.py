"""A customer chooses a plan, and is sent to CyberSource."""

import secrets
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from perma_payments.billing.customers import Customer
from perma_payments.billing.schedules import Frequency
from perma_payments.billing.transactions import Kind
from perma_payments.cybersource.checkout import SignedForm
from perma_payments.models import OutgoingTransaction, ReferenceNumber, SubscriptionAgreement
from perma_payments.perma.messages import SubscribeMessage
from perma_payments.services.callbacks.receive import receive_callback
from perma_payments.services.checkouts.begin import AlreadySubscribed, subscribe
from perma_payments.services.checkouts.used_messages import MessageUsedUp

from ... import cyber_source, records
from ...cyber_source import sign

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def message(**changes: Any) -> SubscribeMessage:
    return SubscribeMessage(
        **{
            "customer": records.REGISTRAR,
            "amount": Decimal("12.50"),
            "recurring_amount": Decimal("45.00"),
            "recurring_frequency": Frequency.MONTHLY,
            "recurring_start_date": datetime(2026, 12, 1).date(),
            "link_limit": "100",
            "link_limit_effective_timestamp": NOW,
            **changes,
        }
    )


def begin(nonce: bytes | None = None, *, now: datetime = NOW, **changes: Any) -> SignedForm:
    return subscribe(message(**changes), nonce=nonce or secrets.token_bytes(24), now=now)


def respond(form: SignedForm, decision: str = "ACCEPT", *, now: datetime = NOW) -> None:
    receive_callback(b"body", list(cyber_source.response(form.fields, decision).items()), now=now)


def test_what_was_asked_for_is_what_is_signed_and_remembered():
    form = begin()

    outgoing = OutgoingTransaction.objects.get()
    assert outgoing.created_at == outgoing.agreement.created_at == NOW
    assert outgoing.agreement.events.get().pgh_context == {"source": "customer request"}
    signing = ("signature", "signed_field_names")
    signed = {name: value for name, value in form.fields.items() if name not in signing}
    assert signed == {
        "access_key": cyber_source.ACCESS_KEY,
        "profile_id": cyber_source.PROFILE_ID,
        "transaction_uuid": str(outgoing.transaction_uuid),
        "signed_date_time": "2026-11-21T12:00:00Z",
        "locale": "en-us",
        "transaction_type": "sale,create_payment_token",
        "reference_number": outgoing.agreement.reference_number,
        "payment_method": "card",
        "amount": "12.50",
        "currency": "USD",
        "recurring_amount": "45.00",
        "recurring_frequency": "monthly",
        "recurring_start_date": "20261201",
        "unsigned_field_names": "",
    }
    assert form.fields["signature"] == sign(form.fields)
    assert outgoing.agreement.customer == records.REGISTRAR
    assert outgoing.agreement.status == "Pending"
    assert outgoing.agreement.current_rate is None


def test_nothing_due_today_is_a_legitimate_amount():
    assert begin(amount=Decimal("0.00")).fields["amount"] == "0.00"


def test_each_checkout_has_its_own_reference_number_and_uuid():
    forms = [begin() for _ in range(3)]

    assert len({form.fields["transaction_uuid"] for form in forms}) == 3
    assert {form.fields["reference_number"] for form in forms} == set(
        ReferenceNumber.objects.values_list("value", flat=True)
    )


def test_a_repeated_message_leads_to_the_same_checkout():
    nonce = secrets.token_bytes(24)
    first = begin(nonce)
    second = begin(nonce, now=NOW + timedelta(minutes=15))

    same = ("transaction_uuid", "reference_number", "amount", "recurring_start_date")
    assert [first.fields[name] for name in same] == [second.fields[name] for name in same]
    assert second.fields["signed_date_time"] == "2026-11-21T12:15:00Z"
    assert second.fields["signature"] == sign(second.fields)
    assert OutgoingTransaction.objects.count() == SubscriptionAgreement.objects.count() == 1


def test_a_message_is_used_up_after_the_duplicate_check():
    nonce = secrets.token_bytes(24)
    begin(nonce)

    with pytest.raises(MessageUsedUp, match="^transaction "):
        begin(nonce, now=NOW + timedelta(minutes=15, seconds=1))
    assert OutgoingTransaction.objects.count() == 1


@pytest.mark.parametrize(("decision", "not_charged"), [("DECLINE", True), ("CANCEL", True), ("ERROR", False)])
def test_a_message_is_used_up_once_its_checkout_has_failed(decision, not_charged):
    nonce = secrets.token_bytes(24)
    respond(begin(nonce), decision)

    with pytest.raises(MessageUsedUp) as refused:
        begin(nonce)
    assert refused.value.not_charged == not_charged


@pytest.mark.parametrize("decision", ["ACCEPT", "REVIEW"])
def test_someone_who_has_just_paid_already_has_a_subscription(decision):
    nonce = secrets.token_bytes(24)
    respond(begin(nonce), decision)

    with pytest.raises(AlreadySubscribed):
        begin(nonce)


@pytest.mark.parametrize(
    ("decision", "hours", "has_paid"),
    [("ACCEPT", 0, True), ("REVIEW", 23, True), ("ACCEPT", 25, False), ("DECLINE", 0, False)],
)
def test_so_has_someone_whose_payment_waits_to_be_applied(decision, hours, has_paid):
    """As behind a status report. Perma.cc doesn't know of it yet, and offers them all plans."""
    received_at = NOW - timedelta(hours=hours)
    records.response(outgoing=records.outgoing(Kind.SUBSCRIBE), decision=decision, received_at=received_at)
    records.response(outgoing=records.outgoing(Kind.PURCHASE), received_at=NOW)

    with pytest.raises(AlreadySubscribed) if has_paid else nullcontext():
        begin()
    assert begin(customer=records.INDIVIDUAL)


def test_a_message_is_refused_once_another_checkout_was_paid():
    nonce = secrets.token_bytes(24)
    begin(nonce)
    respond(begin())

    with pytest.raises(AlreadySubscribed):
        begin(nonce)


def test_a_nonce_that_another_customer_used_begins_nothing():
    nonce = secrets.token_bytes(24)
    begin(nonce)

    with pytest.raises(MessageUsedUp):
        begin(nonce, customer=records.INDIVIDUAL)
    assert SubscriptionAgreement.objects.count() == 1


@pytest.mark.parametrize(
    "standing",
    [
        {"status": "Current"},
        {"status": "Current", "cancellation_requested_at": NOW},
        {"status": "Current", "covered_until": NOW - timedelta(days=1)},
        {"status": "Hold", "covered_until": NOW - timedelta(days=1)},
        {"status": "Canceled", "covered_until": NOW + timedelta(seconds=1)},
    ],
)
def test_a_customer_with_a_standing_subscription_is_sent_nowhere(standing):
    records.standing_agreement(**standing)

    with pytest.raises(AlreadySubscribed):
        begin()
    assert not OutgoingTransaction.objects.exists()


@pytest.mark.parametrize(
    "ended",
    [
        {"status": "Pending"},
        {"status": "Rejected"},
        {"status": "Aborted"},
        {"status": "Completed"},
        {"status": "Superseded"},
        {"status": "Canceled", "covered_until": NOW - timedelta(seconds=1)},
    ],
)
def test_a_customer_whose_subscription_has_ended_may_start_over(ended):
    records.standing_agreement(**ended)

    assert begin().fields["transaction_uuid"]


def test_another_customers_subscription_does_not_matter():
    records.standing_agreement(records.INDIVIDUAL)
    records.standing_agreement(Customer(records.REGISTRAR.type, 8))

    assert begin().fields["transaction_uuid"]
