"""Builders: a valid order of each kind, and its signed form."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from perma_payments.billing.schedules import Frequency
from perma_payments.billing.transactions import Kind
from perma_payments.cybersource.checkout import DEFAULT_PATHS, Order, Profile, SignedForm, transaction_type
from perma_payments.cybersource.signature import SigningKey, SigningKeys

from .. import cyber_source

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
UUID_OF_ORDER = UUID("2f1c7c52-7a54-4a2f-9a0e-0f6f2f6b1c01")
TOKEN = "7408214003316000001234"
KEY = SigningKey(cyber_source.ACCESS_KEY, cyber_source.SECRET)
KEYS = SigningKeys(KEY)

_OF_KIND: dict[Kind, dict[str, Any]] = {
    Kind.SUBSCRIBE: {
        "amount": Decimal("12.50"),
        "recurring_amount": Decimal("45.00"),
        "recurring_frequency": Frequency.MONTHLY,
        "recurring_start_date": date(2026, 12, 1),
    },
    Kind.CHANGE: {"amount": Decimal("12.50"), "recurring_amount": Decimal("45.00"), "payment_token": TOKEN},
    Kind.UPDATE: {"payment_token": TOKEN},
    Kind.PURCHASE: {"amount": Decimal("15.00")},
}


def profile(**changes: Any) -> Profile:
    """Our profile at CyberSource, which is the stand-in's."""
    return Profile(
        **{
            "profile_id": cyber_source.PROFILE_ID,
            "keys": KEYS,
            "base_url": "https://cybersource.example",
            "paths": DEFAULT_PATHS,
            **changes,
        }
    )


def order(kind: Kind, **changes: Any) -> Order:
    """A valid order."""
    values = {**_OF_KIND[kind], **changes}
    return Order(
        **{
            "kind": kind,
            "transaction_type": transaction_type(kind, values.get("amount")),
            "transaction_uuid": UUID_OF_ORDER,
            "reference_number": "PERMA-1234-5678",
            **values,
        }
    )


def form(kind: Kind, **changes: Any) -> SignedForm:
    """The signed form of a valid order, made NOW."""
    return profile().form(order(kind, **changes), now=NOW)
