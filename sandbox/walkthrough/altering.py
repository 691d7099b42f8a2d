"""Steps: a customer changes plans and cards, and in the end cancels."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

from ..browser import Form, Page
from .pages import (
    ask_for,
    check_page,
    find_form,
    go_to_checkout,
    is_same_place,
    open_settings,
    page_status,
    pay,
    press,
    standing_subscription,
)
from .subscribing import ask_for_plan, check_effective, check_subscription
from .visit import StepFailed, Visit

MAIL_SECONDS = 15


def token_update(visit: Visit, customer: str, subscription: dict[str, Any]) -> dict[str, str | None]:
    """What every signed form has that alters a customer's subscription."""
    return {
        "reference_number": subscription["reference_number"],
        "payment_token": visit.tokens.get(customer),
        "allow_payment_token_update": "true",
        # CyberSource cannot change the schedule.
        "recurring_frequency": None,
        "recurring_start_date": None,
    }


def ask_for_change(visit: Visit, customer: str, link_limit: str) -> dict[str, Any]:
    """Pick another plan; check the signed form. The subscription as it was before."""
    page, subscription = standing_subscription(visit, customer)

    def asked(message: dict[str, Any]) -> dict[str, str | None]:
        costs = float(message["amount"]) > 0
        return {
            "transaction_type": "sale,update_payment_token" if costs else "update_payment_token",
            "amount": message["amount"],
            "currency": "USD",
            "recurring_amount": message["recurring_amount"],
            **token_update(visit, customer, subscription),
        }

    ask_for(visit, customer, find_form(page, "change", link_limit=link_limit), asked)
    check_path(visit, customer)
    return subscription


def ask_for_card_update(visit: Visit, customer: str) -> dict[str, Any]:
    """Go to update the card; check the signed form. The subscription as it was before."""
    page, subscription = standing_subscription(visit, customer)
    ask_for(
        visit,
        customer,
        find_form(page, "update"),
        lambda message: {
            "transaction_type": "update_payment_token",
            "recurring_amount": None,
            **token_update(visit, customer, subscription),
        },
    )
    check_path(visit, customer)
    return subscription


def check_path(visit: Visit, customer: str) -> None:
    """Check where a form goes: a plain token update has a path of its own."""
    form = visit.way_of(customer).checkout_form
    if form.fields.get("transaction_type") == "update_payment_token":
        path = urlsplit(form.action).path
        visit.report.check(path == "/token/update", f"the form goes to /token/update, not {path}")


def check_changed(visit: Visit, customer: str, before: dict[str, Any]) -> Page:
    """Check that rate, limit and their time are those asked for, and all else is as before."""
    message = visit.way_of(customer).message
    page, after = standing_subscription(visit, customer)
    visit.report.fields("subscription", after)
    expected = {**before, "rate": message["recurring_amount"], "link_limit": message["link_limit"]}
    del expected["link_limit_effective_timestamp"]
    for name, value in expected.items():
        visit.report.check(after.get(name) == value, f"{name} is {value}, not {after.get(name)}")
    check_effective(visit, after, message["link_limit_effective_timestamp"])
    return page


def check_unchanged(visit: Visit, customer: str, before: dict[str, Any]) -> None:
    """Check that nothing about a subscription has changed."""
    _, after = open_settings(visit, customer)
    visit.report.note("subscription: " + ("as it was" if before == after else str(after)))
    visit.report.check(before == after, "the subscription is as it was")


def read_mails(visit: Visit, words: str) -> list[dict[str, Any]]:
    """The mails in the sandbox's mailbox that have these words in their subject or body."""
    mailbox = visit.browser.read_json(f"{visit.sandbox}/mailbox.json")
    if not isinstance(mailbox, dict):
        raise StepFailed("the mailbox of the sandbox is no object")
    if mailbox["address"] is None:
        raise StepFailed("the sandbox takes no mail")
    if mailbox["mode"] != "takes":
        raise StepFailed("the mailbox of the sandbox is set to take no mail")
    return [mail for mail in mailbox["mails"] if words in mail["subject"] or words in mail["body"]]


def wait_for_mails(visit: Visit, words: str) -> list[dict[str, Any]]:
    """The same, as soon as there are any, or none after some time."""
    end = monotonic() + MAIL_SECONDS
    mails = read_mails(visit, words)
    while not mails and monotonic() < end:
        sleep(0.5)
        mails = read_mails(visit, words)
    return mails


def check_cancelled(visit: Visit, form: Form) -> None:
    """Send a cancellation request; check that it leads to the settings page of Perma.cc."""
    answer = visit.browser.submit(form)
    status, url = answer.redirects[0] if answer.redirects else (answer.status, "")
    visit.report.note(f"answer {status} {url}".rstrip())
    visit.report.check(status == 302, f"it is answered 302, not {status}")
    visit.report.check(
        is_same_place(url, visit.sandbox) and urlsplit(url).path == "/settings/subscription/",
        "it leads to the settings page of Perma.cc",
    )


# The steps


def member_subscribes(visit: Visit) -> None:
    """A life begins."""
    visit.report.step(f"{visit.member} picks 100 links annually, and pays.")
    ask_for_plan(visit, visit.member, "annually", "100")
    pay(visit, visit.member)
    check_subscription(visit, visit.member)


def member_upgrades(visit: Visit) -> None:
    """More links at once, for the difference in price."""
    visit.report.step(f"{visit.member} changes up to 500 links, and pays the difference.")
    before = ask_for_change(visit, visit.member, "500")
    message = visit.way_of(visit.member).message
    visit.report.check(float(message["amount"]) > 0, "a change up costs something today")
    pay(visit, visit.member)
    check_changed(visit, visit.member, before)


def upgrade_is_declined(visit: Visit) -> None:
    """Who does not pay keeps what was there."""
    visit.report.step(f"{visit.member} changes up to unlimited links, and the card is declined.")
    before = ask_for_change(visit, visit.member, "unlimited")
    press(visit, visit.member, go_to_checkout(visit, visit.member), "Decline")
    check_unchanged(visit, visit.member, before)


def member_downgrades(visit: Visit) -> None:
    """Fewer links from the next period on; nothing is charged today."""
    visit.report.step(f"{visit.member} changes down to 10 links, from the next period on.")
    before = ask_for_change(visit, visit.member, "10")
    message = visit.way_of(visit.member).message
    visit.report.check(
        message["link_limit_effective_timestamp"] > datetime.now(UTC).timestamp(),
        "the change begins in the future",
    )
    pay(visit, visit.member)
    page = check_changed(visit, visit.member, before)
    visit.report.check(
        page.soup.find(id="pending") is not None, "the settings page says that the change is pending"
    )


def member_updates_the_card(visit: Visit) -> None:
    """Another card changes nothing else."""
    visit.report.step(f"{visit.member} updates the card.")
    before = ask_for_card_update(visit, visit.member)
    pay(visit, visit.member)
    check_unchanged(visit, visit.member, before)


def registrar_gets_a_new_token(visit: Visit) -> None:
    """Where CyberSource gives a new token, it is the one to go on with."""
    visit.report.step(f"{visit.registrar} updates the card, and CyberSource gives a new token.")
    old = visit.tokens.get(visit.registrar)
    before = ask_for_card_update(visit, visit.registrar)
    pay(visit, visit.registrar, token="replaced")
    visit.report.note(f"token: {old}, then {visit.tokens.get(visit.registrar)}")
    check_unchanged(visit, visit.registrar, before)
    visit.report.step(f"{visit.registrar} is about to update the card again: with the new token.")
    ask_for_card_update(visit, visit.registrar)


def nothing_to_modify(visit: Visit) -> None:
    """Who has no subscription cannot alter one."""
    for name in ("change", "update", "cancel-request"):
        visit.report.step(f"{visit.decliner}, without a subscription, sends /{name}/.")
        page, _ = open_settings(visit, visit.decliner)
        check_page(visit, visit.browser.submit(find_form(page, name)), 200)


def addresses_are_opened(visit: Visit) -> None:
    """A reload or a bookmark starts nothing, and is answered with a page."""
    for route, status in (
        ("/subscribe/", 200),
        ("/purchase/", 200),
        ("/change/", 405),
        ("/update/", 405),
        ("/cancel-request/", 405),
    ):
        visit.report.step(f"Someone opens {route} without a message.")
        check_page(visit, visit.browser.open(visit.payments_url(route)), status)


def member_cancels(visit: Visit) -> None:
    """The customer is led back, and Perma.cc is told."""
    visit.report.step(f"{visit.member} cancels the subscription.")
    page, before = standing_subscription(visit, visit.member)
    form = find_form(page, "cancel-request")
    check_cancelled(visit, form)
    visit.report.step(f"{visit.member} is back at its settings page.")
    page, after = standing_subscription(visit, visit.member)
    visit.report.note(f"status: {after.get('status')}")
    visit.report.check(
        after == {**before, "status": "Cancellation Requested"},
        "the status is Cancellation Requested and all else is as it was",
    )
    visit.report.check(
        page_status(page) == "Cancellation Requested", "the settings page says Cancellation Requested"
    )
    visit.report.step("The button was clicked twice: the same message comes again.")
    check_cancelled(visit, form)
    visit.report.step("And once more, from a page that is opened now.")
    check_cancelled(visit, find_form(page, "cancel-request"))


def staff_get_one_mail(visit: Visit) -> None:
    """Staff hear of a cancellation once, with all they need and nothing personal."""
    visit.report.step("The mail about the cancellation is in the mailbox.")
    check = visit.report.check
    _, subscription = standing_subscription(visit, visit.member)
    reference_number = subscription["reference_number"]
    mails = wait_for_mails(visit, reference_number)
    check(len(mails) == 1, f"there is one mail about {reference_number}, not {len(mails)}")
    if not mails:
        return
    mail = mails[0]
    visit.report.fields("mail", {name: mail[name] for name in ("from", "reply_to", "to", "subject")})
    body = mail["body"]
    check(bool(mail["from"]), "the mail has a From")
    check(bool(mail["reply_to"]), "the mail has a Reply-To: staff can answer it")
    check(reference_number in body, "the mail names the reference number")
    number = visit.member.removeprefix("Registrar-")
    check(
        re.search(rf"https?://\S*registrar\S*\b{number}\b", body) is not None,
        "the mail has the link to the registrar's page for Perma.cc's staff",
    )
    check("Business Center" in body, "the mail names the Business Center")
    check(
        mentioned(visit.typed, mail["subject"] + "\n" + body) == [],
        "the mail says nothing of what was typed at the checkout",
    )


def mentioned(values: set[str], text: str) -> list[str]:
    """Which of the values are in a text; those of one to three letters say nothing."""
    return sorted(
        value for value in values if len(value) > 3 and re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text)
    )


def cancelled_is_not_altered(visit: Visit) -> None:
    """What is about to end is not changed any more."""
    for name in ("change", "update"):
        visit.report.step(f"{visit.member}, who has cancelled, sends /{name}/.")
        page, before = standing_subscription(visit, visit.member)
        check_page(visit, visit.browser.submit(find_form(page, name)), 200)
        check_unchanged(visit, visit.member, before)
