"""The signed response to a finished checkout, as the merchant POST URL and the return page receive it.

Shapes and orders of fields are those recorded from CyberSource's test system (cybersource.md §4.3), formats those
of §4.4. A request field comes back as `req_<name>` with its final value. The server's version has a signed
`card_type_name` and an unsigned `merchant_id`; the one that the customer's browser carries has neither, but an
unsigned `utf8`. Each is signed separately (§5.1).
"""

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_DOWN, Decimal

from .cards import Card
from .form import CREATE, SALE, SALE_AND_UPDATE, UPDATE, UPDATES, AcceptedForm
from .outcomes import CheckoutOutcome
from .signature import sign

MERCHANT_ID = "sandbox_merchant"

# The place of fields that the recorded responses lack.
_THE_REST = "*"

_FULL_ORDER = """
    transaction_id decision req_access_key req_profile_id req_transaction_uuid
    req_transaction_type req_reference_number req_amount req_currency req_locale
    req_payment_method req_payment_token req_allow_payment_token_update req_recurring_frequency
    req_recurring_amount req_recurring_start_date req_bill_to_forename req_bill_to_surname
    req_bill_to_email req_bill_to_address_line1 req_bill_to_address_city req_bill_to_address_state
    req_bill_to_address_country req_bill_to_address_postal_code * req_card_number req_card_type
    req_card_type_selection_indicator req_card_expiry_date card_type_name message reason_code
    invalid_fields auth_avs_code auth_avs_code_raw auth_response auth_amount auth_code
    auth_trans_ref_no auth_time request_token bill_trans_ref_no payment_token
""".split()

_REDUCED_ORDER = """
    req_currency decision req_locale req_card_type_selection_indicator message
    req_transaction_uuid req_transaction_type req_payment_method req_access_key req_profile_id
    req_reference_number req_amount *
""".split()

# Never echoed: what belongs to the request as a message, and card data in clear.
_NOT_ECHOED = frozenset(
    {
        "signature",
        "signed_date_time",
        "signed_field_names",
        "unsigned_field_names",
        "card_type",
        "card_number",
        "card_expiry_date",
        "card_cvn",
    }
)


@dataclass(frozen=True, kw_only=True)
class Entered:
    """What the customer typed: `billing` by field name (`bill_to_…`, empty if left empty), the card, and its
    expiry as `MM-YYYY`.

    replaces_token: tokens have 16 digits and keep the card's last four, which have changed, so that an update
    makes a new token (cybersource.md §4.6).
    """

    billing: Mapping[str, str]
    card: Card
    card_expiry_date: str
    replaces_token: bool = False


def new_transaction_id() -> str:
    """22 random digits, the first not zero."""
    return str(10**21 + secrets.randbelow(9 * 10**21))


def build_response(
    form: AcceptedForm, outcome: CheckoutOutcome, entered: Entered | None, *, secret: str, now: datetime
) -> list[tuple[str, str]]:
    """The fields of the response's body, signed, sorted by name: a receiver must not rely on their order.

    `entered` is None if the customer was not asked (reasons 102 and 104). `now` is UTC.
    """
    values = _values(form, outcome, entered, now)
    template = _FULL_ORDER if outcome.reason_code else _REDUCED_ORDER
    rest = [name for name in values if name not in template]
    names: list[str] = []
    for name in template:
        if name == _THE_REST:
            names += rest
        elif name in values:
            names.append(name)
    names += ["signed_field_names", "signed_date_time"]
    values["signed_field_names"] = ",".join(names)
    values["signed_date_time"] = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    values["signature"] = sign(values, secret)
    values["merchant_id"] = MERCHANT_ID
    return sorted(values.items())


def carried_by_browser(
    server_fields: list[tuple[str, str]], *, secret: str, now: datetime
) -> list[tuple[str, str]]:
    """The response in `server_fields` as the customer's browser is given it, signed at `now`."""
    values = dict(server_fields)
    names = values["signed_field_names"].split(",")
    if "card_type_name" in names:
        names.remove("card_type_name")
    values["signed_field_names"] = ",".join(names)
    values["signed_date_time"] = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    values["signature"] = sign(values, secret)
    return [("utf8", "✓"), *((name, values[name]) for name in [*names, "signature"])]


def _values(
    form: AcceptedForm, outcome: CheckoutOutcome, entered: Entered | None, now: datetime
) -> dict[str, str]:
    transaction_type = form.transaction_type
    values = {
        # Observed: a currency comes back even if a token update sent none.
        "req_currency": "USD",
        "req_payment_method": "card",
        **{f"req_{name}": value for name, value in form.fields.items() if name not in _NOT_ECHOED},
        "decision": outcome.decision,
        "message": outcome.message,
    }
    if outcome.reason_code is None:
        values["req_card_type_selection_indicator"] = "1"
        return values

    transaction_id = new_transaction_id()
    values["transaction_id"] = transaction_id
    values["reason_code"] = outcome.reason_code
    values["request_token"] = base64.b64encode(secrets.token_bytes(60)).decode("ascii")
    if outcome.reason_code == "102":
        values["invalid_fields"] = ",".join(form.invalid_fields)
    if entered is None:
        return values

    for name, value in entered.billing.items():
        if value:
            values[f"req_{name}"] = value
        else:
            values.pop(f"req_{name}", None)
    values["req_card_number"] = entered.card.masked
    values["req_card_type"] = entered.card.type_code
    values["card_type_name"] = entered.card.brand
    values["req_card_expiry_date"] = entered.card_expiry_date
    if transaction_type in (SALE, SALE_AND_UPDATE):
        values["req_card_type_selection_indicator"] = "1"

    approved = outcome.is_approval
    if transaction_type != UPDATE and outcome.decision != "ERROR":
        values["auth_avs_code"] = "X"
        values["auth_avs_code_raw"] = "I1"
        values["auth_response"] = "100" if approved else "303"
        if approved:
            reconciliation_number = secrets.token_hex(8).upper()
            values["auth_amount"] = _auth_amount(form.fields["amount"], outcome)
            values["auth_code"] = "888888"
            values["auth_time"] = now.strftime("%Y-%m-%dT%H%M%SZ")
            values["auth_trans_ref_no"] = reconciliation_number
            values["bill_trans_ref_no"] = reconciliation_number
    if approved:
        if transaction_type == CREATE and outcome.creates_token:
            values["payment_token"] = transaction_id
        elif transaction_type in UPDATES and entered.replaces_token:
            values["payment_token"] = new_format_preserving_token(entered.card)
    return values


def _auth_amount(amount: str, outcome: CheckoutOutcome) -> str:
    if not outcome.partial:
        return amount
    return str((Decimal(amount) / 2).quantize(Decimal("0.01"), ROUND_DOWN))


def new_format_preserving_token(card: Card) -> str:
    """A token of 16 digits that ends with the card's last four and passes the Luhn check."""
    head, last_four = str(10**10 + secrets.randbelow(9 * 10**10)), card.number[-4:]
    for check_digit in "0123456789":
        token = head + check_digit + last_four
        if _passes_luhn(token):
            return token
    raise AssertionError("one of ten check digits always fits")


def _passes_luhn(number: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
