"""Try again to apply the responses that could not be applied when they came."""

from datetime import datetime
from typing import NamedTuple

from ...models import Response
from .receive import apply_or_leave


class Retried(NamedTuple):
    """How many responses a try applied, and how many it could not."""

    applied: int
    failed: int


def retry_responses(*, now: datetime) -> Retried:
    """Apply every unapplied response, oldest first, each in a transaction of its own."""
    results = [
        apply_or_leave(response, now=now)
        for response in Response.objects.filter(applied_at__isnull=True).order_by("received_at", "id")
    ]
    return Retried(applied=results.count(True), failed=results.count(False))
