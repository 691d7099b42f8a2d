"""A customer of the client of 2026 manages the subscription on Perma Payments' own pages."""

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
import requests

from .customer import Customer, Portal
from .pages import expect_checkout_page, expect_plain_page
from .test_canceling import expect_one_mail
from .world import attribute, eventually, find, is_same_place, press, soup_of

pytestmark = pytest.mark.client("2026")


def expect_led_back(portal: Portal, parameter: str) -> None:
    """Expect that the page leads back to Perma.cc, where the customer is told what was done."""
    back = urlsplit(attribute(find(portal.soup, "a.back"), "href"))
    assert is_same_place(back.geturl(), portal.customer.world.sandbox)
    assert (back.path, back.query) == ("/settings/usage-plan/", parameter)


def confirmation_of(portal: Portal) -> requests.Response:
    """The page on which a cancellation is confirmed."""
    page = portal.follow("a.cancel")
    assert page.status_code == 200
    assert find(soup_of(page), "form.cancel")
    return page


# Canceling, and taking it back


def test_a_confirmed_cancellation_is_told_to_perma_cc(subscriber: Customer) -> None:
    before = subscriber.standing_subscription()
    portal = subscriber.open_portal()
    assert (portal.status, portal.actions) == ("Current", ["form.card", "a.cancel"])
    confirmation = confirmation_of(portal)
    assert subscriber.subscription() == before
    after = Portal(subscriber, press(subscriber.browser, confirmation, "form.cancel"))
    assert (after.status, after.actions) == ("Cancellation Requested", ["form.keep"])
    expect_led_back(after, "update=success")
    assert subscriber.subscription() == {**before, "status": "Cancellation Requested"}


def test_a_cancellation_is_taken_back(subscriber: Customer) -> None:
    before = subscriber.standing_subscription()
    subscriber.cancel()
    kept = Portal(subscriber, subscriber.open_portal().do("form.keep"))
    assert (kept.status, kept.actions) == ("Current", ["form.card", "a.cancel"])
    expect_led_back(kept, "update=success")
    assert subscriber.subscription() == before


def test_staff_are_mailed_that_it_was_taken_back(subscriber: Customer) -> None:
    reference_number = subscriber.standing_subscription()["reference_number"]
    subscriber.cancel()
    assert eventually(lambda: len(subscriber.world.mails(reference_number)) == 1)
    subscriber.open_portal().do("form.keep")
    assert eventually(lambda: len(subscriber.world.mails(reference_number)) == 2)


def test_a_double_click_cancels_once(subscriber: Customer, new_customer: Callable[..., Customer]) -> None:
    reference_number = subscriber.standing_subscription()["reference_number"]
    confirmation = confirmation_of(subscriber.open_portal())
    for _ in range(2):
        answer = press(subscriber.browser, confirmation, "form.cancel")
        assert Portal(subscriber, answer).status == "Cancellation Requested"
    expect_one_mail(reference_number, new_customer())


def test_a_cancellation_that_was_taken_back_is_not_repeated_by_going_back(subscriber: Customer) -> None:
    before = subscriber.standing_subscription()
    confirmation = confirmation_of(subscriber.open_portal())
    press(subscriber.browser, confirmation, "form.cancel")
    subscriber.open_portal().do("form.keep")
    press(subscriber.browser, confirmation, "form.cancel")
    assert subscriber.subscription() == before


# The card


def test_the_card_is_replaced_from_there(subscriber: Customer) -> None:
    before = subscriber.standing_subscription()
    checkout = subscriber.open_portal().ask_for_card()
    expect_checkout_page(checkout)
    assert checkout.finish().parameter == "update=success"
    assert subscriber.subscription() == before


def test_a_double_click_on_the_card_leads_to_one_transaction(subscriber: Customer) -> None:
    checkout = subscriber.open_portal().ask_for_card()
    again = soup_of(checkout.send())
    assert again.select_one(f'[name="transaction_uuid"][value="{checkout.fields["transaction_uuid"]}"]')


def test_the_button_on_perma_cc_works_twice(subscriber: Customer) -> None:
    settings = subscriber.open_settings()
    for _ in range(2):  # A double click, or Back and a click.
        portal = Portal(subscriber, press(subscriber.browser, settings, "form.update"))
        assert portal.status == "Current"


def test_going_back_from_a_cancellation_does_not_lead_to_the_card(subscriber: Customer) -> None:
    portal = subscriber.open_portal()
    press(subscriber.browser, confirmation_of(portal), "form.cancel")
    expect_plain_page(portal.do("form.card"), 200)


# What it shows


def test_a_scheduled_downgrade_is_there(subscriber: Customer) -> None:
    assert not subscriber.open_portal().soup.select("#scheduled")
    subscriber.ask("change", link_limit="10").finish()
    assert "10 links" in find(subscriber.open_portal().soup, "#scheduled").get_text(" ", strip=True)


def test_each_payment_is_there_with_a_receipt(individual: Customer) -> None:
    subscription = individual.ask_for_plan("monthly", "100")
    subscription.finish()
    purchase = individual.ask_for_links(10)
    purchase.finish()
    individual.ask_for_links(100).finish("decline-203")
    portal = individual.open_portal()
    assert portal.payments == [purchase.reference_number, subscription.reference_number]
    for checkout in (purchase, subscription):
        row = f'#payments tr[data-reference="{checkout.reference_number}"]'
        receipt = portal.follow(f"{row} a.receipt")
        text = soup_of(receipt).get_text()
        assert receipt.status_code == 200
        assert checkout.reference_number in text and f"${checkout.message['amount']}" in text


def test_without_a_subscription_there_is_nothing_to_do(customer: Customer) -> None:
    portal = customer.open_portal()
    assert (portal.status, portal.actions, portal.payments) == ("none", [], [])


def test_a_checkout_without_a_response_is_there(customer: Customer) -> None:
    customer.ask_for_plan().end(calls=0)
    assert customer.open_portal().status == "Pending"


# Payments and receipts


def test_who_has_never_paid_is_told_so_in_plain_words(individual: Customer) -> None:
    portal = individual.open_portal("billing")
    assert (portal.status, portal.actions, portal.payments) == ("none", [], [])
    assert find(portal.soup, "h1").get_text(strip=True)


def test_payments_and_receipts_can_only_be_read(individual: Customer) -> None:
    checkout = individual.ask_for_plan("monthly", "100")
    checkout.finish()
    portal = individual.open_portal("billing")
    assert (portal.status, portal.actions) == ("Current", [])
    assert portal.payments == [checkout.reference_number]
    assert portal.follow("a.receipt").status_code == 200
