"""Steps: a customer buys bonus links."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bs4 import Tag

from ..browser import Browser, Form, Page, attribute
from .pages import (
    Carriers,
    ask_for,
    bonus_links,
    find_form,
    go_to_checkout,
    open_settings,
    pay,
    press,
    read_traffic,
    settings_url,
    traffic_mark,
)
from .subscribing import check_reference_number
from .visit import StepFailed, Visit, Way


def ask_for_links(visit: Visit, customer: str, quantity: int) -> tuple[Way, int]:
    """Pick bonus links; check the signed form. The way, and how many links were credited before."""
    page, _ = open_settings(visit, customer)
    form = find_form(page, "purchase", link_quantity=str(quantity))
    way = ask_for(
        visit,
        customer,
        form,
        lambda message: {
            "transaction_type": "sale",
            "amount": message["amount"],
            "currency": "USD",
            "recurring_amount": None,
            "payment_token": None,
        },
    )
    check_reference_number(visit, way)
    return way, bonus_links(page)


def open_settings_at_once(visit: Visit, customer: str) -> None:
    """Two browsers open the settings page of a customer at the same time."""
    url = settings_url(visit, customer)
    with ThreadPoolExecutor(2) as pool:
        pages = list(pool.map(lambda browser: browser.open(url), [Browser(), Browser()]))
    if any(page.status != 200 for page in pages):
        raise StepFailed(f"the settings page of {customer} cannot be opened twice at once")


def acknowledgements(visit: Visit, after: int) -> list[dict[str, Any]]:
    """The acknowledgements in the traffic after an entry; prints them."""
    calls = [entry for entry in read_traffic(visit, after) if entry["kind"] == "acknowledge-call"]
    for call in calls:
        visit.report.note(f"{call['summary']}: {call['reply']}")
    return calls


def in_history(page: Page, way: Way) -> list[Tag]:
    """The lines of the purchase history that have the reference number of a way."""
    problem = page.soup.find(id="history-unavailable")
    if problem is not None:
        raise StepFailed(problem.get_text(" ", strip=True))
    reference_number = way.checkout_form.fields.get("reference_number")
    return [
        line for line in page.soup.select("#history > li") if attribute(line, "data-reference") == reference_number
    ]


# The steps


def member_buys_links(visit: Visit) -> None:
    """What is paid for is credited once, though two of Perma.cc's workers race."""
    check = visit.report.check
    visit.report.step(f"{visit.member} buys 10 bonus links, pays, and closes the browser.")
    way, before = ask_for_links(visit, visit.member, 10)
    pay(visit, visit.member, Carriers.SERVER)
    visit.report.step("Two pages that would credit the links are loaded at once.")
    mark = traffic_mark(visit)
    open_settings_at_once(visit, visit.member)
    calls = acknowledgements(visit, mark)
    taken = [call for call in calls if call["status"] == 200]
    check(len(taken) == 1, f"one acknowledgement is answered 200, not {len(taken)}")
    check(
        all(call["status"] == 400 for call in calls if call not in taken),
        "any other acknowledgement is answered 400",
    )
    check(all(call["reply"] == {"status": "ok"} for call in taken), 'the answer to the one is {"status": "ok"}')
    mark = traffic_mark(visit)
    page, _ = open_settings(visit, visit.member)
    visit.report.note(f"bonus links: {before}, then {bonus_links(page)}")
    check(bonus_links(page) == before + 10, "the links are credited once")
    check(acknowledgements(visit, mark) == [], "what was credited is not offered again")
    check_history(visit, page, way)


def check_history(visit: Visit, page: Page, way: Way) -> None:
    """Check that the history lists a purchase once, and that it cannot be acknowledged again."""
    check = visit.report.check
    visit.report.step("The purchase is in the history, and is acknowledged once more.")
    lines = in_history(page, way)
    check(len(lines) == 1, f"the history lists the purchase once, not {len(lines)} times")
    if not lines:
        return
    visit.report.note(lines[0].get_text(" ", strip=True))
    check(
        attribute(lines[0], "data-links") == str(way.message["link_quantity"]),
        "the history says how many links were bought",
    )
    mark = traffic_mark(visit)
    form = lines[0].find("form")
    assert form is not None
    answer = visit.browser.submit(Form(form, page.url))
    check(
        [call["status"] for call in acknowledgements(visit, mark)] == [400],
        "a second acknowledgement is answered 400",
    )
    check(bonus_links(answer) == bonus_links(page), "nothing is credited a second time")


def purchase_is_left_unpaid(visit: Visit) -> None:
    """What is not paid for is neither credited nor in the history."""
    visit.report.step(f"{visit.member} is about to buy 100 bonus links, and cancels the checkout.")
    way, before = ask_for_links(visit, visit.member, 100)
    mark = traffic_mark(visit)
    press(visit, visit.member, go_to_checkout(visit, visit.member), "Cancel")
    page, _ = open_settings(visit, visit.member)
    check = visit.report.check
    check(acknowledgements(visit, mark) == [], "an unpaid purchase is not offered")
    check(bonus_links(page) == before, "nothing is credited")
    check(in_history(page, way) == [], "an unpaid purchase is not in the history")
