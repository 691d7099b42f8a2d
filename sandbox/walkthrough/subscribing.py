"""Steps: customers come to a subscription, or do not."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from ..perma.replies import read_date_time
from .pages import (
    ask_for,
    check_checkout_page,
    check_page,
    find_plan,
    go_to_checkout,
    open_settings,
    page_status,
    pay,
    press,
    standing_subscription,
)
from .visit import StepFailed, Visit, Way

CALLBACK_PATH = "/cybersource-callback/"
REFERENCE_NUMBER = re.compile(r"PERMA-[0-9]{4}-[0-9]{4}")


def ask_for_plan(visit: Visit, customer: str, frequency: str, link_limit: str) -> Way:
    """Pick a plan on the settings page; check the signed form that Perma Payments makes of it."""
    page, _ = open_settings(visit, customer)
    way = ask_for(
        visit,
        customer,
        find_plan(page, frequency, link_limit),
        lambda message: {
            "transaction_type": "sale,create_payment_token",
            "amount": message["amount"],
            "currency": "USD",
            "recurring_amount": message["recurring_amount"],
            "recurring_frequency": message["recurring_frequency"],
            "recurring_start_date": message["recurring_start_date"].replace("-", ""),
        },
    )
    check_reference_number(visit, way)
    return way


def check_reference_number(visit: Visit, way: Way) -> None:
    """Check that a signed form has a reference number of our own kind."""
    reference_number = way.checkout_form.fields.get("reference_number", "")
    visit.report.check(
        REFERENCE_NUMBER.fullmatch(reference_number) is not None,
        f"the reference number looks like PERMA-1234-5678, not {reference_number}",
    )


def check_subscription(visit: Visit, customer: str) -> None:
    """Check what Perma Payments tells of a customer who has paid against what was asked for."""
    way = visit.way_of(customer)
    page, subscription = standing_subscription(visit, customer)
    check = visit.report.check
    visit.report.fields("subscription", subscription)
    check(page_status(page) == "Current", "the settings page says Current")
    expected = {
        "status": "Current",
        "rate": way.message["recurring_amount"],
        "frequency": way.message["recurring_frequency"],
        "link_limit": way.message["link_limit"],
        "reference_number": way.checkout_form.fields.get("reference_number"),
    }
    for name, value in expected.items():
        check(subscription.get(name) == value, f"{name} is {value}, not {subscription.get(name)}")
    check(
        re.fullmatch(r"[0-9]+\.[0-9]{2}", str(subscription.get("rate"))) is not None,
        "rate is a string with two decimals",
    )
    check_effective(visit, subscription, way.message["link_limit_effective_timestamp"])
    paid_through = read_time(visit, subscription, "paid_through")
    if paid_through is not None:
        start = datetime.strptime(way.message["recurring_start_date"], "%Y-%m-%d").replace(tzinfo=UTC)
        check(paid_through == start, "paid_through is the day of the next charge")


def check_effective(visit: Visit, subscription: dict[str, Any], asked: float) -> None:
    """Check from when the limit holds; `asked` is in Unix seconds."""
    effective = read_time(visit, subscription, "link_limit_effective_timestamp")
    if effective is not None:
        visit.report.check(
            abs(effective.timestamp() - asked) < 0.001, "link_limit_effective_timestamp is the one asked for"
        )


def read_time(visit: Visit, fields: dict[str, Any], name: str) -> datetime | None:
    """Check that a field is a date-time in the client's format; the date-time where it is."""
    value = fields.get(name)
    try:
        result = read_date_time(value)
    except ValueError:
        result = None
    visit.report.check(result is not None, f"{name} looks like 2026-11-21T00:00:00.000000Z, not {value}")
    return result


def check_no_subscription(visit: Visit, customer: str) -> None:
    """Check that a customer has no subscription."""
    _, subscription = open_settings(visit, customer)
    visit.report.note(f"{customer}: {'no subscription' if subscription is None else subscription}")
    visit.report.check(subscription is None, f"{customer} has no subscription")


# The steps


def begin(visit: Visit) -> None:
    """Nobody has a subscription yet."""
    visit.report.step(f"{visit.registrar} and {visit.individual} open their settings pages.")
    check_no_subscription(visit, visit.registrar)
    check_no_subscription(visit, visit.individual)


def registrar_picks_a_plan(visit: Visit) -> None:
    """A monthly plan becomes a signed form."""
    visit.report.step(f"{visit.registrar} picks 100 links monthly.")
    ask_for_plan(visit, visit.registrar, "monthly", "100")


def registrar_pays(visit: Visit) -> None:
    """CyberSource takes the form, and Perma Payments the response."""
    visit.report.step(f"{visit.registrar} goes on to CyberSource, with the signed form, and pays.")
    pay(visit, visit.registrar)


def registrar_has_a_subscription(visit: Visit) -> None:
    """What was paid for is there, for this customer alone."""
    visit.report.step(f"{visit.registrar} is back at its settings page.")
    check_subscription(visit, visit.registrar)
    visit.report.step(f"{visit.individual}, of the same number, is another customer.")
    check_no_subscription(visit, visit.individual)


def registrar_subscribes_again(visit: Visit) -> None:
    """A standing subscription is not sold a second time."""
    visit.report.step(f"{visit.registrar} tries to subscribe again.")
    page, _ = open_settings(visit, visit.registrar)
    answer = visit.browser.submit(find_plan(page, "monthly", "10"))
    check_page(visit, answer, 200)
    visit.report.check("already" in answer.text.lower(), 'the page says "already"')


def individual_clicks_twice(visit: Visit) -> None:
    """The same message sent twice before it is paid leads to the same transaction."""
    visit.report.step(f"{visit.individual} picks unlimited links annually.")
    first = ask_for_plan(visit, visit.individual, "annually", "unlimited")
    visit.report.step("The button was clicked twice: the same message comes again.")
    form = check_checkout_page(visit, visit.browser.submit(first.encrypted_form))
    for name in ("transaction_uuid", "reference_number"):
        old, new = first.checkout_form.fields.get(name), form.fields.get(name)
        visit.report.note(f"{name}: {old}, then {new}")
        visit.report.check(old == new, f"{name} is the same both times")
    first.checkout_form = form


def individual_pays(visit: Visit) -> None:
    """An annual plan is paid and there."""
    visit.report.step(f"{visit.individual} goes on to CyberSource and pays.")
    pay(visit, visit.individual)
    visit.report.step(f"{visit.individual} is back at its settings page.")
    check_subscription(visit, visit.individual)


def individual_sends_the_message_again(visit: Visit) -> None:
    """A message whose transaction is answered is used up."""
    visit.report.step(f"{visit.individual} goes back and sends the paid message once more.")
    answer = visit.browser.submit(visit.way_of(visit.individual).encrypted_form)
    check_page(visit, answer, 400)


def card_is_declined(visit: Visit) -> None:
    """Who does not pay gets nothing."""
    visit.report.step(f"{visit.decliner} picks 10 links monthly, and the card is declined.")
    ask_for_plan(visit, visit.decliner, "monthly", "10")
    press(visit, visit.decliner, go_to_checkout(visit, visit.decliner), "Decline")
    check_no_subscription(visit, visit.decliner)


def own_form_comes_back(visit: Visit) -> None:
    """Perma Payments' own signature does not make a response of CyberSource."""
    visit.report.step(f"Someone sends the signed form of {visit.decliner} back as if it were a response.")
    fields = visit.way_of(visit.decliner).checkout_form.fields
    answer = visit.browser.post(visit.payments_url(CALLBACK_PATH), {**fields, "decision": "ACCEPT"})
    visit.report.note(f"answer {answer.status}")
    visit.report.check(answer.status == 400, f"it is answered 400, not {answer.status}")
    check_no_subscription(visit, visit.decliner)


def response_comes_again(visit: Visit) -> None:
    """A response that is delivered twice counts once."""
    visit.report.step(f"CyberSource delivers the response for {visit.registrar} again.")
    callbacks = visit.way_of(visit.registrar).callbacks
    if not callbacks:
        raise StepFailed("there is no response from an earlier step")
    _, before = open_settings(visit, visit.registrar)
    answer = visit.browser.post(
        visit.payments_url(CALLBACK_PATH), [(name, value) for name, value in callbacks[0]["fields"]]
    )
    visit.report.note(f"answer {answer.status}")
    visit.report.check(answer.status == 200, f"it is answered 200, not {answer.status}")
    _, after = open_settings(visit, visit.registrar)
    visit.report.check(before == after, "nothing has changed")
