"""Open and close the things that a person must do."""
import logging
from datetime import datetime

from ..models import Purchase, Resolution, Response, StaffTask, SubscriptionAgreement, TaskKind

logger = logging.getLogger(__name__)


def open_for_response(
    kind: TaskKind,
    response: Response,
    *,
    subject: SubscriptionAgreement | Purchase | None,
    now: datetime,
) -> StaffTask:
    """Open a task about a response and what it belongs to. A response gives each kind of task once."""
    task, created = StaffTask.objects.get_or_create(
        kind=kind,
        response=response,
        defaults={
            "agreement": subject if isinstance(subject, SubscriptionAgreement) else None,
            "purchase": subject if isinstance(subject, Purchase) else None,
            "opened_at": now,
        },
    )
    if created:
        logger.warning("staff task %s opened: %s, response %s", task.pk, kind.value, response.pk)
    return task


def withdraw_not_applied(response: Response, *, now: datetime) -> None:
    """End the task that asked to apply a response, now that it is applied."""
    # One by one, so that the history has each.
    for task in StaffTask.objects.filter(kind=TaskKind.NOT_APPLIED, response=response, done_at__isnull=True):
        task.done_at = now
        task.resolution = Resolution.WITHDRAWN
        task.note = "Applied by a later try."
        task.save(update_fields=["done_at", "resolution", "note"])
