"""What Perma.cc sends: a typed message for each route, and how old it may be (perma.md §2 and §5).

The box holds one JSON object. It has a ``timestamp`` (a number, in Unix seconds) and exactly the fields of its
route, so our own replies are refused if someone sends them back to us.
"""

import json
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, auto
from typing import Any, ClassVar, Self, TypeVar

from ..billing.customers import Customer, CustomerType
from ..billing.money import parse_amount
from ..billing.schedules import Frequency
from .box import Refusal


class WrongShape(Refusal):
    """The contents of a box are not a message for this route."""


class WrongValue(Refusal):
    """A message asks for something impossible: a negative amount, a date that has passed."""


class Stale(Refusal):
    """A message of the right shape is too old. ``age`` says how old."""

    def __init__(self, age: timedelta) -> None:
        super().__init__(f"the message was made {age.total_seconds():.0f} seconds ago")
        self.age = age


class FromTheFuture(Refusal):
    """A message's timestamp is further ahead of our clock than clocks may differ."""

    def __init__(self, ahead: timedelta) -> None:
        super().__init__(f"the message's timestamp is {ahead.total_seconds():.0f} seconds ahead of our clock")
        self.ahead = ahead


class Carrier(Enum):
    """Who delivers a message, which determines when its timestamp was made."""

    SERVER = auto()  # Perma.cc's servers: when they call
    BROWSER = auto()  # the customer's browser: when Perma.cc rendered the customer's page


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """How old a message may be, depending on its carrier, and how far ahead of our clock."""

    server: timedelta = timedelta(seconds=120)
    browser: timedelta = timedelta(hours=24)
    ahead: timedelta = timedelta(seconds=120)

    def check(self, timestamp: float, carrier: Carrier, now: datetime) -> None:
        """Raise Stale or FromTheFuture unless the timestamp (Unix seconds) is within the limits, inclusive."""
        age = now.timestamp() - timestamp
        limit = self.server if carrier is Carrier.SERVER else self.browser
        if age > limit.total_seconds():
            raise Stale(_seconds(age))
        if -age > self.ahead.total_seconds():
            raise FromTheFuture(_seconds(-age))


_CUSTOMER_FIELDS = frozenset({"customer_pk", "customer_type"})
_CUSTOMER_NAME = "customer_name"
_PLAN_FIELDS = _CUSTOMER_FIELDS | {"amount", "recurring_amount", "link_limit", "link_limit_effective_timestamp"}


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message of one route. Subclasses say which fields it has, and read them."""

    carrier: ClassVar[Carrier]
    fields: ClassVar[frozenset[str]]
    # Fields that may come.
    optional: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, today: date) -> Self:
        """Read an object that has exactly these fields. Raises WrongValue.

        ``today`` is the date in UTC.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class CustomerMessage(Message):
    """A message that only says which customer it is about."""

    customer: Customer

    fields: ClassVar[frozenset[str]] = _CUSTOMER_FIELDS

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, today: date) -> Self:
        return cls(customer=_customer(data))


class UpdateMessage(CustomerMessage):
    """``/update/``: the customer wants to update the card, or (2026) anything about the subscription."""

    carrier = Carrier.BROWSER


class BillingMessage(CustomerMessage):
    """``/billing/`` (2026): the customer wants to see payments and receipts."""

    carrier = Carrier.BROWSER


class CancelRequestMessage(CustomerMessage):
    """``/cancel-request/``: the customer wants the subscription to end."""

    carrier = Carrier.BROWSER


class SubscriptionMessage(CustomerMessage):
    """``/subscription/``: Perma.cc asks for a customer's status."""

    carrier = Carrier.SERVER


class PurchaseHistoryMessage(CustomerMessage):
    """``/purchase-history/``: Perma.cc asks for a customer's paid purchases."""

    carrier = Carrier.SERVER


@dataclass(frozen=True, kw_only=True)
class PlanMessage(Message):
    """What ``/subscribe/`` and ``/change/`` share: the amount due today, the rate, and the link limit."""

    customer: Customer
    amount: Decimal
    recurring_amount: Decimal
    link_limit: str
    link_limit_effective_timestamp: datetime

    carrier: ClassVar[Carrier] = Carrier.BROWSER


@dataclass(frozen=True, kw_only=True)
class SubscribeMessage(PlanMessage):
    """``/subscribe/``: the customer chose a plan. ``amount`` is 0.00 if nothing is due today."""

    recurring_frequency: Frequency
    recurring_start_date: date

    fields: ClassVar[frozenset[str]] = _PLAN_FIELDS | {"recurring_frequency", "recurring_start_date"}
    optional: ClassVar[frozenset[str]] = frozenset({_CUSTOMER_NAME})

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, today: date) -> Self:
        _check_customer_name(data)
        return cls(
            **_plan_fields(data),
            recurring_frequency=_frequency(data),
            recurring_start_date=_start_date(data, today),
        )


@dataclass(frozen=True, kw_only=True)
class ChangeMessage(PlanMessage):
    """``/change/``: the customer chose a different plan, or no longer wants a change that is scheduled.

    ``amount`` is 0.00 unless it is an upgrade. billing.terms tells the three kinds apart. ``rendered_at`` is the
    timestamp: when Perma.cc computed them for the customer's page.
    """

    rendered_at: datetime

    fields: ClassVar[frozenset[str]] = _PLAN_FIELDS
    # Frequency and start mean nothing here: a subscription keeps its schedule (cybersource.md §3.2).
    optional: ClassVar[frozenset[str]] = frozenset({"recurring_frequency", "recurring_start_date", _CUSTOMER_NAME})

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, today: date) -> Self:
        _check_customer_name(data)
        return cls(**_plan_fields(data), rendered_at=datetime.fromtimestamp(_timestamp(data), UTC))


@dataclass(frozen=True, kw_only=True)
class PurchaseMessage(Message):
    """``/purchase/``: a one-time purchase of ``link_quantity`` bonus links."""

    customer: Customer
    amount: Decimal
    link_quantity: int

    carrier: ClassVar[Carrier] = Carrier.BROWSER
    fields: ClassVar[frozenset[str]] = _CUSTOMER_FIELDS | {"amount", "link_quantity"}
    optional: ClassVar[frozenset[str]] = frozenset({_CUSTOMER_NAME})

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, today: date) -> Self:
        _check_customer_name(data)
        amount = _amount(data, "amount")
        if not amount:
            raise WrongValue("amount: a purchase costs something")
        return cls(
            customer=_customer(data),
            amount=amount,
            link_quantity=_whole_number(data, "link_quantity", most=MAX_LINK_QUANTITY),
        )


@dataclass(frozen=True, kw_only=True)
class AcknowledgePurchaseMessage(Message):
    """``/acknowledge-purchase/``: Perma.cc has credited the purchase whose id is ``purchase_pk``."""

    purchase_pk: int

    carrier: ClassVar[Carrier] = Carrier.SERVER
    fields: ClassVar[frozenset[str]] = frozenset({"purchase_pk"})

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, today: date) -> Self:
        return cls(purchase_pk=_whole_number(data, "purchase_pk", most=MAX_ID))


M = TypeVar("M", bound=Message)


def read(message_class: type[M], plaintext: bytes, *, now: datetime, freshness: Freshness) -> M:
    """Read the contents of a box as a message of one route.

    Fields are checked first, then the age, then the values, so a page that was left open overnight is said to have
    expired even if its dates have passed, too.

    Raises WrongShape, Stale, FromTheFuture or, for an impossible value, WrongValue.
    """
    data = _json_object(plaintext)
    wanted = message_class.fields | {"timestamp"}
    found = data.keys() - message_class.optional
    if found != wanted:
        raise WrongShape(_difference(wanted, found))
    freshness.check(_timestamp(data), message_class.carrier, now)
    return message_class.from_json(data, today=now.astimezone(UTC).date())


# The largest values that PostgreSQL's bigint and integer hold.
MAX_ID = 2**63 - 1
MAX_LINK_QUANTITY = 2**31 - 1
MAX_NAME_LENGTH = 400

_LINK_LIMIT = re.compile(r"[0-9]{1,9}|unlimited", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def _json_object(plaintext: bytes) -> dict[str, Any]:
    try:
        data = json.loads(
            plaintext.decode("utf-8"), object_pairs_hook=_no_repeated_names, parse_constant=_no_constants
        )
    # ValueError: not UTF-8, not JSON, NaN, a repeated name, an integer of thousands of digits.
    except (ValueError, RecursionError):
        raise WrongShape("not plain JSON") from None
    if not isinstance(data, dict):
        raise WrongShape("not a JSON object")
    return data


def _no_repeated_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise ValueError("a name is repeated")
    return data


def _no_constants(name: str) -> Any:
    raise ValueError("JSON knows no NaN and no infinity")


def _difference(wanted: frozenset[str], found: Any) -> str:
    # Unexpected names are payload, so they are counted and not named.
    missing = ", ".join(sorted(wanted - found)) or "none"
    return f"fields missing: {missing}; unexpected fields: {len(found - wanted)}"


def _timestamp(data: Mapping[str, Any]) -> float:
    value = data["timestamp"]
    if not _is_number(value):
        raise WrongShape("timestamp: not a finite number")
    return float(value)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _whole_number(data: Mapping[str, Any], name: str, *, most: int) -> int:
    value = data[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise WrongValue(f"{name}: not a whole number from 1 to {most}")
    return value


def _customer(data: Mapping[str, Any]) -> Customer:
    value = data["customer_type"]
    # In Python 3.11, `in` a StrEnum raises TypeError for values that cannot be hashed.
    if not isinstance(value, str) or value not in {str(kind) for kind in CustomerType}:
        raise WrongValue("customer_type: neither Registrar nor Individual")
    return Customer(CustomerType(value), _whole_number(data, "customer_pk", most=MAX_ID))


def _check_customer_name(data: Mapping[str, Any]) -> None:
    """Check the name of a registrar, if there is one (2026). It is used nowhere yet, so it is not kept."""
    value = data.get(_CUSTOMER_NAME, "-")
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_NAME_LENGTH:
        raise WrongValue(f"{_CUSTOMER_NAME}: not 1 to {MAX_NAME_LENGTH} characters")
    # Control characters, and halves of surrogate pairs, which no encoding can carry.
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise WrongValue(f"{_CUSTOMER_NAME}: has characters that belong in no name")


def _amount(data: Mapping[str, Any], name: str) -> Decimal:
    value = data[name]
    # The client of 2026 computes one if it believes that what is paid for has ended.
    if isinstance(value, str) and re.fullmatch(r"-[0-9.]+", value, re.ASCII):
        raise WrongValue(f"{name}: negative")
    try:
        return parse_amount(value)
    except ValueError as error:
        raise WrongValue(f"{name}: {error}") from None


def _frequency(data: Mapping[str, Any]) -> Frequency:
    try:
        return Frequency(data["recurring_frequency"])
    except (ValueError, TypeError):
        raise WrongValue("recurring_frequency: not one of CyberSource's") from None


def _start_date(data: Mapping[str, Any], today: date) -> date:
    value = data["recurring_start_date"]
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise WrongValue("recurring_start_date: not YYYY-MM-DD")
    try:
        start = date.fromisoformat(value)
    except ValueError:
        raise WrongValue("recurring_start_date: no such day") from None
    # CyberSource would silently start tomorrow instead (cybersource.md §3.2).
    if start < today:
        raise WrongValue("recurring_start_date: has passed")
    return start


def _link_limit(data: Mapping[str, Any]) -> str:
    value = data["link_limit"]
    if not isinstance(value, str) or not _LINK_LIMIT.fullmatch(value):
        raise WrongValue("link_limit: neither digits nor unlimited")
    return value


def _effective_timestamp(data: Mapping[str, Any]) -> datetime:
    value = data["link_limit_effective_timestamp"]
    if not _is_number(value) or value < 0:
        raise WrongValue("link_limit_effective_timestamp: not a number of Unix seconds")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        raise WrongValue("link_limit_effective_timestamp: no such time") from None


def _plan_fields(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "customer": _customer(data),
        "amount": _amount(data, "amount"),
        "recurring_amount": _amount(data, "recurring_amount"),
        "link_limit": _link_limit(data),
        "link_limit_effective_timestamp": _effective_timestamp(data),
    }


def _seconds(value: float) -> timedelta:
    # A timestamp such as 1e300 is finite but too large for a timedelta.
    return timedelta(seconds=max(min(value, 1e12), -1e12))
