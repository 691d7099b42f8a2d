"""A CSV file as a table: UTF-8, commas, standard quoting, and a header row below some lines of other text.

Which columns it needs is the caller's business. Nothing is guessed: a file that could be read in two ways is
refused, and a row with cells that cannot be told apart is flagged.

No text made here quotes the file, which may hold customers' names.
"""

import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

HEADER_WITHIN_LINES = 50

# Bounds on time and memory, beyond those of any list of subscriptions.
MAX_LINES = 250_000
MAX_LINE_LENGTH = 65_536
MAX_LINES_OF_A_ROW = 50

_SEPARATORS = re.compile(r"[\s_-]+")

_OTHER_KINDS = (
    (b"%PDF-", "a PDF file"),
    (b"PK\x03\x04", "a spreadsheet file or a ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet file"),  # Excel's, before .xlsx
    (b"\x1f\x8b", "a compressed file"),
)


class UnreadableFile(Exception):
    """A file that does not hold the table that was expected. The text is a sentence that says why."""


class Column(NamedTuple):
    """A column: what messages call it, and the names that a header may give it, however they are written.

    A table without a required column is refused, and so is one that has a column twice. An extra column is only
    worth reading if there is exactly one.
    """

    title: str
    names: Collection[str]
    is_required: bool = False
    is_extra: bool = False


class TableRow(NamedTuple):
    """A row below the header, and the line on which it begins; lines are numbered from 1, as in an editor.

    ``cells`` has the columns asked for, by their keys; a column that the table lacks is empty. Where ``flaw`` is a
    sentence, the cells cannot be told apart: ``cells`` is empty, and ``text`` is the row as it is written.
    """

    line: int
    cells: Mapping[str, str]
    flaw: str = ""
    text: str = ""


class Table(NamedTuple):
    """The lines above the header, and the rows below it except blank ones."""

    preamble: list[str]
    rows: Iterator[TableRow]


def read_table(data: bytes, columns: Mapping[str, Column]) -> Table:
    """Find the table that has the required columns. Raises UnreadableFile."""
    lines = _lines(data)
    rows = _rows(lines)
    wanted = {key: {normalize(name) for name in column.names} for key, column in columns.items()}
    nearest = ""
    for line, cells, is_whole in rows:
        if line > HEADER_WITHIN_LINES:
            break
        names = [normalize(cell) for cell in cells] if is_whole else []
        places = {key: [at for at, name in enumerate(names) if name in wanted[key]] for key in columns}
        lacking = [column.title for key, column in columns.items() if column.is_required and not places[key]]
        if not lacking:
            for key, found in places.items():
                if len(found) > 1 and columns[key].is_extra:
                    found.clear()
                if len(found) > 1:
                    raise UnreadableFile(
                        f"The header in line {line} has more than one {columns[key].title} column."
                    )
            return Table(lines[: line - 1], _below_header(rows, places, len(names)))
        if any(places.values()):
            nearest = nearest or f"The header in line {line} has no column {' and no column '.join(lacking)}."
    titles = " and ".join(column.title for column in columns.values() if column.is_required)
    raise UnreadableFile(
        nearest or f"None of the first {HEADER_WITHIN_LINES} lines has the columns {titles} between commas."
    )


def _below_header(
    rows: Iterator[tuple[int, list[str], bool]], places: Mapping[str, Sequence[int]], width: int
) -> Iterator[TableRow]:
    for line, cells, is_whole in rows:
        if not any(map(clean, cells)):
            continue
        flaw = ""
        if not is_whole:
            flaw = "The quotes in this row are wrong, so its cells cannot be told apart."
        elif len(cells) != width:
            why = "it is incomplete" if len(cells) < width else "one of them may be in the wrong column"
            plural = "" if len(cells) == 1 else "s"
            flaw = f"This row has {len(cells)} cell{plural} where {width} are expected: {why}."
        if flaw:
            yield TableRow(line, {}, flaw, ",".join(cells))
        else:
            yield TableRow(line, {key: clean(cells[at[0]]) if at else "" for key, at in places.items()})


def clean(cell: str) -> str:
    """A cell without surrounding blanks, or the marks that keep spreadsheets from reading it as a number."""
    cell = cell.strip()
    if not cell.startswith(("=", "'")):
        return cell
    if cell.startswith('="') and cell.endswith('"') and len(cell) > 2:
        cell = cell[2:-1].strip()
    return cell.removeprefix("'").strip()


def normalize(name: str) -> str:
    """A column's or a status's name without regard to capitals, blanks, "_" and "-"."""
    return _SEPARATORS.sub("", clean(name)).casefold()


def _lines(data: bytes) -> list[str]:
    for beginning, kind in _OTHER_KINDS:
        if data.startswith(beginning):
            raise UnreadableFile(f"A CSV file was expected, and this is {kind}.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        # Not chained: the original error holds the file.
        raise UnreadableFile(
            f"CyberSource writes CSV in UTF-8, and line {number} is something else. Perhaps a spreadsheet "
            "program saved it."
        ) from None
    if not text.strip():
        raise UnreadableFile("The file is empty.")
    if text.lstrip().startswith("<"):
        raise UnreadableFile(
            "A CSV file was expected, and this looks like a web page or XML. Perhaps you were logged out of the "
            "Business Center: log in again, and choose CSV as the format."
        )
    # With newline="", lines end at any kind of line end, and keep it.
    lines = list(islice(io.StringIO(text, newline=""), MAX_LINES + 1))
    if len(lines) > MAX_LINES:
        raise UnreadableFile(f"The file has more than {MAX_LINES:,} lines. Choose fewer subscriptions.")
    too_long = next((number for number, each in enumerate(lines, 1) if len(each) > MAX_LINE_LENGTH), None)
    if too_long is not None:
        raise UnreadableFile(f"Line {too_long} is too long for a list of subscriptions.")
    return lines


def _rows(lines: Sequence[str]) -> Iterator[tuple[int, list[str], bool]]:
    """Each row: the line on which it begins, its cells, and whether its quotes are right. If not, it is one cell.

    A quote that is opened by mistake could swallow the rows below, or give one row's cells to another. So the
    csv module is strict, and after wrong quotes reading goes on with the very next line.
    """
    start = 0
    while start < len(lines):
        reader = csv.reader(lines[start : start + MAX_LINES_OF_A_ROW], strict=True)
        try:
            yield start + 1, next(reader), True
            start += reader.line_num
        except csv.Error:
            yield start + 1, [lines[start]], False
            start += 1
