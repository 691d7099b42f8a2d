"""A table as CSV, for spreadsheet programs: a byte order mark, times in UTC, and no cell that they would run.

It is streamed, so a table of any size takes little memory.
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from django.contrib.admin.options import ModelAdmin
from django.contrib.admin.utils import label_for_field, lookup_field
from django.db.models import DateTimeField, QuerySet
from django.http import StreamingHttpResponse
from django.utils.text import capfirst

from ..postgres.time_limits import within

ROWS_AT_A_TIME = 2000
SECONDS_FOR_THEM = 15

# A spreadsheet program takes a cell that begins with one of these for a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


class _Line:
    """A file for csv.writer, which returns each line."""

    def write(self, line: str) -> str:
        return line


_write: Callable[[list[str]], str] = csv.writer(_Line()).writerow


def csv_line(cells: Iterable[str]) -> str:
    """A line of a CSV file, in which no cell is a formula."""
    return _write([f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell for cell in cells])


def csv_response(
    rows: "QuerySet[Any]", columns: Iterable[str], table: "ModelAdmin[Any]", *, now: datetime
) -> StreamingHttpResponse:
    """The rows in the order of their ids. Columns are what a list can have: fields, attributes, methods."""
    name = str(rows.model._meta.verbose_name_plural).replace(" ", "-")
    return StreamingHttpResponse(
        (line.encode() for line in _lines(rows, list(columns), table)),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}-{now:%Y-%m-%d}.csv"'},
    )


def _lines(rows: "QuerySet[Any]", columns: list[str], table: "ModelAdmin[Any]") -> Iterator[str]:
    yield "\ufeff" + csv_line([_label(column, table) for column in columns])
    for row in _in_batches(rows.order_by("pk")):
        yield csv_line([_cell(column, row, table) for column in columns])


def _in_batches(rows: "QuerySet[Any]") -> Iterator[Any]:
    # The request's own time limit is over once the first line is sent.
    last = 0
    while True:
        with within(SECONDS_FOR_THEM):
            batch = list(rows.filter(pk__gt=last)[:ROWS_AT_A_TIME])
        if not batch:
            return
        yield from batch
        last = batch[-1].pk


def _label(column: str, table: "ModelAdmin[Any]") -> str:
    label = capfirst(str(label_for_field(column, table.model, table)))
    fields = {field.name: field for field in table.model._meta.fields}
    return f"{label} (UTC)" if isinstance(fields.get(column), DateTimeField) else label


def _cell(column: str, row: Any, table: "ModelAdmin[Any]") -> str:
    field, _, value = lookup_field(column, row, table)
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    if field is not None and field.flatchoices:
        value = dict(field.flatchoices).get(value, value)
    return "" if value is None else str(value)
