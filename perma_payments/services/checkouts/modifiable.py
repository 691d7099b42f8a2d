"""Which subscription a customer can alter: the one that Perma.cc is shown, while it goes on being charged."""

import logging
from datetime import datetime
from typing import Any

import pghistory
from django.db import transaction

from ...billing.customers import Customer
from ...billing.statuses import can_be_modified
from ...billing.transactions import Kind
from ...cybersource.checkout import SignedForm, transaction_type
from ...models import OutgoingTransaction, SubscriptionAgreement
from ...models.history import HistorySource
from ..locks import lock_customer
from . import reuse as checkouts

logger = logging.getLogger(__name__)


class NothingToModify(Exception):
    """The customer has no subscription that can be altered."""


def modifiable_agreement(
    customer: Customer, *, now: datetime, or_cancelling: bool = False, locked: bool = False
) -> SubscriptionAgreement:
    """The customer's standing agreement, if it can be altered; ``locked`` until the transaction ends, if so asked.

    Raises NothingToModify if there is none, or if it is ended or, unless ``or_cancelling``, about to be.
    """
    agreements = SubscriptionAgreement.objects.of(customer)
    if locked:
        # Of one customer there are few; a status report may be at any of them.
        list(agreements.order_by("pk").select_for_update(no_key=True).values_list("pk"))
    agreement = agreements.standing(now).first()
    if agreement is None:
        raise NothingToModify(f"{customer} has no subscription")
    cancelling = agreement.cancellation_requested_at is not None and not or_cancelling
    if not can_be_modified(agreement.status, cancellation_requested=cancelling):
        raise NothingToModify(f"{agreement} cannot be altered")
    return agreement


def begin_modification(kind: Kind, customer: Customer, *, nonce: bytes, now: datetime, **terms: Any) -> SignedForm:
    """Begin a checkout that alters the customer's subscription, and return the form that takes the customer there.

    The subscription stays as it is until CyberSource accepts. The same message, sent again in time, leads
    to the same checkout. Raises MessageUsedUp and NothingToModify; nothing is recorded then.
    """
    with transaction.atomic(durable=True), pghistory.context(source=HistorySource.CUSTOMER_REQUEST):
        lock_customer(customer)
        outgoing = checkouts.begun_by(nonce, kind, customer, now=now)
        agreement = modifiable_agreement(customer, now=now)
        if not agreement.payment_token:
            # A staff task (token missing) says so.
            raise NothingToModify(f"{agreement} has no token")
        if outgoing is None:
            outgoing = OutgoingTransaction.objects.create(
                kind=kind,
                transaction_type=transaction_type(kind, terms.get("amount")),
                agreement=agreement,
                message_nonce=nonce,
                created_at=now,
                **terms,
            )
            logger.info("%s: %s %s begun for %s", agreement, kind, outgoing, customer)
    return checkouts.form_of(outgoing, now=now)
