"""A customer wants the subscription to end: staff must cancel it in CyberSource, and hear of it at once."""
import logging
from datetime import datetime

import pghistory
from django.db import transaction

from ..models import StaffTask, TaskKind
from ..perma.messages import CancelRequestMessage
from . import outbox
from .alterable import alterable_agreement
from .locks import lock_customer

logger = logging.getLogger(__name__)


def request_cancellation(message: CancelRequestMessage, *, nonce: bytes, now: datetime) -> None:
    """Record the request with its staff task, then mail the task.

    A repeated request changes nothing, and is answered like the first. Raises NothingToAlter if there is
    no subscription that could be cancelled. If the mail fails, a later try sends it.
    """
    task = _record(message, nonce, now)
    if task is not None:
        outbox.mail_task(task.pk, now=now)


def _record(message: CancelRequestMessage, nonce: bytes, now: datetime) -> StaffTask | None:
    """Return the new task; None if this request, or another one for the same subscription, is on record."""
    with transaction.atomic(durable=True), pghistory.context(source="the customer's request"):
        lock_customer(message.customer)
        # The same message once more, perhaps after staff have withdrawn the request: it asks for nothing new.
        if StaffTask.objects.filter(message_nonce=nonce).exists():
            return None
        agreement = alterable_agreement(message.customer, now=now, or_cancelling=True)
        if agreement.cancellation_requested_at is not None:
            return None
        agreement.cancellation_requested_at = now
        agreement.save()
        task = StaffTask.objects.create(
            kind=TaskKind.CANCELLATION, agreement=agreement, message_nonce=nonce, opened_at=now
        )
    logger.warning("staff task %s opened: cancel %s", task.pk, agreement)
    return task
