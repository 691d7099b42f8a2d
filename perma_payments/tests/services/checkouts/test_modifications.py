"""A customer changes plans, or replaces the card."""

import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from perma_payments.billing.transactions import Kind
from perma_payments.cybersource.checkout import SignedForm
from perma_payments.models import OutgoingTransaction, SubscriptionAgreement
from perma_payments.perma.messages import ChangeMessage, UpdateMessage
from perma_payments.services.callbacks.receive import receive_callback
from perma_payments.services.checkouts.begin import change, update
from perma_payments.services.checkouts.modifiable import NothingToModify
from perma_payments.services.checkouts.used_messages import MessageUsedUp
from perma_payments.services.perma_queries import standing_subscription

from ... import cyber_source, records
from ...records import INDIVIDUAL, REGISTRAR

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NEXT_MONTH = datetime(2026, 12, 1, tzinfo=UTC)
BOTH = pytest.mark.parametrize("kind", [Kind.CHANGE, Kind.UPDATE])


def begin(kind: Kind, nonce: bytes | None = None, *, now: datetime = NOW, **changes: Any) -> SignedForm:
    nonce = nonce or secrets.token_bytes(24)
    if kind == Kind.UPDATE:
        return update(UpdateMessage(**{"customer": REGISTRAR, **changes}), nonce=nonce, now=now)
    message = ChangeMessage(
        **{
            "customer": REGISTRAR,
            "amount": Decimal("20.00"),
            "recurring_amount": Decimal("90.00"),
            "link_limit": "500",
            "link_limit_effective_timestamp": NOW,
            "rendered_at": now,
            **changes,
        }
    )
    return change(message, nonce=nonce, now=now)


def respond(form: SignedForm, decision: str = "ACCEPT", **changes: Any) -> None:
    receive_callback(b"body", list(cyber_source.response(form.fields, decision, **changes).items()), now=NOW)


def unsigned(form: SignedForm) -> dict[str, str]:
    """The fields that say what is wanted."""
    wanted = (
        "transaction_type",
        "reference_number",
        "amount",
        "currency",
        "recurring_amount",
        "payment_token",
        "allow_payment_token_update",
        "recurring_frequency",
        "recurring_start_date",
    )
    return {name: form.fields[name] for name in wanted if name in form.fields}


def test_an_upgrade_charges_the_stored_card():
    agreement = records.standing_agreement()

    assert unsigned(begin(Kind.CHANGE)) == {
        "transaction_type": "sale,update_payment_token",
        "reference_number": agreement.reference_number,
        "amount": "20.00",
        "currency": "USD",
        "recurring_amount": "90.00",
        "payment_token": records.TOKEN,
        "allow_payment_token_update": "true",
    }


def test_a_downgrade_charges_nothing_and_is_not_a_sale():
    records.standing_agreement()
    form = begin(Kind.CHANGE, amount=Decimal("0.00"))

    assert form.fields["transaction_type"] == "update_payment_token"
    assert form.fields["amount"] == "0.00"
    assert form.action.endswith("/token/update")


def test_a_card_update_asks_for_no_money():
    agreement = records.standing_agreement()

    assert unsigned(begin(Kind.UPDATE)) == {
        "transaction_type": "update_payment_token",
        "reference_number": agreement.reference_number,
        "payment_token": records.TOKEN,
        "allow_payment_token_update": "true",
    }


def test_where_a_transaction_type_is_posted_is_a_setting(settings):
    records.standing_agreement()
    paths = {**settings.CS_PATHS, "update_payment_token": "/pay"}
    settings.CS_PROFILE = replace(settings.CS_PROFILE, paths=paths)
    assert begin(Kind.UPDATE).action.endswith("/pay")


@BOTH
@pytest.mark.parametrize(
    "state",
    [
        {"status": "Canceled", "covered_until": NOW + timedelta(days=9)},
        {"status": "Current", "cancellation_requested_at": NOW},
        {"status": "Hold", "cancellation_requested_at": NOW},
        {"status": "Pending"},
        {"status": "Completed"},
        {"payment_token": ""},
    ],
)
def test_an_ending_or_tokenless_subscription_is_not_modified(kind, state):
    records.standing_agreement(**state)

    with pytest.raises(NothingToModify):
        begin(kind)
    assert not OutgoingTransaction.objects.exists()


@BOTH
def test_a_customer_without_a_subscription_has_nothing_to_modify(kind):
    records.standing_agreement(INDIVIDUAL)

    with pytest.raises(NothingToModify):
        begin(kind)


@BOTH
def test_a_subscription_on_hold_can_be_modified(kind):
    records.standing_agreement(status="Hold")

    assert begin(kind).fields["payment_token"] == records.TOKEN


@BOTH
def test_of_two_subscriptions_the_oldest_is_modified(kind):
    records.standing_agreement(created_at=NOW)
    oldest = records.standing_agreement(created_at=NOW - timedelta(days=1))

    assert begin(kind).fields["reference_number"] == oldest.reference_number


@BOTH
def test_a_message_leads_to_one_checkout_until_it_ends(kind):
    records.standing_agreement()
    nonce = secrets.token_bytes(24)
    first, second = begin(kind, nonce), begin(kind, nonce, now=NOW + timedelta(minutes=15))
    assert first.fields["transaction_uuid"] == second.fields["transaction_uuid"]
    assert OutgoingTransaction.objects.count() == 1

    respond(first, "DECLINE")
    with pytest.raises(MessageUsedUp):
        begin(kind, nonce)


@BOTH
def test_a_message_is_useless_after_a_cancellation_request(kind):
    agreement = records.standing_agreement()
    nonce = secrets.token_bytes(24)
    begin(kind, nonce)
    SubscriptionAgreement.objects.filter(pk=agreement.pk).update(cancellation_requested_at=NOW)

    with pytest.raises(NothingToModify):
        begin(kind, nonce)


@BOTH
def test_beginning_changes_nothing(kind):
    agreement = records.standing_agreement()
    begin(kind)

    assert agreement.events.count() == 1


@pytest.mark.parametrize("decision", ["DECLINE", "ERROR", "CANCEL"])
@BOTH
def test_a_checkout_that_fails_leaves_the_subscription_as_it_was(kind, decision):
    agreement = records.standing_agreement()
    before = standing_subscription(REGISTRAR, now=NOW)
    respond(begin(kind), decision)

    assert standing_subscription(REGISTRAR, now=NOW) == before
    assert agreement.events.count() == 1
