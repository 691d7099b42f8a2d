"""What monitoring asks: ``/health/``, ``/health/ready/`` and ``/metrics/``.

They are answered before anything else looks at the request, so by any ``Host``, over plain HTTP, and without a
session, a limit or a redirect.
"""

import threading
from collections.abc import Callable
from hmac import compare_digest
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone

from .. import metrics
from ..services import health

GetResponse = Callable[[HttpRequest], HttpResponseBase]

# Seconds for which an answer is given again, so that many who ask at once ask the database only once.
REMEMBERED = 1.0


class ProbesMiddleware:
    """Answers these routes, and passes on every other request."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response
        self._routes: dict[str, Callable[[HttpRequest], HttpResponse]] = {
            "/health/": _alive,
            "/health/ready/": _Ready(),
            "/metrics/": _metrics,
        }

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        route = self._routes.get(request.path_info)
        if route is None:
            return self._get_response(request)
        if request.method in ("GET", "HEAD"):
            response = route(request)
        else:
            response = _text("method not allowed", status=405, headers={"Allow": "GET, HEAD"})
        response["Cache-Control"] = "no-store"
        # Django would log a 503 as an error, at every probe.
        response._has_been_logged = True  # type: ignore[attr-defined]
        return response


class CountingMiddleware:
    """Counts every request that is not about monitoring itself. It is not there unless METRICS_TOKEN is set."""

    def __init__(self, get_response: GetResponse) -> None:
        if not settings.METRICS_TOKEN:
            raise MiddlewareNotUsed
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        begin = perf_counter()
        response = self._get_response(request)
        metrics.count_request(
            route=metrics.route_name(request),
            method=request.method or "",
            status=response.status_code,
            seconds=perf_counter() - begin,
        )
        return response


def _alive(request: HttpRequest) -> HttpResponse:
    """The process answers. A load balancer should ask no more: without a scheduler, web servers still serve."""
    return _text("ok")


class _Ready:
    """Whether the service can do its work. While one request finds out, others get the last answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readiness = health.Readiness()
        self._checks: list[health.Check] = []
        self._checked_at = 0.0

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if self._lock.acquire(blocking=not self._checks):
            try:
                if not self._checks or monotonic() - self._checked_at >= REMEMBERED:
                    self._checks = self._readiness.checks(now=timezone.now())
                    self._checked_at = monotonic()
            finally:
                self._lock.release()
        checks = self._checks
        lines = [f"{'ok' if check.is_ok else 'NOT OK'}: {check.name}: {check.words}" for check in checks]
        return _text("\n".join(lines), status=200 if all(check.is_ok for check in checks) else 503)


def _metrics(request: HttpRequest) -> HttpResponse:
    """Everything that is counted and measured, for those who have the token."""
    if not settings.METRICS_TOKEN:
        return _text("not found", status=404)
    given = request.headers.get("Authorization", "")
    if not compare_digest(given.encode(), f"Bearer {settings.METRICS_TOKEN}".encode()):
        return _text("a token is needed", status=401, headers={"WWW-Authenticate": "Bearer"})
    body = metrics.exposition(health.gauges(now=timezone.now()), Path(settings.METRICS_DIR))
    return HttpResponse(body, content_type=metrics.CONTENT_TYPE)


def _text(text: str, **options: Any) -> HttpResponse:
    return HttpResponse(f"{text}\n", content_type="text/plain; charset=utf-8", **options)
