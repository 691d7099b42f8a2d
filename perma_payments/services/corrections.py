"""Corrections that staff make by hand, where no message, response or status report sets things right.

Each has a reason, which is kept in the history with the user. Each refuses what makes no sense, and a row that has
changed since the user looked at it: ``seen`` is its ``updated_at`` from then.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

import pghistory
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q

from ..billing.coverage import Coverage, Proof
from ..billing.customers import Customer
from ..billing.statuses import ALIVE, WITH_TERMS, PurchaseStatus, Status
from ..billing.transactions import Kind
from ..models import (
    Outcome,
    OutgoingTransaction,
    Purchase,
    Resolution,
    Response,
    StaffTask,
    SubscriptionAgreement,
    TaskKind,
)
from ..models.history import HistorySource
from ..perma.replies import Subscription, UnacknowledgedPurchase
from .callbacks.apply import apply_response
from .locks import lock_agreement, lock_customer, lock_purchase, lock_response
from .perma_queries import standing_subscription, unacknowledged_purchases
from .staff_tasks import end_open, finish, open_for_revived

logger = logging.getLogger(__name__)


UNCHANGED = "There is nothing to correct: this is what we have on record."


class CannotCorrect(Exception):
    """Nothing was changed. The text is a sentence for staff that says why."""


@dataclass(frozen=True)
class Snapshot:
    """What Perma.cc sees of a customer, and the open staff tasks about the customer's records."""

    subscription: Subscription | None
    purchases: list[UnacknowledgedPurchase]
    tasks: list[str]


def snapshot_of(customer: Customer, response: Response | None = None, *, now: datetime) -> Snapshot:
    """What Perma.cc and staff see now. The tasks include those about ``response``, if one is to be matched."""
    tasks = StaffTask.objects.filter(done_at__isnull=True).filter(
        Q(agreement__in=SubscriptionAgreement.objects.of(customer))
        | Q(purchase__in=Purchase.objects.of(customer))
        | (Q(response=response) if response is not None else Q())
    )
    return Snapshot(
        standing_subscription(customer, now=now),
        unacknowledged_purchases(customer),
        [str(task) for task in tasks.select_related("agreement", "purchase").order_by("id")],
    )


def snapshot_after(
    correction: Callable[[], object], customer: Customer, response: Response | None = None, *, now: datetime
) -> Snapshot:
    """What they would see after a correction, which is made and rolled back. Raises CannotCorrect."""
    with transaction.atomic():
        correction()
        snapshot = snapshot_of(customer, response, now=now)
        transaction.set_rollback(True)
    return snapshot


def correct_agreement(
    agreement_id: int,
    *,
    status: Status,
    covered_until: datetime | None,
    seen: datetime,
    by: User,
    reason: str,
    now: datetime,
) -> SubscriptionAgreement:
    """Set a subscription's status and the time until which it is paid for. Raises CannotCorrect."""
    with by_hand(by, reason):
        agreement = lock_agreement(agreement_id)
        _refuse_if_changed(agreement, seen)
        if (agreement.status, agreement.covered_until) == (status, covered_until):
            raise CannotCorrect(UNCHANGED)
        if status in WITH_TERMS and agreement.current_rate is None:
            _take_terms_of_checkout(agreement)
        if status in WITH_TERMS and agreement.current_rate is None:
            raise CannotCorrect(f"{agreement} has no terms, so it cannot be {status}.")
        if covered_until is None and (status in WITH_TERMS or agreement.covered_until is not None):
            raise CannotCorrect(f"{agreement} needs a date until which it is paid for.")
        is_revived = status in ALIVE and agreement.status not in ALIVE
        agreement.status = status
        if covered_until is not None and covered_until != agreement.covered_until:
            agreement.coverage = Coverage(covered_until, Proof.STAFF)
        if status == Status.CANCELED:
            agreement.cancellation_requested_at = None
            kinds = (TaskKind.CANCELLATION, TaskKind.STILL_CHARGED)
            cancellations = StaffTask.objects.filter(kind__in=kinds, agreement=agreement)
            end_open(cancellations, Resolution.DONE, by=by, note=reason, now=now)
        agreement.save()
        if is_revived:
            open_for_revived(SubscriptionAgreement.objects.filter(pk=agreement.pk), now=now)
        _log("%s corrected by user %s", agreement, by.pk)
    return agreement


def correct_purchase(
    purchase_id: int, *, credited: bool, seen: datetime, by: User, reason: str, now: datetime
) -> Purchase:
    """Mark a paid purchase as credited, or offer it to Perma.cc again. Raises CannotCorrect."""
    with by_hand(by, reason):
        purchase = lock_purchase(purchase_id)
        _refuse_if_changed(purchase, seen)
        if purchase.status != PurchaseStatus.PAID:
            raise CannotCorrect(f"{purchase} is not Paid: it is {purchase.status}.")
        if credited == (purchase.acknowledged_at is not None):
            raise CannotCorrect(UNCHANGED)
        purchase.acknowledged_at = now if credited else None
        purchase.save()
        _log("purchase %s corrected by user %s", purchase, by.pk)
    return purchase


def offer_again(task_id: int, *, by: User, note: str, now: datetime) -> StaffTask:
    """End the task about a purchase in doubt, and offer it to Perma.cc again, which has not credited it.

    Raises NotOpen if the task has ended already, and CannotCorrect if it is about something else, or if the
    purchase is not in doubt anymore.
    """
    task = StaffTask.objects.get(pk=task_id)
    if task.kind != TaskKind.ACKNOWLEDGEMENT_IN_DOUBT or task.purchase_id is None:
        raise CannotCorrect("This task is not about a purchase that Perma.cc may have credited.")
    with by_hand(by, note):
        purchase = lock_purchase(task.purchase_id)
        in_doubt_since = task.reopened_at or task.opened_at
        if task.done_at is None and not (
            purchase.acknowledged_at is not None and purchase.acknowledged_at <= in_doubt_since
        ):
            # It was offered in another way since, and may have been credited.
            raise CannotCorrect(f"{purchase} was corrected after this task was opened. Look at the purchase.")
        task = finish(task_id, by=by, note=note, now=now)
        purchase.acknowledged_at = None
        purchase.save()
        _log("purchase %s offered again by user %s", purchase, by.pk)
    return task


def match_response(response_id: int, *, transaction_uuid: UUID, by: User, reason: str, now: datetime) -> Response:
    """Match a response with its transaction, and apply it as if it came with that uuid. Raises CannotCorrect."""
    with by_hand(by, reason):
        outgoing = transaction_with(transaction_uuid)
        lock_customer(outgoing.customer)
        response = lock_response(Response.objects.get(pk=response_id))
        if response.outcome != Outcome.UNMATCHED:
            raise CannotCorrect("This response already has its transaction.")
        # A wrong match could not be undone.
        if response.reference_number != outgoing.reference_number:
            raise CannotCorrect(
                f"The transaction is about {outgoing.reference_number}, but the response is about "
                f"{response.reference_number or 'nothing'}."
            )
        if response.transaction_type != outgoing.transaction_type:
            raise CannotCorrect(
                f"The transaction's type is {outgoing.transaction_type}, but the response's type is "
                f"{response.transaction_type or '(none)'}."
            )
        response.outgoing, response.applied_at, response.outcome = outgoing, None, ""
        response.save(update_fields=["outgoing", "applied_at", "outcome"])
        apply_response(response, now=now)
        unmatched = StaffTask.objects.filter(kind=TaskKind.UNMATCHED, response=response)
        end_open(unmatched, Resolution.DONE, by=by, note=reason, now=now)
        response.refresh_from_db()
        _log("response %s matched by user %s", response_id, by.pk)
    return response


def transaction_with(uuid: UUID) -> OutgoingTransaction:
    """Raises CannotCorrect if there is no such transaction."""
    outgoing = OutgoingTransaction.objects.filter(transaction_uuid=uuid).first()
    if outgoing is None:
        raise CannotCorrect("None of our transactions has this uuid.")
    return outgoing


@contextmanager
def by_hand(by: User, reason: str) -> Iterator[None]:
    """A transaction whose changes have a member of staff and a reason in the history."""
    with transaction.atomic(), pghistory.context(source=HistorySource.STAFF, user=by.pk, reason=reason):
        yield


def _refuse_if_changed(row: SubscriptionAgreement | Purchase, seen: datetime) -> None:
    if row.updated_at != seen:
        raise CannotCorrect(
            f"{row} has changed since you opened this page, perhaps by your own correction. Please start over."
        )


def _log(message: str, *ids: object) -> None:
    """Log a correction once it is committed: a preview is not."""
    transaction.on_commit(partial(logger.warning, message, *ids))


def _take_terms_of_checkout(agreement: SubscriptionAgreement) -> None:
    checkout = OutgoingTransaction.objects.filter(agreement=agreement, kind=Kind.SUBSCRIBE).first()
    if checkout is not None:
        agreement.take_terms(checkout.new_terms)
