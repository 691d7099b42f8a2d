"""The statements that are written in SQL: those that go through all lines of a report at once.

A report of 100,000 rows is planned and applied in seconds with them. With the ORM's bulk_create, saving the lines
takes as long as all the rest of planning; with its bulk_update, applying takes minutes, with the rows locked.
"""

import json
from array import array
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Field
from django.db.models.expressions import RawSQL

from ...models import StatusReport, StatusReportLine, SubscriptionAgreement
from ...models.status_report import CHANGED_BY_REPORTS, Side

# Names of tables, columns and types are the models' own, never input.
_AGREEMENTS = SubscriptionAgreement._meta.db_table
_LINES = StatusReportLine._meta.db_table
_CHANGED = f"SELECT agreement_id FROM {_LINES} WHERE report_id = %s AND after IS NOT NULL"

# The version of an agreement that was read with a line: PostgreSQL's number of the transaction that wrote it. It
# differs after any change, also one that the history doesn't show.
VERSION = RawSQL(f"{_AGREEMENTS}.xmin::text::bigint", [])


class Versions:
    """The versions of agreements as they were read, by id: sixteen bytes each, for reports of any length."""

    def __init__(self) -> None:
        self._ids, self._versions = array("q"), array("q")

    @classmethod
    def of_changed(cls, report: StatusReport) -> "Versions":
        """The versions of the agreements that a report changes."""
        versions = cls()
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT id, {VERSION.sql} FROM {_AGREEMENTS} WHERE id IN ({_CHANGED})", [report.pk])
            for row in cursor:
                versions.remember(*row)
        return versions

    def remember(self, agreement_id: int, version: int) -> None:
        self._ids.append(agreement_id)
        self._versions.append(version)

    def changed(self) -> list[int]:
        """The ids of the agreements that have changed since."""
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT agreement.id FROM {_AGREEMENTS} AS agreement "
                "JOIN unnest(CAST(%s AS bigint[]), CAST(%s AS xid[])) AS seen (id, version) USING (id) "
                "WHERE agreement.xmin <> seen.version",
                [f"{{{','.join(map(str, each))}}}" for each in (self._ids, self._versions)],
            )
            return [pk for (pk,) in cursor.fetchall()]


def insert_lines(report: StatusReport, lines: Iterable[Mapping[str, Any]]) -> None:
    """Save lines of a report, given by the names of their columns, as JSON has them."""
    columns = {field.column: field for field in StatusReportLine._meta.concrete_fields}
    del columns["id"], columns["report_id"]
    names = ", ".join(columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {_LINES} (report_id, {names}) "
            f"SELECT %s, {names} FROM json_to_recordset(%s) AS line ({_typed(columns)})",
            [report.pk, json.dumps(list(lines))],
        )


def update_lines(report: StatusReport, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write some columns of a report's lines, the same ones of each; ``agreement_id`` says which line is meant."""
    rows = list(lines)
    if not rows:
        return
    columns = {field.column: field for field in StatusReportLine._meta.concrete_fields if field.column in rows[0]}
    written = ", ".join(f"{name} = new.{name}" for name in columns if name != "agreement_id")
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {_LINES} AS line SET {written} FROM json_to_recordset(%s) AS new ({_typed(columns)}) "
            "WHERE line.report_id = %s AND line.agreement_id = new.agreement_id",
            [json.dumps(rows), report.pk],
        )


def lock_changed(report: StatusReport) -> None:
    """Lock the agreements that a report changes, as locks.lock_rows does, without reading them.

    A callback or a correction that makes another agreement of such a customer stand waits for these locks, too
    (locks.lock_agreements_of).
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM (SELECT FROM {_AGREEMENTS} WHERE id IN ({_CHANGED}) "
            "ORDER BY id FOR NO KEY UPDATE) AS locked",
            [report.pk],
        )


def write_changes(report: StatusReport, side: Side, now: datetime) -> None:
    """Write one side of a report's changes into the agreements. A token that was taken is written or emptied."""
    types = {field.column: field.db_type(connection) for field in SubscriptionAgreement._meta.concrete_fields}
    columns = ", ".join(
        f"{column} = CASE WHEN line.{side} ? '{column}' "
        f"THEN CAST(line.{side} ->> '{column}' AS {types[column]}) ELSE agreement.{column} END"
        for column in CHANGED_BY_REPORTS
    )
    token = "line.subscription_id" if side == "after" else "''"
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {_AGREEMENTS} AS agreement SET {columns}, updated_at = %s, "
            f"payment_token = CASE WHEN line.takes_token THEN {token} ELSE agreement.payment_token END "
            f"FROM {_LINES} AS line "
            "WHERE line.report_id = %s AND line.after IS NOT NULL AND line.agreement_id = agreement.id",
            [now, report.pk],
        )


def _typed(columns: Mapping[str, "Field[Any, Any]"]) -> str:
    """Columns with their types, as a list of SQL's."""
    return ", ".join(f"{name} {field.db_type(connection)}" for name, field in columns.items())
