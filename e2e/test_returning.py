"""A customer comes back from CyberSource: with the browser first, alone, or with something forged."""

import requests

from .customer import Customer, Landing
from .test_changing import expect_changed
from .test_subscribing import expect_subscription_of
from .world import attribute, find, press, soup_of


def links_on(page: requests.Response) -> int:
    """How many bonus links a page says were credited."""
    return int(attribute(find(soup_of(page), "#bonus-links"), "data-links"))


def test_the_browser_may_come_before_the_server(customer: Customer) -> None:
    checkout = customer.ask_for_plan()
    page = checkout.end(delay=1)
    assert checkout.come_back(page).parameter == "subscription=success"
    expect_subscription_of(checkout)
    checkout.expect_callbacks()
    expect_subscription_of(checkout)


def test_the_browser_alone_is_enough(subscriber: Customer) -> None:
    before = subscriber.standing_subscription()
    checkout = subscriber.ask("change", link_limit="500")
    assert checkout.come_back(checkout.end(calls=0)).parameter == "change=success"
    expect_changed(checkout, before)


def test_links_are_there_when_the_customer_lands(customer: Customer) -> None:
    landing = customer.ask_for_links(10).finish()
    assert landing.parameter == "purchase=success"
    assert links_on(landing.page) == 10


def test_declined_links_are_not_there_on_landing(customer: Customer) -> None:
    landing = customer.ask_for_links(10).finish("decline-203")
    assert landing.parameter == ""
    assert links_on(landing.page) == 0


def test_a_forged_decision_is_not_believed(subscriber: Customer) -> None:
    before = subscriber.subscription()
    page = subscriber.ask("change", link_limit="unlimited").end("decline-203", calls=0)
    answer = press(subscriber.browser, page, "form#return", decision="ACCEPT")
    assert Landing(subscriber.world, answer).parameter == ""
    assert subscriber.subscription() == before


def test_opening_the_return_address_does_nothing(subscriber: Customer) -> None:
    before = subscriber.subscription()
    answer = subscriber.browser.get(f"{subscriber.world.payments}/return/")
    assert Landing(subscriber.world, answer).parameter == ""
    assert subscriber.subscription() == before
