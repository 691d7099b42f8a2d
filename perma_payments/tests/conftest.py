"""Fixtures that several modules share."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.http import HttpResponse
from django.test import Client
from django.test.client import ClientHandler

from perma_payments.services import heartbeats, key_uses

from . import cyber_source, perma_cc
from .in_browser import browser, sandbox, visitor  # noqa: F401 (fixtures)
from .mail_server import Mailbox, mail_server

FORM = "application/x-www-form-urlencoded"
Post = Callable[..., HttpResponse]


def forget_key_uses() -> None:
    """Make the process forget which uses of keys it has noted and written."""
    key_uses._due.clear()
    key_uses._noted.uses.clear()


@pytest.fixture(autouse=True)
def _no_key_was_used() -> None:
    """Whether a use is written, which takes a statement, depends on no other test."""
    forget_key_uses()


@pytest.fixture(autouse=True)
def _no_job_has_run() -> None:
    """Nor does whether a job's run is written."""
    heartbeats._last.clear()
    heartbeats._written.clear()


@pytest.fixture(scope="session")
def _unsuspicious_handler() -> ClientHandler:
    """Shared, because making one takes longer than most tests: WhiteNoise looks for all static files."""
    return ClientHandler(enforce_csrf_checks=False)


@pytest.fixture
def client(_unsuspicious_handler: ClientHandler) -> Client:
    """A client that gets the response that anyone would get, even a 500, instead of an exception."""
    client = Client(raise_request_exception=False)
    client.handler = _unsuspicious_handler
    return client


@pytest.fixture
def post(client: Client) -> Post:
    """POST a valid message of Perma.cc to a route; keyword arguments change its fields."""

    def post(route: str, **changes: Any) -> HttpResponse:
        return client.post(f"/{route}/", urlencode(perma_cc.form(route, **changes)), content_type=FORM)

    return post


@pytest.fixture
def call_back(client: Client) -> Post:
    """POST CyberSource's response to a signed form; see cyber_source.response for the keyword arguments."""

    def call_back(form: dict[str, str], decision: str = "ACCEPT", **changes: Any) -> HttpResponse:
        fields = cyber_source.response(form, decision, **changes)
        return client.post("/cybersource-callback/", urlencode(fields), content_type=FORM)

    return call_back


@pytest.fixture
def mailbox(settings: Any) -> Iterator[Mailbox]:
    """The mails that a real mail server receives."""
    with mail_server(settings) as mailbox:
        yield mailbox
