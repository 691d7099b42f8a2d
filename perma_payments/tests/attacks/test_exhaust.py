"""Nobody uses up the disk, the memory or the threads of the service, or makes it read one request as two."""

import gzip
import socket
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
import requests
from bs4 import BeautifulSoup
from django.contrib.auth.models import Permission, User

from perma_payments.billing.transactions import Kind
from perma_payments.models import OutgoingTransaction, Response, StatusReport

from .. import cyber_source, perma_cc, records
from ..accounts import hashed_as_in_production
from ..conftest import FORM
from ..nginx import PATIENCE, nginx  # noqa: F401 (a fixture)
from ..test_faults import Service, serve, service, url_of_test_database  # noqa: F401 (fixtures)
from ..test_http import chunks, eventually_in, exchange

PASSWORD = "a long enough password"
UPLOAD = "/admin/perma_payments/statusreport/upload/"
MULTIPART = "Content-Type: multipart/form-data; boundary=b"
MEGABYTE = 1024 * 1024
# What a browser sends that has been here before.
HAS_BEEN_HERE = f"Cookie: csrftoken={'a' * 32}"
TOKEN = f'--b\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n{"a" * 32}\r\n'.encode()
FILE = b'--b\r\nContent-Disposition: form-data; name="report"; filename="report.csv"\r\n\r\n'
END = b"\r\n--b--\r\n"


def connection_to(url: str) -> socket.socket:
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    return socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE)


def send(url: str, path: str, body: bytes, *headers: str, method: str = "POST") -> int:
    """Send a request with its length, and return the status of the answer."""
    return exchange(url, path, [body], *headers, f"Content-Length: {len(body)}", method=method)[0]


def assert_it_still_serves(service: Service) -> None:
    """Check that every kind of route works, and that nothing failed meanwhile."""
    assert service.post("subscription", perma_cc.form("subscription")).status_code == 200
    form = records.form(records.outgoing(Kind.SUBSCRIBE))
    assert service.post("cybersource-callback", cyber_source.response(form)).status_code == 200
    assert "Traceback" not in service.log()
    assert service.log().count("Booting worker") == 1


# --- Files ------------------------------------------------------------------------------------------


def session_of(url: str, *permissions: str) -> str:
    """Log in as staff with these permissions, and return the header with the session's cookie."""
    password = hashed_as_in_production(PASSWORD)
    user = User.objects.create(username=f"someone{User.objects.count()}", password=password, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    with requests.Session() as staff:
        staff.trust_env = False
        page = BeautifulSoup(staff.get(f"{url}/admin/login/").content, "html.parser")
        fields = {
            "username": user.username,
            "password": PASSWORD,
            "next": "/admin/",
            "csrfmiddlewaretoken": page.find("input", {"name": "csrfmiddlewaretoken"})["value"],
        }
        assert staff.post(f"{url}/admin/login/", fields, allow_redirects=False).status_code == 302
        return f"{HAS_BEEN_HERE}; sessionid={staff.cookies['sessionid']}"


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the service's temporary files are."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    return directory


def test_no_file_is_written_to_the_disk_while_it_comes_in(disk, service):
    paths = ["/", "/subscribe/", "/return/", "/cybersource-callback/", "/subscription/", "/nowhere/"]
    paths += ["/portal/keep/", "/admin/", "/admin/login/", "/admin/password_reset/", "/admin/nowhere/", UPLOAD]
    everything = ("view_statusreport", "upload_statusreport")
    senders = {
        "stranger": [HAS_BEEN_HERE],
        "auditor": [session_of(service.url, "view_statusreport")],
        "billing staff": [session_of(service.url, *everything)],
    }
    for sender, headers in senders.items():
        for path in paths if sender == "stranger" else [UPLOAD]:
            head = [
                f"POST {path} HTTP/1.1",
                "Host: localhost",
                MULTIPART,
                *headers,
                f"Content-Length: {10**8 // 2}",
            ]
            with connection_to(service.url) as connection:
                connection.settimeout(1)
                try:
                    connection.sendall("\r\n".join([*head, "", ""]).encode() + TOKEN + FILE)
                    # More than the network holds, so much of it has been read.
                    for _ in range(12):
                        connection.sendall(b"x" * MEGABYTE)
                except OSError:
                    pass  # Not all of them read it.
                assert list(disk.iterdir()) == [], (sender, path)
    assert "Traceback" not in service.log()


def test_a_file_of_the_right_size_from_the_right_person_arrives_and_no_other(service):
    records.standing_agreement(reference_number="PERMA-0000-0001")
    report = b"Merchant Reference Code,Status\r\nPERMA-0000-0001,HOLD\r\n"
    body = TOKEN + FILE + report + END
    assert send(service.url, UPLOAD, body, MULTIPART, HAS_BEEN_HERE) == 200  # the login page
    assert send(service.url, UPLOAD, body, MULTIPART, session_of(service.url, "view_statusreport")) == 403
    assert not StatusReport.objects.exists()
    staff = session_of(service.url, "view_statusreport", "upload_statusreport")
    too_long = TOKEN + FILE + report + b"x" * 21 * MEGABYTE + END
    status, page = exchange(service.url, UPLOAD, [too_long], MULTIPART, staff, f"Content-Length: {len(too_long)}")
    assert (status, b"The file is larger than 20 MB" in page) == (200, True)
    assert not StatusReport.objects.exists()
    assert send(service.url, UPLOAD, body, MULTIPART, staff) == 302
    assert StatusReport.objects.get().row_count == 1


def test_a_body_that_is_announced_as_too_long_is_not_read(service):
    headers = (HAS_BEEN_HERE, f"Content-Length: {400 * MEGABYTE}")
    for path in ("/admin/", "/admin/login/", UPLOAD, "/portal/keep/"):
        for content_type in (MULTIPART, f"Content-Type: {FORM}"):
            # Not a byte of it comes, and there is an answer.
            assert exchange(service.url, path, [], *headers, content_type)[0] == 400, path
    for path, status in (("/subscription/", 400), ("/cybersource-callback/", 400), ("/return/", 303), ("/", 405)):
        assert exchange(service.url, path, [], *headers, f"Content-Type: {FORM}")[0] == status
    assert_it_still_serves(service)


FIELD = b'--b\r\nContent-Disposition: form-data; name="%d"\r\n\r\nx\r\n'
NESTED = b'--b\r\nContent-Disposition: form-data; name="a"\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n'
ODD_MULTIPARTS = {
    "many fields": b"".join(FIELD % number for number in range(2000)),
    "many parts without a name": b"--b\r\n\r\nx\r\n" * 2000,
    "many files": FILE.replace(b"report.csv", b"x") + (b"\r\n" + FILE) * 1000,
    "a long field": b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"x" * MEGABYTE,
    "a long name": b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\nx' % (b"x" * MEGABYTE),
    "long headers": b"--b\r\n" + b"X: " + b"x" * MEGABYTE + b"\r\n\r\nx",
    "many headers": b"--b\r\n" + b"X: x\r\n" * 100_000 + b"\r\nx",
    "nested": NESTED + b"--c\r\n" * 50_000,
    "a boundary that never comes": b"-" * 2 * MEGABYTE,
    "nothing": b"",
}


def test_odd_multiparts_are_refused(service):
    for name, body in ODD_MULTIPARTS.items():
        for path in ("/admin/", "/portal/keep/"):
            status = send(service.url, path, body + END, MULTIPART, HAS_BEEN_HERE)
            # As unreadable, or for want of a token.
            assert status in (400, 403), (name, path)
    for content_type in (
        "multipart/form-data",
        "multipart/form-data; boundary=",
        f"multipart/form-data; boundary={'b' * 5000}",
        "multipart/form-data; boundary=b; charset=no-such",
        "multipart/mixed; boundary=b",
    ):
        for path in ("/admin/", "/portal/keep/", "/subscription/"):
            status = send(service.url, path, b"x" * 1000, f"Content-Type: {content_type}", HAS_BEEN_HERE)
            assert status in (400, 403), (content_type, path)
    assert_it_still_serves(service)


# --- Forms ------------------------------------------------------------------------------------------

FORMS = {
    "many fields": b"&".join(b"f%d=x" % number for number in range(20_000)),
    "many fields without a name": b"&" * 200_000,
    "one name many times": b"encrypted_data=x&" * 10_000,
    "deep names": b"[" * 100_000 + b"=x",
    "much to decode": b"encrypted_data=" + b"%41" * 80_000,
    "a bomb, compressed": gzip.compress(b"encrypted_data=" + b"x" * 50 * MEGABYTE),
    "a long box": b"encrypted_data=" + b"A" * 250_000,
    "deep JSON": b"encrypted_data=" + b"[" * 200_000,
}


def test_odd_forms_are_refused(service):
    for name, body in FORMS.items():
        for path in ("/subscribe/", "/cancel-request/", "/subscription/", "/cybersource-callback/", "/admin/"):
            encoding = ["Content-Encoding: gzip"] if "bomb" in name else []
            status = send(service.url, path, body, f"Content-Type: {FORM}", HAS_BEEN_HERE, *encoding)
            assert status == 400 or (path, status) == ("/admin/", 403), (name, path)
    assert not Response.objects.exists()
    assert not OutgoingTransaction.objects.exists()
    assert_it_still_serves(service)


LONG = 20_000
ODD_HEADS = {
    "a long path": (f"/{'x' * LONG}/", []),
    "a long query": (f"/portal/?token={'x' * LONG}", []),
    "many parameters": (f"/portal/?{'&'.join(f'a{number}=x' for number in range(800))}", []),
    "a long cookie": ("/admin/", [f"Cookie: sessionid={'x' * LONG}"]),
    "many cookies": ("/admin/", [f"Cookie: {'a=b; ' * 1500}"]),
    "a long header": ("/", [f"X-A: {'x' * LONG}"]),
    "many headers": ("/", [f"X-A{number}: x" for number in range(500)]),
    "a long host": ("/", [f"X-Forwarded-Host: {'x' * 5000}"]),
    "a long list of addresses": ("/admin/login/", [f"X-Forwarded-For: {'1.1.1.1, ' * 800}"]),
}


@pytest.mark.parametrize("behind_nginx", [False, True])
def test_odd_heads_are_refused_or_make_no_difference(service, nginx, behind_nginx):
    url = nginx(service.url, "proxy_set_header Host localhost;") if behind_nginx else service.url
    for name, (path, headers) in ODD_HEADS.items():
        status, _ = exchange(url, path, [], *headers, method="GET")
        assert status < 500, name
    assert_it_still_serves(service)


def test_older_and_unusual_requests_are_answered(service, nginx):
    behind = nginx(service.url, "proxy_set_header Host localhost;")
    for url in (service.url, behind):
        for line, status in (
            ("GET / HTTP/1.0", b"200"),
            ("GET http://localhost/ HTTP/1.1", b"200"),
            ("HEAD http://localhost/subscription/ HTTP/1.1", b"405"),
            ("OPTIONS * HTTP/1.1", b"4"),
            ("CONNECT localhost:443 HTTP/1.1", b"4"),
            ("GET / HTTP/2.0", b"505" if url == behind else b"400"),
            ("GET /", b""),
            ("\x16\x03\x01\x02", b""),
        ):
            with closing(connection_to(url)) as connection:
                connection.sendall(f"{line}\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                answer = connection.makefile("rb").readline()
                assert answer.partition(b" ")[2].startswith(status), (line, answer)
    assert_it_still_serves(service)


# --- One request read as two ------------------------------------------------------------------------


HIDDEN = b"GET /purchase/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = b"0\r\n\r\n" + HIDDEN

# How servers have disagreed about where a request ends: headers, and a body in which another request is hidden.
SHAPES = {
    "two lengths": (["Content-Length: 0", f"Content-Length: {len(HIDDEN)}"], HIDDEN),
    "a list of lengths": ([f"Content-Length: 0, {len(HIDDEN)}"], HIDDEN),
    "a length with a sign": (["Content-Length: +0"], HIDDEN),
    "a negative length": (["Content-Length: -1"], HIDDEN),
    "a length in hexadecimal": (["Content-Length: 0x0"], HIDDEN),
    "a length with a blank before the colon": (["Content-Length : 0"], HIDDEN),
    "a chunk with an odd length": (["Transfer-Encoding: chunked"], b"0x" + CHUNKED),
    "a chunk with a negative length": (["Transfer-Encoding: chunked"], b"-" + CHUNKED),
    "chunks, then length": (["Transfer-Encoding: chunked", f"Content-Length: {len(CHUNKED)}"], CHUNKED),
    **{
        f"length, then {spelling!r}": ([f"Content-Length: {len(CHUNKED)}", spelling], CHUNKED)
        for spelling in (
            "Transfer-Encoding: chunked",
            "TRANSFER-ENCODING: CHUNKED",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding : chunked",
            "Transfer-Encoding:\tchunked",
            "Transfer-Encoding: \x0bchunked",
            'Transfer-Encoding: "chunked"',
            "Transfer-Encoding: identity",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: identity, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding:\r\n chunked",
            "X: x\nTransfer-Encoding: chunked",
            "Transfer_Encoding: chunked",
        )
    },
}

AS_IT_COMES = "proxy_set_header Host localhost;"
STREAMING = 'proxy_request_buffering off; proxy_http_version 1.1; proxy_set_header Connection "";'


@pytest.fixture(params=[None, AS_IT_COMES, AS_IT_COMES + STREAMING], ids=["directly", "nginx", "streaming nginx"])
def url(request, service, nginx):
    """The service, directly or behind nginx."""
    return nginx(service.url, request.param) if request.param else service.url


def hear(connection: socket.socket, *, answers: int = 1) -> bytes:
    """What comes until there is silence after so many answers."""
    heard = b""
    with suppress(OSError):
        while more := connection.recv(65536):
            heard += more
            if heard.count(b"HTTP/1.1 ") >= answers:
                connection.settimeout(0.2)
    return heard


def test_no_request_hides_in_another(service, url):
    # For comparison, two requests that are clearly two. nginx keeps the connection for the second one.
    answers = 1 if url == service.url else 2
    with closing(connection_to(url)) as connection:
        connection.sendall(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n" + HIDDEN.replace(b"purchase", b"billing"))
        assert hear(connection, answers=answers).count(b"HTTP/1.1 ") == answers
    assert answers == 1 or eventually_in(service.log, "GET /billing/ was answered")
    for name, (headers, body) in SHAPES.items():
        # On a connection that is kept, where the next request would come.
        head = ["POST /subscription/ HTTP/1.1", "Host: localhost", f"Content-Type: {FORM}", *headers, "", ""]
        with closing(connection_to(url)) as connection:
            connection.sendall("\r\n".join(head).encode("latin-1") + body)
            answer = hear(connection)
        assert answer.count(b"HTTP/1.1 ") <= 1, (name, answer)
        assert b"HTTP/1.1 2" not in answer, (name, answer)
    assert_it_still_serves(service)
    assert "GET /purchase/" not in service.log()


def test_a_body_with_a_doubtful_end_changes_nothing(service):
    form = records.form(records.outgoing(Kind.SUBSCRIBE))
    body = chunks(urlencode(cyber_source.response(form)).encode())
    for headers in (
        ["Transfer-Encoding: chunked", "Content-Length: 5"],
        ["Transfer-Encoding: chunked, chunked"],
        ["Transfer-Encoding: identity"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: xchunked"],
        ["Content-Length: 5", "Content-Length: 6"],
    ):
        status, _ = exchange(service.url, "/cybersource-callback/", body, *headers, f"Content-Type: {FORM}")
        assert status in (400, 501)
    assert not Response.objects.exists()
    assert_it_still_serves(service)


# --- Silence ----------------------------------------------------------------------------------------


def test_silent_connections_stop_nobody_behind_a_buffering_proxy(service, nginx):
    url = nginx(service.url, "proxy_set_header Host localhost;")
    head = f"Host: localhost\r\nContent-Type: {FORM}\r\n"
    beginnings = [
        b"",
        b"POST /subsc",
        f"POST /subscription/ HTTP/1.1\r\n{head}".encode(),
        f"POST /subscription/ HTTP/1.1\r\n{head}Content-Length: 1000\r\n\r\nencrypted".encode(),
        f"POST /subscription/ HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n5\r\nencry".encode(),
    ]
    with ExitStack() as connections:
        for number in range(100):
            connection = connections.enter_context(closing(connection_to(url)))
            connection.sendall(beginnings[number % len(beginnings)])
        for _ in range(20):
            status = send(
                url, "/subscription/", urlencode(perma_cc.form("subscription")).encode(), f"Content-Type: {FORM}"
            )
            assert status == 200
    assert_it_still_serves(service)
