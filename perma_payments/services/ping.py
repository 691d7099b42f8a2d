"""Tell a monitor once a minute that the scheduler's jobs succeed. It raises the alarm if it hears nothing.

It hears from any scheduler; what one of them does at a time, another need not do.
"""

import logging
import threading
from datetime import timedelta
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from django.utils import timezone

from .heartbeats import all_succeed

logger = logging.getLogger(__name__)

EVERY = 60.0
# Until a job that has failed, or has not run yet, succeeds.
LOOK_EVERY = 1.0
TIMEOUT = 10.0
# A monitor that is away for a night makes one line an hour.
LOG_EVERY = 60

# How long ago the last run of each job may have begun, which must have succeeded. A round of mails takes up to
# three minutes, and is followed by a pause of two if the mail server fails.
JOBS = {
    "apply_responses": timedelta(minutes=3),
    "send_task_mails": timedelta(minutes=5),
    "purge_expired": timedelta(minutes=30),
}


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follow none: it would lead to where the operator did not ask to go."""


_opener = build_opener(_NoRedirect)


def keep_pinging(url: str, *, stopping: threading.Event, every: float = EVERY) -> None:
    """Ping until told to stop, each time that all jobs have succeeded."""
    failures = 0
    pause = 0.0
    while not stopping.wait(pause):
        if not all_succeed(JOBS, now=timezone.now()):
            pause = min(LOOK_EVERY, every)
            continue
        pause = every
        problem = _ping(url)
        if problem is None:
            failures = 0
            continue
        if failures % LOG_EVERY == 0:
            logger.warning("SCHEDULER_PING_URL could not be told that the scheduler works: %s", problem)
        failures += 1


def _ping(url: str) -> str | None:
    """GET the URL, which is a secret. Return what went wrong, or None if it was answered with 2xx."""
    try:
        with _opener.open(Request(url, headers={"User-Agent": "perma-payments"}), timeout=TIMEOUT):
            return None
    except HTTPError as error:
        return f"answered with {error.code}"
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        return type(reason).__name__ if isinstance(reason, Exception) else type(error).__name__
