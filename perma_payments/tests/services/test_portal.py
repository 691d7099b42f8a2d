"""What a customer sees of a subscription and of payments in the portal."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from perma_payments.billing.coverage import midnight
from perma_payments.billing.transactions import Kind
from perma_payments.models import OutgoingTransaction, Response, SubscriptionAgreement
from perma_payments.services.callbacks.receive import receive_callback
from perma_payments.services.cancellation import request_cancellation
from perma_payments.services.portal import (
    PortalSubscription,
    payment_of,
    payments_of,
    pending_subscription,
    subscription_of,
)

from .. import cyber_source, records
from ..records import INDIVIDUAL, REGISTRAR

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
DUE = date(2026, 12, 7)


def seen(**columns: Any) -> PortalSubscription:
    records.standing_agreement(**{"schedule_start": DUE, "covered_until": midnight(DUE), **columns})
    subscription = subscription_of(REGISTRAR, now=NOW)
    assert subscription is not None
    return subscription


def respond(
    outgoing: OutgoingTransaction, decision: str = "ACCEPT", now: datetime = NOW, **changes: Any
) -> Response:
    response = cyber_source.response(records.form(outgoing), decision, **changes)
    return receive_callback(b"body", list(response.items()), now=now)


# --- The subscription -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "can"),
    [
        ({}, {"update_card", "cancel"}),
        ({"status": "Hold"}, {"update_card", "cancel"}),
        ({"status": "Canceled"}, set()),
        ({"payment_token": ""}, {"cancel"}),
    ],
)
def test_what_can_be_done_depends_on_the_status(columns, can):
    subscription = seen(**columns)

    assert {name for name in ("update_card", "cancel", "keep") if getattr(subscription, f"can_{name}")} == can


@pytest.mark.parametrize("status", ["Current", "Hold"])
def test_a_requested_cancellation_can_only_be_taken_back(status):
    records.standing_agreement(status=status)
    request_cancellation(REGISTRAR, nonce=bytes(24), now=NOW)

    subscription = subscription_of(REGISTRAR, now=NOW)
    assert (subscription.can_keep, subscription.can_cancel, subscription.can_update_card) == (True, False, False)


def test_a_cancellation_that_staff_have_made_cannot_be_taken_back():
    assert not seen(cancellation_requested_at=NOW).can_keep


def test_the_next_charge_is_that_of_the_scheduled_terms_if_they_hold_by_then():
    scheduled = {"scheduled_rate": Decimal("10.00"), "scheduled_link_limit": "10"}

    subscription = seen(**scheduled, scheduled_from=midnight(DUE))
    assert (subscription.in_force.rate, subscription.renewal.rate) == (Decimal("45.00"), Decimal("10.00"))


def test_the_next_charge_is_that_of_the_scheduled_terms_even_if_they_begin_later():
    scheduled = {"scheduled_rate": Decimal("10.00"), "scheduled_link_limit": "10"}

    assert seen(**scheduled, scheduled_from=midnight(DUE) + timedelta(hours=9)).renewal.rate == Decimal("10.00")


def test_another_customers_subscription_is_not_seen():
    records.standing_agreement(INDIVIDUAL)

    assert subscription_of(REGISTRAR, now=NOW) is None


def test_the_latest_pending_checkout_is_mentioned_for_a_day():
    records.agreement(created_at=NOW - timedelta(hours=3))
    latest = records.agreement(created_at=NOW - timedelta(hours=2))
    records.agreement(INDIVIDUAL, created_at=NOW)
    records.agreement(created_at=NOW - timedelta(hours=1), status="Rejected")

    assert pending_subscription(REGISTRAR, now=NOW) == latest
    assert pending_subscription(REGISTRAR, now=NOW + timedelta(hours=22)) is None


# --- Payments ---------------------------------------------------------------------------------------


def test_all_that_a_customer_has_paid_is_listed_the_latest_first():
    first = records.outgoing(Kind.SUBSCRIBE)
    respond(first, now=NOW)
    upgrade = records.outgoing(Kind.CHANGE, SubscriptionAgreement.objects.get())
    respond(upgrade, now=NOW + timedelta(days=1))
    links = records.outgoing(Kind.PURCHASE)
    respond(links, now=NOW + timedelta(days=2))

    payments = payments_of(REGISTRAR)
    assert [(payment.outgoing, str(payment.amount)) for payment in payments] == [
        (links, "15.00"),
        (upgrade, "20.00"),
        (first, "12.50"),
    ]
    assert [payment.paid_at - NOW for payment in payments] == [timedelta(days=days) for days in (2, 1, 0)]


@pytest.mark.parametrize("decision", ["DECLINE", "ERROR", "CANCEL"])
@pytest.mark.parametrize("kind", [Kind.SUBSCRIBE, Kind.CHANGE, Kind.PURCHASE])
def test_what_was_not_charged_is_no_payment(kind, decision):
    respond(records.outgoing(kind), decision)

    assert payments_of(REGISTRAR) == []


def test_what_costs_nothing_is_no_payment():
    respond(records.outgoing(Kind.UPDATE))
    respond(records.outgoing(Kind.CHANGE, amount=Decimal("0.00")))
    respond(records.outgoing(Kind.SUBSCRIBE, amount=Decimal("0.00")))

    assert Response.objects.granted().count() == 3
    assert payments_of(REGISTRAR) == []


def test_a_duplicate_charge_which_staff_refund_is_no_second_payment():
    outgoing = records.outgoing(Kind.PURCHASE)
    first = respond(outgoing)
    respond(outgoing, transaction_id="7000000000000000000001")

    assert [payment.transaction_id for payment in payments_of(REGISTRAR)] == [first.transaction_id]


def test_a_payment_is_held_until_it_is_accepted():
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    held = respond(outgoing, "REVIEW")
    assert [payment.is_held for payment in payments_of(REGISTRAR)] == [True]

    respond(outgoing, "ACCEPT", transaction_id=held.transaction_id)
    assert [payment.is_held for payment in payments_of(REGISTRAR)] == [False]


def test_a_payment_is_found_only_by_its_own_customer():
    outgoing = records.outgoing(Kind.PURCHASE)
    respond(outgoing)

    assert payment_of(REGISTRAR, outgoing.transaction_uuid) is not None
    assert payment_of(INDIVIDUAL, outgoing.transaction_uuid) is None
    assert payments_of(INDIVIDUAL) == []


def test_payments_are_read_in_three_statements_however_many_there_are(django_assert_num_queries):
    for _ in range(3):
        respond(records.outgoing(Kind.PURCHASE))
    with django_assert_num_queries(3):
        assert len([payment.outgoing.reference_number for payment in payments_of(REGISTRAR)]) == 3
