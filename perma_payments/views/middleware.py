"""Answers to what goes wrong outside the views."""
import logging

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

from . import pages

logger = logging.getLogger(__name__)


class PlainAnswersMiddleware(MiddlewareMixin):
    """Turns a database that is gone, or a lock that could not be had, into a 503 that asks to try again."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """See Django's middleware."""
        if not isinstance(exception, (InterfaceError, OperationalError)):
            return None
        logger.error("%s: the database did not answer: %s", request.path, type(exception).__qualname__)
        return pages.unavailable(request)
