"""Time limits for what requests ask of the database, and answers to what goes wrong outside the views."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from django.contrib.sessions.middleware import SessionMiddleware
from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

from ..postgres.problems import why_unavailable
from ..postgres.time_limits import allow, waiting_at_most, within
from . import pages

logger = logging.getLogger(__name__)

V = TypeVar("V", bound=Callable[..., Any])

# In seconds, for all that one request asks of the database; a view that needs another time says so.
TIME_LIMIT = 5.0
# For each answer of the database, also where a request may take longer in all.
LONGEST_WAIT = 15.0


def time_limit(seconds: float) -> Callable[[V], V]:
    """Give a view another time limit than other views have."""

    def decorate(view: V) -> V:
        """Mark one view."""
        view.time_limit = seconds  # type: ignore[attr-defined]
        return view

    return decorate


class PlainAnswersMiddleware(MiddlewareMixin):
    """Turns a database that cannot serve in time, or a lock that is held, into a 503 that asks to try again."""

    def __call__(self, request: HttpRequest) -> Any:
        """See Django's middleware."""
        with within(TIME_LIMIT), waiting_at_most(LONGEST_WAIT):
            return super().__call__(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        """See Django's middleware. The view is wrapped by decorators, which pass its marks on."""
        if hasattr(view, "time_limit"):
            allow(view.time_limit)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """See Django's middleware."""
        return _unavailable(request, exception)


class CarefulSessionMiddleware(SessionMiddleware):
    """Django's, whose errors no middleware's process_exception sees: it writes when the view has answered."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """See Django's middleware."""
        try:
            return super().process_response(request, response)
        except Error as error:
            unavailable = _unavailable(request, error)
            if unavailable is None:
                raise
            return unavailable


def _unavailable(request: HttpRequest, error: Exception) -> HttpResponse | None:
    """The answer to an error that another time would not have; None for any other."""
    reason = why_unavailable(error)
    if reason is None:
        return None
    logger.error("%s: the database cannot serve this: %s", request.path, reason)
    return pages.unavailable(request)
