"""A customer wants the subscription to end: staff must cancel it in CyberSource, and hear of it at once."""

import logging
from datetime import datetime

import pghistory
from django.db import transaction

from ..models import OutgoingTransaction, StaffTask, TaskKind, UsedMessage
from ..models.history import HistorySource
from ..perma.messages import CancelRequestMessage
from .checkouts.modifiable import modifiable_agreement
from .checkouts.reuse import MessageUsedUp
from .locks import lock_customer

logger = logging.getLogger(__name__)


def request_cancellation(message: CancelRequestMessage, *, nonce: bytes, now: datetime) -> None:
    """Record the request with its staff task, which the scheduler mails.

    A repeated request changes nothing, and is answered like the first. Raises NothingToModify if there is
    no subscription that could be cancelled, and MessageUsedUp for a message that has begun a checkout.
    """
    with transaction.atomic(durable=True), pghistory.context(source=HistorySource.CUSTOMER_REQUEST):
        lock_customer(message.customer)
        # The same message once more, perhaps after staff have withdrawn the request.
        if UsedMessage.objects.filter(nonce=nonce).exists():
            return
        if OutgoingTransaction.objects.filter(message_nonce=nonce).exists():
            raise MessageUsedUp("it has begun a checkout")
        agreement = modifiable_agreement(message.customer, now=now, or_cancelling=True, locked=True)
        UsedMessage.objects.create(nonce=nonce, used_at=now)
        if StaffTask.objects.filter(
            kind=TaskKind.CANCELLATION, agreement=agreement, done_at__isnull=True
        ).exists():
            return
        # Perhaps not for the first time: staff may have marked as done what was not.
        if agreement.cancellation_requested_at is None:
            agreement.cancellation_requested_at = now
            agreement.save(update_fields=["cancellation_requested_at", "updated_at"])
        task = StaffTask.objects.create(kind=TaskKind.CANCELLATION, agreement=agreement, opened_at=now)
    logger.warning("staff task %s opened: cancel %s", task.pk, agreement)
