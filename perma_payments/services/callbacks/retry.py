"""Retry the responses that could not be applied when they arrived."""

from datetime import datetime

from ...models import Response
from .apply import apply_or_record_failure


def retry_responses(*, now: datetime, only_waiting: bool = False) -> tuple[int, int]:
    """Apply every unapplied response, oldest first, each in a transaction of its own.

    With ``only_waiting``, leave out those that have failed: they may fail each time, and the log says so.

    Returns how many were applied, and how many could not be.
    """
    unapplied = Response.objects.filter(applied_at__isnull=True).order_by("received_at", "id")
    if only_waiting:
        unapplied = unapplied.filter(failed_at__isnull=True)
    results = [apply_or_record_failure(response, now=now) for response in unapplied.defer("sealed")]
    return results.count(True), results.count(False)
