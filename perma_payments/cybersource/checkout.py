"""The signed form that takes a customer to CyberSource's hosted checkout (cybersource.md §1 to §3).

Every field except ``signature`` is signed. Customers' ids and personal data are never sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from types import MappingProxyType
from uuid import UUID

from ..billing.money import CURRENCY, format_amount
from ..billing.schedules import Frequency
from ..billing.transactions import Kind
from .signature import SigningKeys, sign

SALE = "sale"
SALE_AND_CREATE_TOKEN = "sale,create_payment_token"
SALE_AND_UPDATE_TOKEN = "sale,update_payment_token"
UPDATE_TOKEN = "update_payment_token"

# The path for each transaction type, from CyberSource's guide (cybersource.md §1).
DEFAULT_PATHS: Mapping[str, str] = MappingProxyType(
    {SALE: "/pay", SALE_AND_CREATE_TOKEN: "/pay", SALE_AND_UPDATE_TOKEN: "/pay", UPDATE_TOKEN: "/token/update"}
)


def transaction_type(kind: Kind, amount: Decimal | None) -> str:
    """CyberSource's ``transaction_type`` for a checkout. A change that costs nothing today is not a sale."""
    match kind:
        case Kind.SUBSCRIBE:
            return SALE_AND_CREATE_TOKEN
        case Kind.PURCHASE:
            return SALE
        case Kind.CHANGE if amount:
            return SALE_AND_UPDATE_TOKEN
        case Kind.CHANGE | Kind.UPDATE:
            return UPDATE_TOKEN


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a customer is sent to CyberSource for. The kind determines which of the optional fields are set:

    * purchase: ``amount``;
    * subscribe: ``amount``, ``recurring_amount``, ``recurring_frequency``, ``recurring_start_date``;
    * change: ``amount``, ``recurring_amount``, ``payment_token``;
    * update: ``payment_token``.
    """

    kind: Kind
    transaction_type: str
    transaction_uuid: UUID
    reference_number: str
    amount: Decimal | None = None
    recurring_amount: Decimal | None = None
    recurring_frequency: Frequency | None = None
    recurring_start_date: date | None = None
    payment_token: str | None = None


@dataclass(frozen=True)
class SignedForm:
    """Where to POST, and the only fields to post."""

    action: str
    fields: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Our Secure Acceptance profile: its id, its keys, and where each transaction type is posted."""

    profile_id: str
    keys: SigningKeys
    base_url: str
    paths: Mapping[str, str]

    def form(self, order: Order, *, now: datetime) -> SignedForm:
        """Build and sign the form of an order. ``now`` is its ``signed_date_time``."""
        key = self.keys.current
        fields = {
            "access_key": key.access_key,
            "profile_id": self.profile_id,
            "transaction_uuid": str(order.transaction_uuid),
            "signed_date_time": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "locale": "en-us",
            "transaction_type": order.transaction_type,
            "reference_number": order.reference_number,
            "payment_method": "card",
            **_fields_of_kind(order),
            "unsigned_field_names": "",
        }
        fields["signed_field_names"] = ",".join([*fields, "signed_field_names"])
        fields["signature"] = sign(fields, key.secret)
        return SignedForm(action=self.base_url + self.paths[order.transaction_type], fields=fields)


def _fields_of_kind(order: Order) -> dict[str, str]:
    match order.kind:
        case Kind.PURCHASE:
            return _amount(order)
        case Kind.SUBSCRIBE:
            assert order.recurring_frequency and order.recurring_start_date
            return {
                **_amount(order),
                **_recurring_amount(order),
                "recurring_frequency": order.recurring_frequency,
                "recurring_start_date": order.recurring_start_date.strftime("%Y%m%d"),
            }
        case Kind.CHANGE:
            return {**_amount(order), **_recurring_amount(order), **_token(order)}
        case Kind.UPDATE:
            return _token(order)


def _amount(order: Order) -> dict[str, str]:
    assert order.amount is not None
    return {"amount": format_amount(order.amount), "currency": CURRENCY}


def _recurring_amount(order: Order) -> dict[str, str]:
    assert order.recurring_amount is not None
    return {"recurring_amount": format_amount(order.recurring_amount)}


def _token(order: Order) -> dict[str, str]:
    assert order.payment_token
    return {"payment_token": order.payment_token, "allow_payment_token_update": "true"}
