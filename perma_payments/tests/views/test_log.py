"""Every refusal is one line in the log."""

import pytest
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.db import OperationalError

from perma_payments.services.checkouts import begin

from ..conftest import FORM
from . import traces

pytestmark = pytest.mark.django_db


def failing(monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(begin, "subscribe", fail)


@pytest.mark.parametrize(
    ("method", "path", "extra", "status", "line"),
    [
        ("GET", "/no-such-page/", {}, 404, "WARNING django.request: Not Found: /no-such-page/"),
        ("PUT", "/subscribe/", {}, 405, "WARNING django.request: Method Not Allowed: /subscribe/"),
        ("GET", "/subscription/", {}, 405, "WARNING django.request: Method Not Allowed: /subscription/"),
        ("PUT", "/return/", {}, 405, "WARNING django.request: Method Not Allowed: /return/"),
        ("POST", "/subscribe/", {}, 400, "WARNING perma_payments.views.incoming: /subscribe/: refused: Bad"),
        ("POST", "/subscription/", {}, 400, "WARNING perma_payments.views.incoming: /subscription/: refused: Bad"),
        (
            "POST",
            "/cybersource-callback/",
            {},
            400,
            "WARNING perma_payments.views.cybersource: callback refused: ",
        ),
        ("POST", "/return/", {}, 303, "WARNING perma_payments.views.cybersource: return refused: "),
        ("GET", "/subscribe/", {"HTTP_HOST": "192.0.2.1"}, 400, "ERROR django.security.DisallowedHost: Invalid"),
    ],
    ids=str,
)
def test_what_is_refused_is_one_line(client, caplog, method, path, extra, status, line):
    assert client.generic(method, path, "a=b", FORM, **extra).status_code == status

    (said,) = [text for text in traces.log(caplog).splitlines() if not text.startswith("INFO")]
    assert said.startswith(line)


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (PermissionDenied(), 403, "WARNING django.request: Forbidden (Permission denied): /subscribe/"),
        (BadRequest("a reason"), 400, "WARNING django.request: a reason: /subscribe/"),
        (SuspiciousOperation("a reason"), 400, "ERROR django.security.SuspiciousOperation: a reason"),
        (OperationalError(), 503, "ERROR perma_payments.views.middleware: /subscribe/: the database cannot serve"),
    ],
    ids=str,
)
def test_what_is_refused_by_an_exception_is_one_line(post, monkeypatch, caplog, error, status, line):
    failing(monkeypatch, error)
    assert post("subscribe").status_code == status

    (said,) = traces.log(caplog).splitlines()
    assert said.startswith(line)


def test_an_error_is_reported_with_the_place_where_it_arose(post, monkeypatch, caplog):
    failing(monkeypatch, RuntimeError())
    assert post("subscribe").status_code == 500

    assert "ERROR django.request: Internal Server Error: /subscribe/" in traces.log(caplog)
    assert f'File "{__file__}"' in traces.log(caplog)
