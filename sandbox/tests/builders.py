"""Builders of valid things; a test takes one and breaks one thing about it."""

from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest

from sandbox.config import DEFAULT_CS_ACCESS_KEY, DEFAULT_CS_PROFILE_ID, DEFAULT_CS_SECRET
from sandbox.cybersource.signature import sign
from sandbox.perma.clients import CLIENTS

NOW = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)

OF_2024, OF_2026 = CLIENTS["2024"], CLIENTS["2026"]

# For tests of the client of 2024, and for tests of what is the same in both.
of_2024 = pytest.mark.parametrize("perma_client", [OF_2024], ids=["2024"])
of_both = pytest.mark.parametrize("perma_client", CLIENTS.values(), ids=CLIENTS)

FORM_DATA = "application/x-www-form-urlencoded"

FIELDS_BY_TYPE = {
    "sale": {"amount": "15.00", "currency": "USD"},
    "sale,create_payment_token": {
        "amount": "12.50",
        "currency": "USD",
        "recurring_amount": "45.00",
        "recurring_frequency": "monthly",
        "recurring_start_date": "20260401",
    },
    "update_payment_token": {"payment_token": "7408214003316000001234", "allow_payment_token_update": "true"},
    "sale,update_payment_token": {
        "amount": "20.00",
        "currency": "USD",
        "recurring_amount": "120.00",
        "payment_token": "7408214003316000001234",
        "allow_payment_token_update": "true",
    },
}
TYPES = list(FIELDS_BY_TYPE)
PATH_BY_TYPE = {
    "sale": "/pay",
    "sale,create_payment_token": "/pay",
    "update_payment_token": "/token/update",
    "sale,update_payment_token": "/oneclick/pay",
}


def unsigned_form(transaction_type="sale", /, **changes):
    """The fields of a valid form without lists and signature; None takes a field away."""
    fields = {
        "access_key": DEFAULT_CS_ACCESS_KEY,
        "profile_id": DEFAULT_CS_PROFILE_ID,
        "transaction_uuid": "2f1c7c52-7a54-4a2f-9a0e-0f6f2f6b1c01",
        "signed_date_time": NOW.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "locale": "en-us",
        "transaction_type": transaction_type,
        "reference_number": "PERMA-1234-5678",
        "payment_method": "card",
        **FIELDS_BY_TYPE.get(transaction_type, {}),
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def with_lists(fields, unsigned=()):
    """Add the two lists of field names."""
    signed = [name for name in fields if name not in unsigned]
    signed += ["signed_field_names", "unsigned_field_names"]
    return {**fields, "signed_field_names": ",".join(signed), "unsigned_field_names": ",".join(unsigned)}


def with_signature(fields, secret=DEFAULT_CS_SECRET):
    """Add the signature."""
    return {**fields, "signature": sign(fields, secret)}


def signed_form(transaction_type="sale", /, **changes):
    """A valid form, signed after the changes were made; None takes a field away."""
    return with_signature(with_lists(unsigned_form(transaction_type, **changes)))


def encoded(fields):
    """The body that a browser would send for fields: a dict, or a list of pairs."""
    return urlencode(list(fields.items()) if isinstance(fields, dict) else fields).encode("ascii")
