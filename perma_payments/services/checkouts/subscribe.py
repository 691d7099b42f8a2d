"""A customer chose a plan: begin a subscription and send the customer to CyberSource."""

import logging
from datetime import datetime

import pghistory
from django.db import transaction

from ...billing.transactions import Kind
from ...cybersource.checkout import SignedForm, transaction_type
from ...models import OutgoingTransaction, ReferenceNumber, SubscriptionAgreement
from ...models.history import HistorySource
from ...perma.messages import SubscribeMessage
from ..locks import lock_customer
from . import reuse as checkouts

logger = logging.getLogger(__name__)


class AlreadySubscribed(Exception):
    """The customer has a standing subscription; a second one would be charged besides it."""


def subscribe(message: SubscribeMessage, *, nonce: bytes, now: datetime) -> SignedForm:
    """Begin a checkout for a new subscription, and return the form that takes the customer there.

    The same message, sent again in time, leads to the same checkout. Raises MessageUsedUp and
    AlreadySubscribed; nothing is recorded then.
    """
    customer = message.customer
    with transaction.atomic(durable=True), pghistory.context(source=HistorySource.CUSTOMER_REQUEST):
        lock_customer(customer)
        outgoing = checkouts.begun_by(nonce, Kind.SUBSCRIBE, customer, now=now)
        if SubscriptionAgreement.objects.of(customer).standing(now).exists():
            raise AlreadySubscribed(str(customer))
        if outgoing is None:
            outgoing = _begin(message, nonce, now)
    return checkouts.form_of(outgoing, now=now)


def _begin(message: SubscribeMessage, nonce: bytes, now: datetime) -> OutgoingTransaction:
    agreement = SubscriptionAgreement.objects.create(
        customer_type=message.customer.type,
        customer_pk=message.customer.pk,
        reference_number=ReferenceNumber.issue(),
        created_at=now,
    )
    outgoing = OutgoingTransaction.objects.create(
        kind=Kind.SUBSCRIBE,
        transaction_type=transaction_type(Kind.SUBSCRIBE, message.amount),
        agreement=agreement,
        message_nonce=nonce,
        amount=message.amount,
        recurring_amount=message.recurring_amount,
        recurring_frequency=message.recurring_frequency,
        recurring_start_date=message.recurring_start_date,
        link_limit=message.link_limit,
        link_limit_effective_timestamp=message.link_limit_effective_timestamp,
        created_at=now,
    )
    logger.info("%s: checkout %s begun for %s", agreement, outgoing, message.customer)
    return outgoing
