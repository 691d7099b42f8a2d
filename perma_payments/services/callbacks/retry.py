"""Retry the responses that could not be applied when they arrived."""

from datetime import datetime

from ...models import Response
from .apply import apply_or_record_failure


def retry_responses(*, now: datetime) -> tuple[int, int]:
    """Apply every unapplied response, oldest first, each in a transaction of its own.

    Returns how many were applied, and how many could not be.
    """
    unapplied = Response.objects.filter(applied_at__isnull=True).order_by("received_at", "id")
    results = [apply_or_record_failure(response, now=now) for response in unapplied]
    return results.count(True), results.count(False)
