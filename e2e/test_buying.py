"""A customer buys bonus links, and Perma.cc credits them."""

import re
from concurrent.futures import ThreadPoolExecutor

import requests

from .customer import Checkout, Customer
from .pages import expect_checkout_page
from .world import attribute, press, soup_of


def history_of(checkout: Checkout) -> list[dict[str, str]]:
    """The lines of Perma.cc's purchase history about a purchase: its id and how many links it has."""
    settings = soup_of(checkout.customer.open_settings())
    return [
        {"id": attribute(line, "data-purchase"), "links": attribute(line, "data-links")}
        for line in settings.select(f'#history > li[data-reference="{checkout.reference_number}"]')
    ]


def acknowledgements(customer: Customer, purchase_id: str) -> list[int]:
    """With which status each acknowledgement of a purchase was answered."""
    return [
        entry["status"]
        for entry in customer.world.traffic("acknowledge-call")
        if entry["sent"]["purchase_pk"] == int(purchase_id)
    ]


def test_bonus_links_become_a_signed_form(customer: Customer) -> None:
    checkout = customer.ask_for_links(100)
    expect_checkout_page(checkout)
    assert checkout.fields["transaction_type"] == "sale"
    assert checkout.fields["amount"] == checkout.message["amount"]
    assert checkout.fields["currency"] == "USD"
    assert re.fullmatch(r"PERMA-[0-9]{4}-[0-9]{4}", checkout.reference_number)
    assert not {"recurring_amount", "payment_token"} & checkout.fields.keys()


def test_links_are_credited_once_though_two_pages_race(customer: Customer) -> None:
    checkout = customer.ask_for_links(10)
    checkout.end()
    checkout.expect_callbacks()
    rivals = [customer, Customer(customer.world, customer.key)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda rival: rival.open_settings(), rivals))
    assert customer.bonus_links() == 10
    (purchase,) = history_of(checkout)
    first, *others = sorted(acknowledgements(customer, purchase["id"]))
    assert first == 200 and set(others) <= {400}


def test_a_purchase_is_in_the_history_once(customer: Customer) -> None:
    checkout = customer.ask_for_links(10)
    checkout.finish()
    assert [purchase["links"] for purchase in history_of(checkout)] == ["10"]


def test_a_second_acknowledgement_credits_nothing(customer: Customer) -> None:
    checkout = customer.ask_for_links(10)
    checkout.finish()
    page: requests.Response = customer.open_settings()
    press(customer.browser, page, "form.acknowledge")
    (purchase,) = history_of(checkout)
    assert acknowledgements(customer, purchase["id"]) == [200, 400]
    assert customer.bonus_links() == 10


def test_links_that_are_not_paid_for_are_nowhere(customer: Customer) -> None:
    checkout = customer.ask_for_links(100)
    assert checkout.finish("cancel").parameter == "purchase=canceled"
    assert customer.bonus_links() == 0
    assert history_of(checkout) == []
