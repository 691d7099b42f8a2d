"""Steps: a customer comes back from CyberSource: with the browser first, alone, or never."""

from __future__ import annotations

from ..browser import Page
from .altering import ask_for_card_update, ask_for_change, check_changed, check_unchanged
from .buying import ask_for_links
from .pages import (
    Carriers,
    bonus_links,
    check_return,
    go_to_checkout,
    pay,
    press,
    return_form,
    standing_subscription,
)
from .subscribing import ask_for_plan, check_no_subscription, check_subscription
from .visit import Visit

RETURN_PATH = "/return/"


def subscriber_leaves(visit: Visit) -> None:
    """Whoever leaves the checkout is told that nothing was charged."""
    visit.report.step(f"{visit.returner} is about to subscribe, and cancels the checkout.")
    ask_for_plan(visit, visit.returner, "annually", "100")
    press(visit, visit.returner, go_to_checkout(visit, visit.returner), "Cancel")
    check_no_subscription(visit, visit.returner)


def subscribers_browser_is_first(visit: Visit) -> None:
    """What the browser brings takes effect before CyberSource's server calls."""
    visit.report.step(f"{visit.returner} pays, and is back before CyberSource's server calls.")
    ask_for_plan(visit, visit.returner, "annually", "100")
    pay(visit, visit.returner, Carriers.BROWSER_THEN_SERVER)
    check_subscription(visit, visit.returner)


def card_updates_come_to_nothing(visit: Visit) -> None:
    """A card that was not replaced is not told as replaced."""
    for label in ("Cancel", "Decline"):
        visit.report.step(f"{visit.returner} is about to update the card: {label}.")
        before = ask_for_card_update(visit, visit.returner)
        press(visit, visit.returner, go_to_checkout(visit, visit.returner), label)
        check_unchanged(visit, visit.returner, before)


def changes_come_back(visit: Visit) -> None:
    """A change that only the browser tells of counts; one that is left is not told as taken back."""
    visit.report.step(f"{visit.returner} is about to change up to 500 links, and cancels.")
    before = ask_for_change(visit, visit.returner, "500")
    press(visit, visit.returner, go_to_checkout(visit, visit.returner), "Cancel")
    check_unchanged(visit, visit.returner, before)
    visit.report.step(f"{visit.returner} changes up, and only the browser tells of it.")
    before = ask_for_change(visit, visit.returner, "500")
    pay(visit, visit.returner, Carriers.BROWSER)
    check_changed(visit, visit.returner, before)


def purchases_come_back(visit: Visit) -> None:
    """Links that are paid for are there, once, when the customer lands."""
    visit.report.step(f"{visit.returner} buys 10 bonus links, and the card is declined.")
    _, links = ask_for_links(visit, visit.returner, 10)
    page = press(visit, visit.returner, go_to_checkout(visit, visit.returner), "Decline")
    visit.report.check(bonus_links(page) == links, "nothing is credited")
    visit.report.step(f"{visit.returner} pays for them.")
    ask_for_links(visit, visit.returner, 10)
    page = pay(visit, visit.returner)
    visit.report.check(bonus_links(page) == links + 10, "the links are credited, once")


def nothing_unsigned_is_believed(visit: Visit) -> None:
    """A response that is changed on its way, or none at all, leads to the page and no further."""
    visit.report.step(f"{visit.returner} is declined, and makes an ACCEPT of it on the way.")
    before = ask_for_change(visit, visit.returner, "unlimited")
    checkout = go_to_checkout(visit, visit.returner)
    page = _decline(visit, checkout)
    form = return_form(page)
    check_return(visit, visit.browser.submit(form, changes={"decision": "ACCEPT"}), "")
    check_unchanged(visit, visit.returner, before)
    visit.report.step("Someone opens the return address.")
    _, subscription = standing_subscription(visit, visit.returner)
    check_return(visit, visit.browser.open(visit.payments_url(RETURN_PATH)), "")
    check_unchanged(visit, visit.returner, subscription)


def _decline(visit: Visit, checkout: Page) -> Page:
    """Press Decline, of which CyberSource's server tells nobody; the page that it leads to."""
    (form,) = [form for form in checkout.forms if any(b.text == "Decline" for b in form.buttons)]
    (button,) = [button for button in form.buttons if button.text == "Decline"]
    return visit.browser.submit(form, button, {"times": "0"})
