"""Bonus links: bought, offered, credited once, listed for ever."""

import secrets
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from perma_payments.models import OutgoingTransaction, Purchase
from perma_payments.perma.messages import PurchaseMessage
from perma_payments.services.acknowledgement import NotAcknowledgeable, acknowledge_purchase
from perma_payments.services.checkouts.begin import purchase
from perma_payments.services.checkouts.used_messages import MessageUsedUp

from ... import perma_cc, records
from ...records import INDIVIDUAL, REGISTRAR

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
MESSAGE = PurchaseMessage(customer=REGISTRAR, amount=Decimal("15.00"), link_quantity=10)


def test_a_purchase_is_a_plain_sale():
    form = purchase(MESSAGE, nonce=secrets.token_bytes(24), now=NOW)

    bought = Purchase.objects.get()
    assert bought.created_at == NOW
    assert (bought.customer, bought.status, bought.amount, bought.link_quantity) == (
        REGISTRAR,
        "Pending",
        Decimal("15.00"),
        10,
    )
    assert (form.fields["transaction_type"], form.fields["amount"]) == ("sale", "15.00")
    assert form.fields["reference_number"] == bought.reference_number
    assert "payment_token" not in form.fields


def test_the_same_message_buys_once():
    nonce = secrets.token_bytes(24)
    first = purchase(MESSAGE, nonce=nonce, now=NOW)
    second = purchase(MESSAGE, nonce=nonce, now=NOW + timedelta(minutes=15))

    assert first.fields["transaction_uuid"] == second.fields["transaction_uuid"]
    assert OutgoingTransaction.objects.count() == Purchase.objects.count() == 1
    with pytest.raises(MessageUsedUp):
        purchase(MESSAGE, nonce=nonce, now=NOW + timedelta(minutes=16))


def test_a_paid_purchase_is_acknowledged_once():
    bought = records.paid_purchase()
    acknowledge_purchase(bought.pk, is_awaited=lambda: True, now=NOW)

    bought.refresh_from_db()
    assert bought.acknowledged_at == NOW
    with pytest.raises(NotAcknowledgeable):
        acknowledge_purchase(bought.pk, is_awaited=lambda: True, now=NOW + timedelta(hours=1))
    bought.refresh_from_db()
    assert bought.acknowledged_at == NOW
    assert bought.events.count() == 2


@pytest.mark.parametrize("status", ["Pending", "Refused", "Aborted"])
def test_an_unpaid_purchase_cannot_be_acknowledged(status, post):
    bought = records.purchase(status=status)

    assert post("acknowledge-purchase", purchase_pk=bought.pk).status_code == 400
    bought.refresh_from_db()
    assert bought.acknowledged_at is None


def test_acknowledgements_are_answered_as_the_client_expects(post, caplog):
    bought = records.paid_purchase()

    first = post("acknowledge-purchase", purchase_pk=bought.pk)
    assert (first.status_code, first.json()) == (200, {"status": "ok"})
    assert post("acknowledge-purchase", purchase_pk=bought.pk).status_code == 400
    assert post("acknowledge-purchase", purchase_pk=2**63 - 1).status_code == 400
    assert "acknowledged before" in caplog.text


def test_the_history_lists_what_was_paid_acknowledged_or_not(post):
    paid_at = datetime(2026, 11, 20, tzinfo=UTC)
    second = records.paid_purchase(paid_at=paid_at, link_quantity=500)
    first = records.paid_purchase(paid_at=paid_at - timedelta(days=1), acknowledged_at=NOW)
    records.paid_purchase(INDIVIDUAL)
    records.purchase()

    reply = perma_cc.open_reply(post("purchase-history").json())
    assert reply["purchase_history"] == [
        {
            "id": first.pk,
            "link_quantity": 10,
            "date": "2026-11-19T00:00:00.000000Z",
            "reference_number": first.reference_number,
        },
        {
            "id": second.pk,
            "link_quantity": 500,
            "date": "2026-11-20T00:00:00.000000Z",
            "reference_number": second.reference_number,
        },
    ]
    assert (reply["customer_pk"], reply["customer_type"]) == (7, "Registrar")


def test_the_history_of_a_customer_without_purchases_is_empty(post, django_assert_num_queries):
    with django_assert_num_queries(2):  # the purchases, and the use of the keys
        response = post("purchase-history")

    assert perma_cc.open_reply(response.json())["purchase_history"] == []
