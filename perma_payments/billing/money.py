"""Amounts of money: exact decimals of US dollars with two places, never floats."""

import re
from decimal import Decimal

CURRENCY = "USD"

# Twelve digits with the cents: CyberSource allows 15 characters with the point (cybersource.md §3.1),
# and the database's columns are NUMERIC(12, 2).
MAX_DIGITS = 12
DECIMAL_PLACES = 2

_AMOUNT = re.compile(r"(?:0|[1-9][0-9]{0,9})\.[0-9]{2}", re.ASCII)
_ECHOED_AMOUNT = re.compile(r"[0-9]{1,10}(?:\.[0-9]{0,8})?", re.ASCII)


def parse_amount(text: object) -> Decimal:
    """Read an amount as Perma.cc sends it: a string with two decimals, ``"12.50"`` or ``"0.00"``.

    Raises ValueError for anything else: numbers, signs, exponents, blanks, digits other than 0-9,
    more than ten digits before the point.
    """
    if not isinstance(text, str) or not _AMOUNT.fullmatch(text):
        raise ValueError("not an amount: expected digits, a point and two digits, as in 12.50")
    return Decimal(text)


def parse_echoed_amount(text: str) -> Decimal:
    """Read an amount as CyberSource echoes it: digits with or without decimals (cybersource.md §4.4).

    Raises ValueError when it is not a plain, non-negative decimal.
    """
    if not _ECHOED_AMOUNT.fullmatch(text):
        raise ValueError("not an amount of CyberSource's")
    return Decimal(text)


def format_amount(amount: Decimal) -> str:
    """Write an amount with exactly two decimals: ``"120.00"``. Raises ValueError if that would round it."""
    if amount != amount.quantize(Decimal("0.01")):
        raise ValueError("an amount has two decimals")
    return f"{amount:.2f}"
