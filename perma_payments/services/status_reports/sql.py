"""What a report says of our subscriptions: kept in StatusReportLine, and written from there into the agreements.

That happens inside PostgreSQL: so neither memory nor the number of statements grows with the report.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Literal

from django.db import connection
from django.db.models import QuerySet

from ...billing.statuses import ALIVE
from ...billing.tokens import is_token
from ...cybersource.status_report import Row
from ...models import CHANGED_BY_REPORTS, ReportState, StatusReport, StatusReportLine, SubscriptionAgreement
from ...models.history import HistorySource
from ..locks import lock_customers
from .changes import CHUNK, Effect, Held, Reported, chunks, held, work_out

# In statements: the names of tables, columns and types are the models' own, never what somebody has sent.
_AGREEMENTS = SubscriptionAgreement._meta.db_table
_REPORTED = StatusReportLine._meta.db_table
_HISTORY = SubscriptionAgreement.pgh_event_model._meta.db_table  # type: ignore[attr-defined]

# Many rows come as one JSON text: a parameter for each value would take several times as long.
_TYPES = {
    "agreement_id": "bigint",
    "status": "text",
    "charge_news": "text",
    "next_charge_on": "date",
    "subscription_id": "text",
    "before": "jsonb",
    "after": "jsonb",
    "takes_token": "boolean",
    "is_incomplete": "boolean",
    "ignores_date": "boolean",
}
_RECORDS = f"jsonb_to_recordset(%s::jsonb) AS new({', '.join(map(' '.join, _TYPES.items()))})"

# Where, in a row that holds all three, what the report says ends, and what that does.
_REPORT = len(Reported._fields)
_LEDGER = _REPORT + len(Effect._fields)

# What writing an upload writes: how things are after it (confirming), or how they were before (undoing).
Side = Literal["before", "after"]


def keep_what_is_ours(upload: StatusReport, rows: Sequence[Row]) -> set[str]:
    """Keep the rows about agreements of ours, with what they would do; return the reference numbers."""
    ours: set[str] = set()
    for chunk in chunks(rows):
        by_reference = {row.reference_number: row for row in chunk}
        found = held(SubscriptionAgreement.objects.filter(reference_number__in=by_reference))
        pairs = [
            (agreement, _reported(by_reference[agreement.reference_number], agreement)) for agreement in found
        ]
        _insert(upload, work_out(pairs, as_of=upload.as_of))
        ours.update(agreement.reference_number for agreement in found)
    return ours


def _reported(row: Row, agreement: Held) -> Reported:
    needs_token = row.status in ALIVE and not agreement.payment_token
    takes_token = needs_token and is_token(row.subscription_id)
    return Reported(row.status, row.charge_news, row.next_charge_on, row.subscription_id if takes_token else "")


def _insert(upload: StatusReport, worked_out: Iterator[tuple[Held, Reported, Effect]]) -> None:
    rows = [
        {"agreement_id": agreement.id, **reported._asdict(), **effect._asdict()}
        for agreement, reported, effect in worked_out
    ]
    columns = ", ".join(_TYPES)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {_REPORTED} (report_id, {columns}) SELECT %s, {columns} FROM {_RECORDS}",
            [upload.pk, json.dumps(rows, default=date.isoformat)],
        )


def worked_out_again(upload: StatusReport) -> Iterator[tuple[int, Effect, Effect]]:
    """Each agreement of an upload, with what the preview says and with what is true now."""
    last = 0
    while chunk := list(
        upload.lines.filter(agreement__gt=last)
        .order_by("agreement_id")
        .values_list(*Reported._fields, *Effect._fields, *(f"agreement__{name}" for name in Held._fields))[:CHUNK]
    ):
        then: dict[int, Effect] = {}
        pairs: list[tuple[Held, Reported]] = []
        for row in chunk:
            reported, effect, agreement = row[:_REPORT], row[_REPORT:_LEDGER], Held(*row[_LEDGER:])
            then[agreement.id] = Effect(*effect)
            pairs.append((agreement, Reported(*reported)))
        for agreement, _, now_effect in work_out(pairs, as_of=upload.as_of):
            yield agreement.id, then[agreement.id], now_effect
        last = pairs[-1][0].id


def work_out_anew(upload: StatusReport) -> None:
    """Replace what the preview says by what is true now."""
    moved = [
        {"agreement_id": agreement, **effect._asdict()}
        for agreement, then, effect in worked_out_again(upload)
        if effect != then
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {_REPORTED} old SET {', '.join(f'{column} = new.{column}' for column in Effect._fields)} "
            f"FROM {_RECORDS} WHERE old.report_id = %s AND old.agreement_id = new.agreement_id",
            [json.dumps(moved), upload.pk],
        )


def changes_of(upload: StatusReport) -> QuerySet[StatusReportLine]:
    """The rows of an upload that change something."""
    return upload.lines.filter(after__isnull=False)


def reviving(upload: StatusReport, side: Side) -> QuerySet[StatusReportLine]:
    """The rows about agreements that are charged, according to one side, and were not according to the other."""
    other = "before" if side == "after" else "after"
    return upload.lines.filter(**{f"{side}__status__in": ALIVE}).exclude(**{f"{other}__status__in": ALIVE})


def lock(upload: StatusReport, side: Side) -> None:
    """Lock what writing one side of an upload needs."""
    # It may give a customer a second subscription, and so may a callback at the same time.
    lock_customers(agreement.customer for agreement in revived(upload, side))
    _lock_changed(upload)


def revived(upload: StatusReport, side: Side) -> QuerySet[SubscriptionAgreement]:
    """The agreements that writing one side revives."""
    return SubscriptionAgreement.objects.filter(pk__in=reviving(upload, side).values("agreement"))


def _lock_changed(upload: StatusReport) -> None:
    """Lock the agreements that an upload changes, in the order of their ids."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT count(*) FROM (
                SELECT FROM {_AGREEMENTS} old JOIN {_REPORTED} new ON new.agreement_id = old.id
                WHERE new.report_id = %s AND new.after IS NOT NULL ORDER BY old.id FOR NO KEY UPDATE OF old
            ) locked
            """,
            [upload.pk],
        )


def write(upload: StatusReport, side: Side, now: datetime) -> None:
    """Write one side of all of an upload's changes into the agreements."""
    types = {field.column: field.db_type(connection) for field in SubscriptionAgreement._meta.concrete_fields}
    columns = ", ".join(
        f"{column} = CASE WHEN new.{side} ? '{column}' "
        f"THEN CAST(new.{side} ->> '{column}' AS {types[column]}) ELSE old.{column} END"
        for column in CHANGED_BY_REPORTS
    )
    token = "new.subscription_id" if side == "after" else "''"
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {_AGREEMENTS} AS old SET {columns}, updated_at = %s, "
            f"payment_token = CASE WHEN new.takes_token THEN {token} ELSE old.payment_token END "
            f"FROM {_REPORTED} AS new "
            "WHERE new.report_id = %s AND new.after IS NOT NULL AND new.agreement_id = old.id",
            [now, upload.pk],
        )


def later_report(upload: StatusReport) -> StatusReport | None:
    """A confirmed report, uploaded later, about some of the agreements that an upload has changed."""
    later = StatusReportLine.objects.filter(
        report__state=ReportState.CONFIRMED,
        report__uploaded_at__gt=upload.uploaded_at,
        agreement__in=changes_of(upload).values("agreement"),
    )
    row = later.select_related("report").order_by("report__uploaded_at").first()
    return None if row is None else row.report


def changed_since(upload: StatusReport) -> list[str]:
    """The reference numbers of the upload's subscriptions whose last change was not the upload's.

    What a later report has changed, and its undoing has put back, is as if it had not been.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT reference_number FROM (
                SELECT DISTINCT ON (event.pgh_obj_id) event.reference_number, event.pgh_context
                FROM {_HISTORY} event JOIN {_REPORTED} reported ON reported.agreement_id = event.pgh_obj_id
                WHERE reported.report_id = %s AND reported.after IS NOT NULL
                    AND NOT COALESCE((event.pgh_context ->> 'report')::bigint IN (
                        SELECT id FROM {StatusReport._meta.db_table} WHERE state = '{ReportState.UNDONE.value}'
                    ), false)
                ORDER BY event.pgh_obj_id, event.pgh_id DESC
            ) last_change
            WHERE NOT COALESCE(pgh_context @> %s::jsonb, false)
            ORDER BY reference_number
            """,
            [upload.pk, json.dumps({"source": HistorySource.STATUS_REPORT, "report": upload.pk})],
        )
        return [reference_number for (reference_number,) in cursor.fetchall()]
