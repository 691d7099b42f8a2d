"""A refused request, told in three places: a line with the reason, the request's own line, and the metrics."""

import logging
from typing import Any

from django.http import HttpRequest

from .. import metrics
from ..logs import refusal as logged_as
from ..request_log import note

logger = logging.getLogger(__name__)


def record_refusal(request: HttpRequest, refusal: Exception, *, reason: str = "", **extra: Any) -> None:
    """Tell that a request was refused. The text of ``refusal`` is for our log, and holds nothing that was posted.

    In the metrics, the ``reason`` is one of a few, by default the name of the exception; ``extra`` is for the log.
    """
    name, path = type(refusal).__name__, request.path
    note(f"refused:{name}")
    logger.warning("%s: refused: %s: %s", path, name, refusal, extra={**logged_as(path), **extra})
    metrics.count_refusal(route=metrics.route_name(request), reason=reason or name)
