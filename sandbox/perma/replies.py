"""The opened replies of Perma Payments, read as the client reads them (perma.md §3.1)."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from .store import Customer

FRESH_SECONDS = 120

CLIENT_DATE_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """A subscription as Perma Payments describes it. Date-times are UTC."""

    status: str
    rate: Decimal
    frequency: str
    link_limit: str
    link_limit_effective: datetime
    paid_through: datetime
    reference_number: str

    @property
    def can_be_modified(self) -> bool:
        """Whether Perma.cc offers to change, update and cancel it."""
        return self.status in ("Current", "Hold")

    def is_change_pending(self, now: datetime) -> bool:
        """Whether its rate and limit are those of a plan that begins later."""
        return self.link_limit_effective > now


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


def read_status_reply(opened: dict[str, Any], customer: Customer, now: datetime) -> StatusReply:
    """Read the opened reply to `/subscription/`. Raises ValueError with what is wrong."""
    _check_it_answers(opened, customer, now)
    if "subscription" not in opened:
        raise ValueError("it has no subscription, not even null")
    return StatusReply(
        subscription=_read_subscription(opened["subscription"]),
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


def _read_subscription(value: Any) -> Subscription | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError("its subscription is not an object")

    def text(name: str) -> str:
        if not isinstance(value.get(name), str) or not value[name]:
            raise ValueError(f"its {name} is not a string with something in it")
        return str(value[name])

    rate = text("rate")
    if not re.fullmatch(r"[0-9]{1,12}\.[0-9]{2}", rate):
        raise ValueError('its rate is not a decimal with two decimals, such as "120.00"')
    link_limit = text("link_limit")
    if not re.fullmatch(r"[0-9]+|unlimited", link_limit):
        raise ValueError('its link_limit is neither digits nor "unlimited"')
    frequency = text("frequency")
    if len(frequency) > 8:
        raise ValueError("its frequency has more than 8 characters")
    return Subscription(
        status=text("status"),
        rate=Decimal(rate),
        frequency=frequency,
        link_limit=link_limit,
        link_limit_effective=_read_date_time_field(value, "link_limit_effective_timestamp"),
        paid_through=_read_date_time_field(value, "paid_through"),
        reference_number=text("reference_number"),
    )


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
