"""A customer asks to cancel a subscription, or takes that back.

Staff have to cancel it at CyberSource. They get a task at once, which ends if the customer is quicker than they.
"""

from datetime import datetime

import pghistory
from django.db import transaction

from ..billing.customers import Customer
from ..billing.statuses import ALIVE
from ..models import StaffTask, SubscriptionAgreement, TaskKind
from ..models.history import HistorySource
from .checkouts.modifiable import modifiable_agreement
from .checkouts.used_messages import use_up
from .locks import lock_agreements_of
from .staff_tasks import keep_subscription, log_opened, take_back


class TooLateToKeep(Exception):
    """Staff have canceled the subscription already, or it has ended."""


def request_cancellation(customer: Customer, *, nonce: bytes, now: datetime) -> None:
    """Record the request with its staff task, which the scheduler mails.

    A repeated request changes nothing, and is answered like the first. Raises NothingToModify if there is
    no subscription that could be canceled, and MessageUsedUp for a message that has begun a checkout.
    """
    with transaction.atomic(durable=True), pghistory.context(source=HistorySource.CUSTOMER_REQUEST):
        lock_agreements_of(customer)
        # A repeat of the same message changes nothing, even if the request has been withdrawn since.
        if not use_up(nonce, now=now):
            return
        agreement = modifiable_agreement(customer, now=now, even_if_canceling=True)
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


def take_cancellation_back(customer: Customer, *, nonce: bytes, now: datetime) -> None:
    """Withdraw the request and its staff task: the subscription goes on. Staff are mailed that it has ended.

    A repeat changes nothing, and neither does a customer who has not asked to cancel. Raises TooLateToKeep if
    staff have ended the task, or the subscription has ended.
    """
    with transaction.atomic(durable=True), pghistory.context(source=HistorySource.CUSTOMER_REQUEST):
        lock_agreements_of(customer)
        if not use_up(nonce, now=now):
            return
        agreement = SubscriptionAgreement.objects.of(customer).standing(now).first()
        if agreement is None or agreement.status not in ALIVE:
            raise TooLateToKeep
        if agreement.cancellation_requested_at is None:
            return
        task = open_cancellation(agreement)
        if task is None:
            raise TooLateToKeep
        take_back(task, now=now)
        keep_subscription(agreement, by=None, note="The customer keeps the subscription.", now=now)


def open_cancellation(agreement: SubscriptionAgreement) -> StaffTask | None:
    """The task to cancel the subscription, unless staff have ended it."""
    return StaffTask.objects.filter(kind=TaskKind.CANCELLATION, agreement=agreement, done_at=None).first()
