"""An error in a running service: one line, one mail and one event in Sentry, with one id and without values."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import requests

from devtools.processes import GUNICORN, eventually, free_port, leashed, wait_until_it_answers

from . import perma_cc
from .test_faults import url_of_test_database
from .test_marks import Marks, headers, word

HOST = "127.0.0.1"
FAILING = [each.replace("perma_payments.wsgi", "perma_payments.tests.failing_wsgi") for each in GUNICORN]


@contextmanager
def sentry() -> Iterator[tuple[str, list[bytes]]]:
    """A server that takes what is sent to Sentry: its DSN, and all bodies and headers that came."""
    came: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.append(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            came.append(f"{self.path} {self.headers}".encode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://0123456789abcdef@{HOST}:{server.server_port}/1", came
        server.shutdown()


@pytest.mark.django_db(transaction=True)
def test_an_error_is_one_line_one_mail_and_one_event_and_a_storm_is_three_mails(mailbox, settings):
    marks, port = Marks(), free_port(HOST)
    with sentry() as (dsn, came), requests.Session() as session:
        session.trust_env = False
        env = {
            "DATABASE_URL": url_of_test_database(),
            "EMAIL_HOST": settings.EMAIL_HOST,
            "EMAIL_PORT": str(settings.EMAIL_PORT),
            "LOG_FORMAT": "json",
            "SENTRY_DSN": dsn,
        }
        logger = "--logger-class=perma_payments.gunicorn_logs.Logger"
        with leashed("The failing service", *FAILING, logger, f"--bind={HOST}:{port}", env=env) as process:
            wait_until_it_answers(process, f"{HOST}:{port}", "/subscribe/")
            asking = marked_request(f"http://{HOST}:{port}", marks)
            answer = session.send(asking, timeout=30)
            assert answer.status_code == 500

            # One line, one mail, one event: all with the id that the client got.
            this = answer.headers["X-Request-Id"]
            assert eventually(lambda: mailbox.mails and came, 20)
            lines = [json.loads(each) for each in process.printed().splitlines() if each.startswith("{")]
            (line,) = [each for each in lines if each.get("request_id") == this]
            assert (line["status"], line["route"], line["level"]) == (500, "/subscribe/", "ERROR")
            assert line["exception"] == "perma_payments.tests.failing_wsgi.Trouble1"
            (subject,) = mailbox.subjects
            assert subject.startswith("Error: Trouble1 in perma_payments.tests.failing_wsgi.fail, line ")
            assert f", route /subscribe/, request {this}" in mailbox.body()
            event = json.loads(came[0].splitlines()[2])
            assert event["tags"] == {"kind": "error", "route": "/subscribe/", "request_id": this}
            (exception,) = event["exception"]["values"]
            assert (exception["type"], exception["stacktrace"]["frames"][-1]["function"]) == ("Trouble1", "fail")
            added = {"event_id", "timestamp", "platform", "level", "environment", "release"}
            assert set(event) <= {"exception", "tags"} | added
            # Gunicorn's own lines have the same format, in its master and in its worker.
            assert {"Booting worker", "Listening at: "} <= {each["message"][:14] for each in lines}

            not_found = f"http://{HOST}:{port}/{quote(marks.name('path'))}/"
            assert session.get(not_found, headers=headers(marks), timeout=30).status_code == 500
            for _ in range(200):
                assert session.send(asking, timeout=30).status_code == 500
            log = process.printed()
        # It has ended, and has mailed what it still could.
        assert 1 < len(mailbox.mails) <= 3
    assert "Internal Server Error: unmatched" in log and "500 at unmatched" in mailbox.body(1)
    assert len(came) > 2
    left = [log, *(mail.as_string() for mail in mailbox.mails), *(body.decode("latin-1") for body in came)]
    assert marks.found_in(left) == {}


def marked_request(url: str, marks: Marks) -> requests.PreparedRequest:
    """A message with marks in body, headers, cookies, query and, as the error quotes it, the error's text."""
    fields = perma_cc.form("subscribe", customer_pk=int(marks.number("customer", 8)))
    fields[marks("unknown key", word())] = marks.name("unknown value")
    query = urlencode({"name": marks.name("query")})
    return requests.Request("POST", f"{url}/subscribe/?{query}", headers(marks), data=fields).prepare()
