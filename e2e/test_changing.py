"""A customer changes the plan, or the card."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from .customer import Checkout, Customer, read_time
from .pages import expect_checkout_page, expect_plain_page
from .world import attribute


def expect_changed(checkout: Checkout, before: dict[str, Any]) -> None:
    """Expect the rate and limit that were asked for, from the time that was asked for; all else as before.

    Those that begin later are also reported as a pending change.
    """
    message, after = checkout.message, checkout.customer.standing_subscription()
    effective = after["link_limit_effective_timestamp"]
    assert read_time(effective).timestamp() == pytest.approx(message["link_limit_effective_timestamp"], abs=0.001)
    terms = {"rate": message["recurring_amount"], "link_limit": message["link_limit"]}
    is_later = message["link_limit_effective_timestamp"] > message["timestamp"]
    assert after == {
        **before,
        **terms,
        "link_limit_effective_timestamp": effective,
        "pending_change": {**terms, "effective": effective} if is_later else None,
    }


def expect_modifies(checkout: Checkout, before: dict[str, Any]) -> None:
    """Expect a signed form about a subscription that is there, which leaves its schedule alone."""
    expect_checkout_page(checkout)
    assert checkout.reference_number == before["reference_number"]
    assert checkout.fields["allow_payment_token_update"] == "true"
    # CyberSource cannot change the schedule.
    assert not {"recurring_frequency", "recurring_start_date"} & checkout.fields.keys()


def test_an_upgrade_is_paid_and_takes_effect(customer: Customer) -> None:
    first = customer.ask_for_plan("annually", "100")
    first.finish()
    before = customer.standing_subscription()
    checkout = customer.ask("change", link_limit="500")
    expect_modifies(checkout, before)
    assert checkout.fields["transaction_type"] == "sale,update_payment_token"
    assert checkout.fields["amount"] == checkout.message["amount"] != "0.00"
    assert checkout.fields["currency"] == "USD"
    assert checkout.fields["recurring_amount"] == checkout.message["recurring_amount"]
    assert checkout.fields["payment_token"] == first.token()
    assert checkout.finish().parameter == "change=success"
    expect_changed(checkout, before)


def test_a_downgrade_costs_nothing_and_begins_later(subscriber: Customer) -> None:
    before = subscriber.standing_subscription()
    checkout = subscriber.ask("change", link_limit="10")
    expect_modifies(checkout, before)
    assert checkout.fields["transaction_type"] == "update_payment_token"
    assert checkout.fields["amount"] == checkout.message["amount"] == "0.00"
    assert urlsplit(attribute(checkout.form, "action")).path == "/token/update"
    assert checkout.message["link_limit_effective_timestamp"] > checkout.message["timestamp"]
    assert checkout.finish().parameter == "change=success"
    expect_changed(checkout, before)
    assert attribute(subscriber.find("#pending"), "data-link-limit") == "10"
    assert attribute(subscriber.find("#in-force"), "data-link-limit") == "100"


@pytest.mark.parametrize("frequency", ["monthly", "annually"])
def test_a_scheduled_downgrade_is_taken_back(customer: Customer, frequency: str) -> None:
    customer.ask_for_plan(frequency, "100").finish()
    before = customer.standing_subscription()
    customer.ask("change", link_limit="10").finish()
    assert customer.subscription() != before
    checkout = customer.ask("change", kind="take-back")
    expect_modifies(checkout, before)
    assert checkout.fields["transaction_type"] == "update_payment_token"
    assert checkout.message["amount"] == "0.00"
    assert checkout.fields["recurring_amount"] == before["rate"]
    assert checkout.finish().parameter == "change=canceled"
    assert customer.subscription() == before


def test_a_downgrade_that_is_not_taken_back_stays(subscriber: Customer) -> None:
    subscriber.ask("change", link_limit="10").finish()
    before = subscriber.subscription()
    assert subscriber.ask("change", kind="take-back").finish("cancel").parameter == ""
    assert subscriber.subscription() == before


@pytest.mark.parametrize("outcome", ["decline-203", "cancel"])
def test_an_upgrade_that_is_not_paid_changes_nothing(subscriber: Customer, outcome: str) -> None:
    before = subscriber.subscription()
    assert subscriber.ask("change", link_limit="unlimited").finish(outcome).parameter == ""
    assert subscriber.subscription() == before


def test_another_card_changes_nothing_else(subscriber: Customer) -> None:
    before = subscriber.standing_subscription()
    checkout = subscriber.ask_for_card()
    expect_modifies(checkout, before)
    assert checkout.fields["transaction_type"] == "update_payment_token"
    assert "recurring_amount" not in checkout.fields
    assert urlsplit(attribute(checkout.form, "action")).path == "/token/update"
    assert checkout.finish().parameter == "update=success"
    assert subscriber.subscription() == before


@pytest.mark.parametrize("outcome", ["decline-203", "cancel"])
def test_a_card_that_is_not_taken_changes_nothing(subscriber: Customer, outcome: str) -> None:
    before = subscriber.subscription()
    assert subscriber.ask_for_card().finish(outcome).parameter == ""
    assert subscriber.subscription() == before


def test_a_token_that_was_replaced_is_used_from_then_on(customer: Customer) -> None:
    first = customer.ask_for_plan()
    first.finish()
    update = customer.ask_for_card()
    update.finish(token="replaced")
    assert update.token() != first.token()
    assert customer.ask_for_card().fields["payment_token"] == update.token()


@pytest.mark.parametrize(
    "route",
    ["change", *(pytest.param(route, marks=pytest.mark.client("2024")) for route in ("update", "cancel-request"))],
)
def test_without_a_subscription_there_is_nothing_to_modify(customer: Customer, route: str) -> None:
    expect_plain_page(customer.send(route), 200)


@pytest.mark.parametrize(
    "route, status",
    [
        ("subscribe", 200),
        ("purchase", 200),
        ("change", 405),
        ("update", 405),
        ("billing", 405),
        ("cancel-request", 405),
    ],
)
def test_opening_an_address_without_a_message_gives_a_page(customer: Customer, route: str, status: int) -> None:
    expect_plain_page(customer.browser.get(f"{customer.world.payments}/{route}/"), status)
