"""Refused posts of CyberSource's, in the log: one line each, and not too many."""

import logging

from django.http import HttpRequest
from django_ratelimit.core import get_usage

logger = logging.getLogger(__name__)

# Anyone can POST rubbish to these routes, as fast as they like: the log shows the first refusals of each minute,
# and every hundredth after that, with their number.
LOGGED_PER_MINUTE = 10


def log_some(request: HttpRequest, what: str, refusal: Exception) -> None:
    """Log that ``what`` was refused, unless that was logged often enough in this minute."""
    usage = get_usage(
        request,
        group=f"refused {what}",
        key=lambda group, request: "all",
        rate=f"{LOGGED_PER_MINUTE}/m",
        increment=True,
    )
    count = usage["count"] if usage else 1
    if count <= LOGGED_PER_MINUTE or count % 100 == 0:
        logger.warning("%s refused (%s in this minute): %s", what, count, refusal)
