"""A transaction as staff copy it from the Business Center: a header row and one row (cybersource.md §8.4).

    Merchant ID,Date and Time,Request ID,Merchant Reference Number,Last Name,First Name,...,Amount,Currency,...
    example,Dec 01 2026 06:26:15 PM,7408214003316000001234,PERMA-1234-5678,Example,Erin,...,15.00,USD,...

The names in the row are not read, and the text is not kept.
"""

import csv
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from ..billing.money import CURRENCY, parse_echoed_amount

# The names of each column in the transaction search and in the Payment Batch Detail Report.
_COLUMNS = {
    "request_id": ("request id", "request_id"),
    "reference_number": ("merchant reference number", "merchant_ref_number"),
    "amount": ("amount",),
    "currency": ("currency",),
    "day": ("date and time", "batch_date"),
}
_DATES = ("%b %d %Y %I:%M:%S %p", "%Y-%m-%d", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S%z")
MAX_LENGTH = 10_000


class Unreadable(Exception):
    """The text is not one transaction. Says what is wrong in a sentence that quotes nothing of it."""


class Transaction(NamedTuple):
    """A transaction that was paid, in US dollars. The day is the Business Center's, whose time zone may differ."""

    request_id: str
    reference_number: str
    amount: Decimal
    day: date


def read_transaction(text: str) -> Transaction:
    """Read a header and one row, separated by commas, or by tabs as from a spreadsheet. Raises Unreadable."""
    if len(text) > MAX_LENGTH:
        raise Unreadable("That is too long for one transaction.")
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        rows = list(csv.reader(lines, delimiter="\t" if lines and "\t" in lines[0] else ","))
    except csv.Error:
        raise Unreadable("That is not a table.") from None
    for number, row in enumerate(rows):
        header = [cell.strip().lower() for cell in row]
        places = {name: _place(header, names) for name, names in _COLUMNS.items()}
        if None not in places.values():
            below = rows[number + 1 :]
            break
    else:
        raise Unreadable("There is no row with the names of the columns. Please copy that row, too.")
    if len(below) != 1:
        raise Unreadable("Please copy exactly one transaction, below the row with the names of the columns.")
    cells = {
        name: below[0][place].strip()
        for name, place in places.items()
        if place is not None and place < len(below[0])
    }
    if len(cells) < len(_COLUMNS):
        raise Unreadable("The row is shorter than the row with the names of the columns.")
    if cells["currency"] != CURRENCY:
        raise Unreadable(f"The currency is not {CURRENCY}.")
    try:
        amount = parse_echoed_amount(cells["amount"])
    except ValueError:
        raise Unreadable("The amount can't be read.") from None
    return Transaction(cells["request_id"], cells["reference_number"], amount, _day(cells["day"]))


def _place(header: list[str], names: tuple[str, ...]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _day(text: str) -> date:
    for form in _DATES:
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 (the zone is not known)
        except ValueError:
            continue
    raise Unreadable("The date can't be read.")
