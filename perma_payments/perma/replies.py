"""Replies to Perma.cc, in the formats that its client reads (perma.md §3.1)."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ..billing.customers import Customer
from ..billing.money import format_amount
from ..billing.terms import Terms


def format_datetime(moment: datetime) -> str:
    """Write a time as the client reads it: in UTC, with microseconds, as in ``2026-11-21T00:00:00.000000Z``.

    Raises ValueError for a time without a time zone.
    """
    if moment.tzinfo is None:
        raise ValueError("the time has no time zone")
    # strftime("%Y") does not pad years before 1000 on every platform; isoformat does.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """A subscription, as Perma.cc sees it. None of its values is ever null, except ``pending_change``.

    While a change is pending, its rate, limit and time are in ``rate``, ``link_limit`` and
    ``link_limit_effective_timestamp`` as well: the client of 2024 looks there, that of 2026 does not.
    """

    status: str
    rate: Decimal
    frequency: str
    link_limit: str
    link_limit_effective_timestamp: datetime
    paid_through: datetime
    pending_change: Terms | None
    reference_number: str

    def as_json(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "rate": format_amount(self.rate),
            "frequency": self.frequency,
            "link_limit": self.link_limit,
            "link_limit_effective_timestamp": format_datetime(self.link_limit_effective_timestamp),
            "paid_through": format_datetime(self.paid_through),
            # The client of 2026 fails without this key.
            "pending_change": self.pending_change and _pending_change(self.pending_change),
            "reference_number": self.reference_number,
        }


def _pending_change(terms: Terms) -> dict[str, str]:
    return {
        "rate": format_amount(terms.rate),
        "link_limit": terms.link_limit,
        "effective": format_datetime(terms.effective),
    }


@dataclass(frozen=True, kw_only=True)
class UnacknowledgedPurchase:
    """A paid purchase that Perma.cc has not credited yet."""

    id: int
    link_quantity: int

    def as_json(self) -> dict[str, Any]:
        return {"id": self.id, "link_quantity": self.link_quantity}


@dataclass(frozen=True, kw_only=True)
class HistoricPurchase:
    """A paid purchase, credited or not. ``date`` is when it was paid."""

    id: int
    link_quantity: int
    date: datetime
    reference_number: str

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "link_quantity": self.link_quantity,
            "date": format_datetime(self.date),
            "reference_number": self.reference_number,
        }


def subscription_status(
    customer: Customer,
    *,
    subscription: Subscription | None,
    purchases: Iterable[UnacknowledgedPurchase],
    now: datetime,
) -> bytes:
    """The reply to ``/subscription/``, as UTF-8 JSON to be sealed."""
    return _about(
        customer,
        now,
        {
            "subscription": subscription and subscription.as_json(),
            "purchases": [purchase.as_json() for purchase in purchases],
        },
    )


def purchase_history(customer: Customer, *, purchases: Iterable[HistoricPurchase], now: datetime) -> bytes:
    """The reply to ``/purchase-history/``, as UTF-8 JSON to be sealed."""
    return _about(customer, now, {"purchase_history": [purchase.as_json() for purchase in purchases]})


def _about(customer: Customer, now: datetime, contents: dict[str, Any]) -> bytes:
    return json.dumps(
        {"timestamp": now.timestamp(), "customer_pk": customer.pk, "customer_type": customer.type, **contents}
    ).encode("utf-8")
