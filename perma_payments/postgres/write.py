"""Insert and update single rows. The SQL is built once for each table, so this is much cheaper than ``save``."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from django.db import connection
from django.db.models import AutoField, Field, Model


def insert_unless_there(row: Model) -> bool:
    """Insert a row, unless a constraint says that it is there already. Return whether it was inserted.

    It waits for a transaction that is inserting the same row. The second INSERT of a ``get_or_create`` would fail,
    and PostgreSQL logs a statement that fails, with all that is in it.
    """
    returned = _insert(row, " ON CONFLICT DO NOTHING")
    return returned is not None


def insert(row: Model) -> None:
    """Insert a row. Raises IntegrityError."""
    _insert(row, "")


def columns_of(row: Model) -> dict[str, Any]:
    """The values of a row's columns, as far as they were read, to compare with later."""
    names = {field.attname for field in row._meta.concrete_fields}
    return {name: value for name, value in vars(row).items() if name in names}


def update_changed(row: Model, before: Mapping[str, Any]) -> None:
    """Update the columns that have changed since ``columns_of``, and those that say when a row was changed."""
    after = columns_of(row)
    fields = tuple(
        field
        for field in row._meta.concrete_fields
        if getattr(field, "auto_now", False) or after.get(field.attname) != before.get(field.attname)
    )
    with connection.cursor() as cursor:
        cursor.execute(_update_statement(type(row), fields), [*_values(row, fields, add=False), row.pk])


def _insert(row: Model, on_conflict: str) -> Any:
    statement, fields = _insert_statement(type(row))
    with connection.cursor() as cursor:
        cursor.execute(statement.format(on_conflict), _values(row, fields, add=True))
        returned = cursor.fetchone()
    if returned is not None:
        (row.pk,) = returned
        row._state.adding, row._state.db = False, connection.alias
    return returned


def _values(row: Model, fields: tuple["Field[Any, Any]", ...], *, add: bool) -> list[Any]:
    return [field.get_db_prep_save(field.pre_save(row, add), connection) for field in fields]


@cache
def _insert_statement(model: type[Model]) -> tuple[str, tuple["Field[Any, Any]", ...]]:
    """The statement, with room for what to do in a conflict, and the fields whose values it takes."""
    meta = model._meta
    fields = tuple(field for field in meta.concrete_fields if not isinstance(field, AutoField))
    names = ", ".join(_quoted(field) for field in fields)
    marks = ", ".join("%s" for _ in fields)
    statement = f'INSERT INTO "{meta.db_table}" ({names}) VALUES ({marks}){{}} RETURNING {_quoted(meta.pk)}'
    return statement, fields


@cache
def _update_statement(model: type[Model], fields: tuple["Field[Any, Any]", ...]) -> str:
    changes = ", ".join(f"{_quoted(field)} = %s" for field in fields)
    return f'UPDATE "{model._meta.db_table}" SET {changes} WHERE {_quoted(model._meta.pk)} = %s'


def _quoted(field: "Field[Any, Any]") -> str:
    return f'"{field.column}"'
