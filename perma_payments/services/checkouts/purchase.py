"""Bonus links: bought once, offered to Perma.cc until it has credited them, and listed for ever."""

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import pghistory
from django.db import Error, connection, transaction
from django.db.models import DateTimeField, Func

from ...billing.customers import Customer
from ...billing.statuses import PurchaseStatus
from ...billing.transactions import Kind
from ...cybersource.checkout import SignedForm, transaction_type
from ...models import (
    OutgoingTransaction,
    Purchase,
    ReferenceNumber,
    StaffTask,
    TaskKind,
    UnansweredAcknowledgement,
)
from ...models.history import HistorySource
from ...perma.messages import PurchaseMessage
from ...perma.replies import HistoricPurchase
from ...postgres.problems import describe
from ...postgres.time_limits import seconds_left, within
from ..locks import lock_customer
from . import reuse as checkouts

logger = logging.getLogger(__name__)

# In seconds, until COMMIT is asked for. PostgreSQL may do that so long after the last statement, so that the
# client, which waits for two, is answered within twice this.
ACKNOWLEDGING = 0.8
# No acknowledgement is answered later than this.
IN_DOUBT_AFTER = timedelta(minutes=1)
TELL_AGAIN_AFTER = 5.0  # seconds

_clock_timestamp = partial(Func, function="clock_timestamp", output_field=DateTimeField())


class NotAcknowledgeable(Exception):
    """There is no such purchase, it was not paid, or it was acknowledged before."""


class GaveUp(Exception):
    """Whoever has acknowledged a purchase does not wait for the answer any more."""


def purchase(message: PurchaseMessage, *, nonce: bytes, now: datetime) -> SignedForm:
    """Begin a checkout for bonus links, and return the form that takes the customer there.

    The same message, sent again in time, leads to the same checkout. Raises MessageUsedUp; nothing is
    recorded then.
    """
    customer = message.customer
    with transaction.atomic(durable=True), pghistory.context(source=HistorySource.CUSTOMER_REQUEST):
        lock_customer(customer)
        outgoing = checkouts.begun_by(nonce, Kind.PURCHASE, customer, now=now)
        if outgoing is None:
            outgoing = _begin(message, nonce, now)
    return checkouts.form_of(outgoing, now=now)


def acknowledge_purchase(purchase_id: int, *, is_awaited: Callable[[], bool], now: datetime) -> int:
    """Record that Perma.cc has credited a purchase, in time or not at all. Of several at once, one succeeds.

    Perma.cc's client waits two seconds for its answer, then takes its credit back (perma.md §3.1): an
    acknowledgement that is recorded later would lose the links for good. ``is_awaited`` tells whether the
    client is still there.

    Returns what to pass to ``answered``. Raises NotAcknowledgeable, GaveUp if nobody waits, and OperationalError
    if the database is too slow. Nothing is recorded then; if that is in doubt, staff get a task later.
    """
    with transaction.atomic(durable=True), pghistory.context(source=HistorySource.PERMA_ACKNOWLEDGEMENT):
        with within(ACKNOWLEDGING):
            # One statement: of several at once, PostgreSQL lets one find the row as it must be.
            acknowledged = Purchase.objects.filter(
                pk=purchase_id, status=PurchaseStatus.PAID, acknowledged_at__isnull=True
            ).update(acknowledged_at=now, updated_at=now)
            if not acknowledged:
                raise NotAcknowledgeable(f"purchase {purchase_id}")
            unanswered = UnansweredAcknowledgement.objects.create(
                purchase_id=purchase_id,
                acknowledged_at=now,
                commit_before=_clock_timestamp() + timedelta(seconds=seconds_left() or 0),
            )
        # Here PostgreSQL may take longer: it is waited for until it has refused what comes too late.
        if not is_awaited():
            raise GaveUp(f"purchase {purchase_id}")
    logger.info("purchase %s acknowledged", purchase_id)
    return unanswered.pk


def answered(unanswered_id: int) -> None:
    """Perma.cc has been answered that its acknowledgement is recorded. Raises nothing: it was answered.

    If the database cannot be told of it, this process tries again, as long as it runs.
    """
    try:
        with within(ACKNOWLEDGING):
            UnansweredAcknowledgement.objects.filter(pk=unanswered_id).delete()
    except Error as error:
        logger.error("acknowledgement %s was answered, but is in doubt: %s", unanswered_id, describe(error))
        again = threading.Timer(TELL_AGAIN_AFTER, _answered_in_a_thread, [unanswered_id])
        again.daemon = True
        again.start()


def tell_of_doubts(*, now: datetime) -> int:
    """Open a staff task for each acknowledgement that was recorded and perhaps not answered; return how many."""
    old = UnansweredAcknowledgement.objects.filter(acknowledged_at__lte=now - IN_DOUBT_AFTER)
    with transaction.atomic():
        doubts = list(old.order_by("id").select_for_update(skip_locked=True))
        for doubt in doubts:
            task = StaffTask.objects.create(
                kind=TaskKind.ACKNOWLEDGEMENT_IN_DOUBT, purchase_id=doubt.purchase_id, opened_at=now
            )
            transaction.on_commit(
                partial(
                    logger.warning, "staff task %s opened: %s, purchase %s", task.pk, task.kind, doubt.purchase_id
                )
            )
            doubt.delete()
    return len(doubts)


def paid_purchases(customer: Customer) -> list[HistoricPurchase]:
    """The customer's paid purchases, acknowledged or not, the oldest first."""
    history = []
    for paid in Purchase.objects.of(customer).filter(status=PurchaseStatus.PAID).order_by("paid_at", "id"):
        assert paid.paid_at is not None  # held by purchase_paid_has_date
        history.append(
            HistoricPurchase(
                id=paid.pk,
                link_quantity=paid.link_quantity,
                date=paid.paid_at,
                reference_number=paid.reference_number,
            )
        )
    return history


def _answered_in_a_thread(unanswered_id: int) -> None:
    try:
        answered(unanswered_id)
    finally:
        connection.close()


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
