"""Each request has one line in the log, and one more with the reason if it is refused."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.db import OperationalError
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils.module_loading import import_string

from perma_payments import request_log
from perma_payments.logs import JsonFormatter, NoValuesFormatter
from perma_payments.services.checkouts import begin
from perma_payments.views.wsgi_request import Application

from .. import perma_cc
from ..conftest import FORM
from ..fuzz.world import one_connection

pytestmark = pytest.mark.django_db

SECRET = "Zaphod-4242424242424242"


@dataclass
class Asked:
    """An answer, and what the log says."""

    status: int
    headers: dict[str, str]
    log: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.splitlines()]


Ask = Callable[..., Asked]


@pytest.fixture(scope="module")
def application() -> Application:
    return Application()


def in_the_same_minute(record: logging.LogRecord) -> bool:
    """A filter that lets everything happen at one moment: refusals are counted by the minute."""
    record.created = 1_800_000_000.0
    return True


@pytest.fixture
def ask(application: Application, settings: Any) -> Iterator[Ask]:
    """Ask the service as Gunicorn does. The log is that of the settings, in the format of production."""
    console = logging.StreamHandler(io.StringIO())
    console.addFilter(in_the_same_minute)
    for name in settings.LOGGING["handlers"]["console"]["filters"]:
        console.addFilter(import_string(settings.LOGGING["filters"][name]["()"])())
    console.setFormatter(JsonFormatter())

    def ask(method: str, path: str, body: str = "a=b", content_type: str = FORM, **extra: str) -> Asked:
        console.setStream(io.StringIO())
        environ = RequestFactory().generic(method, path, body, content_type, **extra).environ
        started: list[Any] = []
        response = application(environ, lambda status, headers: started.extend((int(status[:3]), dict(headers))))
        b"".join(response)
        response.close()
        return Asked(*started, console.stream.getvalue())

    root = logging.getLogger()
    root.addHandler(console)
    with one_connection():
        yield ask
    root.removeHandler(console)


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(begin, "subscribe", fail)


def post(ask: Ask, **extra: str) -> Asked:
    return ask("POST", "/subscribe/", urlencode(perma_cc.form("subscribe")), **extra)


@pytest.mark.parametrize(
    ("method", "path", "extra", "status", "route", "outcome", "reason"),
    [
        ("GET", f"/{SECRET}/", {}, 404, "unmatched", "not_found", None),
        ("GET", f"/subscribe/?name={SECRET}", {}, 200, "/subscribe/", "not_opened_directly", None),
        ("HEAD", "/", {}, 200, "/", "index", None),
        ("PUT", "/subscribe/", {}, 405, "/subscribe/", "not_opened_directly", None),
        ("GET", "/subscription/", {}, 405, "/subscription/", None, None),
        (SECRET, "/subscription/", {}, 405, "/subscription/", None, None),
        ("POST", "/subscribe/", {}, 400, "/subscribe/", "refused:BadForm", "/subscribe/: refused: BadForm"),
        ("POST", "/subscription/", {}, 400, "/subscription/", "refused:BadForm", "/subscription/: refused: BadF"),
        (
            "POST",
            "/cybersource-callback/",
            {},
            400,
            "/cybersource-callback/",
            "refused:CallbackRefused",
            "/cybersource-callback/: refused: CallbackRefused: not signed",
        ),
        ("POST", "/return/", {}, 303, "/return/", "refused:CallbackRefused", "/return/: refused: Callbac"),
        ("GET", "/portal/?token=x", {}, 400, "/portal/", "refused:TokenRefused", "/portal/: refused: "),
    ],
    ids=str,
)
def test_a_request_is_one_line_and_a_reason_another(ask, method, path, extra, status, route, outcome, reason):
    asked = ask(method, path, **extra)

    *reasons, line = asked.lines
    assert (asked.status, line["status"], line["route"], line.get("outcome")) == (status, status, route, outcome)
    assert line["method"] == ("other" if method == SECRET else method)
    assert line["message"].startswith(f"{line['method']} {route} was answered with {status} in {line['ms']} ms")
    assert [said["message"][: len(reason)] for said in reasons] == ([reason] if reason else [])
    assert {said["request_id"] for said in asked.lines} == {asked.headers["X-Request-Id"]}
    assert "Zaphod" not in asked.log


@pytest.mark.parametrize(
    ("error", "status", "level", "said"),
    [
        (PermissionDenied(), 403, "WARNING", "Forbidden (Permission denied): /subscribe/"),
        (BadRequest("a reason"), 400, "WARNING", "a reason: /subscribe/"),
        (SuspiciousOperation("a reason"), 400, "ERROR", "a reason"),
        (RuntimeError(SECRET), 500, "ERROR", "Internal Server Error: /subscribe/"),
    ],
    ids=str,
)
def test_what_django_has_to_say_is_the_one_line(ask, monkeypatch, error, status, level, said):
    failing(monkeypatch, error)
    asked = post(ask)

    (line,) = asked.lines
    assert (line["level"], line["message"]) == (level, said)
    assert (line["status"], line["route"], line["method"]) == (asked.status, "/subscribe/", "POST")
    assert line["request_id"] == asked.headers["X-Request-Id"]
    assert asked.status == status
    assert ("traceback" in line) == (status == 500)


def test_an_error_is_one_line_with_its_type_and_place_and_without_what_it_says(ask, monkeypatch):
    failing(monkeypatch, RuntimeError(SECRET))
    (line,) = post(ask).lines

    assert line["exception"] == "builtins.RuntimeError"
    assert f'File "{__file__}"' in line["traceback"]
    assert "Zaphod" not in str(line)


def test_a_form_that_may_be_forged_is_one_line_with_the_reason(ask):
    (line,) = ask("POST", f"/admin/perma_payments/stafftask/{SECRET}/finish/").lines

    route = "/admin/perma_payments/stafftask/<path:object_id>/"
    assert line["message"] == f"Forbidden (CSRF cookie not set.): {route}"
    assert (line["status"], line["route"]) == (403, route)


def test_a_wrong_host_is_one_short_line_with_that_host(ask):
    (line,) = ask("GET", f"/{SECRET}/", HTTP_HOST="192.0.2.1").lines
    assert (line["status"], line["route"]) == (400, "unmatched")
    assert line["message"].startswith("Invalid HTTP_HOST header: '192.0.2.1'")
    assert "traceback" not in line and "Zaphod" not in str(line)

    (line,) = ask("GET", "/", HTTP_HOST=f"{'x' * 5000}.example").lines
    assert len(str(line)) < 600


def test_a_database_that_is_down_is_named_beside_the_request(ask, monkeypatch):
    failing(monkeypatch, OperationalError())
    why, line = post(ask).lines

    assert (why["level"], why["message"][:46]) == ("ERROR", "/subscribe/: the database cannot serve this: t")
    assert (line["status"], line["outcome"]) == (503, "unavailable")


def test_what_is_fetched_again_and_again_has_no_line_if_it_is_found(ask, monkeypatch):
    asked = ask("GET", "/static/admin/css/base.css")
    assert (asked.status, asked.log) == (200, "")
    (line,) = ask("GET", f"/static/{SECRET}").lines
    assert line["status"] == 404

    said: list[str] = []
    monkeypatch.setattr(request_log.logger, "info", lambda text, *args, **extra: said.append(text % args))
    for path, status in (("/health/", 200), ("/metrics/", 200), ("/health/ready/", 503), ("/metrics/", 401)):
        request_log.write(RequestFactory().get(path), HttpResponse(status=status))
    assert ["401" in line for line in said] == [True]


def test_refused_requests_do_not_flood_the_log(ask):
    shown = [line for _ in range(100) for line in ask("GET", "/nothing/").lines]
    assert len(shown) == 11
    assert shown[-1]["count_in_minute"] == 100

    shown = [line for _ in range(30) for line in ask("POST", "/return/").lines]
    assert len(shown) == 20  # ten of each, however friendly the answer is

    assert all(len(ask("GET", "/").lines) == 1 for _ in range(30))


# --- Request ids ------------------------------------------------------------------------------------


def test_the_proxys_id_is_taken_and_returned(ask, settings):
    settings.TRUSTED_PROXIES = 1
    asked = ask("GET", "/", HTTP_X_REQUEST_ID="a1_B.2-c")
    assert asked.headers["X-Request-Id"] == asked.lines[0]["request_id"] == "a1_B.2-c"


@pytest.mark.parametrize(
    ("proxies", "given"),
    [(0, "a1"), (1, ""), (1, "a b"), (1, "a\n"), (1, "é"), (1, "a" * 65), (1, '"><b>')],
    ids=str,
)
def test_any_other_id_is_replaced_by_one_of_our_own(ask, settings, proxies, given):
    settings.TRUSTED_PROXIES = proxies
    first, second = (ask("GET", "/", HTTP_X_REQUEST_ID=given).headers["X-Request-Id"] for _ in range(2))
    assert first != second and len(first) == len(second) == 16


def test_a_request_ends_when_its_answer_has_left(ask):
    ask("GET", "/")
    record = logging.LogRecord("perma_payments", logging.INFO, __file__, 1, "later", None, None)
    assert "request_id" not in JsonFormatter().format(record)


def test_in_text_the_id_is_at_the_end_of_the_line():
    record = logging.LogRecord("perma_payments", logging.INFO, __file__, 1, "now", None, None)
    record.created = 1_800_000_000.1239
    current = request_log.begin({})
    line = NoValuesFormatter("{asctime} {levelname} {name}: {message}", style="{").format(record)
    request_log.forget()
    assert line == f"2027-01-15T08:00:00.123Z INFO perma_payments: now [{current}]"
