"""What requests leave behind: rows in the database, and lines in the log."""
import logging
import re
from collections.abc import Iterable

import pytest
from django.db import connection

from perma_payments.logs import NoValuesFormatter

from .. import cyber_source

# Put into what is posted, to be looked for in the log and the database.
MARKER = "Unmistakable"

_FORMATTER = NoValuesFormatter("{levelname} {name}: {message}", style="{")
# What is longer than any word of ours: boxes, keys, signatures, numbers of cards and transactions.
_TELLING = re.compile(r"[0-9A-Za-z+/]{16,}", re.ASCII)


def rows() -> dict[str, list[str]]:
    """Every row of every table of ours, histories included, as text."""
    with connection.cursor() as cursor:
        tables = [name for name in connection.introspection.table_names(cursor) if _is_ours(name)]
        found = {}
        for table in tables:
            quoted = connection.ops.quote_name(table)
            cursor.execute(f"SELECT t::text FROM {quoted} t ORDER BY 1")
            found[table] = [row for row, in cursor.fetchall()]
    # The tables of the design, and the histories of three of them.
    assert {f"perma_payments_{name}" for name in (
        "subscriptionagreement", "purchase", "outgoingtransaction", "response", "stafftask",
        "subscriptionagreementevent", "purchaseevent", "stafftaskevent",
    )} <= found.keys()
    return found


def texts_in_database() -> list[str]:
    """What is in any column that holds text, in any table of ours."""
    found: list[str] = []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()"
            " AND data_type IN ('character varying', 'text', 'character', 'json', 'jsonb')"
        )
        for table, column in cursor.fetchall():
            if _is_ours(table):
                table, column = map(connection.ops.quote_name, (table, column))
                cursor.execute(f"SELECT {column}::text FROM {table} WHERE {column} IS NOT NULL")
                found += [text for text, in cursor.fetchall()]
    return found


def _is_ours(table: str) -> bool:
    return table.startswith(("perma_payments_", "pghistory_"))


def log(caplog: pytest.LogCaptureFixture) -> str:
    """The log so far, as the service writes it."""
    return "\n".join(map(_FORMATTER.format, caplog.records))


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says of refusals, besides Django's line that a request was bad."""
    return [
        record.getMessage() for record in caplog.records
        if record.levelno >= logging.WARNING and record.name != "django.request"
    ]


def said_of(posted: Iterable[str], text: str) -> list[str]:
    """Which telling pieces of what was posted, and which personal data, are in a text."""
    pieces = {MARKER, *(piece[:40] for value in posted for piece in _TELLING.findall(value[:20_000])[:50])}
    return [piece for piece in pieces if piece in text] + personal_data_in([text])


def personal_data_in(texts: Iterable[str]) -> list[str]:
    """Which of the customer's data are in any of the texts; short ones, such as a state, as whole words."""
    return [
        value for value in cyber_source.PERSONAL.values()
        if any(re.search(rf"(?<!\w){re.escape(value)}(?!\w)" if len(value) < 5 else re.escape(value), text)
               for text in texts)
    ]
