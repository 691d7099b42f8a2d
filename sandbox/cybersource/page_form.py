"""The form of the hosted checkout page: what it starts with, and how it is read."""

from collections.abc import Mapping
from datetime import datetime

from flask import abort

from .cards import find_card, is_future_expiry
from .delivery import DeliveryOptions
from .fields import invalid_fields
from .form import UPDATES, AcceptedForm
from .outcomes import PICKABLE, CheckoutOutcome
from .response import Entered

# Invented, and prefilled so that a checkout takes one click.
BILLING = {
    "bill_to_forename": "Robin",
    "bill_to_surname": "Example",
    "bill_to_email": "robin.example@example.com",
    "bill_to_address_line1": "1 Invented Street",
    "bill_to_address_city": "Sampleton",
    "bill_to_address_state": "MA",
    "bill_to_address_country": "US",
    "bill_to_address_postal_code": "02138",
}
BILLING_LABELS = {
    "bill_to_forename": "First name",
    "bill_to_surname": "Last name",
    "bill_to_email": "Email",
    "bill_to_address_line1": "Address",
    "bill_to_address_city": "City",
    "bill_to_address_state": "State",
    "bill_to_address_country": "Country (two letters)",
    "bill_to_address_postal_code": "Postal code",
}

MAX_DELAY_SECONDS = 60

TOKEN_STAYS, TOKEN_REPLACED = "stays", "replaced"


def _whole_number(form: Mapping[str, str], name: str, default: int, highest: int) -> int:
    value = form.get(name, str(default))
    if not (value.isascii() and value.isdigit() and len(value) <= 3 and int(value) <= highest):
        abort(400, f"{name} must be a whole number from 0 to {highest}.")
    return int(value)


def read_options(form: Mapping[str, str]) -> DeliveryOptions:
    """Read how to deliver the response. Aborts with 400 for values that make no sense."""
    return DeliveryOptions(
        times=_whole_number(form, "times", 1, 2),
        delay=_whole_number(form, "delay", 0, MAX_DELAY_SECONDS),
        declined_first=form.get("declined_first") == "on",
    )


def read_outcome(form: Mapping[str, str], transaction_type: str) -> CheckoutOutcome:
    """Read which outcome was picked. Aborts with 400 if that is none, or makes no sense."""
    key = form.get("outcome", "")
    if key == "other":
        key = form.get("other_outcome", "")
    outcome = PICKABLE.get(key)
    if outcome is None:
        abort(400, "outcome must name one of the ways for a checkout to end.")
    if transaction_type not in outcome.types:
        abort(400, f'The outcome "{outcome.label}" makes no sense for this kind of transaction.')
    return outcome


def prefilled(form: AcceptedForm, today: datetime) -> dict[str, str]:
    """The values in the inputs of the checkout page at first: those of the form win."""
    other_card = form.transaction_type in UPDATES
    return {
        **{name: form.fields.get(name, value) for name, value in BILLING.items()},
        "card_number": "5555 5555 5555 4444" if other_card else "4111 1111 1111 1111",
        "card_expiry_date": f"12-{today.year + 3}",
        "card_cvn": "123",
        "token": TOKEN_STAYS,
    }


def read_entered(values: Mapping[str, str], now: datetime) -> tuple[Entered | None, list[str]]:
    """Read what the customer typed; if the page does not accept it, say why in sentences.

    Aborts with 400 for values that the page does not offer.
    """
    if values["token"] not in (TOKEN_STAYS, TOKEN_REPLACED):
        abort(400, f"token must be {TOKEN_STAYS} or {TOKEN_REPLACED}.")
    problems = []
    billing = {name: values[name].strip() for name in BILLING}
    for name in invalid_fields(billing, frozenset()):
        problems.append(f"{BILLING_LABELS[name]} has characters or a length that is not allowed.")
    card = find_card(values["card_number"])
    if card is None:
        problems.append("Only public test cards are accepted here: pick one from the list.")
    if not is_future_expiry(values["card_expiry_date"], now.date()):
        problems.append("The expiry date must be this month or later, such as 12-2030.")
    cvn = values["card_cvn"]
    if not (cvn.isascii() and cvn.isdigit() and 3 <= len(cvn) <= 4):
        problems.append("The security code must have three or four digits.")
    if card is None or problems:
        return None, problems
    return Entered(
        billing=billing,
        card=card,
        card_expiry_date=values["card_expiry_date"],
        replaces_token=values["token"] == TOKEN_REPLACED,
    ), []
