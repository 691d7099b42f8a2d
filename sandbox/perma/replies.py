"""The opened replies of Perma Payments, read as the client reads them (perma.md §3.1)."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from .clients import PermaClient
from .store import Customer, Plan

FRESH_SECONDS = 120

CLIENT_DATE_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True)
class PendingChange:
    """The plan of a scheduled downgrade, and when it begins."""

    plan: Plan
    effective: datetime


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """A subscription as Perma Payments describes it. Date-times are UTC.

    `plan` is the one in force, unless a change is pending.
    """

    status: str
    plan: Plan
    link_limit_effective: datetime | None
    paid_through: datetime
    reference_number: str
    pending: PendingChange | None = None


@dataclass(frozen=True)
class Purchase:
    """Paid bonus links; `id` is Perma Payments' number for the purchase."""

    id: int
    link_quantity: int


@dataclass(frozen=True)
class HistoricPurchase(Purchase):
    """A purchase as the history lists it. `date` is UTC."""

    date: datetime
    reference_number: str


@dataclass(frozen=True)
class StatusReply:
    """What Perma Payments says about a customer; `opened` is the whole reply.

    `purchases` are paid and not yet acknowledged.
    """

    subscription: Subscription | None
    purchases: list[Purchase]
    opened: dict[str, Any]


def read_date_time(value: Any) -> datetime:
    """Read a date-time the way the client does, which requires a fraction. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a date-time")
    return datetime.strptime(value, CLIENT_DATE_TIME).replace(tzinfo=UTC)


def read_status_reply(
    opened: dict[str, Any], customer: Customer, now: datetime, *, perma_client: PermaClient
) -> StatusReply:
    """Read the opened reply to `/subscription/`. Raises ValueError with what is wrong."""
    _check_it_answers(opened, customer, now)
    if "subscription" not in opened:
        raise ValueError("it has no subscription, not even null")
    return StatusReply(
        subscription=_read_subscription(opened["subscription"], perma_client, now),
        purchases=[Purchase(**_read_purchase(item)) for item in _read_list(opened, "purchases")],
        opened=opened,
    )


def read_history_reply(opened: dict[str, Any], customer: Customer, now: datetime) -> list[HistoricPurchase]:
    """Read the opened reply to `/purchase-history/`. Raises ValueError with what is wrong."""
    _check_it_answers(opened, customer, now)
    history = []
    for item in _read_list(opened, "purchase_history"):
        purchase = _read_purchase(item)
        reference_number = item.get("reference_number")
        if not isinstance(reference_number, str) or not reference_number:
            raise ValueError("one of its purchases has no reference_number")
        history.append(
            HistoricPurchase(
                **purchase, date=_read_date_time_field(item, "date"), reference_number=reference_number
            )
        )
    return history


def _check_it_answers(opened: dict[str, Any], customer: Customer, now: datetime) -> None:
    """Raise ValueError unless a reply is fresh and about this customer."""
    timestamp = opened.get("timestamp")
    if isinstance(timestamp, bool) or not isinstance(timestamp, (int, float)):
        raise ValueError("its timestamp is not a number")
    try:
        age = abs(float(timestamp) - now.timestamp())
    except OverflowError:
        age = float("inf")
    if age > FRESH_SECONDS:
        raise ValueError(f"its timestamp is more than {FRESH_SECONDS} seconds from now")
    if (
        type(opened.get("customer_pk")) is not int
        or opened["customer_pk"] != customer.pk
        or opened.get("customer_type") != customer.customer_type
    ):
        raise ValueError("it is about another customer")


def _read_date_time_field(value: dict[str, Any], name: str) -> datetime:
    try:
        return read_date_time(value.get(name))
    except ValueError:
        raise ValueError(f"its {name} is not a date-time like 2026-11-21T00:00:00.000000Z") from None


def _read_text(value: dict[str, Any], name: str) -> str:
    if not isinstance(value.get(name), str) or not value[name]:
        raise ValueError(f"its {name} is not a string with something in it")
    return str(value[name])


def _read_plan(value: dict[str, Any], frequency: str) -> Plan:
    """The rate and link_limit that a subscription and a pending change have."""
    rate = _read_text(value, "rate")
    if not re.fullmatch(r"[0-9]{1,12}\.[0-9]{2}", rate):
        raise ValueError('its rate is not a decimal with two decimals, such as "120.00"')
    link_limit = _read_text(value, "link_limit")
    if not re.fullmatch(r"[0-9]+|unlimited", link_limit):
        raise ValueError('its link_limit is neither digits nor "unlimited"')
    return Plan(link_limit, frequency, Decimal(rate))


def _read_subscription(value: Any, perma_client: PermaClient, now: datetime) -> Subscription | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError("its subscription is not an object")
    frequency = _read_text(value, "frequency")
    if len(frequency) > 8:
        raise ValueError("its frequency has more than 8 characters")
    plan = _read_plan(value, frequency)
    effective_name = "link_limit_effective_timestamp"
    effective, pending = None, None
    # A client that reads pending_change can do without the old field's time.
    if not perma_client.reads_pending_change or value.get(effective_name, "") is not None:
        effective = _read_date_time_field(value, effective_name)
    if perma_client.reads_pending_change:
        pending = _read_pending_change(value, frequency)
    elif effective and effective > now:
        pending = PendingChange(plan, effective)
    return Subscription(
        status=_read_text(value, "status"),
        plan=plan,
        link_limit_effective=effective,
        paid_through=_read_date_time_field(value, "paid_through"),
        reference_number=_read_text(value, "reference_number"),
        pending=pending,
    )


def _read_pending_change(value: dict[str, Any], frequency: str) -> PendingChange | None:
    if "pending_change" not in value:
        raise ValueError("it has no pending_change, not even null; the client fails at that")
    pending = value["pending_change"]
    if pending is None:
        return None
    if not isinstance(pending, dict):
        raise ValueError("its pending_change is neither null nor an object")
    try:
        return PendingChange(_read_plan(pending, frequency), _read_date_time_field(pending, "effective"))
    except ValueError as error:
        raise ValueError(f"in its pending_change, {error}") from None


def _read_list(opened: dict[str, Any], name: str) -> list[Any]:
    value = opened.get(name)
    if not isinstance(value, list):
        raise ValueError(f"its {name} is not a list")
    return value


def _read_purchase(value: Any) -> dict[str, int]:
    """The id and link_quantity that purchases have in both replies."""
    if (
        not isinstance(value, dict)
        or type(value.get("id")) is not int
        or type(value.get("link_quantity")) is not int
        or not 0 <= value["link_quantity"] < 10**9
    ):
        raise ValueError("one of its purchases lacks an integer id or link_quantity")
    return {"id": value["id"], "link_quantity": value["link_quantity"]}
