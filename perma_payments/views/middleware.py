"""Time limits on what requests ask of the database, and the answer when it is unavailable."""

import logging
from typing import Any

from django.contrib.sessions.middleware import SessionMiddleware
from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

from ..postgres.problems import why_unavailable
from ..postgres.time_limits import allow, waiting_at_most, within
from . import pages

logger = logging.getLogger(__name__)

# Seconds for everything that one request asks of the database, unless its view has another limit.
TIME_LIMIT = 5.0
# Seconds for each answer from the database, even if a request may take longer in total.
LONGEST_WAIT = 15.0


class PlainAnswersMiddleware(MiddlewareMixin):
    """Answers 503, with a page that asks to try again, if the database is unavailable, too slow or locked."""

    def __call__(self, request: HttpRequest) -> Any:
        with within(TIME_LIMIT), waiting_at_most(LONGEST_WAIT):
            return super().__call__(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        # Decorators that wrap a view pass its attributes on.
        if hasattr(view, "time_limit"):
            allow(view.time_limit)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return _unavailable(request, exception)


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
    logger.error("%s: the database cannot serve this: %s", request.path, reason)
    return pages.unavailable(request)
