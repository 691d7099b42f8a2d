"""What a visitor does with the pages, and what there is to check about them."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from json import loads
from time import monotonic, sleep
from typing import Any
from urllib.parse import urljoin, urlsplit

from ..browser import Button, Form, Page, attribute
from .visit import StepFailed, Visit, Way

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

CALLBACK_SECONDS = 15

# What a signed form has to have, made of the message that was sent; None for what it must lack.
Asked = Callable[[dict[str, Any]], dict[str, str | None]]


# The settings page


def settings_url(visit: Visit, customer: str) -> str:
    """Where a customer's settings page is."""
    return f"{visit.sandbox}/settings/usage-plan/?customer={customer}"


def open_settings(visit: Visit, customer: str) -> tuple[Page, dict[str, Any] | None]:
    """Open a customer's settings page: the page, and the subscription that it tells of."""
    visit.page_mark = traffic_mark(visit)
    page = visit.browser.open(settings_url(visit, customer))
    unavailable = page.soup.find(id="unavailable")
    if unavailable is not None:
        raise StepFailed(unavailable.get_text(" ", strip=True))
    reply = page.soup.find(id="opened-reply")
    if page.status != 200 or reply is None:
        raise StepFailed(f"the settings page of {customer} shows no reply (status {page.status})")
    if visit.payments is None:
        visit.payments = find_form(page, "update").action.removesuffix("/update/")
    return page, loads(reply.get_text())["subscription"]


def standing_subscription(visit: Visit, customer: str) -> tuple[Page, dict[str, Any]]:
    """The same, for a customer who must have a subscription."""
    page, subscription = open_settings(visit, customer)
    if subscription is None:
        raise StepFailed(f"{customer} has no subscription")
    return page, subscription


def find_form(page: Page, name: str, **data: str) -> Form:
    """The form on the settings page that leads to the route `name`, with these data attributes."""
    for form in page.forms:
        if name in attribute(form.tag, "class").split() and all(
            attribute(form.tag, "data-" + key.replace("_", "-")) == value for key, value in data.items()
        ):
            return form
    about = " ".join(data.values())
    raise StepFailed(f"the settings page has no form for {name} {about}".rstrip())


def find_plan(page: Page, frequency: str, link_limit: str) -> Form:
    """The form on the settings page that subscribes to a plan."""
    return find_form(page, "subscribe", frequency=frequency, link_limit=link_limit)


def page_status(page: Page) -> str:
    """The status of the subscription that the settings page shows."""
    status = page.soup.find(id="status")
    return "" if status is None else attribute(status, "data-status")


def bonus_links(page: Page) -> int:
    """How many bonus links the page says were credited."""
    counter = page.soup.find(id="bonus-links")
    if counter is None:
        raise StepFailed(f'the page "{page.title}" does not show the bonus links')
    return int(attribute(counter, "data-links"))


# The traffic


def read_traffic(visit: Visit, after: int = 0) -> list[dict[str, Any]]:
    """What the sandbox sent and saw after an entry."""
    entries = visit.browser.read_json(f"{visit.sandbox}/traffic.json?after={after}")
    if not isinstance(entries, list):
        raise StepFailed("the traffic of the sandbox is no list")
    return entries


def traffic_mark(visit: Visit) -> int:
    """The id of the newest entry in the traffic."""
    return max((entry["id"] for entry in read_traffic(visit, visit.page_mark)), default=visit.page_mark)


def find_message(visit: Visit, encrypted_data: str) -> dict[str, Any]:
    """What is inside a message that the sandbox sealed into the last settings page."""
    for entry in read_traffic(visit, visit.page_mark):
        for message in entry.get("messages", []):
            if message["encrypted_data"] == encrypted_data:
                return dict(message["message"])
    raise StepFailed("the sandbox does not know the message that was sent")


# The way to CyberSource


def check_checkout_page(visit: Visit, page: Page) -> Form:
    """Check Perma Payments' page with the signed form; the form."""
    check = visit.report.check
    check(page.status == 200, f"the page with the signed form answers 200, not {page.status}")
    forms = [form for form in page.forms if form.method == "post"]
    check(len(forms) == 1, f"the page has exactly one POST form, not {len(forms)}")
    if not forms:
        raise StepFailed(f'there is no signed form on the page "{page.title}"')
    form = forms[0]
    fields = form.fields
    names = form.control_names
    check(
        sorted(names) == sorted([*fields.get("signed_field_names", "").split(","), "signature"]),
        "the form has the signed fields and the signature, each once, and nothing else with a name",
    )
    check(fields.get("unsigned_field_names") == "", "unsigned_field_names is there and empty")
    check("no-store" in page.headers.get("Cache-Control", ""), "the page is Cache-Control: no-store")
    check(form.accept_charset.upper() == "UTF-8", "the form has accept-charset UTF-8")
    check(any(button.is_visible for button in form.buttons), "the form has a visible button")
    scripts = page.soup.select("script")
    check(bool(page.soup.select("script[src]")), "the page has an external script")
    check(all(script.has_attr("src") for script in scripts), "the page has no script of its own")
    for script in page.soup.select("script[src]"):
        url = urljoin(page.url, attribute(script, "src"))
        if is_same_place(url, page.url):
            status = visit.browser.open(url).status
            check(status == 200, f"the script {attribute(script, 'src')} is there, not {status}")
    if not is_same_place(form.action, visit.sandbox):
        raise StepFailed(f"the signed form goes to {form.action}, which is not the sandbox: nothing was sent")
    return form


def is_same_place(url: str, other: str) -> bool:
    """Whether two addresses have the same host and port; all names of this machine are one."""

    def place(address: str) -> tuple[str, int]:
        parts = urlsplit(address)
        try:
            port = parts.port
        except ValueError:
            port = None
        host = parts.hostname or ""
        return ("localhost" if host in LOOPBACK else host, port or (443 if parts.scheme == "https" else 80))

    return place(url) == place(other)


def ask_for(visit: Visit, customer: str, encrypted_form: Form, asked: Asked) -> Way:
    """Send a form of the settings page just opened; check the signed form that is made of it."""
    message = find_message(visit, encrypted_form.fields["encrypted_data"])
    visit.report.fields("sealed", message)
    form = check_checkout_page(visit, visit.browser.submit(encrypted_form))
    fields = form.fields
    expected = asked(message)
    if visit.ways:
        # In full the first time only: the others differ in these alone.
        names = ["transaction_uuid", "reference_number", *expected]
    else:
        names = list(fields)
    visit.report.fields(
        "signed", {name: _shortened(fields[name]) for name in dict.fromkeys(names) if name in fields}
    )
    for name, value in expected.items():
        sentence = f"there is no {name}" if value is None else f"{name} is {value}"
        visit.report.check(fields.get(name) == value, f"{sentence}, not {fields.get(name)}")
    way = Way(message, encrypted_form, form)
    visit.ways[customer] = way
    return way


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}…"


def go_to_checkout(visit: Visit, customer: str) -> Page:
    """Post the signed form to CyberSource; the checkout page."""
    mark = traffic_mark(visit)
    page = visit.browser.submit(visit.way_of(customer).checkout_form)
    entry = next((entry for entry in read_traffic(visit, mark) if entry["kind"] == "form"), None)
    if entry is None:
        raise StepFailed("the sandbox saw no form")
    if not entry["accepted"]:
        raise StepFailed(f"CyberSource refused the form: {entry['reason']}")
    visit.report.note(f"verdict at {entry['path']}: accepted")
    for text in entry["notes"]:
        visit.report.note(f"note: {text}")
    return page


class Carriers(Enum):
    """Who brings Perma Payments the response to a checkout, in which order."""

    SERVER_THEN_BROWSER = auto()
    BROWSER_THEN_SERVER = auto()
    BROWSER = auto()
    SERVER = auto()


# What the checkout page is asked for, where the server is not to be the first.
_DELIVERY = {Carriers.BROWSER_THEN_SERVER: {"delay": "1"}, Carriers.BROWSER: {"times": "0"}}

# With which parameter a customer comes back to Perma.cc, by the route that the way began with and
# the button that ended it; else with none (perma-2026.md §7).
RETURNS = {
    ("/subscribe/", "Pay"): "subscription=success",
    ("/subscribe/", "Cancel"): "subscription=canceled",
    ("/purchase/", "Pay"): "purchase=success",
    ("/purchase/", "Cancel"): "purchase=canceled",
    ("/change/", "Pay"): "change=success",
    ("/update/", "Pay"): "update=success",
}


def press(
    visit: Visit,
    customer: str,
    page: Page,
    label: str,
    carriers: Carriers = Carriers.SERVER_THEN_BROWSER,
    **changes: str,
) -> Page:
    """Press a button of the checkout page, and come back to Perma.cc; check both.

    The result is the last page that was seen.
    """
    for form in page.forms:
        for button in form.buttons:
            if button.text == label:
                changes |= _DELIVERY.get(carriers, {})
                return _finish_checkout(visit, customer, form, button, changes, carriers)
    raise StepFailed(f'the page "{page.title}" has no button {label}')


def pay(visit: Visit, customer: str, carriers: Carriers = Carriers.SERVER_THEN_BROWSER, **changes: str) -> Page:
    """Go to the checkout with the signed form, and press Pay there."""
    return press(visit, customer, go_to_checkout(visit, customer), "Pay", carriers, **changes)


def _finish_checkout(
    visit: Visit, customer: str, form: Form, button: Button, changes: dict[str, str], carriers: Carriers
) -> Page:
    mark = traffic_mark(visit)
    visit.typed |= {value for name, value in {**form.fields, **changes}.items() if name.startswith("bill_to_")}
    page = visit.browser.submit(form, button, changes)
    visit.report.note(f"the customer sees: {page.title}")
    expected = RETURNS.get((urlsplit(visit.way_of(customer).encrypted_form.action).path, button.text), "")
    if carriers is Carriers.BROWSER_THEN_SERVER:
        page = come_back(visit, page, expected)
    if carriers is not Carriers.BROWSER:
        _check_callback(visit, customer, mark)
    if carriers in (Carriers.SERVER_THEN_BROWSER, Carriers.BROWSER):
        page = come_back(visit, page, expected)
    return page


def _check_callback(visit: Visit, customer: str, mark: int) -> None:
    """Check that CyberSource's server has brought one response, and that it was taken."""
    end = monotonic() + CALLBACK_SECONDS
    callbacks: list[dict[str, Any]] = []
    while not callbacks and monotonic() < end:
        callbacks = [entry for entry in read_traffic(visit, mark) if entry["kind"] == "callback"]
        if not callbacks:
            sleep(0.1)
    visit.way_of(customer).callbacks += callbacks
    for entry in callbacks:
        visit.report.note(entry["summary"] + (f": {entry['body']!r}" if entry["body"] else ""))
        token = dict(entry["fields"]).get("payment_token")
        if token:
            visit.tokens[customer] = token
    visit.report.check(
        len(callbacks) == 1 and callbacks[0]["status"] == 200, "Perma Payments answers 200 to the one response"
    )


def return_form(page: Page) -> Form:
    """The form of CyberSource's last page, with the response that the browser carries."""
    for form in page.forms:
        if attribute(form.tag, "id") == "return":
            return form
    raise StepFailed(f'the page "{page.title}" has no form that leads back')


def come_back(visit: Visit, page: Page, expected: str) -> Page:
    """Let the browser carry the response to Perma Payments; check where it leads."""
    return check_return(visit, visit.browser.submit(return_form(page)), expected)


def check_return(visit: Visit, page: Page, expected: str) -> Page:
    """Check that an answer led to Perma.cc's page with the parameter `expected`, or none if empty."""
    check = visit.report.check
    status, url = page.redirects[0] if page.redirects else (page.status, page.url)
    visit.report.note(f"the customer is sent back: {status} {url}")
    check(status == 303, f"the customer is sent on with 303, not {status}")
    check(
        is_same_place(url, visit.sandbox) and urlsplit(url).path == "/settings/usage-plan/",
        "the customer lands on the usage plan page of Perma.cc",
    )
    query = urlsplit(url).query
    check(query == expected, f"with {expected or 'no parameter'}, not {query or 'none'}")
    shown = page.soup.find(id="returned")
    told = "" if shown is None else attribute(shown, "data-parameter")
    check(told == expected, f"the page has the message for {expected or 'no parameter'}, not {told}")
    return page


# Pages in plain words


def check_page(visit: Visit, page: Page, status: int) -> None:
    """Check a page of Perma Payments that leads nowhere but back: status, way back, contact."""
    visit.report.note(f"answer {page.status}: {page.title}")
    check = visit.report.check
    check(page.status == status, f"the page answers {status}, not {page.status}")
    check(bool(page.title), "the page says something")
    check(not any("signature" in form.control_names for form in page.forms), "the page has no signed form")
    links = [link for link in page.links if "/settings/subscription" in urlsplit(link).path]
    check(bool(links), "the page has a link back to the settings page of Perma.cc")
    check(
        "@" in page.text or any(link.startswith("mailto:") for link in page.links),
        "the page has a contact address",
    )
