"""Limits per address: what a flood loses, and what nobody loses because of it."""

from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from django.core.cache import cache
from django.utils import timezone

from perma_payments.models import OutgoingTransaction, Response
from perma_payments.views import limits, tokens
from perma_payments.views.tokens import Purpose

from .. import cyber_source, perma_cc, records
from ..conftest import FORM
from ..pages import heading
from .conftest import assert_is_page_for_a_person, valid_form
from .routes import BROWSER_ROUTES, CALLBACK, ROUTES, Asker

pytestmark = pytest.mark.django_db

FLOODER, NEIGHBOR = "203.0.113.7", "203.0.113.8"
# Each of them posts something that is not a message.
REFUSED_AT = [*(route.path for route in BROWSER_ROUTES), "/portal/keep/", "/portal/cancel/confirm/"]
PAGES = ["/", "/subscribe/", "/purchase/", "/portal/", "/portal/receipt/", "/return/"]


@pytest.fixture(autouse=True)
def _one_minute(monkeypatch):
    """Everything happens in the same minute."""
    monkeypatch.setattr("django_ratelimit.core.time", SimpleNamespace(time=lambda: 1_800_000_000))


@pytest.fixture(autouse=True)
def _small_numbers(monkeypatch):
    for name, number in {"REFUSALS": 3, "FLOOD": 8, "PAGE_VIEWS": 4}.items():
        monkeypatch.setattr(limits, name, number)


@pytest.fixture
def send(client):
    """POST a form from an address; `fields` are not a message by default."""
    client.handler.enforce_csrf_checks = False

    def send(path, fields=None, *, address=FLOODER, **extra):
        return client.generic("POST", path, urlencode(fields or {"x": "y"}), FORM, REMOTE_ADDR=address, **extra)

    yield send
    client.handler.enforce_csrf_checks = True


def assert_told_to_wait(response):
    assert response.status_code == 429
    assert heading(response) == "Please wait a minute"
    assert 1 <= int(response["Retry-After"]) <= 60
    assert_is_page_for_a_person(response)


# --- Refused messages -------------------------------------------------------------------------------


def test_the_numbers_are_generous(monkeypatch):
    monkeypatch.undo()
    assert (limits.REFUSALS, limits.FLOOD, limits.PAGE_VIEWS) == (60, 600, 300)


@pytest.mark.parametrize("path", [*REFUSED_AT, "/return/"])
def test_after_many_bad_messages_the_next_is_told_to_wait(send, path):
    for _ in range(3):
        assert send(path).status_code == (303 if path == "/return/" else 400)
    assert_told_to_wait(send(path))


def test_bad_messages_count_on_all_routes_together(send):
    for path in (*REFUSED_AT[:2], "/return/"):
        send(path)
    for path in REFUSED_AT:
        assert_told_to_wait(send(path))


def test_messages_that_are_too_old_or_used_up_count_too(send):
    form = perma_cc.form("cancel-request")
    records.standing_agreement()
    assert send("/cancel-request/", form).status_code == 302
    assert send("/subscribe/", perma_cc.form("subscribe", timestamp=1)).status_code == 400
    for _ in range(2):
        send("/subscribe/")
    assert_told_to_wait(send("/subscribe/", perma_cc.form("subscribe", timestamp=1)))


@pytest.mark.parametrize("route", BROWSER_ROUTES, ids=str)
def test_a_good_message_is_still_accepted_from_such_an_address(send, stock, route):
    for _ in range(5):
        send(route.path)
    assert send(route.path, valid_form(route, stock)).status_code == route.post


@pytest.mark.parametrize("route", BROWSER_ROUTES, ids=str)
def test_in_a_flood_nothing_more_is_read(send, stock, route):
    for _ in range(9):
        send(route.path)
    before = OutgoingTransaction.objects.count()
    assert_told_to_wait(send(route.path, valid_form(route, stock)))
    assert OutgoingTransaction.objects.count() == before
    assert send(route.path, valid_form(route, stock), address=NEIGHBOR).status_code == route.post


def test_in_a_flood_no_button_of_the_portal_works(send):
    agreement = records.standing_agreement()
    for _ in range(9):
        send("/portal/keep/")
    token = tokens.begin(agreement.customer, Purpose.CANCEL, now=timezone.now())
    assert_told_to_wait(send("/portal/cancel/confirm/", {"token": token}))
    assert send("/portal/cancel/confirm/", {"token": token}, address=NEIGHBOR).status_code == 303


def test_even_in_a_flood_a_payment_that_a_browser_reports_is_kept(send, stock):
    for _ in range(20):
        send("/return/")
    answer = send("/return/", cyber_source.response(stock))
    assert (answer.status_code, "subscription=success" in answer["Location"]) == (303, True)
    assert Response.objects.filter(outgoing__transaction_uuid=stock["transaction_uuid"]).exists()


def test_another_minute_begins_at_zero(send, monkeypatch):
    for _ in range(20):
        send("/subscribe/")
    monkeypatch.setattr("django_ratelimit.core.time", SimpleNamespace(time=lambda: 1_800_000_060))
    assert send("/subscribe/").status_code == 400


# --- Pages ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_after_many_pages_the_next_is_told_to_wait(client, path):
    token = tokens.begin(records.REGISTRAR, Purpose.BILLING, now=timezone.now())
    for _ in range(4):
        assert client.get(path, {"token": token}, REMOTE_ADDR=FLOODER).status_code in (200, 303, 404)
    assert_told_to_wait(client.get(path, {"token": token}, REMOTE_ADDR=FLOODER))
    assert client.get(path, {"token": token}, REMOTE_ADDR=NEIGHBOR).status_code in (200, 303, 404)


def test_pages_count_together_and_do_not_stop_messages(client, send, stock):
    for path in PAGES:
        client.get(path, REMOTE_ADDR=FLOODER)
    assert_told_to_wait(client.get("/", REMOTE_ADDR=FLOODER))
    assert send("/subscribe/", perma_cc.form("subscribe")).status_code == 200


# --- Who is never refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("route", [route for route in ROUTES if route.asker is not Asker.BROWSER], ids=str)
def test_no_server_is_refused_because_of_a_limit(client, send, stock, route):
    for path in [*REFUSED_AT, *PAGES] * 3:
        send(path)
        client.get(path, REMOTE_ADDR=FLOODER)
    for _ in range(20):
        assert send(route.path).status_code == 400
    assert send(route.path, valid_form(route, stock)).status_code == 200


def test_what_servers_send_does_not_count(send, stock):
    for _ in range(20):
        send(CALLBACK.path)
        send("/subscription/")
    assert send("/subscribe/").status_code == 400


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "", "unknown"])
def test_where_people_cannot_be_told_apart_nobody_is_refused(send, client, address):
    for _ in range(10):
        assert send("/subscribe/", address=address).status_code == 400
        assert client.get("/", REMOTE_ADDR=address).status_code == 200


def test_a_whole_network_of_version_6_is_one_address(send):
    for number in range(4):
        last = send("/subscribe/", address=f"2001:db8:1:2::{number + 1}")
    assert_told_to_wait(last)
    assert send("/subscribe/", address="2001:db8:1:3::1").status_code == 400


def test_behind_a_proxy_the_client_counts_and_not_what_it_claims(send, settings):
    settings.TRUSTED_PROXIES = 1
    for number in range(4):
        last = send("/subscribe/", address="10.0.0.1", HTTP_X_FORWARDED_FOR=f"198.51.100.{number}, {FLOODER}")
    assert_told_to_wait(last)
    answer = send("/subscribe/", address="10.0.0.1", HTTP_X_FORWARDED_FOR=f"{FLOODER}, {NEIGHBOR}")
    assert answer.status_code == 400


def test_no_address_is_kept_in_the_clear(send):
    send("/subscribe/")
    assert FLOODER not in repr(vars(cache))
    (key,) = {key for key in cache._cache if "rl:" in key}
    assert FLOODER not in key
