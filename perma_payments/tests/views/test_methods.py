"""Which methods, paths, and hosts are answered (perma.md §3.2). No route redirects or sets a cookie."""

import re
from contextlib import closing
from urllib.parse import urlencode

import pytest
from django.test import Client

from ..conftest import FORM
from ..pages import heading
from ..parameters import in_turn
from . import traces
from .conftest import assert_is_page_for_a_person, valid_form
from .routes import BROWSER_ROUTES, ROUTES, TYPICAL_ROUTES, Asker

every_route = pytest.mark.parametrize("route", ROUTES, ids=str)

GET_AND_POST = [(route, method) for route in TYPICAL_ROUTES for method in ("GET", "POST")]
METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND", "POSTS", "Ü"]


def answers(client: Client, route, stock) -> list:
    """The answers to a valid POST, to an empty one, and to all methods."""
    return [
        client.generic("POST", route.path, urlencode(valid_form(route, stock)), FORM),
        client.generic("POST", route.path),
        *(client.generic(method, route.path) for method in METHODS),
    ]


# --- Methods ----------------------------------------------------------------------------------------


@every_route
def test_get_is_answered_as_the_contract_says(client, stock, route):
    before = traces.rows()
    response = client.get(route.path)

    assert response.status_code == route.get
    if route.asker is Asker.BROWSER:
        assert_is_page_for_a_person(response)
        assert heading(response) == "This page can't be opened directly"
    assert traces.rows() == before


@pytest.mark.parametrize("accept", ["", "*/*", "application/json"])
@pytest.mark.parametrize("route", [route for route in ROUTES if route.asker is Asker.SERVERS], ids=str)
def test_a_server_gets_json(client, stock, route, accept):
    response = client.generic("POST", route.path, urlencode(valid_form(route, stock)), FORM, HTTP_ACCEPT=accept)

    assert (response.status_code, response["Content-Type"]) == (200, "application/json")


@in_turn("route, query", TYPICAL_ROUTES, ["?a=b", "?encrypted_data=AAAA", "?%00", "?%ff=\xff", f"?{'x' * 5000}"])
def test_a_query_changes_nothing_about_get(client, db, route, query):
    assert client.get(f"{route.path}{query}").status_code == route.get


@in_turn("route, method", ROUTES, METHODS[1:])
def test_any_other_method_is_answered_with_405(client, stock, route, method):
    before = traces.rows()
    response = client.generic(method, route.path)

    assert response.status_code == 405
    assert response["Allow"] == route.allowed
    assert traces.rows() == before


@in_turn("route, method", TYPICAL_ROUTES, ["PUT", "PATCH", "DELETE", "HEAD", "GET"])
def test_a_valid_form_is_believed_only_if_it_is_posted(client, stock, route, method):
    form = valid_form(route, stock)
    before = traces.rows()
    response = client.generic(method, route.path, urlencode(form), FORM)

    assert response.status_code == (route.get if method == "GET" else 405)
    assert traces.rows() == before


@pytest.mark.parametrize("route", BROWSER_ROUTES, ids=str)
def test_a_persons_405_is_a_page(client, db, route):
    response = client.delete(route.path)

    assert_is_page_for_a_person(response)
    assert heading(response) == "This page can't be opened directly"


@pytest.mark.parametrize("route", [route for route in ROUTES if route.asker is not Asker.BROWSER], ids=str)
def test_a_machines_405_is_short(client, db, route):
    response = client.get(route.path)

    assert response["Content-Type"] == "application/json"
    assert response.json() == {"status": "method not allowed"}


@every_route
def test_a_method_in_a_header_or_a_field_is_not_the_method(client, stock, route):
    response = client.get(route.path, headers={"X-HTTP-Method-Override": "POST"})
    assert response.status_code == route.get

    response = client.generic("POST", route.path, "_method=GET", FORM)
    assert response.status_code == 400


# --- No redirects -----------------------------------------------------------------------------------


@in_turn(
    "route, method, pattern",
    GET_AND_POST,
    [
        "/{}",
        "//{}/",
        "/{}//",
        "/{}/x",
        "/{}/../{}/",
        "/./{}/",
        "/{}\x00/",
        "/{}\n/",
        "/{}/\n",
        "/{} /",
        "/{}/index.html",
        "/{};/",
    ],
)
def test_a_path_that_is_almost_a_route_is_not_found(client, stock, route, method, pattern):
    form = valid_form(route, stock)
    before = traces.rows()
    path = pattern.replace("{}", route.name)
    response = client.generic(method, "/", urlencode(form), FORM, PATH_INFO=path)

    assert response.status_code == 404
    assert traces.rows() == before


@every_route
def test_no_path_is_redirected_to_the_one_with_a_slash(client, stock, route):
    path = route.path.rstrip("/")

    assert client.get(path).status_code == 404
    assert client.generic("POST", path, urlencode(valid_form(route, stock)), FORM).status_code == 404


@every_route
def test_the_case_of_a_path_matters(client, db, route):
    assert client.get(route.path.upper()).status_code == 404


@in_turn(
    "method, path",
    ["GET", "POST"],
    [
        "/favicon.ico",
        "/robots.txt",
        "/no-such-page/",
        "/%ff/",
        "/%00/",
        "/\u00e9/",
        "/static/",
        "/static/no-such-file.js",
        "/static/../settings.py",
        "/.env",
        f"/{'x' * 5000}/",
        "/<script>/",
        "/%0d%0aX:%20y/",
    ],
)
def test_any_other_path_is_answered_with_a_404_page(client, db, method, path):
    response = client.generic(method, path)

    assert response.status_code == 404
    assert_is_page_for_a_person(response)
    assert heading(response) == "Page not found"
    assert "<script>/" not in response.content.decode()


@pytest.mark.parametrize("path", ["/", "/?a=b"])
def test_the_root_says_what_this_is_without_a_database(client, path):
    response = client.get(path)

    assert response.status_code == 200
    assert_is_page_for_a_person(response)
    assert heading(response) == "Payments for Perma.cc"
    assert not response.cookies
    assert client.head(path).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_the_root_takes_nothing(client, method):
    response = client.generic(method, "/", "a=b", FORM)

    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")
    assert_is_page_for_a_person(response)


@in_turn(
    "route, headers",
    TYPICAL_ROUTES,
    [
        {"X-Forwarded-Proto": "https"},
        {"X-Forwarded-Proto": "http"},
        {"X-Forwarded-Proto": "ftp, \x7f"},
        {"X-Forwarded-Ssl": "off"},
        {"X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Port": "443"},
        {"Forwarded": "proto=http;host=evil.example"},
        {"Front-End-Https": "off"},
        {"Upgrade-Insecure-Requests": "1"},
        {"X-Original-URL": "/admin/"},
        {"X-Rewrite-URL": "/admin/"},
        {"Origin": "null"},
        {"Origin": "https://evil.example", "Referer": "https://evil.example/"},
    ],
)
def test_no_header_makes_a_route_redirect_or_refuse(client, stock, route, headers):
    form = valid_form(route, stock)

    assert client.get(route.path, headers=headers).status_code == route.get
    assert client.generic("POST", route.path, urlencode(form), FORM, headers=headers).status_code == 200


@in_turn("route, scheme", TYPICAL_ROUTES, ["https", "http"])
def test_no_route_redirects_behind_an_https_proxy(settings, client, stock, route, scheme):
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    headers = {"X-Forwarded-Proto": scheme}

    assert client.get(route.path, headers=headers).status_code == route.get
    assert client.generic("POST", route.path, b"", FORM, headers=headers).status_code == 400


# --- Hosts ------------------------------------------------------------------------------------------


@in_turn(
    "route, method, host",
    GET_AND_POST,
    ["evil.example", "", "localhost:x", "a b", "[::1", "localhost, evil.example", "\xff", "<script>", "x" * 5000],
)
def test_a_host_that_is_not_ours_gets_a_400_page(client, stock, route, method, host):
    form = valid_form(route, stock)
    before = traces.rows()
    response = client.generic(method, route.path, urlencode(form), FORM, HTTP_HOST=host)

    assert response.status_code == 400
    assert_is_page_for_a_person(response)
    assert "evil" not in response.content.decode()
    assert "<script>" not in response.content.decode()
    assert traces.rows() == before


@in_turn(
    "route, host",
    TYPICAL_ROUTES,
    ["localhost", "localhost:8000", "127.0.0.1", "[::1]:8000", "perma-payments", "PERMA-PAYMENTS"],
)
def test_the_hosts_of_development_are_answered(client, db, route, host):
    assert client.get(route.path, HTTP_HOST=host).status_code == route.get


# --- Cookies and CSRF -------------------------------------------------------------------------------


@every_route
def test_no_cookie_is_set_by_any_answer(client, stock, route):
    for response in answers(client, route, stock):
        assert not response.cookies
        assert "Cookie" not in response.get("Vary", "")


@pytest.mark.parametrize("path", ["/", "/no-such-page/", "/static/perma_payments/pages.css"])
def test_no_cookie_is_set_on_other_pages(client, db, path):
    with closing(client.get(path)) as response:
        assert not response.cookies


@in_turn(
    "route, cookies",
    TYPICAL_ROUTES,
    ["sessionid=x; csrftoken=y", "=", ";;;", "\xff=\xff", "sessionid=\x00", f"a={'x' * 9000}", "a" * 9000],
)
def test_cookies_do_not_matter(client, stock, route, cookies):
    form = valid_form(route, stock)

    assert client.get(route.path, HTTP_COOKIE=cookies).status_code == route.get
    assert client.generic("POST", route.path, urlencode(form), FORM, HTTP_COOKIE=cookies).status_code == 200


@every_route
def test_no_csrf_token_is_required(stock, route):
    form = valid_form(route, stock)
    response = Client(enforce_csrf_checks=True).generic("POST", route.path, urlencode(form), FORM)

    assert response.status_code == route.post
    # The whole name: a signature is 44 random characters, in which a short word occurs sooner or later.
    assert b"csrfmiddlewaretoken" not in response.content


# --- Headers ----------------------------------------------------------------------------------------


@every_route
def test_every_answer_has_headers_that_protect_the_browser(client, stock, route):
    for response in answers(client, route, stock):
        assert response["X-Content-Type-Options"] == "nosniff"
        assert response["X-Frame-Options"] == "DENY"
        assert response["Referrer-Policy"] == "same-origin"
        assert re.search(r"default-src '(self|none)'", response["Content-Security-Policy"])
        assert "unsafe" not in response["Content-Security-Policy"]


@pytest.mark.parametrize("route", BROWSER_ROUTES, ids=str)
def test_no_page_for_a_person_is_cached(client, stock, route):
    for response in answers(client, route, stock):
        assert response["Cache-Control"] == "no-store"
