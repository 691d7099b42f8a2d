"""What requests leave behind: rows in the database and lines in the log."""

import logging
import re
from collections.abc import Iterable
from functools import cache

import pytest
from django.db import connection

from perma_payments.logs import NoValuesFormatter

from .. import cyber_source

# Posted by tests, which then look for it in the log and the database.
MARKER = "Unmistakable"

_FORMATTER = NoValuesFormatter("{levelname} {name}: {message}", style="{")
# Longer than any word of ours: boxes, keys, signatures, card and transaction numbers.
_TELLING = re.compile(r"[0-9A-Za-z+/]{16,}", re.ASCII)


def rows() -> list[tuple[str, str]]:
    """Every row of our tables, history included, as pairs of the table's name and the row as text.

    When a key was used is left out: any message that was sealed with it says that, even one that has no effect.
    """
    tables = {table for table, _ in _text_columns()} - {"perma_payments_keyuse"}
    assert {
        f"perma_payments_{name}"
        for name in (
            "subscriptionagreement",
            "purchase",
            "outgoingtransaction",
            "response",
            "stafftask",
            "subscriptionagreementevent",
            "purchaseevent",
            "stafftaskevent",
        )
    } <= tables
    return _select(f"SELECT '{table}', t::text FROM {table} t" for table in sorted(tables))


def texts_in_database() -> list[str]:
    """Everything in the text columns of our tables."""
    return [
        text
        for _, text in _select(
            f"SELECT '{table}', {column}::text FROM {table} WHERE {column} IS NOT NULL"
            for table, column in _text_columns()
        )
    ]


@cache
def _text_columns() -> list[tuple[str, str]]:
    """The table and the quoted column of each text column."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()"
            " AND table_name ~ '^(perma_payments|pghistory)_'"
            " AND data_type IN ('character varying', 'text', 'character', 'json', 'jsonb')"
        )
        return [(table, connection.ops.quote_name(column)) for table, column in cursor.fetchall()]


def _select(statements: Iterable[str]) -> list[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(statements) + " ORDER BY 1, 2")
        return cursor.fetchall()


def log(caplog: pytest.LogCaptureFixture) -> str:
    """The log so far, as the service writes it."""
    return "\n".join(map(_FORMATTER.format, caplog.records))


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says about refusals."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def told(posted: Iterable[str], text: str) -> list[str]:
    """Which telling pieces of what was posted, and which personal data, a text contains."""
    pieces = {MARKER, *(piece[:40] for value in posted for piece in _TELLING.findall(value[:20_000])[:50])}
    return [piece for piece in pieces if piece in text] + cyber_source.personal_data_in([text])
