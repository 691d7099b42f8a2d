"""What values CyberSource's request fields may have: character sets, lengths, enumerations.

From the tables of CyberSource's guide (cybersource.md §2.5 and §3.1-§3.4). Lengths are in
characters. Where the guides differ, the larger of their character sets and lengths counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from ipaddress import AddressValueError, IPv4Address

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

# An installment plan may not have more payments than this.
MAX_INSTALLMENTS = {
    "weekly": 261,
    "bi-weekly": 130,
    "quad-weekly": 65,
    "monthly": 60,
    "semi-monthly": 120,
    "quarterly": 20,
    "semi-annually": 10,
    "annually": 5,
}

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


def _one_of(*values: str) -> Rule:
    return lambda value: value in values


def _alphanumeric(limit: int, extra: frozenset[str] = frozenset()) -> Rule:
    # Letters and digits of any script. Marks that combine with a letter are not `isalnum`, but
    # names are written with them.
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
    """Read a date as CyberSource writes it, `YYYYMMDD`; None where it is no date."""
    if not re.fullmatch(r"[0-9]{8}", value):
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None


def _is_ipv4(value: str) -> bool:
    try:
        IPv4Address(value)
    except AddressValueError:
        return False
    return True


def _url(value: str) -> bool:
    return len(value) <= 255 and re.fullmatch(r"https?://[!-~]+", value) is not None


_AMOUNT = _matches(r"(?=.{1,15}\Z)[0-9]+(\.[0-9]{1,3})?")
# Two decimals in currencies that have two; only those are checked that closely.
_AMOUNT_IN_CENTS = _matches(r"(?=.{1,15}\Z)[0-9]+\.[0-9]{2}")
_CURRENCIES_WITH_CENTS = frozenset({"USD", "EUR"})

_TRUE_OR_FALSE = _one_of("true", "false")

_RULES: dict[str, Rule] = {
    "transaction_uuid": _ascii_punctuated(50),
    "locale": lambda value: value in LOCALES,
    "reference_number": _punctuated(50),
    "currency": _matches(r"[A-Z]{3}"),
    # The guides know echeck, paypal and visacheckout too; this profile takes cards only.
    "payment_method": _one_of("card"),
    "payment_token": _matches(r"[0-9A-Za-z]{1,32}"),
    # The guides require `true` where a token is updated; with anything else the customer could
    # change nothing.
    "allow_payment_token_update": _one_of("true"),
    "recurring_frequency": _one_of(*FREQUENCIES),
    "recurring_start_date": lambda value: read_date(value) is not None,
    "recurring_number_of_installments": _matches(r"[0-9]{1,3}"),
    "recurring_automatic_renew": _TRUE_OR_FALSE,
    "payment_token_title": _punctuated(60),
    "payment_token_comments": _punctuated(255),
    "transaction_reason": _one_of(
        "setup_recurring", "setup_standing_order", "setup_installments", "setup_unscheduled_payments"
    ),
    "override_custom_receipt_page": _url,
    "override_custom_cancel_page": _url,
    "override_backoffice_post_url": _url,
    "merchant_secure_data4": _punctuated(2000),
    "consumer_id": _punctuated(100),
    "ignore_avs": _TRUE_OR_FALSE,
    "ignore_cvn": _TRUE_OR_FALSE,
    "skip_decision_manager": _TRUE_OR_FALSE,
    "skip_auto_auth": _TRUE_OR_FALSE,
    "customer_ip_address": _is_ipv4,
    "device_fingerprint_id": _punctuated(88),
    "line_item_count": _matches(r"[0-9]{1,2}|1[0-9]{2}|200"),
    "card_type": _matches(r"[0-9]{3}"),
    "card_number": _matches(r"[0-9]{1,20}"),
    "card_expiry_date": _matches(r"(0[1-9]|1[0-2])-[0-9]{4}"),
    "card_cvn": _matches(r"[0-9]{3,4}"),
}

_ADDRESS_RULES: dict[str, Rule] = {
    "forename": _punctuated(60),
    "surname": _punctuated(60),
    "email": lambda value: (
        len(value) <= 255 and re.fullmatch(r"[^@\s<>]+@[^@\s<>]+\.[^@\s<>.]+", value) is not None
    ),
    "phone": _matches(r"[0-9 (),+\-.*#xX]{6,15}"),
    "company_name": _punctuated(60),
    "address_line1": _punctuated(60),
    "address_line2": _punctuated(60),
    "address_city": _punctuated(50),
    "address_state": _alphanumeric(20),
    "address_country": _matches(r"[A-Z]{2}"),
    "address_postal_code": _matches(r"[0-9A-Za-z \-]{1,10}"),
}
for _name, _rule in _ADDRESS_RULES.items():
    _RULES[f"bill_to_{_name}"] = _RULES[f"ship_to_{_name}"] = _rule

_RULES_BY_PATTERN: list[tuple[re.Pattern[str], Rule]] = [
    (re.compile(r"merchant_defined_data([1-9][0-9]?|100)"), _punctuated(100)),
    (re.compile(r"merchant_secure_data[1-3]"), _punctuated(100)),
    (re.compile(r"item_(1?[0-9]{1,2})_(code|name|sku)"), _punctuated(255)),
    (re.compile(r"item_(1?[0-9]{1,2})_quantity"), _matches(r"[0-9]{1,10}")),
    (re.compile(r"item_(1?[0-9]{1,2})_(unit_price|tax_amount)"), _AMOUNT),
]

_AMOUNTS = frozenset({"amount", "recurring_amount", "tax_amount"})


def _rule_for(name: str, currency: str) -> Rule | None:
    if name in _AMOUNTS:
        return _AMOUNT_IN_CENTS if currency in _CURRENCIES_WITH_CENTS else _AMOUNT
    if name in _RULES:
        return _RULES[name]
    for pattern, rule in _RULES_BY_PATTERN:
        if pattern.fullmatch(name):
            return rule
    return None


def is_known(name: str) -> bool:
    """Whether CyberSource's tables have a request field of this name."""
    return _rule_for(name, "") is not None


def invalid_fields(fields: Mapping[str, str], required: frozenset[str]) -> tuple[str, ...]:
    """The names of the fields whose values CyberSource would not take, in the order given.

    A required field must not be empty; another one may be. Fields that are not in the tables are
    not judged.
    """
    # Without a currency (a plain update may have none) amounts are in US dollars.
    currency = fields.get("currency", "USD")
    bad = []
    for name, value in fields.items():
        rule = _rule_for(name, currency)
        if rule is not None and (value or name in required) and not rule(value):
            bad.append(name)
    installments = fields.get("recurring_number_of_installments", "")
    frequency = fields.get("recurring_frequency", "")
    if (
        re.fullmatch(r"[0-9]{1,3}", installments)
        and frequency in MAX_INSTALLMENTS
        and int(installments) > MAX_INSTALLMENTS[frequency]
    ):
        bad.append("recurring_number_of_installments")
    return tuple(bad)
