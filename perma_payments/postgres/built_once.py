"""Querysets whose SQL is built once, for what each checkout and each callback asks.

To build the SQL of a queryset takes Django ten times as long as PostgreSQL's answer.
"""

from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Expression, Model, QuerySet

M = TypeVar("M", bound=Model)


class _Parameter(Expression):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        return "%s", [self]


def parameter(name: str) -> Any:
    """Stands in a queryset for a value that is given whenever the statement is executed."""
    return _Parameter(name)


class BuiltOnce:
    """A queryset of values with parameters in it. ``build`` makes it when it is first needed."""

    def __init__(self, build: Callable[[], QuerySet[Any, Any]]) -> None:
        self._build = build

    @cached_property
    def _statement(self) -> tuple[str, tuple[Any, ...]]:
        sql, parameters = self._build().query.get_compiler(connection=connection).as_sql()
        return sql, tuple(parameters)

    def rows(self, **values: Any) -> list[tuple[Any, ...]]:
        """The rows for these values of the parameters, as PostgreSQL returns them."""
        sql, parameters = self._statement
        given = [values[each.name] if isinstance(each, _Parameter) else each for each in parameters]
        with connection.cursor() as cursor:
            cursor.execute(sql, given)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    def first(self, **values: Any) -> tuple[Any, ...] | None:
        """The first row, if there is one. The queryset should end after it."""
        return next(iter(self.rows(**values)), None)

    def exists(self, **values: Any) -> bool:
        """Whether there is a row. The queryset should end after the first."""
        return self.first(**values) is not None


@cache
def all_columns(model: type[Model]) -> list[str]:
    """The names of all columns of a table, for ``values_list``."""
    return [field.attname for field in model._meta.concrete_fields]


def instance_of(model: type[M], values: Sequence[Any]) -> M:
    """The instance of a model with these values of all its columns."""
    return model.from_db(DEFAULT_DB_ALIAS, all_columns(model), values)
