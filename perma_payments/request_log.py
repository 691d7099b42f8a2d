"""The request that a thread is answering: its id, which all lines about it have, and its own line in the log.

The id comes from the proxy's ``X-Request-Id``, or is made here, and goes back in the same header. The line says
what was asked for, as a route, because a path or a query may hold anything; what the answer was, and how long that
took. There is exactly one such line: if Django has something to say about a request, such as why it failed, its
line has the same fields and takes the place of ours.
"""

import logging
import re
import secrets
import threading
from time import perf_counter
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

logger = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
PROBES = frozenset({"/health/", "/health/ready/", "/metrics/"})
# Characters of what Django says about a request, which may quote a Host header of any length.
LONGEST = 200


class _Current(threading.local):
    """What is known of the request so far."""

    id = ""
    began = 0.0
    outcome = ""
    is_told = False


_current = _Current()


def begin(environ: dict[str, Any]) -> str:
    """Begin a request, and return its id.

    What a client sends is no id: it could be a name, or a card number. So the header counts only behind a proxy,
    which has to set it (docs/operations.md, "Logs").
    """
    given = environ.get("HTTP_X_REQUEST_ID", "") if settings.TRUSTED_PROXIES else ""
    _current.id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
    _current.began, _current.outcome, _current.is_told = perf_counter(), "", False
    return _current.id


def forget(**kwargs: Any) -> None:
    """End a request, once its answer has left."""
    _current.id = ""


def request_id() -> str:
    """The id of the request that this thread is answering, or empty text."""
    return _current.id


def note(outcome: str) -> None:
    """Say in a word what came of the request. What is noted first counts: why it was refused, before the page."""
    _current.outcome = _current.outcome or outcome


def route_of(request: HttpRequest) -> str:
    """The pattern that a request's path matches, such as ``/admin/perma_payments/response/<path:object_id>/``."""
    match = request.resolver_match
    return f"/{match.route}" if match else "unmatched"


def write(request: HttpRequest, response: HttpResponseBase) -> None:
    """Write the line about a request, unless one of Django's has said all of it."""
    status = response.status_code
    # What monitoring and browsers fetch again and again has no line. A probe is told what is wrong.
    is_probe = request.path_info in PROBES and status in (200, 503)
    is_static = request.path_info.startswith(settings.STATIC_URL) and status in (200, 304)
    if _current.is_told or is_probe or is_static:
        return
    fields = _fields(request, status)
    extra: dict[str, Any] = {"ids": fields}
    if 400 <= status < 500 or _current.outcome.startswith("refused"):
        # Anyone can cause it: see logs.FewRefusals.
        extra["refused"] = f"{fields['route']} {status}"
    logger.info(
        "%s %s was answered with %s in %.1f ms%s",
        fields["method"],
        fields["route"],
        status,
        fields["ms"],
        f": {_current.outcome}" if _current.outcome else "",
        extra=extra,
    )


def _fields(request: HttpRequest, status: int) -> dict[str, Any]:
    fields = {
        "method": request.method if request.method in METHODS else "other",
        "route": route_of(request),
        "status": status,
        "ms": round((perf_counter() - _current.began) * 1000, 1),
    }
    return {**fields, "outcome": _current.outcome} if _current.outcome else fields


class DjangosLines(logging.Filter):
    """Turns Django's lines about requests into the request's one line, and drops those that only name a status.

    They name the path; the route takes its place.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        request, status = getattr(record, "request", None), getattr(record, "status_code", 0)
        if not isinstance(request, HttpRequest) or not status or hasattr(record, "ids"):
            return True
        if record.name == "django.request" and not record.exc_info and status != 500:
            return False
        if isinstance(record.args, tuple) and record.args:
            record.args = (*record.args[:-1], route_of(request))
        record.msg, record.args = record.getMessage()[:LONGEST], None
        record.ids = _fields(request, status)
        _current.is_told = True
        return True
