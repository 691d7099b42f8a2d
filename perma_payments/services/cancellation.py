"""A customer asks to cancel a subscription: staff have to do it at CyberSource, and get a task at once."""

from datetime import datetime

import pghistory
from django.db import transaction

from ..models import StaffTask, TaskKind
from ..models.history import HistorySource
from ..perma.messages import CancelRequestMessage
from .checkouts.modifiable import modifiable_agreement
from .checkouts.used_messages import use_for_cancellation
from .locks import lock_agreements_of
from .staff_tasks import log_opened


def request_cancellation(message: CancelRequestMessage, *, nonce: bytes, now: datetime) -> None:
    """Record the request with its staff task, which the scheduler mails.

    A repeated request changes nothing, and is answered like the first. Raises NothingToModify if there is
    no subscription that could be canceled, and MessageUsedUp for a message that has begun a checkout.
    """
    with transaction.atomic(durable=True), pghistory.context(source=HistorySource.CUSTOMER_REQUEST):
        lock_agreements_of(message.customer)
        # A repeat of the same message changes nothing, even if staff have withdrawn the request since.
        if not use_for_cancellation(nonce, now=now):
            return
        agreement = modifiable_agreement(message.customer, now=now, even_if_canceling=True)
        task, created = StaffTask.objects.get_or_create(
            kind=TaskKind.CANCELLATION, agreement=agreement, done_at__isnull=True, defaults={"opened_at": now}
        )
        if not created:
            return
        # It is set if staff marked an earlier request as done without canceling the subscription.
        if agreement.cancellation_requested_at is None:
            agreement.cancellation_requested_at = now
            agreement.save(update_fields=["cancellation_requested_at", "updated_at"])
        log_opened(task)
