"""Nobody rides on the browser of someone else: no forged form, no frame, no planted cookie, no open redirect."""

import re
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from perma_payments.models import StaffTask
from perma_payments.views import tokens
from perma_payments.views.middleware import FEATURES
from perma_payments.views.tokens import Purpose

from .. import records
from ..accounts import log_in
from ..conftest import client  # noqa: F401 (in place of the one of this folder, which checks for forgery)
from ..environments import production, settings_of
from ..pages import heading

pytestmark = pytest.mark.django_db

PASSWORD = "a long enough password"
EVIL = "https://evil.example"


@pytest.fixture
def staff() -> User:
    return User.objects.create_superuser("someone", password=PASSWORD)


@pytest.fixture
def browser() -> Client:
    """A browser, before whose forms Django checks that they are ours."""
    return Client(enforce_csrf_checks=True)


# --- Forged forms -----------------------------------------------------------------------------------

# What the other side signs or seals. A token of ours could not come with it.
SIGNED_BY_OTHERS = {
    *("subscribe", "change", "update", "billing", "cancel_request", "purchase"),
    *("subscription", "purchase_history", "acknowledge_purchase", "cybersource_callback", "customer_return"),
}


def routes(patterns: list[URLPattern | URLResolver], prefix: str = "/") -> Iterator[tuple[str, URLPattern]]:
    """Every address, with 1 for what varies, and its pattern."""
    for pattern in patterns:
        path = prefix + re.sub(r"<[^>]+>", "1", str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, path)
        elif not re.search(r"[\\^$(]", path):
            yield path, pattern


ROUTES = dict(routes(get_resolver().url_patterns))


def test_only_what_others_sign_is_accepted_without_a_token_of_ours():
    exempt = {pattern.name for pattern in ROUTES.values() if getattr(pattern.callback, "csrf_exempt", False)}
    assert exempt == {*SIGNED_BY_OTHERS, "index"}


@pytest.mark.parametrize("origin", [{}, {"HTTP_ORIGIN": EVIL}, {"HTTP_ORIGIN": "null"}], ids=str)
def test_no_form_from_elsewhere_is_accepted_from_staff(browser, staff, origin):
    browser.force_login(staff)
    paths = [path for path in ROUTES if path.startswith("/admin/")]
    assert len(paths) > 60
    for path in paths:
        # The browser has a token of ours, and the form has not.
        browser.cookies["csrftoken"] = "a" * 32
        response = browser.post(path, {"note": "x", "next": "/"}, **origin)
        assert response.status_code == 403, path


@pytest.mark.parametrize(
    "route, purpose",
    [("cancel/confirm", Purpose.CANCEL), ("keep", Purpose.KEEP), ("update-card", Purpose.UPDATE_CARD)],
)
def test_no_form_from_elsewhere_is_accepted_from_a_customer(browser, route, purpose):
    agreement = records.standing_agreement()
    token = tokens.begin(agreement.customer, purpose, now=timezone.now())
    browser.cookies["csrftoken"] = "a" * 32
    response = browser.post(f"/portal/{route}/", {"token": token}, HTTP_ORIGIN=EVIL)
    assert response.status_code == 403
    assert not StaffTask.objects.exists()


# --- Frames, features and caches --------------------------------------------------------------------

PAGES = ["/", "/subscribe/", "/portal/", "/return/", "/nowhere/", "/admin/login/", "/admin/", "/admin/help/"]


@pytest.mark.parametrize("is_staff", [False, True])
@pytest.mark.parametrize("path", PAGES)
def test_no_page_can_be_framed_embedded_or_cached(client, staff, path, is_staff):
    if is_staff:
        client.force_login(staff)
    response = client.get(path)

    assert response["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in response["Content-Security-Policy"]
    assert response["Cross-Origin-Opener-Policy"] == response["Cross-Origin-Resource-Policy"] == "same-origin"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize("path", [*PAGES, "/static/perma_payments/pages.css"])
def test_no_page_has_a_feature_of_the_browser_to_misuse(client, db, path):
    with closing(client.get(path)) as response:
        policy = response["Permissions-Policy"]
    assert policy.split(", ") == [f"{feature}=()" for feature in FEATURES]
    assert {"camera", "geolocation", "payment", "publickey-credentials-get", "usb"} <= set(FEATURES)


def test_what_servers_are_told_is_not_cached(post, call_back, client):
    agreement = records.standing_agreement()
    for response in (
        post("subscription"),
        post("purchase-history"),
        post("cancel-request"),
        client.post("/cybersource-callback/", {}),
        client.post("/return/", {}),
    ):
        assert response["Cache-Control"] == "no-store"
    agreement.refresh_from_db()
    assert agreement.cancellation_requested_at


# --- Cookies ----------------------------------------------------------------------------------------


def test_cookies_are_bound_to_this_host(client, staff, settings):
    theirs = settings_of(**production())
    for name in (
        *("SESSION_COOKIE_NAME", "SESSION_COOKIE_SECURE"),
        *("CSRF_COOKIE_NAME", "CSRF_COOKIE_SECURE", "CSRF_COOKIE_HTTPONLY"),
    ):
        setattr(settings, name, getattr(theirs, name))
    page = client.get("/admin/login/", secure=True)
    token = page.cookies["__Host-csrftoken"]
    fields = {"username": "someone", "password": PASSWORD, "next": "/admin/"}
    response = client.post("/admin/login/", fields, secure=True)

    # The notice that staff get on the next page is a cookie, too.
    notice = client.post("/admin/perma_payments/checkoutfreeze/switch/", {"reason": "x"}, secure=True)
    assert set(client.cookies) == {"__Host-sessionid", "__Host-csrftoken", "__Host-messages"}

    for cookie in (
        *(token, response.cookies["__Host-sessionid"], response.cookies["__Host-csrftoken"]),
        notice.cookies["__Host-messages"],
    ):
        # Browsers refuse a cookie of this name without these three.
        assert (cookie["secure"], cookie["path"], cookie["domain"]) == (True, "/", "")
        assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")


def test_a_session_that_was_planted_before_the_login_is_not_the_one_after_it(client, staff):
    session = client.session
    session["planted"] = "yes"
    session.save()
    before = client.cookies["sessionid"] = session.session_key
    client.post("/admin/login/", {"username": "someone", "password": PASSWORD, "next": "/admin/"})
    assert client.cookies["sessionid"].value not in ("", before)


# --- Where a login leads ----------------------------------------------------------------------------

UNSAFE = [
    "//evil.example",
    "///evil.example",
    "////evil.example/admin/",
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "https://evil.example/admin/",
    "http://testserver@evil.example/",
    "https://testserver.evil.example/",
    "http://testserver:8000/",
    "\\\\evil.example",
    "/\\evil.example",
    "\\/evil.example",
    "/\t/evil.example",
    "\t//evil.example",
    " //evil.example",
    "\x00//evil.example",
    "\x08//evil.example",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,x",
    "ftp://testserver/",
    "//testserver:80@evil.example/",
    "//[::1",
    "",
]


@pytest.mark.parametrize("address", UNSAFE)
@pytest.mark.parametrize("place", ["query", "form", "both"])
def test_after_a_login_an_unsafe_address_is_the_front_page(client, staff, address, place):
    query = f"?{urlencode({'next': address})}" if place != "form" else ""
    fields = {"username": "someone", "password": PASSWORD, **({"next": address} if place != "query" else {})}
    response = client.post(f"/admin/login/{query}", fields)
    assert (response.status_code, response["Location"]) == (302, "/admin/")


def test_after_a_login_an_address_of_ours_is_kept(client, staff):
    fields = {"username": "someone", "password": PASSWORD, "next": "/admin/search/?q=7"}
    assert client.post("/admin/login/", fields)["Location"] == "/admin/search/?q=7"


@pytest.mark.parametrize("address", UNSAFE)
def test_someone_logged_in_is_led_to_the_front_page(client, staff, address):
    client.force_login(staff)
    response = client.get(f"/admin/login/?{urlencode({'next': address})}")
    assert (response.status_code, response["Location"]) == (302, "/admin/")


@pytest.mark.parametrize("address", UNSAFE)
@pytest.mark.parametrize("place", ["query", "form"])
def test_after_a_logout_an_unsafe_address_leads_nowhere_else(client, staff, address, place):
    client.force_login(staff)
    query = f"?{urlencode({'next': address})}" if place == "query" else ""
    response = client.post(
        f"/admin/logout/{query}",
        {"next": address} if place == "form" else {},
        follow=True,
        SERVER_NAME="testserver",
    )
    assert "_auth_user_id" not in client.session
    steps = [step for step, _ in response.redirect_chain]
    assert all(step.startswith("/admin/") for step in steps)
    assert response.status_code == 200
    assert heading(response) == "Logged out" if not steps else steps[-1] == "/admin/login/?next=/admin/"


@pytest.mark.parametrize("address", UNSAFE)
def test_passwords_lead_nowhere_else(client, staff, address):
    query = urlencode({"next": address})
    asked = client.post(f"/admin/password_reset/?{query}", {"email": "someone@perma.example", "next": address})
    assert asked["Location"] == "/admin/password_reset/done/"
    client.force_login(staff)
    new = "another long enough password"
    fields = {"old_password": PASSWORD, "new_password1": new, "new_password2": new, "next": address}
    assert client.post(f"/admin/password_change/?{query}", fields)["Location"] == "/admin/password_change/done/"


def test_people_who_are_not_staff_are_led_nowhere(client):
    log_in(client, is_staff=False)
    response = client.get(f"/admin/?{urlencode({'next': EVIL})}")
    assert (response.status_code, "Location" in response) == (403, False)
