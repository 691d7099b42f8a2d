"""What the client can read: shapes, and the formats of dates and amounts."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import assume, example, given, settings, strategies as st

from perma_payments.billing.customers import Customer, CustomerType
from perma_payments.billing.terms import Terms
from perma_payments.perma.box import KeyPair, PermaKeys
from perma_payments.perma.replies import (
    HistoricPurchase,
    Subscription,
    UnacknowledgedPurchase,
    format_datetime,
    purchase_history,
    subscription_status,
)

from .. import perma_cc

NOW = datetime(2026, 11, 21, 12, 0, 0, 250_000, tzinfo=UTC)
REGISTRAR = Customer(CustomerType.REGISTRAR, 7)
EASTERN = timezone(timedelta(hours=-5))

customers = st.builds(Customer, st.sampled_from(CustomerType), st.integers(1, 2**63 - 1))
offsets = st.integers(-86_399, 86_399).map(lambda seconds: timezone(timedelta(seconds=seconds)))


def subscription(**changes):
    return Subscription(
        **{
            "status": "Current",
            "rate": Decimal(120),
            "frequency": "annually",
            "link_limit": "unlimited",
            "link_limit_effective_timestamp": datetime(2026, 11, 1, tzinfo=UTC),
            "paid_through": datetime(2027, 11, 1, 23, 59, 59, tzinfo=UTC),
            "pending_change": None,
            "reference_number": "PERMA-1234-5678",
            **changes,
        }
    )


def status(*, subscription=None, purchases=(), customer=REGISTRAR):
    return json.loads(subscription_status(customer, subscription=subscription, purchases=purchases, now=NOW))


def history(*purchases, customer=REGISTRAR):
    return json.loads(purchase_history(customer, purchases=purchases, now=NOW))


def test_without_a_subscription_the_reply_has_null():
    assert status() == {
        "timestamp": NOW.timestamp(),
        "customer_pk": 7,
        "customer_type": "Registrar",
        "subscription": None,
        "purchases": [],
    }


def test_a_subscription_is_in_the_clients_formats():
    assert status(subscription=subscription())["subscription"] == {
        "status": "Current",
        "rate": "120.00",
        "frequency": "annually",
        "link_limit": "unlimited",
        "link_limit_effective_timestamp": "2026-11-01T00:00:00.000000Z",
        "paid_through": "2027-11-01T23:59:59.000000Z",
        "pending_change": None,
        "reference_number": "PERMA-1234-5678",
    }


def test_a_pending_change_is_in_the_clients_formats():
    terms = Terms(Decimal(10), "100", datetime(2026, 7, 13, tzinfo=UTC))

    assert status(subscription=subscription(pending_change=terms))["subscription"]["pending_change"] == {
        "rate": "10.00",
        "link_limit": "100",
        "effective": "2026-07-13T00:00:00.000000Z",
    }


def test_purchases_to_acknowledge_have_an_id_and_a_quantity():
    purchases = [UnacknowledgedPurchase(id=3, link_quantity=10), UnacknowledgedPurchase(id=4, link_quantity=100)]
    assert status(purchases=iter(purchases))["purchases"] == [
        {"id": 3, "link_quantity": 10},
        {"id": 4, "link_quantity": 100},
    ]


def test_a_customer_without_purchases_is_told_an_empty_history():
    assert history() == {
        "timestamp": NOW.timestamp(),
        "customer_pk": 7,
        "customer_type": "Registrar",
        "purchase_history": [],
    }


def test_a_history_has_dates_and_reference_numbers():
    purchase = HistoricPurchase(
        id=3, link_quantity=10, date=datetime(2026, 11, 21, tzinfo=UTC), reference_number="PERMA-0000-0001"
    )
    assert history(purchase)["purchase_history"] == [
        {
            "id": 3,
            "link_quantity": 10,
            "date": "2026-11-21T00:00:00.000000Z",
            "reference_number": "PERMA-0000-0001",
        }
    ]


@pytest.mark.parametrize("reply", [status, history])
@settings(deadline=None)
@given(customer=customers)
def test_the_customer_is_echoed_unchanged(reply, customer):
    told = reply(customer=customer)

    assert (told["customer_type"], told["customer_pk"]) == (customer.type.value, customer.pk)
    assert type(told["customer_pk"]) is int


def test_a_sealed_reply_is_read_by_the_client():
    keys = PermaKeys({"development": perma_cc.PERMA_PAYMENTS_SECRET}, {"development": perma_cc.PERMA_PUBLIC})
    plaintext = subscription_status(REGISTRAR, subscription=None, purchases=[], now=NOW)

    told = perma_cc.open_reply(
        {"encrypted_data": keys.seal(plaintext, keys=KeyPair("development", "development"))}
    )

    assert told["customer_pk"] == 7


@pytest.mark.parametrize(
    "rate, told",
    [
        ("120", "120.00"),
        ("45.0", "45.00"),
        ("0", "0.00"),
        ("12.34", "12.34"),
        ("9999999999.99", "9999999999.99"),
        ("1E+2", "100.00"),
    ],
)
def test_a_rate_is_a_string_with_two_decimals(rate, told):
    assert status(subscription=subscription(rate=Decimal(rate)))["subscription"]["rate"] == told


@pytest.mark.parametrize(
    "moment, text",
    [
        (datetime(2026, 11, 21, tzinfo=UTC), "2026-11-21T00:00:00.000000Z"),
        (datetime(2026, 11, 21, 1, 2, 3, 4, tzinfo=UTC), "2026-11-21T01:02:03.000004Z"),
        (datetime(2026, 11, 21, 1, 2, 3, 500_000, tzinfo=UTC), "2026-11-21T01:02:03.500000Z"),
        (datetime(2026, 11, 21, 20, tzinfo=EASTERN), "2026-11-22T01:00:00.000000Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000000Z"),
        (datetime.max.replace(tzinfo=UTC), "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_a_date_is_written_in_utc_always_with_a_fraction(moment, text):
    assert format_datetime(moment) == text


@settings(deadline=None)
@given(moment=st.datetimes(timezones=st.just(UTC) | offsets))
@example(moment=datetime.min.replace(tzinfo=UTC))
@example(moment=datetime.min.replace(tzinfo=EASTERN))
@example(moment=datetime.max.replace(tzinfo=UTC))
def test_the_client_reads_every_date_back(moment):
    try:
        expected = moment.astimezone(UTC)
    except OverflowError:  # before the year 1 or after 9999, once it is in UTC
        assume(False)
    assert perma_cc.read_datetime(format_datetime(moment)) == expected


def test_a_moment_without_a_time_zone_is_refused():
    with pytest.raises(ValueError, match=r"^the time has no time zone$"):
        format_datetime(datetime(2026, 11, 21))
