"""Perma.cc asks for a customer's status."""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from perma_payments.billing.customers import Customer, CustomerType
from perma_payments.billing.statuses import PurchaseStatus, Status
from perma_payments.models import SubscriptionAgreement
from perma_payments.services.perma_queries import (
    standing_subscription,
    status_of,
    subscription_for_perma,
    unacknowledged_purchases,
)

from .. import perma_cc, records
from ..records import INDIVIDUAL, REGISTRAR

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def status(now: datetime = NOW) -> str | None:
    subscription = standing_subscription(REGISTRAR, now=now)
    return subscription and subscription.status


def test_a_customer_without_an_agreement_has_no_subscription():
    records.standing_agreement(INDIVIDUAL)

    assert status() is None


@pytest.mark.parametrize("held", ["Pending", "Rejected", "Aborted", "Completed", "Superseded"])
def test_an_agreement_that_does_not_stand_is_not_shown(held):
    records.standing_agreement(status=held)

    assert status() is None


@pytest.mark.parametrize("held", ["Current", "Hold"])
def test_current_and_hold_are_shown_whatever_is_paid_for(held):
    records.standing_agreement(status=held, covered_until=NOW - timedelta(days=40))

    assert status() == held


def test_canceled_is_shown_to_the_last_second_that_is_paid_for():
    records.standing_agreement(status="Canceled", covered_until=NOW)

    assert status(NOW) == "Canceled"
    assert status(NOW + timedelta(microseconds=1)) is None


@pytest.mark.parametrize(
    ("held", "shown"), [("Current", "Cancellation Requested"), ("Hold", "Hold"), ("Canceled", "Canceled")]
)
def test_a_requested_cancellation_stands_in_for_current_only(held, shown):
    records.standing_agreement(status=held, cancellation_requested_at=NOW, covered_until=NOW)

    assert status() == shown


def test_of_two_standing_subscriptions_the_oldest_is_shown():
    records.standing_agreement(created_at=NOW, current_link_limit="500")
    records.standing_agreement(created_at=NOW - timedelta(days=1), current_link_limit="10")

    assert standing_subscription(REGISTRAR, now=NOW).link_limit == "10"


def test_a_canceled_subscription_gives_way_to_a_charged_one():
    records.standing_agreement(created_at=NOW - timedelta(days=1), status="Canceled", covered_until=NOW)
    records.standing_agreement(created_at=NOW)

    assert status() == "Current"


def test_the_statement_and_the_querysets_have_the_same_rules():
    draw = random.Random(7)
    customers = [Customer(kind, pk) for kind in CustomerType for pk in range(1, 31)]
    moments = [NOW - timedelta(microseconds=1), NOW, NOW + timedelta(days=1)]
    for customer in customers:
        for _ in range(draw.randrange(4)):
            records.standing_agreement(
                customer,
                status=draw.choice(list(Status)),
                covered_until=draw.choice(moments),
                created_at=draw.choice(moments),
            )
            paid = draw.choice([*PurchaseStatus, PurchaseStatus.PAID]) == PurchaseStatus.PAID
            records.paid_purchase(
                customer, acknowledged_at=draw.choice([None, NOW])
            ) if paid else records.purchase(
                customer, status=draw.choice(sorted({*PurchaseStatus} - {PurchaseStatus.PAID}))
            )

    found = {customer: status_of(customer, now=NOW) for customer in customers}

    for customer, status in found.items():
        foremost = SubscriptionAgreement.objects.of(customer).standing(NOW).first()
        assert status.subscription == (foremost and subscription_for_perma(foremost, now=NOW))
        assert status.offered == unacknowledged_purchases(customer)[:1]
    # They have been told apart.
    assert len({status.subscription and status.subscription.status for status in found.values()}) == 4
    assert {len(status.offered) for status in found.values()} == {0, 1}


def test_only_paid_unacknowledged_purchases_are_offered():
    first, second = records.paid_purchase(), records.paid_purchase(link_quantity=500)
    records.paid_purchase(acknowledged_at=NOW)
    records.paid_purchase(INDIVIDUAL)
    for unpaid in ("Pending", "Refused", "Aborted"):
        records.purchase(status=unpaid)

    assert [(purchase.id, purchase.link_quantity) for purchase in unacknowledged_purchases(REGISTRAR)] == [
        (first.pk, 10),
        (second.pk, 500),
    ]


def test_the_oldest_purchase_is_offered_until_acknowledged(post):
    """Of several at once, the client would credit a later one twice if the first is not acknowledged."""
    first, second = records.paid_purchase(), records.paid_purchase(link_quantity=100)
    offered = []
    for _ in range(3):
        offered.append(perma_cc.open_reply(post("subscription").json())["purchases"])
        for purchase in offered[-1]:
            assert post("acknowledge-purchase", purchase_pk=purchase["id"]).status_code == 200

    assert offered == [[{"id": first.pk, "link_quantity": 10}], [{"id": second.pk, "link_quantity": 100}], []]


def test_the_reply_is_what_the_client_can_read(post):
    effective = datetime(2026, 12, 1, tzinfo=UTC)
    agreement = records.standing_agreement(
        current_rate=Decimal(120),
        current_frequency="annually",
        current_link_limit="unlimited",
        current_link_limit_effective_timestamp=effective,
        schedule_start=date(2099, 10, 21),
    )
    purchase = records.paid_purchase()

    response = post("subscription")

    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    reply = perma_cc.open_reply(response.json())
    assert abs(reply.pop("timestamp") - timezone.now().timestamp()) < 120
    assert reply == {
        "customer_pk": 7,
        "customer_type": "Registrar",
        "subscription": {
            "status": "Current",
            "rate": "120.00",
            "frequency": "annually",
            "link_limit": "unlimited",
            "link_limit_effective_timestamp": "2026-12-01T00:00:00.000000Z",
            "paid_through": "2099-10-21T00:00:00.000000Z",
            "pending_change": None,
            "reference_number": agreement.reference_number,
        },
        "purchases": [{"id": purchase.pk, "link_quantity": 10}],
    }


def test_the_reply_about_a_stranger_holds_null_and_an_empty_list(post):
    reply = perma_cc.open_reply(post("subscription", customer_pk=2**40, customer_type="Individual").json())

    assert (reply["subscription"], reply["purchases"]) == (None, [])
    assert (reply["customer_pk"], reply["customer_type"]) == (2**40, "Individual")


def test_a_status_query_is_one_statement(post, django_assert_num_queries):
    records.standing_agreement()
    records.paid_purchase()
    post("subscription")  # after which the use of its keys is written

    with django_assert_num_queries(1):
        post("subscription")
