"""Read a row without asking first whether the connection still works."""

from collections.abc import Mapping
from typing import Any

from django.db import Error, connection


def read_row(sql: str, parameters: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the only row of a statement that changes nothing.

    If the connection turns out to be lost, it is sent again on a new one: that is cheaper than to ask before each
    request, as Django does. Raises django.db.Error.
    """
    connection.health_check_done = True  # type: ignore[attr-defined]
    try:
        return _read(sql, parameters)
    except Error:
        if connection.in_atomic_block or connection.connection is None or not connection.connection.closed:
            raise
        return _read(sql, parameters)


def _read(sql: str, parameters: Mapping[str, Any]) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        row: tuple[Any, ...] = cursor.fetchone()
        return row
