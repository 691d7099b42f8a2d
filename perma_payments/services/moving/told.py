"""What Perma.cc is told about a customer: by the old service, and by this one once its rows are here.

Both are Told, so that they can be compared. The old service tells what its columns hold, null or past.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from ...billing.statuses import PurchaseStatus, Status, is_standing, status_for_perma
from ...models import Purchase, SubscriptionAgreement
from ..perma_queries import subscription_for_perma
from .read import OldCustomer, Row


class ToldSubscription(NamedTuple):
    """The fields of ``subscription`` that both clients of Perma.cc's know (perma.md §3.1)."""

    status: str
    rate: Decimal | None
    frequency: str | None
    link_limit: str | None
    link_limit_effective_timestamp: datetime | None
    paid_through: datetime | None
    reference_number: str | None


class Told(NamedTuple):
    """``purchases``: ids and quantities to credit. ``history``: those that were paid, with time and reference."""

    subscription: ToldSubscription | None
    purchases: list[tuple[int, int]]
    history: list[tuple[int, int, datetime, str]]


def is_paid(purchase: Row) -> bool:
    """Whether a purchase request of the old service was paid."""
    return bool(purchase["response_id"]) and bool(
        purchase["inform_perma"] or purchase["perma_acknowledged_at"] is not None
    )


def stands(agreement: Row, now: datetime) -> bool:
    """Whether the old service tells Perma.cc about an agreement."""
    paid_through = agreement["paid_through"]
    return is_standing(agreement["status"], paid_through if isinstance(paid_through, datetime) else None, now)


def told_by_old_service(customer: OldCustomer, now: datetime) -> Told:
    """What the old service tells. If several subscriptions stand, the order is ours (FOREMOST_FIRST)."""
    standing = [each for each in customer.agreements if stands(each.row, now)]
    subscription = None
    if standing:
        foremost = min(standing, key=lambda each: each.row["status"] == Status.CANCELED)
        row = foremost.row
        request = foremost.subscription
        subscription = ToldSubscription(
            status_for_perma(row["status"], cancellation_requested=row["cancellation_requested"]),
            row["current_rate"],
            row["current_frequency"],
            row["current_link_limit"],
            row["current_link_limit_effective_timestamp"],
            row["paid_through"],
            request["reference_number"] if request else None,
        )
    paid = [each for each in customer.purchases if is_paid(each)]
    return Told(
        subscription,
        sorted(
            (each["response_id"], each["link_quantity"]) for each in paid if each["perma_acknowledged_at"] is None
        ),
        sorted(
            (each["response_id"], each["link_quantity"], each["created_date"], each["reference_number"])
            for each in paid
        ),
    )


def told_here(agreements: Iterable[SubscriptionAgreement], purchases: Iterable[Purchase], now: datetime) -> Told:
    """What this service tells about a customer that has these, in FOREMOST_FIRST order; they may be unsaved."""
    foremost = next((each for each in agreements if each.is_standing(now)), None)
    subscription = None
    if foremost is not None:
        reply = subscription_for_perma(foremost, now=now)
        subscription = ToldSubscription(*(getattr(reply, name) for name in ToldSubscription._fields))
    paid = [each for each in purchases if each.status == PurchaseStatus.PAID]
    return Told(
        subscription,
        sorted((each.pk, each.link_quantity) for each in paid if each.acknowledged_at is None),
        sorted(
            (each.pk, each.link_quantity, each.paid_at, each.reference_number)
            for each in paid
            if each.paid_at is not None
        ),
    )
