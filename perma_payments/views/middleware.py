"""What holds for all routes: headers that protect browsers, and time limits on what is asked of the database."""

import logging
from collections.abc import Callable
from typing import Any

from django.contrib.sessions.middleware import SessionMiddleware
from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from ..postgres.problems import why_unavailable
from ..postgres.time_limits import allow, waiting_at_most, within
from ..request_log import note, route_of
from . import pages
from .incoming import is_browser
from .limits import TooManyRequests

logger = logging.getLogger(__name__)

GetResponse = Callable[[HttpRequest], HttpResponseBase]

# Seconds for everything that one request asks of the database, unless its view has another limit.
TIME_LIMIT = 5.0
# Seconds for each answer from the database, even if a request may take longer in total.
LONGEST_WAIT = 15.0


# Features of browsers that our pages could use, or be made to use. They use none.
FEATURES = (
    *("accelerometer", "autoplay", "browsing-topics", "camera", "clipboard-read", "clipboard-write"),
    *("display-capture", "encrypted-media", "fullscreen", "gamepad", "geolocation", "gyroscope", "hid"),
    *("identity-credentials-get", "idle-detection", "local-fonts", "magnetometer", "microphone", "midi"),
    *("otp-credentials", "payment", "picture-in-picture", "publickey-credentials-create"),
    *("publickey-credentials-get", "screen-wake-lock", "serial", "storage-access", "usb"),
    *("window-management", "xr-spatial-tracking"),
)
PERMISSIONS_POLICY = ", ".join(f"{feature}=()" for feature in FEATURES)


class ProtectiveHeadersMiddleware(MiddlewareMixin):
    """Adds the headers that Django and django-csp do not.

    Nothing is cached unless it says so itself, as static files do.
    """

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        response["Permissions-Policy"] = PERMISSIONS_POLICY
        response["Cross-Origin-Resource-Policy"] = "same-origin"
        response.setdefault("Cache-Control", "no-store")
        return response


class PlainAnswersMiddleware(MiddlewareMixin):
    """Answers 503, with a page that asks to try again, if the database is unavailable, too slow or locked.

    And 429 to an address that sends too much (limits.py).
    """

    def __call__(self, request: HttpRequest) -> Any:
        with within(TIME_LIMIT), waiting_at_most(LONGEST_WAIT):
            return super().__call__(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        # Decorators that wrap a view pass its attributes on.
        if hasattr(view, "time_limit"):
            allow(view.time_limit)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, TooManyRequests):
            return pages.too_many(request, seconds=exception.seconds)
        return _unavailable(request, exception)


# Where programs call, which have no use for a session, a login, or what protects pages.
MACHINE_ROUTES = frozenset(
    {"/subscription/", "/purchase-history/", "/acknowledge-purchase/", "/cybersource-callback/"}
)


class ViewsMiddleware:
    """The innermost one: what it calls is the view."""

    latest: GetResponse

    def __init__(self, get_response: GetResponse) -> None:
        # Django builds a chain from the inside, so this is of the same chain as the MachinesMiddleware built next.
        ViewsMiddleware.latest = get_response
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self._get_response(request)


class MachinesMiddleware:
    """Leads programs past the middleware that follows, straight to the view, which is quicker.

    A person's browser that was sent to one of these routes takes the same way as to all others.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response
        self._view = ViewsMiddleware.latest

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info not in MACHINE_ROUTES or is_browser(request):
            return self._get_response(request)
        request.get_host()  # Raises DisallowedHost.
        response = self._view(request)
        response["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"
        response["X-Frame-Options"] = "DENY"
        if isinstance(response, HttpResponse):
            response["Content-Length"] = str(len(response.content))
        return response


class CarefulSessionMiddleware(SessionMiddleware):
    """Django's, with the same 503: it writes after the view has answered, past every process_exception."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        try:
            return super().process_response(request, response)
        except Error as error:
            unavailable = _unavailable(request, error)
            if unavailable is None:
                raise
            return unavailable


def _unavailable(request: HttpRequest, error: Exception) -> HttpResponse | None:
    """A 503 if the database is unavailable; None for any other error."""
    reason = why_unavailable(error)
    if reason is None:
        return None
    logger.error("%s: the database cannot serve this: %s", route_of(request), reason)
    note("unavailable")
    return pages.unavailable(request)
