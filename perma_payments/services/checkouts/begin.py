"""Begin a checkout: record what was asked for, and return the signed form that takes the customer to CyberSource.

Subscribe, change and update begin one about a subscription, purchase one about bonus links. All of them:

* refuse while checkouts are frozen, even to resume one, so that nobody is sent to CyberSource;
* hold the customer's lock, so two clicks at once begin only one checkout;
* resume the checkout that the same message has already begun (a double click, the Back button);
* record nothing if they refuse, which they do by raising an exception: CheckoutsFrozen, or one of their own.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction

from ...billing.customers import Customer
from ...billing.schedules import Frequency
from ...billing.terms import ChangeKind, Terms
from ...billing.transactions import Kind
from ...cybersource.checkout import Order, SignedForm, transaction_type
from ...logs import ids
from ...models import OutgoingTransaction, Purchase, ReferenceNumber, Response, Ring, SubscriptionAgreement
from ...models.history import HistorySource
from ...perma.messages import ChangeMessage, PurchaseMessage, Stale, SubscribeMessage, UpdateMessage
from ...postgres.built_once import BuiltOnce, parameter
from ...postgres.write import insert
from .. import key_uses
from ..freeze import checkouts_are_frozen
from ..locks import lock_customer
from ..standing import standing_agreement
from .modifiable import NothingToModify, modifiable_agreement
from .used_messages import begun_by

logger = logging.getLogger(__name__)


class CheckoutsFrozen(Exception):
    """Staff or the developers have frozen checkouts."""


class AlreadySubscribed(Exception):
    """The customer has a standing subscription, or has paid for one, and would be charged for both."""


# A response that was not applied by then never may be, and staff have a task about it.
WAITS_AT_MOST = timedelta(days=1)
_UNAPPLIED = BuiltOnce(
    lambda: Response.objects.filter(
        applied_at=None,
        received_at__gt=parameter("since"),
        decision__in=Response.GRANTING,
        outgoing__kind=Kind.SUBSCRIBE,
        outgoing__agreement__customer_type=parameter("type"),
        outgoing__agreement__customer_pk=parameter("pk"),
    ).values_list("pk")[:1]
)


def subscribe(message: SubscribeMessage, *, nonce: bytes, now: datetime) -> SignedForm:
    """Begin a new subscription. Raises CheckoutsFrozen, AlreadySubscribed and MessageUsedUp."""
    customer = message.customer
    with _checkout(customer):
        # First: someone who has just paid and presses the same button again must read that it has worked.
        if standing_agreement(customer, now=now) or _has_just_paid(customer, now):
            raise AlreadySubscribed
        outgoing = begun_by(nonce, Kind.SUBSCRIBE, customer, now=now)
        if outgoing is None:
            outgoing = record_subscription(message, ReferenceNumber.issue(), nonce=nonce, now=now)
    return signed_form(outgoing, now=now)


def purchase(message: PurchaseMessage, *, nonce: bytes, now: datetime) -> SignedForm:
    """Begin a purchase of bonus links. Raises CheckoutsFrozen and MessageUsedUp."""
    customer = message.customer
    with _checkout(customer):
        outgoing = begun_by(nonce, Kind.PURCHASE, customer, now=now)
        if outgoing is None:
            outgoing = record_purchase(message, ReferenceNumber.issue(), nonce=nonce, now=now)
    return signed_form(outgoing, now=now)


def change(message: ChangeMessage, *, nonce: bytes, now: datetime) -> SignedForm:
    """Begin a change of plan, which keeps the schedule (cybersource.md §3.2). The terms change when accepted.

    Raises CheckoutsFrozen, NothingToModify and MessageUsedUp. Raises Stale for an upgrade if a due date has come
    since its page was rendered: the amount, perhaps 0.00, is for the rest of a period that has ended.
    """
    customer = message.customer
    with _checkout(customer):
        outgoing = begun_by(nonce, Kind.CHANGE, customer, now=now)
        agreement = _agreement_with_token(customer, now)
        change_kind = _kind_of(message, agreement, now)
        # Even if it has begun a checkout before: to come back to it now would charge the same amount too late.
        if change_kind is ChangeKind.UPGRADE and agreement.was_due(since=message.rendered_at, now=now):
            raise Stale(now - message.rendered_at)
        if outgoing is None:
            outgoing = record_change(agreement, message, nonce=nonce, now=now)
    return signed_form(outgoing, now=now)


def update(message: UpdateMessage, *, nonce: bytes, now: datetime) -> SignedForm:
    """Begin a replacement of the card or the billing address: nothing is charged.

    Raises CheckoutsFrozen, NothingToModify and MessageUsedUp.
    """
    customer = message.customer
    with _checkout(customer):
        outgoing = begun_by(nonce, Kind.UPDATE, customer, now=now)
        agreement = _agreement_with_token(customer, now)
        if outgoing is None:
            outgoing = _record(Kind.UPDATE, nonce, now, agreement=agreement)
    return signed_form(outgoing, now=now)


@contextmanager
def _checkout(customer: Customer) -> Iterator[None]:
    with transaction.atomic(durable=True):
        lock_customer(customer, source=HistorySource.CUSTOMER_REQUEST)
        if checkouts_are_frozen():
            raise CheckoutsFrozen
        yield


def _has_just_paid(customer: Customer, now: datetime) -> bool:
    """Whether a response that grants a subscription waits to be applied, for seconds if all is well (retry.py)."""
    return _UNAPPLIED.exists(type=customer.type, pk=customer.pk, since=now - WAITS_AT_MOST)


def _agreement_with_token(customer: Customer, now: datetime) -> SubscriptionAgreement:
    agreement = modifiable_agreement(customer, now=now)
    if not agreement.payment_token:
        # Staff have a task about that (token missing).
        raise NothingToModify
    return agreement


def _kind_of(message: ChangeMessage, agreement: SubscriptionAgreement, now: datetime) -> ChangeKind:
    wanted = Terms(message.recurring_amount, message.link_limit, message.link_limit_effective_timestamp)
    return agreement.agreed_terms.as_of(now).kind_of(wanted)


# --- What is recorded, once nothing speaks against it. The customer is locked. ---------------------------


def record_subscription(
    message: SubscribeMessage, reference_number: str, *, nonce: bytes, now: datetime
) -> OutgoingTransaction:
    agreement = SubscriptionAgreement(
        customer_type=message.customer.type,
        customer_pk=message.customer.pk,
        reference_number=reference_number,
        created_at=now,
    )
    insert(agreement)
    return _record(
        Kind.SUBSCRIBE,
        nonce,
        now,
        agreement=agreement,
        amount=message.amount,
        recurring_amount=message.recurring_amount,
        recurring_frequency=message.recurring_frequency,
        recurring_start_date=message.recurring_start_date,
        link_limit=message.link_limit,
        link_limit_effective_timestamp=message.link_limit_effective_timestamp,
    )


def record_purchase(
    message: PurchaseMessage, reference_number: str, *, nonce: bytes, now: datetime
) -> OutgoingTransaction:
    begun = Purchase(
        customer_type=message.customer.type,
        customer_pk=message.customer.pk,
        reference_number=reference_number,
        amount=message.amount,
        link_quantity=message.link_quantity,
        created_at=now,
    )
    insert(begun)
    return _record(Kind.PURCHASE, nonce, now, purchase=begun, amount=message.amount)


def record_change(
    agreement: SubscriptionAgreement, message: ChangeMessage, *, nonce: bytes, now: datetime
) -> OutgoingTransaction:
    return _record(
        Kind.CHANGE,
        nonce,
        now,
        agreement=agreement,
        amount=message.amount,
        change_kind=_kind_of(message, agreement, now),
        recurring_amount=message.recurring_amount,
        link_limit=message.link_limit,
        link_limit_effective_timestamp=message.link_limit_effective_timestamp,
    )


def _record(kind: Kind, nonce: bytes, now: datetime, **columns: Any) -> OutgoingTransaction:
    outgoing = OutgoingTransaction(
        kind=kind,
        transaction_type=transaction_type(kind, columns.get("amount")),
        message_nonce=nonce,
        created_at=now,
        **columns,
    )
    insert(outgoing)
    begun = ids(
        kind=kind,
        transaction_uuid=outgoing.transaction_uuid,
        agreement_id=outgoing.agreement_id,
        purchase_id=outgoing.purchase_id,
    )
    what = (outgoing.subject, kind, outgoing, outgoing.customer)
    transaction.on_commit(partial(logger.info, "%s: %s %s begun for %s", *what, extra=begun))
    return outgoing


def signed_form(outgoing: OutgoingTransaction, *, now: datetime) -> SignedForm:
    """The form of a transaction, signed now."""
    order = Order(
        kind=Kind(outgoing.kind),
        transaction_type=outgoing.transaction_type,
        transaction_uuid=outgoing.transaction_uuid,
        reference_number=outgoing.reference_number,
        amount=outgoing.amount,
        recurring_amount=outgoing.recurring_amount,
        recurring_frequency=Frequency(outgoing.recurring_frequency) if outgoing.recurring_frequency else None,
        recurring_start_date=outgoing.recurring_start_date,
        payment_token=outgoing.agreement.payment_token if outgoing.agreement else None,
    )
    key_uses.note(Ring.CYBERSOURCE, settings.CS_KEYS.current.access_key, now=now)
    return settings.CS_PROFILE.form(order, now=now)
