"""What the service's role may do to each table in PostgreSQL: what `manage.py grant_access` gives it.

Only the role that owns the tables, which runs `migrate`, can then change or empty them, or rewrite the history.
"""

from collections.abc import Iterator
from typing import NamedTuple

import pgtrigger
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Model
from pghistory.models import Event

from ..models import (
    DatabaseRestore,
    LoginAttempt,
    MonthEnd,
    PasswordResetRequest,
    ReferenceNumber,
    StatusReport,
    StatusReportLine,
    UnansweredAcknowledgement,
    UsedMessage,
)

# Only migrations, and the owner after a restore, write these.
READ_ONLY = (ContentType, Permission, MigrationRecorder.Migration, DatabaseRestore)
# What these say is final.
APPEND_ONLY = (Event, LogEntry, MonthEnd, ReferenceNumber, UsedMessage)
# Rows of these are deleted in time. So are those of other apps (sessions, second factors, who is in which group),
# except users, whom the history names.
TEMPORARY = (LoginAttempt, PasswordResetRequest, UnansweredAcknowledgement)
# Some rows of these are: triggers say which, and refuse to delete others.
PARTLY_TEMPORARY = (StatusReport, StatusReportLine)


class Privilege(NamedTuple):
    """What the service does to the rows of a table, by SQL's name: to these columns, or to all of them."""

    table: str
    name: str
    columns: tuple[str, ...] = ()


def privileges() -> Iterator[Privilege]:
    """All that the service needs."""
    models: list[type[Model]] = [*apps.get_models(include_auto_created=True), MigrationRecorder.Migration]
    for model in models:
        if model._meta.managed and not model._meta.proxy:
            yield from _privileges_on(model)


def _privileges_on(model: type[Model]) -> Iterator[Privilege]:
    table = model._meta.db_table
    yield Privilege(table, "SELECT")
    if issubclass(model, READ_ONLY):
        return
    yield Privilege(table, "INSERT")
    if issubclass(model, APPEND_ONLY):
        return
    is_ours = model._meta.app_label == "perma_payments"
    if issubclass(model, TEMPORARY) or not (is_ours or model is User):
        yield Privilege(table, "UPDATE")
        yield Privilege(table, "DELETE")
        return
    if issubclass(model, PARTLY_TEMPORARY):
        yield Privilege(table, "DELETE")
    if columns := _that_change(model):
        yield Privilege(table, "UPDATE", tuple(columns))


def _that_change(model: type[Model]) -> list[str]:
    """The columns that no trigger keeps as they are."""
    triggers = [each for each in getattr(model._meta, "triggers", ()) if isinstance(each, pgtrigger.ReadOnly)]
    if any(trigger.fields is None for trigger in triggers):
        return []
    final = {name for trigger in triggers for name in trigger.fields or ()}
    return [field.column for field in model._meta.fields if field.name not in final and not field.primary_key]


def lacking() -> list[str]:
    """The tables, if they exist, to which the role of this connection may not do what the service does."""
    wanted = [(each.table, each.name, column) for each in privileges() for column in each.columns or (None,)]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT name FROM unnest(%s::text[], %s::text[], %s::text[]) wanted (name, privilege, col), "
            "to_regclass(quote_ident(name)) found WHERE NOT CASE WHEN col IS NULL "
            "THEN has_table_privilege(found, privilege) ELSE has_column_privilege(found, col, privilege) END "
            "ORDER BY name",
            [list(column) for column in zip(*wanted, strict=True)],
        )
        return [name for (name,) in cursor.fetchall()]


def emptied_by(role: str | None = None) -> list[str]:
    """The tables that a role, or that of this connection, could empty although the service does not.

    It may, if it is a superuser, owns the table, or belongs to a role that may.
    """
    all_privileges = list(privileges())
    deleted = {each.table for each in all_privileges if each.name == "DELETE"}
    tables = list(dict.fromkeys(each.table for each in all_privileges))
    more = ["TRUNCATE" if table in deleted else "DELETE, TRUNCATE" for table in tables]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name FROM unnest(%(tables)s::text[], %(more)s::text[]) wanted (name, privilege) "
            "JOIN pg_class ON pg_class.oid = to_regclass(quote_ident(name)), "
            "coalesce(%(role)s, current_user::text) role "
            "WHERE has_table_privilege(role, pg_class.oid, privilege) OR pg_has_role(role, relowner, 'MEMBER')",
            {"tables": tables, "more": more, "role": role},
        )
        return [name for (name,) in cursor.fetchall()]
