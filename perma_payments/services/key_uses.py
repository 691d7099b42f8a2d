"""Record when each key was last used, without making anyone wait for that.

A use is noted while a request is served, and written after its response has been sent. Each process writes a key
no more than once an hour, so what is recorded may be an hour older than the last use.
"""

import logging
import threading
from datetime import datetime, timedelta
from typing import Any

from django.db import Error

from ..models import KeyUse, Ring
from ..postgres.problems import describe
from ..postgres.time_limits import within

logger = logging.getLogger(__name__)

WRITE_EVERY = timedelta(hours=1)
# A database that is gone or read-only is not asked again by every request.
RETRY_AFTER = timedelta(minutes=1)
# For writing, in which a thread cannot serve the next request.
SECONDS = 1.0

# By ring and key: when this process writes its use again. Two threads may both write it, which is harmless.
_due: dict[tuple[Ring, str], datetime] = {}


class _Noted(threading.local):
    """What this thread has noted, and not yet written."""

    def __init__(self) -> None:
        self.uses: list[KeyUse] = []


_noted = _Noted()


def note(ring: Ring, key_id: str, *, now: datetime) -> None:
    """Note that a key has signed or opened a message. It is written when the current request is finished."""
    due = _due.get((ring, key_id))
    if due is None or due <= now:
        _due[ring, key_id] = now + WRITE_EVERY
        _noted.uses.append(KeyUse(ring=ring, key_id=key_id, last_used_at=now))


def write(**signal: Any) -> None:
    """Write what this thread has noted, if anything. Raises nothing if the database fails."""
    uses, _noted.uses = _noted.uses, []
    if not uses:
        return
    try:
        with within(SECONDS):
            KeyUse.objects.bulk_create(
                sorted(uses, key=lambda use: (use.ring, use.key_id)),  # so that no two processes block each other
                update_conflicts=True,
                unique_fields=["ring", "key_id"],
                update_fields=["last_used_at"],
            )
    except Error as error:
        logger.warning("the use of keys could not be recorded: %s", describe(error))
        for use in uses:
            _due[Ring(use.ring), use.key_id] = use.last_used_at + RETRY_AFTER
