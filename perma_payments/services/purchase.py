"""Bonus links: bought once, offered to Perma.cc until it has credited them, and listed for ever."""
import logging
from datetime import datetime

import pghistory
from django.db import transaction

from ..billing.customers import Customer
from ..billing.statuses import PurchaseStatus
from ..billing.transactions import Kind
from ..cybersource.checkout import SignedForm, transaction_type
from ..models import OutgoingTransaction, Purchase, ReferenceNumber
from ..perma.messages import PurchaseMessage
from ..perma.replies import HistoricPurchase
from ..postgres.time_limits import within
from . import checkouts
from .locks import lock_customer

logger = logging.getLogger(__name__)

ACKNOWLEDGING = 1.0  # seconds


class NotAcknowledgeable(Exception):
    """There is no such purchase, it was not paid, or it was acknowledged before."""


def purchase(message: PurchaseMessage, *, nonce: bytes, now: datetime) -> SignedForm:
    """Begin a checkout for bonus links, and return the form that takes the customer there.

    The same message, sent again in time, leads to the same checkout. Raises MessageUsedUp; nothing is
    recorded then.
    """
    customer = message.customer
    with transaction.atomic(durable=True), pghistory.context(source="the customer's request"):
        lock_customer(customer)
        outgoing = checkouts.begun_by(nonce, Kind.PURCHASE, customer, now=now)
        if outgoing is None:
            outgoing = _begin(message, nonce, now)
    return checkouts.form_of(outgoing, now=now)


def acknowledge_purchase(purchase_id: int, *, now: datetime) -> None:
    """Record that Perma.cc has credited a purchase. Succeeds once, however many try at once.

    Raises NotAcknowledgeable: Perma.cc then takes its own credit back (perma.md §3.1).
    """
    with within(ACKNOWLEDGING), transaction.atomic(), pghistory.context(source="Perma.cc's acknowledgement"):
        # Perma.cc's client waits two seconds, then takes its credit back: an acknowledgement that came
        # later would lose the links for good.
        # One statement: of several at once, PostgreSQL lets one find the row as it must be.
        acknowledged = Purchase.objects.filter(
            pk=purchase_id, status=PurchaseStatus.PAID, acknowledged_at__isnull=True
        ).update(acknowledged_at=now, updated_at=now)
    if not acknowledged:
        raise NotAcknowledgeable(f"purchase {purchase_id}")
    logger.info("purchase %s acknowledged", purchase_id)


def paid_purchases(customer: Customer) -> list[HistoricPurchase]:
    """The customer's paid purchases, acknowledged or not, the oldest first."""
    history = []
    for paid in Purchase.objects.of(customer).filter(status=PurchaseStatus.PAID).order_by("paid_at", "id"):
        assert paid.paid_at is not None  # held by purchase_paid_has_date
        history.append(HistoricPurchase(
            id=paid.pk, link_quantity=paid.link_quantity, date=paid.paid_at,
            reference_number=paid.reference_number,
        ))
    return history


def _begin(message: PurchaseMessage, nonce: bytes, now: datetime) -> OutgoingTransaction:
    begun = Purchase.objects.create(
        customer_type=message.customer.type,
        customer_pk=message.customer.pk,
        reference_number=ReferenceNumber.issue(),
        amount=message.amount,
        link_quantity=message.link_quantity,
        created_at=now,
    )
    outgoing = OutgoingTransaction.objects.create(
        kind=Kind.PURCHASE,
        transaction_type=transaction_type(Kind.PURCHASE, message.amount),
        purchase=begun,
        message_nonce=nonce,
        amount=message.amount,
        created_at=now,
    )
    logger.info("%s: purchase %s begun for %s", begun, outgoing, message.customer)
    return outgoing
