"""What is posted to CyberSource: these fields and no others, all signed."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from perma_payments.billing.transactions import Kind
from perma_payments.cybersource.checkout import transaction_type
from perma_payments.cybersource.signature import SigningKey, SigningKeys

from .. import cyber_source
from .orders import KEY, NOW, TOKEN, form, order, profile

ALWAYS = {
    "access_key": cyber_source.ACCESS_KEY,
    "profile_id": cyber_source.PROFILE_ID,
    "transaction_uuid": "2f1c7c52-7a54-4a2f-9a0e-0f6f2f6b1c01",
    "signed_date_time": "2026-11-21T12:00:00Z",
    "locale": "en-us",
    "reference_number": "PERMA-1234-5678",
    "payment_method": "card",
    "unsigned_field_names": "",
}
TOKEN_FIELDS = {"payment_token": TOKEN, "allow_payment_token_update": "true"}

every_kind = pytest.mark.parametrize("kind", Kind)


@pytest.mark.parametrize(
    "kind, fields",
    [
        (Kind.PURCHASE, {"transaction_type": "sale", "amount": "15.00", "currency": "USD"}),
        (
            Kind.SUBSCRIBE,
            {
                "transaction_type": "sale,create_payment_token",
                "amount": "12.50",
                "currency": "USD",
                "recurring_amount": "45.00",
                "recurring_frequency": "monthly",
                "recurring_start_date": "20261201",
            },
        ),
        (
            Kind.CHANGE,
            {
                "transaction_type": "sale,update_payment_token",
                "amount": "12.50",
                "currency": "USD",
                "recurring_amount": "45.00",
                **TOKEN_FIELDS,
            },
        ),
        (Kind.UPDATE, {"transaction_type": "update_payment_token", **TOKEN_FIELDS}),
    ],
)
def test_the_form_of_each_kind_has_these_fields_and_no_others(kind, fields):
    found = dict(form(kind).fields)

    signed_field_names = found.pop("signed_field_names").split(",")
    assert len(found.pop("signature")) == 44
    assert found == {**ALWAYS, **fields}
    assert sorted(signed_field_names) == sorted([*ALWAYS, *fields, "signed_field_names"])


@every_kind
def test_the_form_is_signed_as_cybersource_checks_it(kind):
    fields = form(kind).fields
    assert fields["signature"] == cyber_source.sign(fields)


@every_kind
def test_all_values_are_text(kind):
    assert all(isinstance(value, str) and f"{value}" == value for value in form(kind).fields.values())


def test_a_change_that_costs_nothing_today_is_not_a_sale():
    fields = form(Kind.CHANGE, amount=Decimal("0.00")).fields
    assert fields["transaction_type"] == "update_payment_token"
    assert (fields["amount"], fields["recurring_amount"]) == ("0.00", "45.00")


def test_a_subscription_that_costs_nothing_today_is_a_sale():
    fields = form(Kind.SUBSCRIBE, amount=Decimal("0.00")).fields
    assert fields["transaction_type"] == "sale,create_payment_token"
    assert fields["amount"] == "0.00"


@pytest.mark.parametrize(
    "kind, amount, expected",
    [
        (Kind.SUBSCRIBE, Decimal("12.50"), "sale,create_payment_token"),
        (Kind.SUBSCRIBE, Decimal("0.00"), "sale,create_payment_token"),
        (Kind.CHANGE, Decimal("12.50"), "sale,update_payment_token"),
        (Kind.CHANGE, Decimal("0.01"), "sale,update_payment_token"),
        (Kind.CHANGE, Decimal("0.00"), "update_payment_token"),
        (Kind.UPDATE, None, "update_payment_token"),
        (Kind.PURCHASE, Decimal("15.00"), "sale"),
    ],
)
def test_the_transaction_type_depends_on_kind_and_amount(kind, amount, expected):
    assert transaction_type(kind, amount) == expected


@pytest.mark.parametrize("amount, text", [("15", "15.00"), ("15.5", "15.50"), ("0", "0.00"), ("1E+3", "1000.00")])
def test_amounts_are_posted_with_two_decimals(amount, text):
    assert form(Kind.PURCHASE, amount=Decimal(amount)).fields["amount"] == text


@pytest.mark.parametrize(
    "now",
    [
        NOW,
        NOW.replace(microsecond=999_999),
        NOW.astimezone(timezone(timedelta(hours=-5))),
        NOW.astimezone(timezone(timedelta(hours=13, minutes=45))),
    ],
)
def test_the_form_is_dated_in_utc_without_a_fraction(now):
    assert profile().form(order(Kind.PURCHASE), now=now).fields["signed_date_time"] == "2026-11-21T12:00:00Z"


def test_a_repeated_form_has_a_new_date_and_signature():
    first, second = (
        profile().form(order(Kind.PURCHASE), now=datetime(2026, 11, 21, 12, minute, tzinfo=UTC)).fields
        for minute in (0, 1)
    )
    assert {name for name in first if first[name] != second[name]} == {"signed_date_time", "signature"}


@pytest.mark.parametrize(
    "kind, action",
    [
        (Kind.PURCHASE, "https://cybersource.example/pay"),
        (Kind.SUBSCRIBE, "https://cybersource.example/pay"),
        (Kind.CHANGE, "https://cybersource.example/pay"),
        (Kind.UPDATE, "https://cybersource.example/token/update"),
    ],
)
def test_each_kind_is_posted_to_the_path_of_its_transaction_type(kind, action):
    assert form(kind).action == action


def test_paths_can_be_set():
    paths = {"update_payment_token": "/elsewhere"}
    action = profile(paths=paths).form(order(Kind.UPDATE), now=NOW).action
    assert action == "https://cybersource.example/elsewhere"


def test_the_first_key_of_the_ring_signs_the_form():
    new = SigningKey("new", "secret of the new")

    fields = profile(keys=SigningKeys(new, KEY)).form(order(Kind.PURCHASE), now=NOW).fields

    assert fields["access_key"] == "new"
    assert fields["signature"] == cyber_source.sign(fields, new.secret)
