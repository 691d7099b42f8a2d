"""A customer buys bonus links, and Perma.cc credits them."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from .customer import Checkout, Customer
from .pages import expect_checkout_page, expect_plain_page
from .world import attribute, find, press, soup_of


def acknowledgements(customer: Customer) -> list[int]:
    """With which status each acknowledgement of the customer's only purchase was answered."""
    traffic, number = customer.world.traffic, int(customer.key.rpartition("-")[2])
    (purchase_id,) = {
        purchase["id"]
        for entry in traffic("status-call")
        if entry["sent"]["customer_pk"] == number
        for purchase in entry["reply"]["purchases"]
    }
    calls = traffic("acknowledge-call")
    return [entry["status"] for entry in calls if entry["sent"]["purchase_pk"] == purchase_id]


def history_of(checkout: Checkout) -> list[str]:
    """How many links each line of Perma.cc's purchase history about a purchase has."""
    settings = soup_of(checkout.customer.open_settings())
    lines = settings.select(f'#history > li[data-reference="{checkout.reference_number}"]')
    return [attribute(line, "data-links") for line in lines]


def test_bonus_links_become_a_signed_form(customer: Customer) -> None:
    checkout = customer.ask_for_links(100)
    expect_checkout_page(checkout)
    assert checkout.fields["transaction_type"] == "sale"
    assert checkout.fields["amount"] == checkout.message["amount"]
    assert checkout.fields["currency"] == "USD"
    assert re.fullmatch(r"PERMA-[0-9]{4}-[0-9]{4}", checkout.reference_number)
    assert not {"recurring_amount", "payment_token"} & checkout.fields.keys()


def test_a_paid_message_is_used_up(customer: Customer) -> None:
    checkout = customer.ask_for_links(10)
    checkout.finish()
    expect_plain_page(checkout.send(), 400)


def test_links_are_credited_once_though_two_pages_race(customer: Customer) -> None:
    checkout = customer.ask_for_links(10)
    checkout.end()
    checkout.expect_callbacks()
    rivals = [customer, Customer(customer.world, customer.key)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda rival: rival.open_settings(), rivals))
    assert customer.bonus_links() == 10
    first, *others = sorted(acknowledgements(customer))
    assert first == 200 and set(others) <= {400}


@pytest.mark.client("2024")
def test_a_purchase_is_in_the_history_once(customer: Customer) -> None:
    checkout = customer.ask_for_links(10)
    checkout.finish()
    assert history_of(checkout) == ["10"]


def test_a_second_acknowledgement_credits_nothing(customer: Customer) -> None:
    landing = customer.ask_for_links(10).finish()
    press(customer.browser, landing.page, "form.acknowledge")
    assert acknowledgements(customer) == [200, 400]
    assert customer.bonus_links() == 10


def test_links_that_are_not_paid_for_are_nowhere(customer: Customer) -> None:
    checkout = customer.ask_for_links(100)
    assert checkout.finish("cancel").parameter == "purchase=canceled"
    assert customer.bonus_links() == 0
    assert history_of(checkout) == []


def test_a_browser_on_a_route_for_servers_gets_a_page(customer: Customer) -> None:
    # As one version of the client did (perma-2026.md §2).
    form = find(soup_of(customer.open_settings()), "form.purchase")
    message = attribute(find(form, '[name="encrypted_data"]'), "value")
    answer = customer.browser.post(
        f"{customer.world.payments}/purchase-history/",
        data={"encrypted_data": message},
        headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Sec-Fetch-Mode": "navigate"},
    )
    expect_plain_page(answer, 400)
