"""Querysets whose SQL is built once, for what each checkout and each callback asks.

To build the SQL of a queryset takes Django ten times as long as PostgreSQL's answer.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from django.db import connection
from django.db.models import Expression, QuerySet


class Parameter(Expression):
    """A value that is given whenever the statement is executed."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        return "%s", [self]


class BuiltOnce:
    """A queryset of values with Parameters in it. ``build`` makes it when it is first needed."""

    def __init__(self, build: Callable[[], QuerySet[Any, Any]]) -> None:
        self._build = build

    @cached_property
    def _statement(self) -> tuple[str, tuple[Any, ...]]:
        sql, parameters = self._build().query.get_compiler(connection=connection).as_sql()
        return sql, tuple(parameters)

    def rows(self, **values: Any) -> list[tuple[Any, ...]]:
        """The rows for these values of the parameters, as PostgreSQL returns them."""
        sql, parameters = self._statement
        given = [values[each.name] if isinstance(each, Parameter) else each for each in parameters]
        with connection.cursor() as cursor:
            cursor.execute(sql, given)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    def exists(self, **values: Any) -> bool:
        """Whether there is a row. The queryset should end after the first."""
        return bool(self.rows(**values))
