"""The pages that people see: the checkout, and what is said where there is none."""

import re
from contextlib import closing
from datetime import UTC, datetime, timedelta
from html import unescape
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import settings as ours
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpResponse
from django.test import RequestFactory

from perma_payments.billing.transactions import Kind
from perma_payments.cybersource.checkout import SignedForm
from perma_payments.views import pages

from .. import cyber_source, perma_cc, records
from ..conftest import FORM
from ..pages import checkout_action, checkout_form, heading, soup, words
from .conftest import assert_is_page_for_a_person

pytestmark = pytest.mark.django_db

SECRET = "Unmistakable"


ORDER = {
    "access_key",
    "profile_id",
    "transaction_uuid",
    "signed_date_time",
    "locale",
    "transaction_type",
    "reference_number",
    "payment_method",
    "unsigned_field_names",
    "signed_field_names",
    "signature",
}
PRICE, RATE, CARD = {"amount", "currency"}, {"recurring_amount"}, {"payment_token", "allow_payment_token_update"}

# Where each kind of checkout goes at CyberSource, and what it says there.
CHECKOUTS = {
    "subscribe": ("/pay", ORDER | PRICE | RATE | {"recurring_frequency", "recurring_start_date"}),
    "purchase": ("/pay", ORDER | PRICE),
    "change": ("/pay", ORDER | PRICE | RATE | CARD),
    "downgrade": ("/token/update", ORDER | PRICE | RATE | CARD),
    "update": ("/token/update", ORDER | CARD),
}


def begin(post, kind: str) -> HttpResponse:
    """The page that takes a customer to CyberSource, for one kind of checkout."""
    if kind in ("change", "downgrade", "update"):
        records.standing_agreement()
    return post("change", amount="0.00") if kind == "downgrade" else post(kind)


@pytest.fixture(params=CHECKOUTS)
def kind(request) -> str:
    """Each kind of checkout."""
    return request.param


@pytest.fixture
def checkout(post, kind) -> HttpResponse:
    """The page that takes a customer to CyberSource."""
    return begin(post, kind)


# --- The checkout -----------------------------------------------------------------------------------


def test_the_checkout_page_has_one_form_to_cybersource(checkout, kind):
    (form,) = soup(checkout).find_all("form")

    assert form["method"] == "post"
    assert form["action"] == f"http://localhost:8001{CHECKOUTS[kind][0]}"
    assert [charset.upper() for charset in form["accept-charset"]] == ["UTF-8"]
    assert form.get("enctype") is None
    assert form.get("target") is None


def test_the_form_has_only_signed_fields_and_the_signature(checkout):
    (form,) = soup(checkout).find_all("form")
    controls = form.find_all(["input", "select", "textarea", "button"])
    names = [control["name"] for control in controls if control.has_attr("name")]
    values = {control["name"]: control["value"] for control in controls if control.has_attr("name")}

    assert sorted(names) == sorted([*values["signed_field_names"].split(","), "signature"])
    assert len(set(names)) == len(names)
    assert values["unsigned_field_names"] == ""
    assert cyber_source.sign(values) == values["signature"]
    assert {control["type"] for control in controls if control.has_attr("name")} == {"hidden"}


def test_no_field_stands_outside_the_form(checkout):
    outside = [
        tag
        for tag in soup(checkout).find_all(["input", "select", "textarea", "button"])
        if tag.find_parent("form") is None
    ]

    assert outside == []


def test_the_form_says_nothing_about_the_customer(checkout, kind):
    assert checkout_form(checkout).keys() == CHECKOUTS[kind][1]


def test_values_and_the_action_are_escaped():
    values = {"a": '"><script>alert(1)</script>', "b": "&amp;&lt;'", 'c"c': "ü\u202e", "d": "", "e": " a  b "}
    form = SignedForm(action='https://cybersource.example/"><b>', fields=values)
    page = pages.checkout(RequestFactory().get("/"), form)

    assert checkout_form(page) == values
    assert checkout_action(page) == form.action
    assert "<script>alert" not in page.content.decode()
    assert page.content.decode().count("<script") == 1


def test_the_button_can_be_seen_and_has_no_name(checkout):
    (button,) = soup(checkout).find("form").find_all("button")

    assert button["type"] == "submit"
    assert not button.has_attr("name")
    assert not button.has_attr("value")
    assert button.get_text(strip=True) == "Continue to CyberSource"
    assert button.find_parent("noscript") is None
    assert not any(tag.has_attr("hidden") or tag.has_attr("style") for tag in [button, *button.parents])


def test_no_field_hides_the_forms_own_submit(checkout):
    """A control named `submit` would take the place of the form's method."""
    assert not {"submit", "requestSubmit", "action", "method"} & set(checkout_form(checkout))


def test_without_scripts_the_page_says_what_to_do(checkout):
    (noscript,) = soup(checkout).find_all("noscript")

    assert "Press the button" in noscript.get_text()


def test_the_checkout_page_names_cybersource_and_the_way_back(checkout, kind):
    text = soup(checkout).get_text(" ", strip=True)

    assert heading(checkout) == ("Update your card" if kind == "update" else "Continue to payment")
    assert "CyberSource" in text
    assert_is_page_for_a_person(checkout)


ORDERS = {
    "subscribe": {"Today": "$12.50", "Starting Dec 13, 2099": "$45.00 a month"},
    "purchase": {"Today": "$15.00"},
    "change": {"Today": "$12.50", "On each due date": "$45.00"},
    "update": {},
}


@pytest.mark.parametrize("route", ORDERS)
def test_the_checkout_page_says_what_is_paid_and_the_reference_number(db, post, route):
    records.standing_agreement(records.INDIVIDUAL)
    changes: dict[str, Any] = {"recurring_start_date": "2099-12-13"} if route == "subscribe" else {}
    if route in ("change", "update"):
        changes["customer_type"] = "Individual"
    response = post(route, **changes)

    shown = {row.find("dt").get_text(): row.find("dd").get_text() for row in soup(response).select("dl.facts div")}
    assert shown == {**ORDERS[route], "Reference number": checkout_form(response)["reference_number"]}


def test_the_checkout_page_is_not_kept(checkout):
    """Its signature is good for minutes, and its form for one payment."""
    assert checkout["Cache-Control"] == "no-store"


def directives(response: HttpResponse) -> dict[str, list[str]]:
    """The page's content security policy."""
    parts = (part.split() for part in response["Content-Security-Policy"].split(";"))
    return {name: sources for name, *sources in parts}


def test_the_policy_lets_the_form_go_to_cybersource_only(checkout):
    action = checkout_action(checkout)

    assert directives(checkout)["form-action"] == ["'self'", "http://localhost:8001"]
    assert action.startswith("http://localhost:8001/")


def test_the_policy_allows_nothing_from_elsewhere(checkout):
    assert directives(checkout) == {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'", ours.CS_BASE_URL],
    }


# --- What is said where there is no checkout --------------------------------------------------------


def send(post, client, case: str, monkeypatch) -> HttpResponse:
    """Bring about each of the pages."""

    def fail(error: Exception) -> HttpResponse:
        def subscribe(*args, **kwargs):
            raise error

        monkeypatch.setattr("perma_payments.services.checkouts.begin.subscribe", subscribe)
        return post("subscribe")

    match case:
        case "already subscribed":
            records.standing_agreement()
            return post("subscribe")
        case "nothing to change" | "nothing to update" | "nothing to cancel":
            return post({"change": "change", "update": "update", "cancel": "cancel-request"}[case.split()[-1]])
        case "frozen":
            records.freeze(reason=SECRET)
            return post("subscribe")
        case "reloaded":
            return client.get("/subscribe/")
        case "bookmarked":
            return client.get("/change/")
        case "another method":
            return client.put("/subscribe/")
        case "too old":
            return post("subscribe", timestamp=(datetime.now(UTC) - timedelta(hours=25)).timestamp())
        case "used up":
            body = urlencode(perma_cc.form("subscribe"))
            page = client.generic("POST", "/subscribe/", body, FORM)
            answer = urlencode(cyber_source.response(checkout_form(page), "DECLINE"))
            assert client.generic("POST", "/cybersource-callback/", answer, FORM).status_code == 200
            return client.generic("POST", "/subscribe/", body, FORM)
        case "not a message":
            return client.post("/subscribe/", {"encrypted_data": SECRET})
        case "negative amount":
            return post("change", amount="-1.50")
        case "date that has passed":
            return post("subscribe", recurring_start_date="2020-01-01")
        case "too big":
            return client.generic("POST", "/subscribe/", SECRET + "x" * 10**6, FORM)
        case "suspicious":
            return fail(SuspiciousOperation(SECRET))
        case "another host":
            return client.get("/subscribe/", HTTP_HOST=f"{SECRET}.example")
        case "root":
            return client.get("/")
        case "nowhere":
            return client.get(f"/{SECRET}/")
        case "not found":
            return fail(Http404(SECRET))
        case "not allowed":
            return fail(PermissionDenied(SECRET))
        case "broken":
            return fail(RuntimeError(SECRET))
        case "no database":
            return fail(OperationalError(SECRET))
        case "database gone":
            return fail(InterfaceError(SECRET))
    raise AssertionError(case)


CASES = {
    "already subscribed": (200, "You already have a subscription"),
    "nothing to change": (200, "There is no subscription to change"),
    "nothing to update": (200, "There is no subscription to change"),
    "nothing to cancel": (200, "There is no subscription to change"),
    "frozen": (200, "Payments are paused right now"),
    "reloaded": (200, "This page can't be opened directly"),
    "root": (200, "Payments for Perma.cc"),
    "bookmarked": (405, "This page can't be opened directly"),
    "another method": (405, "This page can't be opened directly"),
    "too old": (400, "This page has expired"),
    "used up": (400, "This page has expired"),
    "not a message": (400, "We couldn't read that request"),
    "negative amount": (400, "That isn't possible right now"),
    "date that has passed": (400, "That isn't possible right now"),
    "too big": (400, "We couldn't read that request"),
    "suspicious": (400, "We couldn't read that request"),
    "another host": (400, "We couldn't read that request"),
    "nowhere": (404, "Page not found"),
    "not found": (404, "Page not found"),
    "not allowed": (403, "You don't have access to this page"),
    "broken": (500, "Something went wrong on our side"),
    "no database": (503, "Something went wrong on our side"),
    "database gone": (503, "Something went wrong on our side"),
}

every_case = pytest.mark.parametrize("case", CASES)


@pytest.fixture
def message_page(request, post, client, monkeypatch) -> SimpleNamespace:
    """The page of one case, with the status and the heading that it should have."""
    case = request.getfixturevalue("case")
    status, title = CASES[case]
    return SimpleNamespace(response=send(post, client, case, monkeypatch), status=status, title=title)


@every_case
def test_a_page_has_its_status_and_heading_and_a_way_on(message_page, case):
    response = message_page.response

    assert (response.status_code, heading(response)) == (message_page.status, message_page.title)
    assert_is_page_for_a_person(response)
    (link,) = soup(response).find("main").find_all("a")
    assert (link["href"], link.get_text()) == (ours.PERMA_RETURN_PAGE, "Back to Perma.cc")


@every_case
def test_a_page_shows_neither_our_code_nor_what_was_sent(message_page, case):
    text = unescape(message_page.response.content.decode())

    for word in (
        SECRET,
        "Traceback",
        "Exception",
        "Error",
        "Django",
        "Python",
        "encrypted_data",
        "/perma_payments/views",
        "DEBUG",
        "signature",
        "Registrar",
        "None",
        "{{",
        "{%",
    ):
        assert word not in text


@every_case
def test_a_page_has_no_form(message_page, case):
    assert soup(message_page.response).find_all(["form", "input", "button"]) == []


@every_case
def test_a_page_is_not_kept(message_page, case):
    assert message_page.response["Cache-Control"] == "no-store"


@every_case
def test_a_page_does_not_redirect_by_itself(message_page, case):
    assert message_page.response.get("Refresh") is None
    assert soup(message_page.response).find_all("meta", attrs={"http-equiv": True}) == []


@pytest.mark.parametrize("case", ["no database", "database gone"])
def test_without_a_database_a_browser_is_told_when_to_retry(message_page, case):
    assert int(message_page.response["Retry-After"]) > 0


@pytest.mark.parametrize("path", ["/cancel-request/", "/portal/cancel/confirm/", "/portal/keep/"])
def test_someone_who_cancels_without_a_database_is_told_that_nothing_was_recorded(path):
    response = pages.unavailable(RequestFactory().post(path))

    assert "Your request was not recorded, unless your Perma.cc settings page says so." in words(response)


def test_a_checkout_cannot_be_continued_after_15_minutes(client):
    begun = records.outgoing(Kind.SUBSCRIBE, created_at=datetime.now(UTC) - timedelta(minutes=16))
    box = perma_cc.seal(perma_cc.fields("subscribe"), nonce=begun.message_nonce)
    response = client.generic("POST", "/subscribe/", urlencode({"encrypted_data": box}), FORM)

    assert (response.status_code, heading(response)) == (400, "This page has expired")


def test_a_checkout_that_was_just_begun_can_be_continued(client):
    begun = records.outgoing(Kind.SUBSCRIBE, created_at=datetime.now(UTC) - timedelta(minutes=14))
    box = perma_cc.seal(perma_cc.fields("subscribe"), nonce=begun.message_nonce)
    response = client.generic("POST", "/subscribe/", urlencode({"encrypted_data": box}), FORM)

    assert checkout_form(response)["transaction_uuid"] == str(begun.transaction_uuid)


# --- All pages --------------------------------------------------------------------------------------


@pytest.fixture(params=["subscribe", "update", *CASES])
def page(request, post, client, monkeypatch) -> HttpResponse:
    """Each page that there is."""
    if request.param in CHECKOUTS:
        return begin(post, request.param)
    return send(post, client, request.param, monkeypatch)


def test_every_page_can_be_read_by_every_reader(page):
    html = soup(page)

    assert page.content.startswith(b"<!DOCTYPE html>")
    assert html.find("html")["lang"] == "en"
    assert html.find("meta", charset=True)["charset"] == "utf-8"
    assert html.find("title").get_text().startswith(heading(page))
    assert len(html.find_all("main")) == 1
    assert html.find("h1").find_parent("main") is not None
    assert "width=device-width" in html.find("meta", attrs={"name": "viewport"})["content"]
    ids = [tag["id"] for tag in html.find_all(id=True)]
    assert len(set(ids)) == len(ids)


def test_no_page_has_a_script_or_a_style_inside(page):
    html = soup(page)

    assert [tag for tag in html.find_all("script") if tag.get_text(strip=True) or not tag.get("src")] == []
    assert html.find_all("style") == []
    names = {name for tag in html.find_all(True) for name in tag.attrs}
    assert not [name for name in names if name == "style" or name.startswith("on")]
    assert not list(html.find_all(href=re.compile("^ *javascript:", re.IGNORECASE)))


def test_every_page_loads_only_our_own_existing_files(page, client):
    html = soup(page)
    names = ("src", "srcset", "data", "poster")
    sources = [tag[name] for tag in html.find_all(True) for name in names if tag.has_attr(name)]
    sources += [tag["href"] for tag in html.find_all("link")]

    assert [source for source in sources if source.startswith("/static/")]
    for source in sources:
        if source != "data:,":
            assert source.startswith("/static/")
            with closing(client.get(source)) as file:
                assert file.status_code == 200


def test_search_engines_are_told_not_to_index_pages(page):
    assert soup(page).find("meta", attrs={"name": "robots"})["content"] == "noindex"
