"""HTTP as it is in practice: chunks, unusual headers, and proxies, with a real Gunicorn and nginx."""

import base64
import io
import re
import socket
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

import pytest
import requests
from bs4 import BeautifulSoup
from django.contrib.auth.models import User
from nacl.public import PrivateKey, SealedBox

from devtools.processes import eventually as wait_until, free_port
from perma_payments.billing.transactions import Kind
from perma_payments.models import LoginAttempt, Response, StatusReport, SubscriptionAgreement

from . import cyber_source, perma_cc, records
from .accounts import hashed_as_in_production
from .conftest import FORM
from .nginx import PATIENCE, nginx  # noqa: F401 (a fixture)
from .test_faults import FORM as CHECKOUT, HOST, Service, serve, service, url_of_test_database  # noqa: F401

ARCHIVE_SECRET_KEY = base64.b64decode("txmKQuPWYukMWn/wdZaMah47r4A86ojNThvBSmc2I2Q=")


def chunks(body: bytes, size: int = 700) -> list[bytes]:
    """A body in chunks as they go over the wire, including the last one."""
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return [b"%x\r\n%s\r\n" % (len(part), part) for part in parts] + [b"0\r\n\r\n"]


def exchange(url: str, path: str, pieces: list[bytes], *headers: str, method: str = "POST") -> tuple[int, bytes]:
    """Send a request whose body is ``pieces``, unchanged. Returns the status and body of the response."""
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    head = [f"{method} {path} HTTP/1.1", f"Host: localhost:{parts.port}", "Connection: close", *headers, "", ""]
    with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE) as connection:
        connection.sendall("\r\n".join(head).encode())
        for piece in pieces:
            connection.sendall(piece)
        answer = connection.makefile("rb").read()
    status, _, body = answer.partition(b"\r\n\r\n")
    return int(status.split()[1]), body


def post_in_chunks(url: str, route: str, fields: dict[str, str], *headers: str) -> tuple[int, bytes]:
    """POST a form in chunks."""
    return exchange(
        url,
        f"/{route}/",
        chunks(urlencode(fields).encode()),
        "Transfer-Encoding: chunked",
        *(headers or [f"Content-Type: {FORM}"]),
    )


def eventually_in(log: Callable[[], str], text: str) -> bool:
    """Whether a text appears in the log soon."""
    return wait_until(lambda: text in log(), PATIENCE)


@pytest.fixture
def form(service: Service) -> dict[str, str]:
    """The signed form of a checkout to subscribe."""
    return records.form(records.outgoing(Kind.SUBSCRIBE))


def assert_all_routes_understand_chunks(url: str) -> None:
    """Check that each kind of route reads its message, and that the response is kept as it was posted."""
    fields = cyber_source.response(records.form(records.outgoing(Kind.SUBSCRIBE)))
    assert post_in_chunks(url, "cybersource-callback", fields) == (200, b"received\n")
    kept = Response.objects.latest("id")
    assert SealedBox(PrivateKey(ARCHIVE_SECRET_KEY)).decrypt(bytes(kept.sealed)) == urlencode(fields).encode()
    assert post_in_chunks(url, "return", fields) == (303, b"")
    status, body = post_in_chunks(url, "subscription", perma_cc.form("subscription"))
    assert (status, b"encrypted_data" in body) == (200, True)
    status, body = post_in_chunks(url, "purchase", perma_cc.form("purchase"))
    assert (status, b"signed_field_names" in body) == (200, True)
    assert SubscriptionAgreement.objects.latest("id").status == "Current"


def test_bodies_in_chunks_are_understood(service):
    assert_all_routes_understand_chunks(service.url)


def test_headers_may_be_written_differently(service):
    for headers in (
        [f"Content-Type: {FORM}; charset=UTF-8"],
        [f"CONTENT-TYPE: {FORM.upper()}"],
        [f"Content-Type: {FORM}", "Expect: 100-continue"],
        [f"Content-Type: {FORM}", "Transfer-Encoding: Chunked"],
    ):
        fields = cyber_source.response(records.form(records.outgoing(Kind.SUBSCRIBE)))
        body = urlencode(fields).encode()
        length = [] if "Transfer" in str(headers) else [f"Content-Length: {len(body)}"]
        status, answer = exchange(
            service.url, "/cybersource-callback/", [body] if length else chunks(body), *headers, *length
        )
        # A client that expects it is told to continue first.
        assert (status, answer.endswith(b"received\n")) == (100 if "Expect" in str(headers) else 200, True)
    assert Response.objects.count() == 4


def test_a_body_in_chunks_is_read_no_further_than_any_other(service, form):
    body = urlencode(cyber_source.response(form)).encode() + b"&x=" + b"x" * 300_000
    # The last chunk never comes.
    endless = chunks(body, 65_536)[:-1]
    for route, status in (
        ("cybersource-callback", 400),
        ("subscription", 400),
        ("purchase", 400),
        ("return", 303),
    ):
        assert (
            exchange(service.url, f"/{route}/", endless, "Transfer-Encoding: chunked", f"Content-Type: {FORM}")[0]
            == status
        )
    assert service.log().count("the body is too long") == 4
    assert not Response.objects.exists()
    assert "Traceback" not in service.log()


BAD_CHUNKS = [
    b"zz\r\nx=1\r\n0\r\n\r\n",
    b"3\r\nx=1-\r\n0\r\n\r\n",
    b"-3\r\nx=1\r\n0\r\n\r\n",
    b"\r\n",
    b"3;\x00\r\nx=1\r\n0\r\n\r\n",
    b"3\nx=1\n0\n\n" + b"x" * 9000,
]


def test_chunks_that_cannot_be_read_are_refused_with_a_reason(service):
    headers = ("Transfer-Encoding: chunked", f"Content-Type: {FORM}")
    for piece in BAD_CHUNKS:
        assert exchange(service.url, "/cybersource-callback/", [piece], *headers) == (400, b"refused\n")
        assert exchange(service.url, "/subscription/", [piece], *headers)[0] == 400

    assert service.log().count("the body broke off") == 2 * len(BAD_CHUNKS)
    assert "Traceback" not in service.log()
    assert service.log().count("Booting worker") == 1


def test_a_client_that_goes_away_in_the_middle_is_logged(service, form):
    parts = urlsplit(service.url)
    body = urlencode(cyber_source.response(form)).encode()
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        connection.sendall(
            b"POST /cybersource-callback/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: " + FORM.encode() + b"\r\n\r\n" + b"".join(chunks(body)[:2])
        )

    assert eventually_in(service.log, "/cybersource-callback/: refused: BadForm: the body broke off")
    assert not Response.objects.exists()


def test_an_answer_to_head_has_no_body_and_gives_no_warning(service):
    for path, status in (
        ("/", 200),
        ("/subscribe/", 405),
        ("/subscription/", 405),
        ("/nowhere/", 404),
        ("/return/", 303),
        ("/admin/login/", 200),
        ("/static/perma_payments/pages.css", 200),
    ):
        assert exchange(service.url, path, [], method="HEAD") == (status, b"")
    assert "WARNING" not in service.log()


# --- Uploads ----------------------------------------------------------------------------------------


def upload_in_chunks(url: str, report: bytes) -> requests.Response:
    """Log in as staff and upload a status report in chunks."""
    password = hashed_as_in_production("a long enough password")
    User.objects.create(username="someone", password=password, is_staff=True, is_superuser=True)
    with requests.Session() as staff:
        staff.trust_env = False

        def token(path: str) -> str:
            page = BeautifulSoup(staff.get(f"{url}{path}").content, "html.parser")
            return str(page.find("input", {"name": "csrfmiddlewaretoken"})["value"])

        staff.post(
            f"{url}/admin/login/",
            {
                "username": "someone",
                "password": "a long enough password",
                "next": "/admin/",
                "csrfmiddlewaretoken": token("/admin/login/"),
            },
        )
        path = "/admin/perma_payments/statusreport/upload/"
        request = requests.Request(
            "POST",
            f"{url}{path}",
            data={"csrfmiddlewaretoken": token(path)},
            files={"report": ("report.csv", io.BytesIO(report), "text/csv")},
            cookies=staff.cookies,
        )
        prepared = request.prepare()
        del prepared.headers["Content-Length"]
        prepared.headers["Transfer-Encoding"] = "chunked"
        assert isinstance(prepared.body, bytes)
        prepared.body = iter([prepared.body[:1000], prepared.body[1000:]])
        return staff.send(prepared, allow_redirects=False)


def test_a_file_in_chunks_is_uploaded(service):
    agreement = records.standing_agreement()
    report = f"Merchant Reference Code,Status\n{agreement.reference_number},HOLD\n{'x' * 5000},HOLD\n"
    answer = upload_in_chunks(service.url, report.encode())

    assert answer.status_code == 302, answer.text
    assert StatusReport.objects.count() == 1
    assert "Traceback" not in service.log()


# --- nginx ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("directives", [[], ["proxy_request_buffering off;", "proxy_http_version 1.1;"]])
def test_bodies_in_chunks_are_understood_behind_nginx(service, nginx, directives):
    assert_all_routes_understand_chunks(nginx(service.url, *directives))


def test_staff_log_in_behind_nginx_as_it_comes(serve, transactional_db, nginx, monkeypatch):
    """By default it passes on a different Host and no port."""
    password = hashed_as_in_production("a long enough password")
    User.objects.create(username="someone", password=password, is_staff=True, is_superuser=True)
    monkeypatch.setenv("PAYMENTS_URL", "http://payments.test:8080")
    service = serve(url_of_test_database())
    url = nginx(service.url)
    with requests.Session() as staff:
        staff.trust_env = False
        page = staff.get(f"{url}/admin/login/")
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
        assert found
        fields = {
            "username": "someone",
            "password": "a long enough password",
            "next": "/admin/",
            "csrfmiddlewaretoken": found[1],
        }
        refused = staff.post(f"{url}/admin/login/", fields, headers={"Origin": "http://elsewhere.example"})
        assert (refused.status_code, "That form wasn't accepted" in refused.text) == (403, True)
        ours = {"Origin": "http://payments.test:8080"}
        answer = staff.post(f"{url}/admin/login/", fields, headers=ours, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/")


def wrong_login(url: str, *, address: str, forwarded: str) -> LoginAttempt:
    """Fail to log in from one of this machine's addresses, and return the attempt that was counted."""
    before = set(LoginAttempt.objects.values_list("pk", flat=True))
    with requests.Session() as stranger:
        stranger.trust_env = False
        adapter = requests.adapters.HTTPAdapter()
        adapter.init_poolmanager(1, 1, source_address=(address, 0))
        stranger.mount("http://", adapter)
        page = stranger.get(f"{url}/admin/login/", headers={"X-Forwarded-For": forwarded})
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
        assert found
        fields = {"username": "nobody", "password": "wrong", "next": "/admin/", "csrfmiddlewaretoken": found[1]}
        stranger.post(f"{url}/admin/login/", fields, headers={"X-Forwarded-For": forwarded})
    return LoginAttempt.objects.exclude(pk__in=before).get()


def test_behind_two_proxies_logins_are_counted_by_client(serve, transactional_db, nginx, monkeypatch):
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.2", 0))
    except OSError:
        pytest.skip("This machine has one address of its own only.")
    monkeypatch.setenv("TRUSTED_PROXIES", "2")
    adds = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header Host localhost;"
    url = nginx(nginx(serve(url_of_test_database()).url, adds), adds)
    one = wrong_login(url, address="127.0.0.1", forwarded="203.0.113.1")
    again = wrong_login(url, address="127.0.0.1", forwarded="203.0.113.2, 203.0.113.3")
    other = wrong_login(url, address="127.0.0.2", forwarded="203.0.113.1")

    assert one.address == again.address != ""
    assert other.address not in ("", one.address)


# --- Without a database -----------------------------------------------------------------------------


def test_without_a_database_customers_still_reach_perma_cc(serve):
    service = serve(f"postgres://nobody:password@{HOST}:{free_port(HOST)}/nowhere")
    assert exchange(service.url, "/", [], method="GET")[0] == 200
    with requests.Session() as customer:
        customer.trust_env = False
        answer = customer.post(
            f"{service.url}/return/", cyber_source.response(CHECKOUT), allow_redirects=False, timeout=PATIENCE
        )

    assert answer.status_code == 303
    assert answer.headers["Location"].endswith("/settings/usage-plan/")
    assert "Set-Cookie" not in answer.headers
    assert "a response could not be kept: ACCEPT 100 for transaction 6f9619ff" in service.log()
    assert "Traceback" not in service.log()
