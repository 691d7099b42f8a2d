"""A customer of Perma.cc: what their browser shows, and their way to CyberSource and back."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from bs4 import BeautifulSoup, Tag

from .world import World, attribute, eventually, find, is_same_place, new_browser, press, soup_of

# The outcomes of the sandbox's checkout page that have a button of their own.
BUTTONS = ("accept", "decline-203", "cancel")


# What can be done in the portal; behind `/billing/`, it has none of that.
ACTIONS = ("form.card", "a.cancel", "form.keep")


def read_time(text: str) -> datetime:
    """Read a date-time as Perma.cc does, in UTC. Raises ValueError; the fraction is required."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


class Customer:
    """A customer in front of a browser; `key` is their name in the sandbox, such as Registrar-7."""

    def __init__(self, world: World, key: str) -> None:
        self.world = world
        self.key = key
        self.browser = new_browser()

    def open_settings(self) -> requests.Response:
        """Open Perma.cc's settings page, which asks Perma Payments for the customer's status."""
        for _ in range(3):
            page: requests.Response = self.browser.get(
                f"{self.world.sandbox}/settings/usage-plan/?customer={self.key}"
            )
            unavailable = soup_of(page).select_one("#unavailable, #history-unavailable")
            # A machine that pauses is slower than Perma.cc is patient. A service that is too slow always is.
            if unavailable is None or "no answer within" not in unavailable.get_text():
                break
        assert unavailable is None, unavailable.get_text(" ", strip=True)
        assert page.status_code == 200
        return page

    def find(self, selector: str) -> Tag:
        """The first tag on the settings page, opened now, that matches a CSS selector."""
        return find(soup_of(self.open_settings()), selector)

    def subscription(self) -> dict[str, Any] | None:
        """What Perma Payments tells Perma.cc of the customer's subscription."""
        subscription: dict[str, Any] | None = json.loads(self.find("#opened-reply").get_text())["subscription"]
        return subscription

    def standing_subscription(self) -> dict[str, Any]:
        """The same, of a customer who must have one."""
        subscription = self.subscription()
        assert subscription is not None, f"{self.key} has no subscription."
        return subscription

    def bonus_links(self) -> int:
        """How many bonus links Perma.cc has credited; opening the page credits what is paid for."""
        return int(attribute(self.find("#bonus-links"), "data-links"))

    def send(self, route: str, **choice: str) -> requests.Response:
        """Press the button that leads to a route, such as `change`, on a new settings page; the answer.

        `choice` picks one of several by what it is about, such as link_limit="500".
        """
        page = self.open_settings()
        return press(self.browser, page, _selector(route, choice))

    def ask(self, route: str, **choice: str) -> "Checkout":
        """The same, where the answer must be the page with a signed form for CyberSource."""
        page = self.open_settings()
        form = find(soup_of(page), _selector(route, choice))
        encrypted_data = attribute(find(form, '[name="encrypted_data"]'), "value")
        (message,) = [
            item["message"]
            for entry in self.world.traffic("page-messages")
            for item in entry["messages"]
            if item["encrypted_data"] == encrypted_data
        ]
        return Checkout(self, message, page, _selector(route, choice))

    def ask_for_card(self) -> "Checkout":
        """Ask to replace the card: on Perma.cc's page, or in the portal (2026)."""
        return self.ask("update") if self.world.client == "2024" else self.open_portal().ask_for_card()

    def open_portal(self, route: str = "update") -> "Portal":
        """Press the button on Perma.cc's page that opens the portal: the one for `update`, or for `billing`."""
        return Portal(self, self.send(route))

    def cancel(self) -> requests.Response:
        """Ask to cancel: on Perma.cc's page, or in the portal (2026); the answer."""
        if self.world.client == "2024":
            return self.send("cancel-request")
        return press(self.browser, self.open_portal().follow("a.cancel"), "form.cancel")

    def ask_for_plan(self, frequency: str = "annually", link_limit: str = "100") -> "Checkout":
        """Pick a plan to subscribe to."""
        return self.ask("subscribe", frequency=frequency, link_limit=link_limit)

    def ask_for_links(self, quantity: int = 10) -> "Checkout":
        """Pick bonus links to buy."""
        return self.ask("purchase", link_quantity=str(quantity))


def _selector(route: str, choice: dict[str, str]) -> str:
    return f"form.{route}" + "".join(
        f'[data-{name.replace("_", "-")}="{value}"]' for name, value in choice.items()
    )


class Checkout:
    """One way to CyberSource: the message that asks for it, and the page with the signed form that answers.

    It is asked for on a page with a button, which a CSS selector finds.
    """

    def __init__(
        self, customer: Customer, message: dict[str, Any], asked_on: requests.Response, selector: str
    ) -> None:
        self.customer = customer
        self.message = message
        self._asked_on, self._selector = asked_on, selector
        self.page = self.send()
        assert self.page.status_code == 200
        (self.form,) = soup_of(self.page).select('form[method="post"]')
        self.fields = {
            attribute(control, "name"): attribute(control, "value")
            for control in self.form.select("input[name], button[name]")
        }
        self.reference_number = self.fields["reference_number"]

    def send(self) -> requests.Response:
        """Press the button that asks for it, for the first time or again; the answer."""
        return press(self.customer.browser, self._asked_on, self._selector)

    def callbacks(self) -> list[dict[str, Any]]:
        """What CyberSource's server has told Perma Payments of this transaction so far."""
        return [
            entry
            for entry in self.customer.world.traffic("callback")
            if dict(entry["fields"])["req_transaction_uuid"] == self.fields["transaction_uuid"]
        ]

    def token(self) -> str:
        """The payment token that CyberSource gave."""
        return str(dict(self.callbacks()[-1]["fields"])["payment_token"])

    def end(self, outcome: str = "accept", *, calls: int = 1, delay: int = 0, **typed: Any) -> requests.Response:
        """Go to CyberSource and end the checkout there; the last page, from which the browser comes back.

        `outcome` is one that the sandbox's checkout page offers; `typed` are other values for its form.
        CyberSource's server calls Perma Payments `calls` times, after `delay` seconds.
        """
        browser, sandbox = self.customer.browser, self.customer.world.sandbox
        assert is_same_place(attribute(self.form, "action"), sandbox), "The form does not lead to the sandbox."
        checkout = press(browser, self.page, 'form[method="post"]')
        if outcome not in BUTTONS:
            typed["other_outcome"], outcome = outcome, "other"
        return press(
            browser,
            checkout,
            "form.checkout",
            f'button[value="{outcome}"]',
            times=str(calls),
            delay=str(delay),
            **typed,
        )

    def come_back(self, page: requests.Response) -> "Landing":
        """Let the browser carry the response to Perma Payments, from CyberSource's last page."""
        return Landing(self.customer.world, press(self.customer.browser, page, "form#return"))

    def expect_callbacks(self, count: int = 1) -> None:
        """Wait until CyberSource's server has called so often. Perma Payments must have taken each response."""
        eventually(lambda: len(self.callbacks()) >= count)
        assert [entry["status"] for entry in self.callbacks()] == [200] * count

    def finish(self, outcome: str = "accept", **typed: Any) -> "Landing":
        """End the checkout at CyberSource, whose server calls Perma Payments once, and come back."""
        page = self.end(outcome, **typed)
        self.expect_callbacks()
        return self.come_back(page)


class Landing:
    """Where a customer landed who came back from CyberSource: always on Perma.cc's usage plan page.

    `parameter` is what it was told in the address, such as `subscription=success`; empty for nothing. The client
    of 2024 ignores it.
    """

    def __init__(self, world: World, page: requests.Response) -> None:
        self.page = page
        assert [answer.status_code for answer in page.history] == [303]
        address = urlsplit(page.history[0].headers["Location"])
        assert is_same_place(address.geturl(), world.sandbox) and address.path == "/settings/usage-plan/"
        self.parameter = address.query
        message = soup_of(page).select_one("#returned")
        told = "" if message is None else attribute(message, "data-parameter")
        assert told == (self.parameter if world.client == "2026" else "")


class Portal:
    """Perma Payments' own page about a customer (2026), after it was opened or something was done there."""

    def __init__(self, customer: Customer, page: requests.Response) -> None:
        self.customer, self.page = customer, page
        assert page.status_code == 200
        assert [answer.status_code for answer in page.history] == [303]
        assert is_same_place(page.url, customer.world.payments) and urlsplit(page.url).path == "/portal/"
        assert "no-store" in page.headers["Cache-Control"]
        find(self.soup, "a.back")

    @property
    def soup(self) -> BeautifulSoup:
        return soup_of(self.page)

    @property
    def status(self) -> str:
        """The status of the subscription that the page shows."""
        return attribute(find(self.soup, "#subscription"), "data-status")

    @property
    def actions(self) -> list[str]:
        """What the page offers to do."""
        return [action for action in ACTIONS if self.soup.select(action)]

    @property
    def payments(self) -> list[str]:
        """The reference numbers of the payments that it lists."""
        return [attribute(row, "data-reference") for row in self.soup.select("#payments tr[data-reference]")]

    def follow(self, selector: str) -> requests.Response:
        """Follow a link; the answer."""
        link = attribute(find(self.soup, selector), "href")
        answer: requests.Response = self.customer.browser.get(urljoin(self.page.url, link))
        return answer

    def do(self, action: str) -> requests.Response:
        """Press the button of a form; the answer."""
        return press(self.customer.browser, self.page, action)

    def ask_for_card(self) -> Checkout:
        """Ask to replace the card."""
        return Checkout(self.customer, {}, self.page, "form.card")
