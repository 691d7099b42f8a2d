"""A customer asks to cancel: Perma.cc is told, and staff are mailed once."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
import requests

from .customer import Customer
from .pages import expect_plain_page
from .world import attribute, eventually, is_same_place, press

# What the sandbox types into the checkout page for everybody.
BILLING = ("Robin", "Example", "robin.example@example.com", "1 Invented Street", "Sampleton", "02138")


def expect_led_back(customer: Customer, answer: requests.Response) -> None:
    """Expect that the customer was sent back to Perma.cc's settings page."""
    sent_on = answer.history[0]
    address = urlsplit(sent_on.headers["Location"])
    assert sent_on.status_code == 302
    assert is_same_place(address.geturl(), customer.world.sandbox) and address.path == "/settings/subscription/"


def expect_one_mail(reference_number: str, somebody: Customer) -> None:
    """Expect that staff get one mail about a subscription.

    When a later mail has come, which is about somebody else, a second one would have come, too.
    """
    later = somebody.ask_for_plan()
    later.finish("review-480")
    assert eventually(lambda: somebody.world.mails(later.reference_number))
    assert len(somebody.world.mails(reference_number)) == 1


def test_a_cancellation_is_told_to_perma_cc(subscriber: Customer) -> None:
    before = subscriber.standing_subscription()
    subscriber.cancel()
    assert subscriber.subscription() == {**before, "status": "Cancellation Requested"}
    assert attribute(subscriber.find("#status"), "data-status") == "Cancellation Requested"


@pytest.mark.client("2024")
def test_staff_get_one_mail_however_often_it_is_sent(
    subscriber: Customer, new_customer: Callable[..., Customer]
) -> None:
    world, reference_number = subscriber.world, subscriber.standing_subscription()["reference_number"]
    page = subscriber.open_settings()
    for _ in range(2):  # A double click.
        expect_led_back(subscriber, press(subscriber.browser, page, "form.cancel-request"))
    assert eventually(lambda: world.mails(reference_number))
    expect_led_back(subscriber, subscriber.send("cancel-request"))
    expect_one_mail(reference_number, new_customer())


def test_the_mail_says_what_to_do_and_where(subscriber: Customer) -> None:
    reference_number = subscriber.standing_subscription()["reference_number"]
    subscriber.cancel()
    (mail,) = eventually(lambda: subscriber.world.mails(reference_number))
    assert mail["from"]
    assert mail["reply_to"]
    number = subscriber.key.removeprefix("Registrar-")
    assert re.search(rf"https?://\S*registrar\S*\b{number}\b", mail["body"])
    assert "Business Center" in mail["body"]


def test_the_mail_says_nothing_personal(subscriber: Customer) -> None:
    reference_number = subscriber.standing_subscription()["reference_number"]
    subscriber.cancel()
    (mail,) = eventually(lambda: subscriber.world.mails(reference_number))
    said = f"{mail['subject']}\n{mail['body']}"
    assert [value for value in BILLING if re.search(rf"(?<!\w){re.escape(value)}(?!\w)", said)] == []


@pytest.mark.parametrize("route", ["change", pytest.param("update", marks=pytest.mark.client("2024"))])
def test_what_is_about_to_end_is_not_modified(subscriber: Customer, route: str) -> None:
    subscriber.cancel()
    before = subscriber.subscription()
    expect_plain_page(subscriber.send(route), 200)
    assert subscriber.subscription() == before
