"""Customers come to a subscription, or do not."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from .customer import Checkout, Customer, read_time
from .pages import expect_checkout_page, expect_plain_page
from .world import attribute, soup_of


def expect_subscription_of(checkout: Checkout) -> None:
    """Expect the subscription that a checkout has paid for, and no other terms."""
    customer, message = checkout.customer, checkout.message
    subscription = customer.standing_subscription()
    assert attribute(customer.find("#status"), "data-status") == "Current"
    assert subscription["status"] == "Current"
    assert subscription["rate"] == message["recurring_amount"]
    assert re.fullmatch(r"[0-9]+\.[0-9]{2}", subscription["rate"])
    assert subscription["frequency"] == message["recurring_frequency"]
    assert subscription["link_limit"] == message["link_limit"]
    assert subscription["pending_change"] is None
    assert subscription["reference_number"] == checkout.reference_number
    effective = read_time(subscription["link_limit_effective_timestamp"])
    assert effective.timestamp() == pytest.approx(message["link_limit_effective_timestamp"], abs=0.001)
    start = datetime.strptime(message["recurring_start_date"], "%Y-%m-%d").replace(tzinfo=UTC)
    assert read_time(subscription["paid_through"]) == start


@pytest.mark.parametrize(
    "customer_type, frequency, link_limit",
    [("Registrar", "monthly", "100"), ("Individual", "annually", "unlimited")],
)
def test_a_plan_becomes_a_signed_form(
    new_customer: Callable[..., Customer], customer_type: str, frequency: str, link_limit: str
) -> None:
    checkout = new_customer(customer_type).ask_for_plan(frequency, link_limit)
    message, fields = checkout.message, checkout.fields
    expect_checkout_page(checkout)
    assert fields["transaction_type"] == "sale,create_payment_token"
    assert fields["amount"] == message["amount"]
    assert fields["currency"] == "USD"
    assert fields["recurring_amount"] == message["recurring_amount"]
    assert fields["recurring_frequency"] == message["recurring_frequency"] == frequency
    assert fields["recurring_start_date"] == message["recurring_start_date"].replace("-", "")
    assert re.fullmatch(r"PERMA-[0-9]{4}-[0-9]{4}", fields["reference_number"])


@pytest.mark.parametrize(
    "customer_type, frequency, link_limit",
    [("Registrar", "monthly", "100"), ("Individual", "annually", "unlimited")],
)
def test_a_plan_that_is_paid_for_is_there(
    new_customer: Callable[..., Customer], customer_type: str, frequency: str, link_limit: str
) -> None:
    customer = new_customer(customer_type)
    assert customer.subscription() is None
    checkout = customer.ask_for_plan(frequency, link_limit)
    assert checkout.finish().parameter == "subscription=success"
    expect_subscription_of(checkout)


@pytest.mark.client("2026")
def test_an_organizations_name_comes_with_the_message_and_goes_nowhere(customer: Customer) -> None:
    checkout = customer.ask_for_plan()
    name = checkout.message["customer_name"]
    assert name and not name.isascii()
    assert name not in checkout.page.text
    checkout.finish()
    upgrade = customer.ask("change", link_limit="500")
    assert upgrade.message["customer_name"] == name
    assert name not in upgrade.page.text
    assert name not in json.dumps(customer.subscription(), ensure_ascii=False)


def test_customers_of_one_number_are_different(
    new_customer: Callable[..., Customer], subscriber: Customer
) -> None:
    number = int(subscriber.key.removeprefix("Registrar-"))
    assert new_customer("Individual", number).subscription() is None


def test_a_standing_subscription_is_not_sold_again(subscriber: Customer) -> None:
    answer = subscriber.send("subscribe", frequency="monthly", link_limit="10")
    expect_plain_page(answer, 200)
    assert "already" in soup_of(answer).get_text().lower()


def test_a_double_click_leads_to_one_transaction(customer: Customer) -> None:
    checkout = customer.ask_for_plan()
    again = soup_of(checkout.send())
    for name in ("transaction_uuid", "reference_number"):
        assert again.select_one(f'[name="{name}"][value="{checkout.fields[name]}"]')


def test_after_paying_the_same_button_says_that_there_is_a_subscription(customer: Customer) -> None:
    checkout = customer.ask_for_plan()
    checkout.finish()
    page = checkout.send()
    expect_plain_page(page, 200)
    assert "You already have a subscription" in soup_of(page).get_text()


def test_after_a_decline_the_same_button_is_used_up(customer: Customer) -> None:
    checkout = customer.ask_for_plan()
    checkout.finish("decline-203")
    page = checkout.send()
    expect_plain_page(page, 400)
    assert "You have not been charged" in soup_of(page).get_text()


@pytest.mark.parametrize("outcome, parameter", [("decline-203", ""), ("cancel", "subscription=canceled")])
def test_a_checkout_that_fails_leaves_nothing(customer: Customer, outcome: str, parameter: str) -> None:
    assert customer.ask_for_plan().finish(outcome).parameter == parameter
    assert customer.subscription() is None


def test_our_own_form_is_no_response(customer: Customer) -> None:
    checkout = customer.ask_for_plan()
    forged = {**checkout.fields, "decision": "ACCEPT"}
    answer = customer.browser.post(f"{customer.world.payments}/cybersource-callback/", data=forged)
    assert answer.status_code == 400
    assert customer.subscription() is None
