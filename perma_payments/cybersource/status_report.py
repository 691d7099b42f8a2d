"""The list of subscriptions that the Business Center exports as CSV, read (cybersource.md §8.3).

    Subscription Search Results
    Merchant ID: example_merchant
    Date: Mar 01 2025

    Subscription ID,Merchant Reference Code,Customer Name,Amount,Currency,Status
    7408214003316000001234,PERMA-1234-5678,"Example, Erin",15.00,USD,CURRENT

CyberSource has changed this file without notice, and a status read wrongly changes what a paying customer may do.
So a row that could be read in two ways is not read, but listed with its line for a person to look at.

The file holds customers' names. Nothing of it is returned but reference numbers, statuses, subscription ids,
dates, amounts and frequencies, and no text made here quotes a cell: in a row that has shifted, any may be a name.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal

from ..billing.coverage import ChargeNews
from ..billing.money import CURRENCY, format_amount, parse_echoed_amount
from ..billing.schedules import Frequency
from ..billing.statuses import Status
from .csv_table import Column, TableRow, UnreadableFile, normalize, read_table
from .known_texts import WITHHELD

# The names of columns in this list and in CyberSource's other reports (cybersource.md §8.3, §8.4). Case, spaces,
# "_" and "-" make no difference.
COLUMNS: Mapping[str, Column] = {
    "reference_number": Column(
        "Merchant Reference Code",
        ("Merchant Reference Code", "Merchant Reference Number", "Merchant Ref Number", "MerchantRefNo"),
        is_required=True,
    ),
    "status": Column("Status", ("Status", "Subscription Status"), is_required=True),
    "subscription_id": Column("Subscription ID", ("Subscription ID",)),
    "next_charge_on": Column("Next Scheduled Date", ("Next Scheduled Date",)),
    # What is charged is only compared with our terms. It is not known how the list calls and writes it.
    "amount": Column("Amount", ("Amount", "Recurring Amount", "Recurring Payment Amount"), is_extra=True),
    "currency": Column("Currency", ("Currency", "Currency Code"), is_extra=True),
    "frequency": Column("Frequency", ("Frequency", "Recurring Frequency"), is_extra=True),
}

# What each name of a status, normalized, means to us, and what it says about charges (cybersource.md §8.1).
STATUSES: Mapping[str, tuple[Status, ChargeNews]] = {
    "current": (Status.CURRENT, ChargeNews.PROVEN),
    "active": (Status.CURRENT, ChargeNews.PROVEN),
    # A charge failed and will be retried. CyberSource has not stopped the subscription and has not written to
    # the customer; it does both when it gives up, and then says Hold.
    "retry": (Status.CURRENT, ChargeNews.FAILED),
    "hold": (Status.HOLD, ChargeNews.FAILED),
    "onhold": (Status.HOLD, ChargeNews.FAILED),
    # The newer service's name for a subscription that is not charged but can be resumed.
    "suspended": (Status.HOLD, ChargeNews.NOTHING),
    # The newer service's, for one that owes a payment. Whether it is still retrying is not documented. Hold
    # takes away nothing that was paid for, and grants nothing that may not have been.
    "delinquent": (Status.HOLD, ChargeNews.FAILED),
    "canceled": (Status.CANCELED, ChargeNews.ENDED),
    "cancelled": (Status.CANCELED, ChargeNews.ENDED),
    "completed": (Status.COMPLETED, ChargeNews.ENDED),
    "superseded": (Status.SUPERSEDED, ChargeNews.ENDED),
}

# The names of frequencies, normalized: CyberSource's own (cybersource.md §3.2, §8.4), and others for a year.
FREQUENCIES: Mapping[str, Frequency] = {
    **{normalize(frequency): frequency for frequency in Frequency},
    "annual": Frequency.ANNUALLY,
    "yearly": Frequency.ANNUALLY,
}

# CyberSource's other names of statuses, normalized (cybersource.md §8.1): what they mean for us is not known.
OTHER_STATUSES = {normalize(name): name for name in ("Created", "Failed", "Pending", "Retry mode")}

NOT_SHOWN = "We don't know the status in this row. It isn't shown, because it may be a name: look in the file."

# Of several rows for one reference number, the one with the first of these statuses counts: one that is charged,
# one that may be charged again, one that may still be paid for; what was replaced comes last.
LIVING_FIRST = (Status.CURRENT, Status.HOLD, Status.CANCELED, Status.COMPLETED, Status.SUPERSEDED)

# More than anyone would look through.
MAX_UNREAD_ROWS = 10_000

# CyberSource's own limit (cybersource.md §3.1).
MAX_REFERENCE_NUMBER_LENGTH = 50

# Subscription ids have several forms, none of them shorter, and none without digits (cybersource.md §4.6).
_SUBSCRIPTION_ID = re.compile(r"(?=.*[0-9])[0-9A-Za-z]{16,32}", re.ASCII)
# Spreadsheet programs keep 15 digits of a number, and make the others 0.
_ROUNDED = re.compile(r"[0-9]{15}0{4,}", re.ASCII)

_BESIDE_AMOUNTS = re.compile(rf"\s|\$|{CURRENCY}")
_SEPARATED = re.compile(r"[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?", re.ASCII)

# The dates in CyberSource's reports: 2025-03-01 and Mar 01 2025 (cybersource.md §8.3, §8.4).
_DATES = (
    (re.compile(r"(?<!\d)20\d\d-\d\d-\d\d(?!\d)", re.ASCII), "%Y-%m-%d"),
    (re.compile(r"\b[A-Z][a-z]{2} \d\d 20\d\d(?!\d)", re.ASCII), "%b %d %Y"),
)


@dataclass(frozen=True, slots=True)
class ReportRow:
    """What the report says about one reference number, and on which line.

    ``next_charge_on`` is the date that the report gives for the next charge, where it also proves the last one.
    ``subscription_id`` is empty if the report has none, a spoiled one, or several without saying which counts.
    """

    line: int
    reference_number: str
    status: Status
    charge_news: ChargeNews
    # It is the token that charges: not for logs or error reports.
    subscription_id: str = field(default="", repr=False)
    next_charge_on: date | None = None
    # What is charged, as far as the report says it.
    amount: Decimal | None = None
    frequency: Frequency | None = None


@dataclass(frozen=True, slots=True)
class UnreadRow:
    """A row that is not read, and why, in a sentence; its reference number, where known.

    ``unknown_status`` is one of OTHER_STATUSES, or WITHHELD for a cell that may hold anything.
    """

    line: int
    why: str
    reference_number: str = ""
    unknown_status: str = ""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A reference number that has several rows: their lines and statuses, and the status that counts."""

    reference_number: str
    lines: tuple[int, ...]
    statuses: tuple[Status, ...]
    counts: Status


@dataclass(frozen=True)
class ParsedReport:
    """A status report. Each of its rows is in ``rows``, or in ``duplicates`` beside the row that counts, or in
    ``unread``.

    ``rows`` has one row for each reference number, ours or not: of several the living one (LIVING_FIRST).
    """

    rows: list[ReportRow]
    duplicates: list[Duplicate]
    unread: list[UnreadRow]
    # Rows in the file, blank ones excepted.
    row_count: int
    # Subscription ids left out because a spreadsheet program has rounded them, or because they cannot be ids.
    spoiled_ids: int
    # Dates of next charges left out because they cannot be read.
    unreadable_dates: int
    # Amounts and frequencies left out because they cannot be read.
    unreadable_terms: int
    # The date above the header, if there is exactly one.
    made_on: date | None

    @property
    def unknown_statuses(self) -> dict[str, int]:
        """The statuses that we can't read, and how many unread rows have each. WITHHELD stands for several."""
        return dict(Counter(row.unknown_status for row in self.unread if row.unknown_status))


def read_report(data: bytes) -> ParsedReport:
    """Read a status report. Raises only UnreadableFile, if the file is not a status report."""
    table = read_table(data, COLUMNS)
    found: dict[str, list[ReportRow]] = {}
    unread: list[UnreadRow] = []
    # What may be the reference number of an unread row, and the line of one such row.
    in_doubt: dict[str, int] = {}
    row_count = spoiled_ids = unreadable_dates = unreadable_terms = 0
    for row in table.rows:
        row_count += 1
        read = _read_row(row)
        if isinstance(read, UnreadRow):
            unread.append(read)
            for word in [read.reference_number] if row.cells else re.split(r"[^\w.-]+", row.text):
                in_doubt.setdefault(word, row.line)
            if len(unread) > MAX_UNREAD_ROWS:
                raise UnreadableFile(
                    f"More than {MAX_UNREAD_ROWS:,} rows cannot be read, so this may be another kind of report. "
                    f"The first of them is line {unread[0].line}: {unread[0].why}"
                )
            continue
        found.setdefault(read.reference_number, []).append(read)
        spoiled_ids += row.cells["subscription_id"] != "" and not read.subscription_id
        is_dated = row.cells["next_charge_on"] != "" and read.charge_news is ChargeNews.PROVEN
        unreadable_dates += is_dated and read.next_charge_on is None
        unreadable_terms += row.cells["amount"] != "" and read.amount is None
        unreadable_terms += row.cells["frequency"] != "" and read.frequency is None
    rows, duplicates = [], []
    for reference_number, same in found.items():
        line = in_doubt.get(reference_number)
        # Current counts in any case: no other status outranks it.
        if line is not None and all(row.status is not Status.CURRENT for row in same):
            why = f"Line {line} has the same reference number, cannot be read, and may be the one that counts."
            unread.extend(UnreadRow(row.line, why, reference_number) for row in same)
            continue
        rows.append(same[0] if len(same) == 1 else _living(same))
        if len(same) > 1:
            lines, statuses = tuple(row.line for row in same), tuple(row.status for row in same)
            duplicates.append(Duplicate(reference_number, lines, statuses, rows[-1].status))
    unread.sort(key=lambda row: row.line)
    return ParsedReport(
        rows,
        duplicates,
        unread,
        row_count,
        spoiled_ids,
        unreadable_dates,
        unreadable_terms,
        _date_in(table.preamble),
    )


def _read_row(row: TableRow) -> ReportRow | UnreadRow:
    if row.flaw:
        return UnreadRow(row.line, row.flaw)
    reference_number = row.cells["reference_number"]
    if not reference_number:
        return UnreadRow(row.line, "This row has no reference number.")
    if len(reference_number) > MAX_REFERENCE_NUMBER_LENGTH or not reference_number.isprintable():
        return UnreadRow(row.line, "The reference number in this row is not valid.")
    written = row.cells["status"]
    meaning = STATUSES.get(normalize(written))
    if meaning is None and not written:
        return UnreadRow(row.line, "This row has no status.", reference_number)
    if meaning is None:
        name = OTHER_STATUSES.get(normalize(written), WITHHELD)
        why = f"We don't know what the status “{name}” means."
        if name == WITHHELD:
            why = NOT_SHOWN
        return UnreadRow(row.line, why, reference_number, name)
    status, charge_news = meaning
    return ReportRow(
        row.line,
        reference_number,
        status,
        charge_news,
        _subscription_id(row.cells["subscription_id"]),
        _next_charge_on(row.cells["next_charge_on"]) if charge_news is ChargeNews.PROVEN else None,
        _amount(row.cells["amount"], row.cells["currency"]),
        FREQUENCIES.get(normalize(row.cells["frequency"])),
    )


def _subscription_id(cell: str) -> str:
    return cell if _SUBSCRIPTION_ID.fullmatch(cell) and not _ROUNDED.fullmatch(cell) else ""


def _amount(cell: str, currency: str) -> Decimal | None:
    """The amount of "1,200.00", "$90" and "90.00 USD", in our currency."""
    if currency not in ("", CURRENCY):
        return None
    written = _BESIDE_AMOUNTS.sub("", cell)
    if _SEPARATED.fullmatch(written):
        written = written.replace(",", "")
    try:
        amount = parse_echoed_amount(written)
        format_amount(amount)
    except ValueError:
        return None
    return amount


def _next_charge_on(cell: str) -> date | None:
    """The date of "2010-02-11 18:43:28.0" and of ISO's formats (cybersource.md §8.4)."""
    try:
        return datetime.fromisoformat(cell).date()
    except ValueError:
        return None


def _living(rows: Sequence[ReportRow]) -> ReportRow:
    """The row that counts among those of one reference number."""
    best = min(rows, key=lambda row: (LIVING_FIRST.index(row.status), row.charge_news is not ChargeNews.PROVEN))
    equals = [row for row in rows if (row.status, row.charge_news) == (best.status, best.charge_news)]
    ids = {row.subscription_id for row in equals} - {""}
    dates = {row.next_charge_on for row in equals} - {None}
    amounts = {row.amount for row in equals} - {None}
    frequencies = {row.frequency for row in equals} - {None}
    # If several rank equally, nothing tells which id to charge, or which date or amount counts.
    return replace(
        best,
        subscription_id=ids.pop() if len(ids) == 1 else "",
        next_charge_on=dates.pop() if len(dates) == 1 else None,
        amount=amounts.pop() if len(amounts) == 1 else None,
        frequency=frequencies.pop() if len(frequencies) == 1 else None,
    )


def _date_in(preamble: Sequence[str]) -> date | None:
    found = set()
    for pattern, form in _DATES:
        for text in pattern.findall("\n".join(preamble)):
            try:
                found.add(datetime.strptime(text, form).replace(tzinfo=UTC).date())
            except ValueError:  # February 30, or three letters that are no month
                continue
    # Of two, one may be the beginning of a range, or a date that was searched for.
    return found.pop() if len(found) == 1 else None
