"""The list of subscriptions that the Business Center exports as CSV, read (cybersource.md §8.3).

    Subscription Search Results
    Merchant ID: example_merchant
    Date: Mar 01 2025

    Subscription ID,Merchant Reference Code,Customer Name,Amount,Currency,Status
    7408214003316000001234,PERMA-1234-5678,"Example, Erin",15.00,USD,CURRENT

CyberSource has changed this file without notice, and a status read wrongly changes what a paying customer
may do. So it is found out from the file itself how it is written, and what could be read in two ways is
not read but listed, with its line, for a person to look at.

The file holds customers' names: nothing of it is kept but reference numbers, statuses and subscription
ids, and no text made here quotes a cell, except a short status that we do not know.
"""

import codecs
import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from types import MappingProxyType

from ..billing.coverage import ChargeNews
from ..billing.statuses import Status

MAX_BYTES = 20 * 1024 * 1024

# How far down the header row may stand. Four lines before it are known, more are no harm.
HEADER_WITHIN_LINES = 50

# Bounds on time and memory. Nobody looks through so many problems, and 20 MB of real rows are fewer.
MAX_PROBLEMS = 10_000
MAX_ROWS = 250_000
MAX_LINES = 1_000_000

# CyberSource's own limit (cybersource.md §3.1).
LONGEST_REFERENCE_NUMBER = 50

# What each name of a status means to us, and what it says about charges; compared without regard to capitals,
# blanks, "_" and "-".
STATUSES: Mapping[str, tuple[Status, ChargeNews]] = MappingProxyType(
    {
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
)

# Names of the newer service that say nothing about a subscription that once ran.
NOT_STARTED = frozenset({"pending", "created", "failed"})

# Which of several rows for one reference number counts: the first of these that is found. One that is charged
# before one that may be again; then Canceled, since it may still be paid for; what was replaced comes last.
LIVING_FIRST = (Status.CURRENT, Status.HOLD, Status.CANCELED, Status.COMPLETED, Status.SUPERSEDED)

# The spellings of each column in the Business Center and in CyberSource's other reports (cybersource.md §8.4),
# compared as statuses are. Where a header has several of them the first counts: "Subscription Status" says
# whose status it is, "Status" does not.
_REFERENCE_NUMBER = ("merchantreferencecode", "merchantreferencenumber", "merchantrefnumber", "merchantrefno")
_STATUS = ("subscriptionstatus", "status")
_SUBSCRIPTION_ID = ("subscriptionid",)
_NEXT_CHARGE = ("nextscheduleddate",)

_ASK = "Download the list of subscriptions from the Business Center as CSV, and upload that file as it comes."

# Longer than any row or cell of a report; beyond them, a quote is open or it is no table.
_LONGEST_LINE = 65_536
_MOST_LINES_OF_A_ROW = 50

# Blanks, and what programs leave at the ends of files: NUL, Ctrl-Z, byte order marks.
_BLANK = " \t\r\n\v\f\x00\x1a\xa0\u200b\u2007\u202f\ufeff"
_BLANKS_AFTER_QUOTE = re.compile(r'" +(?=[,;\t\r\n]|$)')
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x19\x1b-\x1f\x7f]")
_SEPARATORS = re.compile(r"[\s_-]+")

# Subscription ids have several forms, none of them shorter (cybersource.md §4.6).
_SUBSCRIPTION_ID_FORM = re.compile(r"[0-9A-Za-z]{16,32}", re.ASCII)
# The date of "2010-02-11 18:43:28.0" and of ISO's format with a time and an offset (cybersource.md §8.4).
_NEXT_CHARGE_FORM = re.compile(r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})(?:[ T].*)?", re.ASCII)
# Spreadsheet programs keep 15 digits of a number, and make the others 0.
_ROUNDED = re.compile(r"[0-9]{15}0{4,}", re.ASCII)

_TRAILER = re.compile(
    r"(?:grand |sub-?)?totals?\b|(?:number|count|end) of\b|(?:records|rows|subscriptions|count|results) ?[:=,]"
    r"|[0-9,]+ (?:records?|rows?|subscriptions?|results?)\b|page [0-9]+\b",
    re.ASCII | re.IGNORECASE,
)
_BEGINNINGS = MappingProxyType(
    {
        b"%PDF-": "a PDF file",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "a spreadsheet file",  # Excel's, before .xlsx
        b"\x1f\x8b": "a compressed file",
    }
)

# An address of e-mail or digits in the column of statuses: the cells have been shifted.
_TELLTALE = re.compile(r"@|[0-9]{4}")
_LONGEST_QUOTATION = 30

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_YEAR, _DAY = r"(?P<year>20[0-9]{2})(?![0-9])", r"(?P<day>[0-9]{1,2})"
# Only dates that can be read in one way: 03/01/2025 is March in one country and January in another.
_DATES = tuple(
    re.compile(pattern, re.ASCII | re.IGNORECASE)
    for pattern in (
        r"(?<![0-9])(?P<year>20[0-9]{2})([-/])(?P<month>[0-9]{2})\2(?P<day>[0-9]{2})(?![0-9])",
        rf"\b{_MONTH} *{_DAY}(?:st|nd|rd|th)?(?: *, *| +){_YEAR}",
        rf"(?<![0-9]){_DAY}(?:st|nd|rd|th)?[ -]*{_MONTH}[ ,-]*{_YEAR}",
    )
)


class UnreadableReport(Exception):
    """A file that is no status report. Its text tells the person who uploaded it what was expected, what was
    found and what to do; it quotes nothing of the file, except perhaps a short status that we do not know.
    """


@dataclass(frozen=True, slots=True)
class Row:
    """What the report says of one reference number, and on which line.

    ``next_charge_on`` is the date that the report gives for the next charge of a subscription whose charges it
    proves. ``subscription_id`` is empty where the report has none, a spoilt one, or several between which the
    report does not choose.
    """

    line: int
    reference_number: str
    status: Status
    charge_news: ChargeNews
    # It is the token that charges: not for logs or error reports.
    subscription_id: str = field(default="", repr=False)
    next_charge_on: date | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that is not read, and why, in a sentence; its reference number, where its cells can be told apart."""

    line: int
    why: str
    reference_number: str = ""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A reference number that came several times: where, as what (in the same order), and what counts."""

    reference_number: str
    lines: tuple[int, ...]
    statuses: tuple[Status, ...]
    counts: Status


@dataclass(frozen=True)
class Report:
    """A status report. Each of its data rows is in ``rows``, or in ``duplicates`` besides the row that
    counts, or in ``problems``; all three are in the order of lines.

    ``rows`` has one row for each reference number, ours or not: of several the living one (LIVING_FIRST).
    A report with a header and nothing else has no rows, and is no error.
    """

    rows: list[Row]
    problems: list[Problem]
    duplicates: list[Duplicate]
    # Data rows found; blank ones and trailers ("Total: 123") are none.
    row_count: int
    # Names of statuses that we have never seen, and how often each came; also among the problems.
    unknown_statuses: dict[str, int]
    # Subscription ids left out because a spreadsheet program has rounded them, or because they are none.
    spoilt_ids: int
    # Dates of next charges left out because they cannot be read.
    spoilt_dates: int
    # The date above the header, if there is exactly one, written so that it can be read in one way.
    made_on: date | None


def read_report(data: bytes, *, max_bytes: int = MAX_BYTES) -> Report:
    """Read a status report, however it is written.

    Comma, semicolon or tab; UTF-8 or UTF-16, with or without a byte order mark. Bytes that are no UTF-8
    (Excel saves CSV in the code page of its computer) each become a replacement character: names have
    them, and what is kept of a report is ASCII. Lines are numbered as an editor does, from 1.

    Raises UnreadableReport, and nothing else, for what is no status report at all.
    """
    refuse_size(len(data), max_bytes=max_bytes)
    encoding = _encoding(data)
    _refuse_other_kinds(data, encoding)
    table, records = _find_table(data, encoding)
    for line, cells, is_whole in records:
        table.add(line, cells, is_whole)
    return table.report()


def refuse_size(size: int, *, max_bytes: int = MAX_BYTES) -> None:
    """Refuse a file of so many bytes, perhaps before it is read. Raises UnreadableReport."""
    if size > max_bytes:
        raise UnreadableReport(
            f"The file has {_megabytes(size)} MB; a status report of up to {_megabytes(max_bytes)} MB was "
            "expected. Choose fewer subscriptions in the Business Center, or check that it is the right file."
        )


# --- From bytes to cells ----------------------------------------------------------------------------


def _encoding(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # Without a mark, UTF-16 shows by its NULs: every other byte of a preamble and a header, which are ASCII.
    head = data[:2048]
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if max(even, odd) * 8 > len(head) and max(even, odd) > 2 * min(even, odd):
        return "utf-16-le" if odd > even else "utf-16-be"
    return "utf-8-sig"


def _open(data: bytes, encoding: str) -> io.TextIOWrapper:
    # Decoded in pieces as it is read. With newline="" every kind of line end is found, and none is changed.
    return io.TextIOWrapper(io.BytesIO(data), encoding=encoding, errors="replace", newline="")


class _Lines:
    """The lines of a file. Those of a row that makes no sense can be given back and read anew."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self.number = 0  # of the last line read
        self._text = text
        self._row: list[str] = []
        self._given_back: list[str] = []  # the next one last

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self._row) == _MOST_LINES_OF_A_ROW:
            raise csv.Error("a quote is never closed")
        line = self._given_back.pop() if self._given_back else self._text.readline(_LONGEST_LINE + 1)
        if not line:
            raise StopIteration
        if len(line) > _LONGEST_LINE:
            raise UnreadableReport(
                f"Line {self.number + 1} is longer than any row of a status report: the file is something "
                f"else, or damaged. {_ASK}"
            )
        if self.number == MAX_LINES:
            raise UnreadableReport(
                f"The file has more than {MAX_LINES:,} lines, more than a status report was "
                f"expected to have. {_ASK}"
            )
        self.number += 1
        self._row.append(line)
        # The csv module takes blanks before a quote (skipinitialspace), but not after one. Without them the
        # same quotes are open and closed.
        return _BLANKS_AFTER_QUOTE.sub('"', line) if '" ' in line else line

    def begin_row(self) -> None:
        self._row.clear()

    def give_back_all_but_first(self) -> str:
        first, *others = self._row
        self.number -= len(others)
        self._given_back.extend(reversed(others))
        return first


# The line on which a row begins, its cells, and whether its quotes are right. If not, the cells are a guess.
_Record = tuple[int, list[str], bool]


def _records(lines: _Lines, delimiter: str) -> Iterator[_Record]:
    """Yield the rows.

    A quote that is opened by mistake would swallow the rows below, or give one row's status to another:
    so the csv module is strict, and after an error goes on with the very next line. That reads lines
    again; the bound on problems is also one on how many.
    """
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        lines.begin_row()
        line = lines.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:  # also for a cell above csv.field_size_limit()
            yield line, lines.give_back_all_but_first().split(delimiter), False
        else:
            yield line, cells, True


def _clean(cell: str) -> str:
    """A cell without blanks, and without what keeps spreadsheet programs from taking it for a number."""
    cell = cell.strip(_BLANK)
    if cell.startswith('="') and cell.endswith('"') and len(cell) > 2:
        cell = cell[2:-1].strip(_BLANK)
    if cell.startswith("'"):
        cell = cell[1:].strip(_BLANK)
    return cell


def _name(cell: str) -> str:
    """The name of a column or a status, as our tables have it."""
    return _SEPARATORS.sub("", _clean(cell).casefold())


def _is_blank(cells: Sequence[str]) -> bool:
    return not any(map(_clean, cells))


# --- What is no report ------------------------------------------------------------------------------


def _megabytes(size: int) -> str:
    # Rounded up: what is too much is not to look as if it were just enough.
    return f"{math.ceil(size / (1024 * 1024) * 10) / 10:.1f}".removesuffix(".0")


def _refuse_other_kinds(data: bytes, encoding: str) -> None:
    """Refuse what is known to be something else, before a line of it could be taken for a header."""
    if not data:
        raise UnreadableReport(f"The file is empty. {_ASK}")
    for beginning, what in _BEGINNINGS.items():
        if data.startswith(beginning):
            raise UnreadableReport(f"A CSV file was expected, and this is {what}. {_ASK}")
    if data.startswith(b"PK\x03\x04"):
        if b"xl/" in data or b"application/vnd.oasis" in data[:200]:
            raise UnreadableReport(f"A CSV file was expected, and this is a spreadsheet file. {_ASK}")
        raise UnreadableReport(
            "A CSV file was expected, and this is a ZIP archive. Unpack it first, and upload "
            "the CSV file that is in it."
        )
    with _open(data, encoding) as text:
        head = text.read(1024).lstrip(_BLANK).lower()
    if head.startswith(("<!doctype html", "<html")) or (head.startswith("<") and "<html" in head):
        raise UnreadableReport(
            "A CSV file was expected, and this looks like a web page; perhaps the Business "
            "Center had logged you out. Log in again and download the CSV."
        )
    if head.startswith("<?xml"):
        raise UnreadableReport(
            "A CSV file was expected, and this is an XML file. Choose CSV as the format when "
            "you download the report."
        )


def _no_header(data: bytes, encoding: str, nearest: tuple[int, str, str] | None) -> UnreadableReport:
    if nearest is not None:
        line, there, missing = nearest
        return UnreadableReport(
            f"A status report has the columns Merchant Reference Code and Status; line {line} has {there}, "
            f"but no column {missing}. {_ASK}"
        )
    with _open(data, encoding) as text:
        head = text.read(_LONGEST_LINE)
        if not head.strip(_BLANK) and not text.read().strip(_BLANK):
            return UnreadableReport(f"The file is empty but for blanks. {_ASK}")
    if _CONTROLS.search(head):
        return UnreadableReport(f"A CSV file was expected, and this is no text file. {_ASK}")
    return UnreadableReport(
        "A status report has a row with the columns Merchant Reference Code and Status, and none of the "
        f"first {HEADER_WITHIN_LINES} lines is such a row. {_ASK}"
    )


# --- The header -------------------------------------------------------------------------------------


def _find_table(data: bytes, encoding: str) -> tuple["_Table", Iterator[_Record]]:
    """The table whose header is found with one of the delimiters, and the records below the header."""
    nearest = None
    for delimiter in ",;\t":
        lines = _Lines(_open(data, encoding))
        records = _records(lines, delimiter)
        preamble: list[str] = []
        for line, cells, is_whole in records:
            if line > HEADER_WITHIN_LINES:
                break
            if not is_whole:
                continue
            names = [_name(cell) for cell in cells]
            reference, status = _column(names, _REFERENCE_NUMBER), _column(names, _STATUS)
            if reference is not None and status is not None:
                _refuse_ambiguity(line, names)
                return _Table(names, reference, status, _date_in(preamble)), records
            if reference is not None:
                nearest = nearest or (line, "a column of reference numbers", "Status")
            elif status is not None:
                nearest = nearest or (line, "a column of statuses", "Merchant Reference Code")
            preamble.append(" ".join(cells))
    raise _no_header(data, encoding, nearest)


def _column(names: Sequence[str], spellings: Sequence[str]) -> int | None:
    return next((names.index(spelling) for spelling in spellings if spelling in names), None)


def _refuse_ambiguity(line: int, names: Sequence[str]) -> None:
    """Refuse a header in which a column that we read is there twice: the two may hold different things."""
    for spellings in (_REFERENCE_NUMBER, _STATUS, _SUBSCRIPTION_ID, _NEXT_CHARGE):
        position = _column(names, spellings)
        if position is not None and names.count(names[position]) > 1:
            raise UnreadableReport(
                f"The header in line {line} has two columns of one name where one was expected (reference number, "
                f"status, subscription ID or next scheduled date), and they may differ. {_ASK}"
            )


def _date_in(preamble: Sequence[str]) -> date | None:
    found = set()
    for text in preamble:
        for pattern in _DATES:
            for match in pattern.finditer(text[:1000]):
                month = match["month"].lower()[:3]
                number = int(month) if month.isdecimal() else _MONTHS.index(month) + 1
                try:
                    found.add(date(int(match["year"]), number, int(match["day"])))
                except ValueError:  # 30 February
                    continue
    # Of two, one may be the beginning of a range, or a date that was searched for.
    return found.pop() if len(found) == 1 else None


# --- The rows ---------------------------------------------------------------------------------------


class _Table:
    """The rows below a header, collected one at a time."""

    def __init__(self, names: list[str], reference: int, status: int, made_on: date | None) -> None:
        self._header = names
        self._reference, self._status = reference, status
        self._subscription_id = _column(names, _SUBSCRIPTION_ID)
        self._next_charge = _column(names, _NEXT_CHARGE)
        self._width = len(names)
        self._made_on = made_on
        self._row_count = 0
        self._rows: dict[str, Row] = {}
        self._repeated: dict[str, list[Row]] = {}
        self._problems: list[Problem] = []
        # Reference numbers of rows that were not read, and the line of one.
        self._unread: dict[str, int] = {}
        self._unknown_statuses: Counter[str] = Counter()
        self._spoilt_ids = 0
        self._spoilt_dates = 0

    def add(self, line: int, cells: list[str], is_whole: bool) -> None:
        """Take a row, or note why not."""
        if not is_whole:
            self._suspect(line, cells)
            self._refuse(line, "The quotes in this row are wrong, so its cells cannot be told apart.")
            return
        if len(cells) != self._width and not self._takes_width_of(cells):
            if not self._is_no_row(cells):
                self._refuse_misfit(line, cells)
            return
        reference_number = _clean(cells[self._reference])
        meaning = STATUSES.get(_name(cells[self._status]))
        if meaning is None and self._is_no_row(cells):
            return
        if not reference_number:
            self._refuse(line, "This row has no reference number.")
        elif len(reference_number) > LONGEST_REFERENCE_NUMBER or not reference_number.isprintable():
            self._refuse(line, "What this row has in the column of reference numbers cannot be one.")
        elif meaning is None:
            self._unread.setdefault(reference_number, line)
            self._refuse(line, self._why_no_status(cells[self._status]), reference_number)
        else:
            status, charge_news = meaning
            next_charge_on = self._next_charge_in(cells) if charge_news is ChargeNews.PROVEN else None
            self._keep(Row(line, reference_number, status, charge_news, self._id_in(cells), next_charge_on))

    def report(self) -> Report:
        """The report, of all the rows taken."""
        self._drop_doubtful()
        duplicates = []
        for reference_number, rows in self._repeated.items():
            self._rows[reference_number] = living = _living(rows)
            lines, statuses = tuple(row.line for row in rows), tuple(row.status for row in rows)
            duplicates.append(Duplicate(reference_number, lines, statuses, living.status))
        return Report(
            rows=sorted(self._rows.values(), key=lambda row: row.line),
            problems=sorted(self._problems, key=lambda problem: problem.line),
            duplicates=sorted(duplicates, key=lambda duplicate: duplicate.lines),
            row_count=self._row_count,
            unknown_statuses=dict(self._unknown_statuses),
            spoilt_ids=self._spoilt_ids,
            spoilt_dates=self._spoilt_dates,
            made_on=self._made_on,
        )

    def _keep(self, row: Row) -> None:
        self._row_count += 1
        if self._row_count > MAX_ROWS:
            raise UnreadableReport(
                f"The file has more than {MAX_ROWS:,} rows, more than a status report was "
                "expected to have. Choose fewer subscriptions in the Business Center."
            )
        first = self._rows.setdefault(row.reference_number, row)
        if first is not row:
            self._repeated.setdefault(row.reference_number, [first]).append(row)

    def _refuse(self, line: int, why: str, reference_number: str = "") -> None:
        self._row_count += 1
        self._problems.append(Problem(line, why, reference_number))
        if len(self._problems) > MAX_PROBLEMS:
            first = self._problems[0]
            raise UnreadableReport(
                f"More than {MAX_PROBLEMS:,} rows cannot be read, so this may be another kind of report. "
                f"The first of them is line {first.line}: {first.why}"
            )

    def _suspect(self, line: int, cells: list[str]) -> None:
        """Remember the reference number of a row whose cells may be in the wrong columns."""
        # A comma too many before it has moved it by one.
        for cell in cells[self._reference : self._reference + 2]:
            self._unread.setdefault(_clean(cell.strip('" '))[:LONGEST_REFERENCE_NUMBER], line)

    def _refuse_misfit(self, line: int, cells: list[str]) -> None:
        self._suspect(line, cells)
        found = f"This row has {len(cells)} cell{'' if len(cells) == 1 else 's'} where {self._width} are expected"
        if len(cells) < self._width:
            why = f"{found}: it is incomplete."
        else:
            why = f"{found}: one of them may stand in the wrong column."
        self._refuse(line, why)

    def _takes_width_of(self, cells: list[str]) -> bool:
        """Whether the report ends its rows, but not its header, with a delimiter; or the other way round.

        That is decided once, by the first row that can be read: later on, a cell too many means that the
        cells have been shifted.
        """
        if self._rows:
            return False
        longer = max(cells, self._header, key=len)
        if not _is_blank(longer[min(len(cells), self._width) :]):
            return False
        # What is blank in the header is none of our columns, so they are all among the cells.
        if not _clean(cells[self._reference]) or _name(cells[self._status]) not in STATUSES:
            return False
        self._width = len(cells)
        return True

    def _is_no_row(self, cells: list[str]) -> bool:
        """Whether this is a blank line, the header of a further page, or a trailer such as "Total: 123".

        Anything else may be the beginning of a row, where a download was cut off.
        """
        filled = [text for text in map(_clean, cells) if text]
        if not filled or (len(filled) <= 2 and _TRAILER.match(",".join(filled))):
            return True
        return [_name(cell) for cell in cells] == self._header

    def _why_no_status(self, cell: str) -> str:
        if not _clean(cell):
            return "This row has no status."
        quotation = _quotation(cell)
        if _name(cell) in NOT_STARTED:
            return (
                f"“{quotation}” is a status of CyberSource's newer service that does not say whether "
                "the subscription stands."
            )
        if not quotation:
            return "What this row has in the column Status cannot be a status."
        self._unknown_statuses[quotation] += 1
        return f"“{quotation}” is not a status that we know."

    def _id_in(self, cells: list[str]) -> str:
        text = _clean(cells[self._subscription_id]) if self._subscription_id is not None else ""
        if text and (_ROUNDED.fullmatch(text) or not _SUBSCRIPTION_ID_FORM.fullmatch(text)):
            self._spoilt_ids += 1
            return ""
        return text

    def _next_charge_in(self, cells: list[str]) -> date | None:
        text = _clean(cells[self._next_charge]) if self._next_charge is not None else ""
        if not text:
            return None
        found = _NEXT_CHARGE_FORM.fullmatch(text)
        try:
            return date.fromisoformat(found["date"] if found else text)
        except ValueError:
            self._spoilt_dates += 1
            return None

    def _drop_doubtful(self) -> None:
        """Take back the rows of a reference number of which another row could not be read.

        That other one may be the living one. Only Current stays: nothing could outdo it.
        """
        for reference_number, line in self._unread.items():
            row = self._rows.get(reference_number)
            if row is None:
                continue
            rows = self._repeated.get(reference_number, [row])
            if any(row.status is Status.CURRENT for row in rows):
                continue
            del self._rows[reference_number]
            self._repeated.pop(reference_number, None)
            why = (
                f"The same reference number is in line {line}, which cannot be read and may be the one "
                "that counts."
            )
            self._problems.extend(Problem(row.line, why, reference_number) for row in rows)


def _living(rows: Sequence[Row]) -> Row:
    """The row that counts among those of one reference number."""
    best = min(rows, key=lambda row: (LIVING_FIRST.index(row.status), row.charge_news is not ChargeNews.PROVEN))
    equals = [row for row in rows if (row.status, row.charge_news) == (best.status, best.charge_news)]
    ids = {row.subscription_id for row in equals} - {""}
    dates = {row.next_charge_on for row in equals} - {None}
    # Of two that live equally, nothing tells which one's id to charge, or which one's date counts.
    return replace(
        best,
        subscription_id=ids.pop() if len(ids) == 1 else "",
        next_charge_on=dates.pop() if len(dates) == 1 else None,
    )


def _quotation(cell: str) -> str:
    """A status that we do not know, short enough to show; empty if it may be something else."""
    text = _clean(cell)
    if not text.isprintable() or _TELLTALE.search(text):
        return ""
    return text if len(text) <= _LONGEST_QUOTATION else text[: _LONGEST_QUOTATION - 1] + "…"
