"""A stand-in for CyberSource, written from cybersource.md: it signs the response to a signed form.

Uses nothing of the package under test. The personal data in the responses is invented.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

ACCESS_KEY = "sandboxsandboxsandboxsandbox0001"
SECRET = "c0ffee00" * 32
PROFILE_ID = "5A4DB0C5-0000-4000-8000-000000000001"

# Fields that CyberSource does not send back (cybersource.md §4.1).
_NOT_ECHOED = {"signature", "signed_date_time", "signed_field_names", "unsigned_field_names"}

# Tests look for these where they must not be, so no id, key, hash, or time may contain one by chance.
PERSONAL = {
    "req_bill_to_forename": "Erin",
    "req_bill_to_surname": "Exámple, Jr.",
    "req_bill_to_email": "erin@customer.example",
    "req_bill_to_address_line1": "1 Main Street",
    "req_bill_to_address_city": "Springfield",
    "req_bill_to_address_state": "MA",
    "req_bill_to_address_country": "US",
    "req_bill_to_address_postal_code": "SW1A 0ZZ",
    "req_card_number": "xxxxxxxxxxxx1111",
    "req_card_type": "001",
    "req_card_expiry_date": "12-2031",
}

_MESSAGES = {
    "ACCEPT": "Request was processed successfully.",
    "REVIEW": "Decision is REVIEW.",
    "DECLINE": "Decline - General decline of the card.",
    "ERROR": "Error - General system failure.",
    "CANCEL": "The consumer cancelled the transaction",
}
_REASONS = {"ACCEPT": "100", "REVIEW": "480", "DECLINE": "203", "ERROR": "102"}


def transaction_id() -> str:
    """A new request id: 22 digits."""
    return str(7 * 10**21 + secrets.randbelow(10**21))


def personal_data_in(texts: Iterable[str]) -> list[str]:
    """Which of the customer's data are in any of the texts, ignoring case.

    What is short, or of digits only, is looked for as a word of its own: 12-2031 is not in PERMA-0012-2031, nor in
    a uuid, and "us" is not the country.
    """
    text = "\n".join(texts)

    def is_there(value: str) -> bool:
        if len(value) > 4 and not value.replace("-", "").isdecimal():
            return value.lower() in text.lower()
        flags = re.IGNORECASE if len(value) > 3 else 0
        return re.search(rf"(?<![\w-]){value}(?![\w-])", text, flags) is not None

    return [value for value in PERSONAL.values() if is_there(value)]


def response(form: Mapping[str, str], decision: str = "ACCEPT", **changes: Any) -> dict[str, str]:
    """The valid, signed response to a signed form.

    ``changes`` replace fields before they are signed (``...`` takes one away); ``unsigned`` is a mapping
    of fields to add behind the signature, ``secret`` the key to sign with.
    """
    unsigned = changes.pop("unsigned", {})
    secret = changes.pop("secret", SECRET)
    fields: dict[str, Any] = {"decision": decision, "message": _MESSAGES.get(decision, "?")}
    fields |= {f"req_{name}": value for name, value in form.items() if name not in _NOT_ECHOED}
    if decision in _REASONS:
        fields |= {"reason_code": _REASONS[decision], "transaction_id": transaction_id(), **PERSONAL}
        fields |= {"request_token": "Ahj/7wSTGmN0example", "req_currency": "USD"}
    types = form["transaction_type"].split(",")
    if decision in ("ACCEPT", "REVIEW"):
        if "sale" in types:
            fields |= {"auth_amount": form["amount"], "auth_code": "888888", "auth_response": "100"}
        if "create_payment_token" in types:
            fields["payment_token"] = fields["transaction_id"]
    fields |= {"signed_date_time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    fields = {name: str(value) for name, value in {**fields, **changes}.items() if value is not ...}
    fields.setdefault("signed_field_names", ",".join([*fields, "signed_field_names"]))
    return {**fields, "signature": sign(fields, secret), **unsigned}


def sign(fields: Mapping[str, str], secret: str = SECRET) -> str:
    """CyberSource's signature over those listed fields that exist."""
    names = fields["signed_field_names"].split(",")
    text = ",".join(f"{name}={fields[name]}" for name in names if name in fields)
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()).decode()
