"""Perma.cc's messages, customers and plans, and the box they travel in."""

import base64
import json
import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, strategies as st

from sandbox.config import Config
from sandbox.perma.box import BoxError, PermaBox, strict_json
from sandbox.perma.messages import (
    acknowledge_message,
    change_message,
    change_to,
    customer_message,
    first_payment,
    purchase_message,
    subscribe_message,
)
from sandbox.perma.store import CUSTOMERS, Package, Plan, find_customer, plans_for

from .builders import OF_2024, OF_2026
from .replies import payments_box

NOW = datetime(2026, 3, 10, 9, 30, 0, 250000, tzinfo=UTC)
MONTHLY = Plan("100", "monthly", Decimal("45.00"))
ANNUAL = Plan("unlimited", "annually", Decimal("2500.00"))


def perma_box():
    """The box at Perma.cc's end."""
    config = Config()
    return PermaBox(secret_key=config.perma_secret_key, public_key=config.payments_public_key)


def at(day):
    """Some time of a day."""
    return datetime.fromisoformat(f"{day}T12:30:00+00:00")


# Messages


PRORATED = {"amount": "31.94", "recurring_start_date": "2026-04-01"}


@pytest.mark.parametrize(
    "perma_client, key, differing",
    [
        (OF_2024, "Registrar-7", PRORATED),
        (OF_2024, "Individual-7", PRORATED),
        (OF_2026, "Registrar-7", {"customer_name": "Example Law Library"}),
        (OF_2026, "Individual-7", {}),
    ],
)
def test_a_subscribe_message_has_the_fields_of_the_contract(perma_client, key, differing):
    customer = find_customer(key)
    assert subscribe_message(perma_client, customer, MONTHLY, NOW) == {
        "timestamp": 1773135000.25,
        "customer_pk": 7,
        "customer_type": customer.customer_type,
        "amount": "45.00",
        "recurring_amount": "45.00",
        "recurring_frequency": "monthly",
        "recurring_start_date": "2026-04-10",
        "link_limit": "100",
        "link_limit_effective_timestamp": 1773135000.25,
        **differing,
    }


@pytest.mark.parametrize("key", [*(customer.key for customer in CUSTOMERS), "Registrar-4711"])
def test_a_name_is_one_that_can_be_sent(key):
    name = find_customer(key).name
    assert name == name.strip()
    assert 1 <= len(name) <= 400


def test_some_registrars_have_names_in_another_script():
    assert not find_customer("Registrar-4711").name.isascii()


def test_a_timestamp_is_always_a_float():
    message = subscribe_message(OF_2026, find_customer("Individual-1"), ANNUAL, NOW.replace(microsecond=0))
    assert isinstance(message["timestamp"], float)
    assert '"timestamp": 1773135000.0' in json.dumps(message)


@pytest.mark.parametrize(
    "plan, today, amount, start",
    [
        (MONTHLY, "2026-05-13", "45.00", "2026-06-13"),
        (MONTHLY, "2026-01-31", "45.00", "2026-02-28"),
        (MONTHLY, "2028-01-31", "45.00", "2028-02-29"),
        (MONTHLY, "2026-11-30", "45.00", "2026-12-30"),
        (MONTHLY, "2026-12-31", "45.00", "2027-01-31"),
        (ANNUAL, "2026-03-10", "2500.00", "2027-03-10"),
        (ANNUAL, "2028-02-29", "2500.00", "2029-02-28"),
    ],
)
def test_the_first_payment_is_full_and_repeats_on_the_same_day(plan, today, amount, start):
    payment = first_payment(OF_2026, plan, at(today))
    assert (f"{payment.amount:.2f}", f"{payment.recurring_start_date}") == (amount, start)


@pytest.mark.parametrize(
    "plan, today, amount, start",
    [
        (MONTHLY, "2026-03-01", "45.00", "2026-04-01"),
        (MONTHLY, "2026-03-10", "31.94", "2026-04-01"),
        (MONTHLY, "2026-02-27", "3.21", "2026-03-01"),
        (MONTHLY, "2026-12-31", "1.45", "2027-01-01"),
        (ANNUAL, "2026-03-10", "2500.00", "2027-03-10"),
        (ANNUAL, "2028-02-29", "2500.00", "2029-02-28"),
    ],
)
def test_in_2024_a_month_is_paid_until_the_first_of_the_next(plan, today, amount, start):
    payment = first_payment(OF_2024, plan, at(today))
    assert (f"{payment.amount:.2f}", f"{payment.recurring_start_date}") == (amount, start)


@given(
    st.sampled_from([OF_2024, OF_2026]),
    st.datetimes(datetime(2020, 1, 1), datetime(2050, 12, 31), timezones=st.just(UTC)),
    st.sampled_from(plans_for(CUSTOMERS[0]) + plans_for(CUSTOMERS[-1])),
)
def test_the_first_payment_is_at_most_the_price_and_the_next_is_later(perma_client, now, plan):
    payment = first_payment(perma_client, plan, now)
    assert 0 < payment.amount <= plan.price
    assert re.fullmatch(r"[0-9]+\.[0-9]{2}", f"{payment.amount}")
    assert payment.recurring_start_date > now.date()


# Changes


YEARLY = Plan("100", "annually", Decimal("450.00"))
DEARER = {
    "monthly": Plan("500", "monthly", Decimal("120.00")),
    "annually": Plan("500", "annually", Decimal("1200.00")),
}
CHEAPER = {
    "monthly": Plan("10", "monthly", Decimal("20.00")),
    "annually": Plan("10", "annually", Decimal("200.00")),
}


def change(perma_client, plan, *, in_force=MONTHLY, paid_through="2026-04-13", now=NOW):
    """A change to a plan."""
    until = datetime.fromisoformat(f"{paid_through}T00:00:00+00:00")
    return change_to(perma_client, plan, in_force=in_force, paid_through=until, now=now)


@pytest.mark.parametrize(
    "perma_client, plan, paid_through, day, amount",
    [
        (OF_2026, MONTHLY, "2026-04-01", "2026-03-01", "72.58"),
        (OF_2026, MONTHLY, "2026-04-13", "2026-03-30", "31.45"),
        (OF_2026, MONTHLY, "2026-03-10", "2026-03-09", "0.00"),
        (OF_2024, MONTHLY, "2026-04-13", "2026-03-30", "4.84"),
        (OF_2024, MONTHLY, "2026-03-10", "2026-03-09", "55.65"),
        *[
            (perma_client, YEARLY, "2027-03-10", day, amount)
            for perma_client in (OF_2024, OF_2026)
            for day, amount in (("2026-03-10", "747.95"), ("2026-09-10", "369.86"), ("2027-03-08", "2.05"))
        ],
    ],
)
def test_an_upgrade_begins_now_and_costs_the_difference(perma_client, plan, paid_through, day, amount):
    upgrade = change(perma_client, DEARER[plan.frequency], in_force=plan, paid_through=paid_through, now=at(day))
    assert (upgrade.kind, f"{upgrade.amount:.2f}", upgrade.effective) == ("upgrade", amount, at(day))


@pytest.mark.parametrize(
    "perma_client, plan, paid_through, day, beginning",
    [
        (OF_2026, MONTHLY, "2026-04-13", "2026-03-20", "2026-04-13 00:00"),
        (OF_2026, MONTHLY, "2027-01-01", "2026-12-31", "2027-01-01 00:00"),
        (OF_2026, YEARLY, "2027-03-10", "2026-09-10", "2027-03-10 00:00"),
        (OF_2024, MONTHLY, "2026-04-13", "2026-03-20", "2026-04-01 12:30"),
        (OF_2024, MONTHLY, "2027-01-15", "2026-12-31", "2027-01-01 12:30"),
        (OF_2024, YEARLY, "2027-03-10", "2026-09-10", "2027-03-10 00:00"),
    ],
)
def test_a_downgrade_begins_later_and_costs_nothing_today(perma_client, plan, paid_through, day, beginning):
    downgrade = change(
        perma_client, CHEAPER[plan.frequency], in_force=plan, paid_through=paid_through, now=at(day)
    )
    assert (downgrade.kind, downgrade.amount) == ("downgrade", 0)
    assert f"{downgrade.effective:%Y-%m-%d %H:%M}" == beginning
    assert f"{downgrade.next_payment}" == beginning[:10]


@pytest.mark.parametrize("plan", [CHEAPER["monthly"], DEARER["monthly"]])
@pytest.mark.parametrize("perma_client", [OF_2024, OF_2026])
def test_a_change_message_has_a_subscribe_messages_fields(perma_client, plan):
    customer = find_customer("Registrar-7")
    message = change_message(perma_client, customer, change(perma_client, plan), NOW)
    like = subscribe_message(perma_client, customer, MONTHLY, NOW)
    assert {name: type(value) for name, value in message.items()} == {
        name: type(value) for name, value in like.items()
    }


def test_a_downgrade_message_names_the_coming_terms_and_their_time():
    message = change_message(
        OF_2026, find_customer("Individual-7"), change(OF_2026, CHEAPER["monthly"], paid_through="2026-04-01"), NOW
    )
    assert (message["amount"], message["recurring_amount"], message["link_limit"]) == ("0.00", "20.00", "10")
    assert (message["recurring_frequency"], message["recurring_start_date"]) == ("monthly", "2026-04-01")
    assert message["link_limit_effective_timestamp"] == 1775001600.0


@pytest.mark.parametrize("perma_client, start", [(OF_2024, "2026-04-01"), (OF_2026, "2026-04-13")])
def test_a_downgrade_is_taken_back_by_the_terms_in_force(perma_client, start):
    message = change_message(perma_client, find_customer("Registrar-7"), change(perma_client, MONTHLY), NOW)
    assert message == {
        "timestamp": 1773135000.25,
        "customer_pk": 7,
        "customer_type": "Registrar",
        "amount": "0.00",
        "recurring_amount": "45.00",
        "recurring_frequency": "monthly",
        "recurring_start_date": start,
        "link_limit": "100",
        "link_limit_effective_timestamp": 1773135000.25,
    }


def test_the_other_messages_have_exactly_their_fields():
    customer = find_customer("Individual-7")
    about = {"timestamp": 1773135000.25, "customer_pk": 7, "customer_type": "Individual"}
    assert customer_message(customer, NOW) == about
    assert purchase_message(customer, Package(10, Decimal("15.00")), NOW) == {
        **about,
        "amount": "15.00",
        "link_quantity": 10,
    }
    assert acknowledge_message(5, NOW) == {"timestamp": 1773135000.25, "purchase_pk": 5}


# Customers


def test_the_listed_customers_are_found_by_their_keys():
    assert all(find_customer(customer.key) is customer for customer in CUSTOMERS)
    assert len({customer.key for customer in CUSTOMERS}) == len(CUSTOMERS)


def test_customers_beyond_the_list_exist():
    customer = find_customer("Individual-123456789")
    assert (customer.customer_type, customer.pk) == ("Individual", 123456789)
    assert customer not in CUSTOMERS


@pytest.mark.parametrize(
    "key",
    [
        "",
        "Registrar",
        "Registrar-",
        "Registrar-0",
        "Registrar-07",
        "Registrar--1",
        "registrar-1",
        "Registrar-1234567890",
        "Registrar-７",
        "Registrar-7\n",
        "Court-1",
    ],
)
def test_other_keys_name_no_customer(key):
    assert find_customer(key) is None


# The box


def test_each_side_opens_what_the_other_side_sealed():
    message = {"timestamp": 1.5, "name": "Müller"}
    assert payments_box().open(perma_box().seal(message)) == message
    assert perma_box().open(payments_box().seal(message)) == message


def test_a_sealed_message_is_base64_of_nonce_and_ciphertext():
    raws = [base64.b64decode(perma_box().seal({}), validate=True) for _ in range(2)]
    assert raws[0][:24] != raws[1][:24]
    assert len(raws[0]) == 24 + 16 + len("{}")


@given(st.binary(max_size=100))
def test_a_message_that_was_not_sealed_for_us_does_not_open(raw):
    with pytest.raises(BoxError):
        perma_box().open(base64.b64encode(raw).decode())


@given(st.text(max_size=50))
def test_text_that_is_not_base64_does_not_open(text):
    with pytest.raises(BoxError):
        perma_box().open(text)


def sealed_text(text):
    """Any text, sealed by Perma Payments."""
    return base64.b64encode(payments_box()._box.encrypt(text.encode("utf-8"))).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "7",
        '{"a": NaN}',
        '{"a": 1e999}',
        "{",
        '{"a": "\\ud800"}',
        "[" * 100_000,
        '{"a": 1' + "0" * 5000 + "}",
    ],
)
def test_a_box_without_a_json_object_is_an_error(text):
    with pytest.raises(BoxError):
        perma_box().open(sealed_text(text))


def test_strict_json_reads_standard_json():
    assert strict_json('{"a": [1, 2.5, "\\ud83d\\ude00", null, true]}') == {
        "a": [1, 2.5, "\U0001f600", None, True]
    }
