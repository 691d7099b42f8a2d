"""A proxy's ban of the admin holds: no header and no spelling of a path reaches it by another address."""

import pytest

from ..nginx import nginx  # noqa: F401 (a fixture)
from ..test_faults import serve, service, url_of_test_database  # noqa: F401 (fixtures)
from ..test_http import exchange

LOGIN = "/admin/login/"
DENY = "location /admin/ { deny all; }"

# What gunicorn can be told to believe: what it does by default, and the most.
OPTIONS = ["", "--forwarded-allow-ips=* --forwarder-headers=* --header-map=dangerous"]

# Headers that gateways and frameworks take paths and prefixes from.
NAMES = [
    "SCRIPT_NAME",
    "Script-Name",
    "script_name",
    "X-Script-Name",
    "X_SCRIPT_NAME",
    "HTTP_SCRIPT_NAME",
    "PATH_INFO",
    "Path-Info",
    "SCRIPT_URL",
    "REDIRECT_URL",
    "X-Forwarded-Prefix",
    "X-Forwarded-Path",
    "X-Original-URL",
    "X-Rewrite-URL",
]

# Addresses that a careless proxy, gateway or framework takes for the admin's.
SPELLINGS = [
    "/%61dmin/login/",
    "/%2561dmin/login/",
    "//admin/login/",
    "///admin/login/",
    "/./admin/login/",
    "/x/../admin/login/",
    "/x/%2e%2e/admin/login/",
    "/..;/admin/login/",
    "/x/..%2fadmin/login/",
    "/admin;x/login/",
    "/admin/;x/login/",
    "/admin/login/;x",
    "/admin%2flogin/",
    "/admin%2Flogin%2F",
    "/%2fadmin/login/",
    "/ADMIN/login/",
    "/Admin/login/",
    "/admin./login/",
    "/admin%20/login/",
    "/admin%00/login/",
    "/%00admin/login/",
    "/admin%0a/login/",
    "/admin\\login\\",
    "\\admin\\login\\",
    "/%5cadmin/login/",
    "/static/../admin/login/",
    "/static/%2e%2e/admin/login/",
    "/subscribe/%2e%2e/admin/login/",
    "/\u0430dmin/login/",
    "/%c1%a1dmin/login/",
    "http://localhost/admin/login/",
    "http://evil.example/admin/login/",
    "/?/admin/login/",
    "/#/admin/login/",
    "/admin",
]


def is_login_page(body: bytes) -> bool:
    return b'name="password"' in body


@pytest.fixture(params=OPTIONS, ids=["by default", "believing everything"])
def service_with_options(request, monkeypatch, transactional_db, serve):
    """The service, in a gunicorn that believes what its options say."""
    monkeypatch.setenv("GUNICORN_CMD_ARGS", request.param)
    return serve(url_of_test_database())


def assert_no_header_leads_to_the_admin(url: str) -> None:
    for name in NAMES:
        for path, value in (
            ("/x/admin/login/", "/x"),
            ("/x/admin/login/", "/x/"),
            ("/", LOGIN),
            ("/", "/admin/login"),
            ("/", "/"),
            ("/login/", "/admin"),
        ):
            _, body = exchange(url, path, [], f"{name}: {value}", method="GET")
            assert not is_login_page(body), (name, path, value)


def test_no_header_leads_to_the_admin(service_with_options):
    assert_no_header_leads_to_the_admin(service_with_options.url)
    # The paths are right, so it is the headers that count for nothing.
    status, body = exchange(service_with_options.url, LOGIN, [], "SCRIPT_NAME: ", method="GET")
    assert (status, is_login_page(body)) == (200, True)
    assert "Traceback" not in service_with_options.log()


@pytest.mark.parametrize("underscores", ["", "underscores_in_headers on;"])
def test_no_header_leads_past_a_proxys_ban(service_with_options, nginx, underscores):
    url = nginx(service_with_options.url, "proxy_set_header Host localhost;", server=underscores + DENY)
    assert exchange(url, LOGIN, [], method="GET")[0] == 403
    assert_no_header_leads_to_the_admin(url)


def test_no_spelling_of_its_address_leads_past_a_proxys_ban(service, nginx):
    url = nginx(service.url, "proxy_set_header Host localhost;", server=DENY)
    for path in SPELLINGS:
        for method in ("GET", "POST"):
            status, body = exchange(url, path, [], "Content-Length: 0", method=method)
            assert not is_login_page(body), (path, status)
            assert status < 500, (path, status)


def test_only_its_own_address_is_the_admins(service):
    # The same address in other words; these a proxy reads in the same way.
    same = {"/%61dmin/login/", "/admin%2flogin/", "/admin%2Flogin%2F"}
    same |= {"http://localhost/admin/login/", "http://evil.example/admin/login/"}
    for path in SPELLINGS:
        status, body = exchange(service.url, path, [], method="GET")
        assert is_login_page(body) is (path in same), (path, status)
        assert status < 500, (path, status)


def test_the_operator_of_the_process_may_give_it_a_prefix(monkeypatch, transactional_db, serve):
    monkeypatch.setenv("SCRIPT_NAME", "/pay")
    service = serve(url_of_test_database(), "/pay")
    status, body = exchange(service.url, "/pay/admin/login/", [], method="GET")
    assert (status, is_login_page(body), b'action="/pay/admin/login/"' in body) == (200, True, True)
    # A path outside of the prefix leads nowhere, whatever a header says: that 500 is gunicorn's own.
    for headers in ([], ["SCRIPT_NAME: /admin"]):
        status, body = exchange(service.url, "/admin/login/", [], *headers, method="GET")
        assert (status, is_login_page(body)) == (500, False)
    status, body = exchange(service.url, "/pay/x/admin/login/", [], "SCRIPT_NAME: /pay/x", method="GET")
    assert (status, is_login_page(body)) == (404, False)
