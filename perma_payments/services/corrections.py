"""Corrections by hand: staff put right what no message, response or report has put right.

Each has a reason, which is in the history with who gave it, and each refuses what would make no sense.
"""
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

import pghistory
from django.contrib.auth.models import User
from django.db import transaction

from ..billing.statuses import WITH_TERMS, PurchaseStatus, Status, is_standing
from ..billing.transactions import Kind
from ..models import (
    OutgoingTransaction,
    Outcome,
    Purchase,
    Resolution,
    Response,
    StaffTask,
    SubscriptionAgreement,
    TaskKind,
)
from ..perma.replies import Subscription
from .apply_response import apply_response
from .locks import lock_customer
from .report_status import describe
from .staff_tasks import end_open

logger = logging.getLogger(__name__)


class CannotCorrect(Exception):
    """The correction makes no sense, and nothing was changed. The text is a sentence for staff."""


def as_perma_would_see(
    agreement: SubscriptionAgreement, status: Status, paid_through: datetime | None, *, now: datetime
) -> Subscription | None:
    """What Perma.cc would be told of this agreement after a correction; None if it would not be shown.

    Raises CannotCorrect. Changes the agreement at hand, and saves nothing.
    """
    if status in WITH_TERMS and agreement.current_rate is None:
        _take_terms_of_checkout(agreement)
    if status in WITH_TERMS and agreement.current_rate is None:
        raise CannotCorrect(f"{agreement} has no terms, so it cannot be {status}.")
    agreement.status, agreement.paid_through = status, paid_through
    return describe(agreement) if is_standing(status, paid_through, now) else None


def correct_agreement(
    agreement_id: int, status: Status, paid_through: datetime | None, *, by: User, reason: str, now: datetime
) -> SubscriptionAgreement:
    """Set a subscription's status and paid-through date. Raises CannotCorrect."""
    with _by_hand(by, reason):
        customer = SubscriptionAgreement.objects.get(pk=agreement_id).customer
        lock_customer(customer)
        agreement = SubscriptionAgreement.objects.select_for_update(no_key=True).get(pk=agreement_id)
        if (agreement.status, agreement.paid_through) == (status, paid_through):
            raise CannotCorrect("That is how it is already.")
        as_perma_would_see(agreement, status, paid_through, now=now)
        if status == Status.CANCELED:
            agreement.cancellation_requested_at = None
            cancellations = StaffTask.objects.filter(kind=TaskKind.CANCELLATION, agreement=agreement)
            end_open(cancellations, Resolution.DONE, by=by, note=reason, now=now)
        agreement.save()
    logger.warning("%s corrected by user %s", agreement, by.pk)
    return agreement


def correct_purchase(purchase_id: int, *, credited: bool, by: User, reason: str, now: datetime) -> Purchase:
    """Mark a paid purchase as credited, or offer it to Perma.cc once more. Raises CannotCorrect."""
    with _by_hand(by, reason):
        purchase = Purchase.objects.select_for_update(no_key=True).get(pk=purchase_id)
        if purchase.status != PurchaseStatus.PAID:
            raise CannotCorrect(f"{purchase} is not paid: it is {purchase.status}.")
        if credited == (purchase.acknowledged_at is not None):
            raise CannotCorrect("That is how it is already.")
        purchase.acknowledged_at = now if credited else None
        purchase.save()
    logger.warning("purchase %s corrected by user %s", purchase, by.pk)
    return purchase


def place_response(
    response_id: int, transaction_uuid: UUID, *, by: User, reason: str, now: datetime
) -> Response:
    """Link an unplaced response to its transaction, and apply it as if it had come for that.

    Raises CannotCorrect.
    """
    with _by_hand(by, reason):
        outgoing = OutgoingTransaction.objects.filter(transaction_uuid=transaction_uuid).first()
        if outgoing is None:
            raise CannotCorrect("There is no transaction of ours with this uuid.")
        lock_customer(outgoing.customer)
        response = Response.objects.select_for_update(no_key=True).get(pk=response_id)
        if response.outcome != Outcome.UNPLACED:
            raise CannotCorrect("This response is placed already.")
        response.outgoing, response.applied_at, response.outcome = outgoing, None, ""
        response.save(update_fields=["outgoing", "applied_at", "outcome"])
        apply_response(response.pk, now=now)
        unplaced = StaffTask.objects.filter(kind=TaskKind.UNPLACED, response=response)
        end_open(unplaced, Resolution.DONE, by=by, note=reason, now=now)
        response.refresh_from_db()
    logger.warning("response %s placed by user %s", response_id, by.pk)
    return response


@contextmanager
def _by_hand(by: User, reason: str) -> Iterator[None]:
    with transaction.atomic(), pghistory.context(source="staff", user=by.pk, reason=reason):
        yield


def _take_terms_of_checkout(agreement: SubscriptionAgreement) -> None:
    checkout = OutgoingTransaction.objects.filter(agreement=agreement, kind=Kind.SUBSCRIBE).first()
    if checkout is not None:
        agreement.take_terms(checkout.terms)
