"""Fixtures of the tests of views."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import pytest
from bs4 import BeautifulSoup
from django.conf import settings
from django.core.cache import cache
from django.http import HttpResponse
from django.test import Client
from django.test.client import ClientHandler
from hypothesis import HealthCheck, settings as hypothesis_settings

from perma_payments.billing.transactions import Kind
from perma_payments.models import Purchase

from .. import cyber_source, perma_cc, records
from ..conftest import FORM
from . import traces
from .routes import ACKNOWLEDGE_PURCHASE, CALLBACK, Asker, Route

Refused = Callable[..., HttpResponse]

# The fixtures are shared by all examples, and the tests allow for it.
EXAMPLES = hypothesis_settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="session")
def _handler() -> ClientHandler:
    """Shared, because making one takes longer than most tests: WhiteNoise looks for all static files."""
    return ClientHandler(enforce_csrf_checks=True)


@pytest.fixture
def client(client: Client, _handler: ClientHandler) -> Client:
    """The client of all tests, with Django's protection against forgery on."""
    client.handler = _handler
    return client


@pytest.fixture(autouse=True)
def _nothing_counted() -> None:
    """Refused callbacks are counted, and only some are logged, so each test starts at zero."""
    cache.clear()


@pytest.fixture
def stock(db: None) -> dict[str, str]:
    """Some records. Returns the signed form of the one checkout without a response."""
    records.standing_agreement(records.INDIVIDUAL, reference_number="PERMA-0000-0001")
    records.paid_purchase(reference_number="PERMA-0000-0002")
    return records.form(records.outgoing(Kind.SUBSCRIBE))


def valid_form(route: Route, stock: dict[str, str]) -> dict[str, str]:
    """The fields of a POST that a route accepts, given what is in `stock`."""
    if route is CALLBACK:
        return cyber_source.response(stock)
    if route is ACKNOWLEDGE_PURCHASE:
        return perma_cc.form(route.name, purchase_pk=Purchase.objects.get().pk)
    return perma_cc.form(route.name)


@pytest.fixture
def refused(client: Client, stock: dict[str, str], caplog: pytest.LogCaptureFixture) -> Refused:
    """POST something, and check that it was refused with a reason in the log and without any other trace."""

    def refused(
        route: Route, body: bytes | str, content_type: str = FORM, *, reason: str = "", **extra: Any
    ) -> HttpResponse:
        before = traces.rows()
        cache.clear()
        caplog.clear()
        response = client.generic("POST", route.path, body, content_type, **extra)
        assert response.status_code == 400
        assert traces.rows() == before
        (said,) = traces.reasons(caplog)
        assert reason in said
        text = body if isinstance(body, str) else body.decode("utf-8", "replace")
        posted = [text, *(part for pair in parse_qsl(text[:20_000]) for part in pair)]
        assert traces.told(posted, traces.log(caplog)) == []
        assert traces.told(posted, response.content.decode()) == []
        if route.asker is Asker.BROWSER:
            assert_is_page_for_a_person(response)
        return response

    return refused


def assert_is_page_for_a_person(response: HttpResponse) -> None:
    """Plain words, a way back to Perma.cc, and an address to write to."""
    assert response["Content-Type"] == "text/html; charset=utf-8"
    page = BeautifulSoup(response.content, "html.parser")
    links = [link["href"] for link in page.find_all("a")]
    assert settings.PERMA_RETURN_PAGE in links
    assert f"mailto:{settings.CONTACT_EMAIL}" in links
    assert settings.CONTACT_EMAIL in page.get_text()
    assert page.find("h1").get_text(strip=True)
