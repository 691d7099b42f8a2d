"""What values CyberSource takes in the request fields that Perma Payments sends.

Character sets, lengths and enumerations from the tables of CyberSource's guide (cybersource.md §2.5 and
§3.1-§3.4). Lengths are in characters. Where the guides differ, the larger of their character sets and lengths
counts.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date

Rule = Callable[[str], bool]

FREQUENCIES = (
    "weekly",
    "bi-weekly",
    "quad-weekly",
    "monthly",
    "semi-monthly",
    "quarterly",
    "semi-annually",
    "annually",
)

LOCALES = frozenset(
    "ar-xn ca-es cs-cz cz-cz da-dk de-at de-de el-gr en en-au en-ca en-gb en-ie en-nz en-us es-ar "
    "es-cl es-co es-es es-mx es-pe es-us fi-fi fr-ca fr-fr he-il hr-hr hu-hu id-id it-it ja-jp "
    "ko-kr lo-la ms-my nb-no nl-nl pl-pl pt-br ru-ru sk-sk sv-se th-th tl-ph tr-tr vi-vn zh-cn "
    "zh-hk zh-mo zh-sg zh-tw".split()
)

_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;=?@^_~")


def _matches(pattern: str) -> Rule:
    compiled = re.compile(pattern)
    return lambda value: compiled.fullmatch(value) is not None


def _alphanumeric(limit: int, extra: frozenset[str] = frozenset()) -> Rule:
    # Letters and digits of any script. Marks that combine with a letter are not `isalnum`, but names have them.
    return lambda value: (
        0 < len(value) <= limit
        and all(
            character.isalnum() or character == " " or character in extra or "\u0300" <= character <= "\u036f"
            for character in value
        )
    )


def _punctuated(limit: int) -> Rule:
    return _alphanumeric(limit, _PUNCTUATION)


def _ascii_punctuated(limit: int) -> Rule:
    return lambda value: value.isascii() and _punctuated(limit)(value)


def read_date(value: str) -> date | None:
    """Read a date as CyberSource writes it, `YYYYMMDD`; None if it is not one."""
    if not re.fullmatch(r"[0-9]{8}", value):
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None


_AMOUNT = _matches(r"(?=.{1,15}\Z)[0-9]+(\.[0-9]{1,3})?")
# Two decimals in currencies that have two; only those are checked that closely.
_AMOUNT_IN_CENTS = _matches(r"(?=.{1,15}\Z)[0-9]+\.[0-9]{2}")
_CURRENCIES_WITH_CENTS = frozenset({"USD", "EUR"})
_AMOUNTS = frozenset({"amount", "recurring_amount"})

_RULES: dict[str, Rule] = {
    "transaction_uuid": _ascii_punctuated(50),
    "locale": LOCALES.__contains__,
    "reference_number": _punctuated(50),
    "currency": _matches(r"[A-Z]{3}"),
    # The guides know echeck, paypal and visacheckout too; this profile takes cards only.
    "payment_method": _matches("card"),
    "payment_token": _matches(r"[0-9A-Za-z]{1,32}"),
    # The guides require `true` where a token is updated; with anything else the customer could change nothing.
    "allow_payment_token_update": _matches("true"),
    "recurring_frequency": FREQUENCIES.__contains__,
    "recurring_start_date": lambda value: read_date(value) is not None,
    "bill_to_forename": _punctuated(60),
    "bill_to_surname": _punctuated(60),
    "bill_to_email": lambda value: (
        len(value) <= 255 and re.fullmatch(r"[^@\s<>]+@[^@\s<>]+\.[^@\s<>.]+", value) is not None
    ),
    "bill_to_address_line1": _punctuated(60),
    "bill_to_address_city": _punctuated(50),
    "bill_to_address_state": _alphanumeric(20),
    "bill_to_address_country": _matches(r"[A-Z]{2}"),
    "bill_to_address_postal_code": _matches(r"[0-9A-Za-z \-]{1,10}"),
}


def is_known(name: str) -> bool:
    """Whether values of a field are checked here."""
    return name in _RULES or name in _AMOUNTS


def invalid_fields(fields: Mapping[str, str], required: frozenset[str]) -> tuple[str, ...]:
    """The names of the fields whose values CyberSource would not take, in the order given.

    A required field must not be empty; another one may be. Unknown fields are not judged.
    """
    # Without a currency (a plain update may have none) amounts are in US dollars.
    in_cents = fields.get("currency", "USD") in _CURRENCIES_WITH_CENTS
    rules = {**_RULES, **dict.fromkeys(_AMOUNTS, _AMOUNT_IN_CENTS if in_cents else _AMOUNT)}
    return tuple(
        name
        for name, value in fields.items()
        if name in rules and (value or name in required) and not rules[name](value)
    )
