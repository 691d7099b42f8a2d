"""Staff upload CyberSource's report of subscriptions: look, confirm, undo (docs/statuses.md).

1. ``preview`` reads the file and works out what it would change. Nothing is changed.
2. ``confirm`` works it out again, under locks, and applies all of it, if it is still the same.
3. ``undo`` puts everything back, if nothing else has changed those subscriptions since.
"""
import hashlib
import logging
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pghistory
from django.contrib.auth.models import User
from django.db import connection, transaction

from ..cybersource.status_report import Report, read_report
from ..models import (
    Resolution,
    StaffTask,
    StatusUpload,
    SubscriptionAgreement,
    TaskKind,
    UploadState,
)
from ..models.fields import TOKEN_PATTERN
from .locks import lock_customer
from .staff_tasks import end_open
from .status_changes import Change, Plan, ReportedRow, chunks, work_out

logger = logging.getLogger(__name__)

History = SubscriptionAgreement.pgh_event_model  # type: ignore[attr-defined]

# How many reference numbers that we do not know are kept by name.
UNKNOWN_KEPT = 200


class CannotBeDone(Exception):
    """What was asked for cannot be done now, and nothing was changed. The text is a sentence for staff."""


class DataHasMoved(CannotBeDone):
    """The ledger has changed since the preview. The preview is worked out anew."""


def preview(data: bytes, *, by: User, now: datetime) -> StatusUpload:
    """Read a report and keep what it would change, for staff to look at. Raises UnreadableReport."""
    report = read_report(data)
    rows = _rows_of_ours(report)
    known = {row.reference_number for row in rows}
    unknown = [row.reference_number for row in report.rows if row.reference_number not in known]
    upload = StatusUpload(
        digest=hashlib.sha256(data).hexdigest(),
        made_on=report.made_on,
        row_count=report.row_count,
        matched_count=len(rows),
        rows=[list(row) for row in rows],
        problems=[[problem.line, problem.why] for problem in report.problems],
        duplicates=[[each.reference_number, each.lines, each.statuses, each.counts] for each in report.duplicates],
        unknown_count=len(unknown),
        unknown_references=[text[:50] for text in unknown[:UNKNOWN_KEPT]],
        uploaded_by=by,
        uploaded_at=now,
    )
    _look(upload, now)
    upload.save()
    logger.info(
        "status report %s uploaded: %s rows, %s ours, %s changes, %s not read",
        upload.pk, upload.row_count, upload.matched_count, len(upload.changes), len(upload.problems),
    )
    return upload


def confirm(upload_id: int, *, by: User, leave_out: bool, now: datetime) -> StatusUpload:
    """Apply all of an upload's changes, in one transaction.

    ``leave_out`` says that the rows which could not be read are to be left out. Raises CannotBeDone,
    and DataHasMoved after working the preview out anew.
    """
    try:
        with transaction.atomic(), pghistory.context(source="status report", upload=upload_id, user=by.pk):
            return _confirm(upload_id, by, leave_out, now)
    except DataHasMoved:
        with transaction.atomic():
            upload = StatusUpload.objects.select_for_update(no_key=True).get(pk=upload_id)
            # Somebody else may have confirmed it in the meantime.
            if upload.state == UploadState.PREVIEWED:
                _look(upload, now)
                upload.save(update_fields=["changes", "incomplete_references"])
        raise


def undo(upload_id: int, *, by: User, now: datetime) -> StatusUpload:
    """Put back everything that an upload has changed.

    Raises CannotBeDone if anything else has changed one of those subscriptions since.
    """
    with transaction.atomic(), pghistory.context(source="status report undone", upload=upload_id, user=by.pk):
        upload = StatusUpload.objects.select_for_update(no_key=True).get(pk=upload_id)
        if upload.state != UploadState.CONFIRMED:
            raise CannotBeDone(f"This report cannot be undone: it is {upload.get_state_display()}.")
        _lock(upload.changes)
        moved = _changed_since(upload)
        if moved:
            named = ", ".join(moved[:10]) + (f" and {len(moved) - 10} more" if len(moved) > 10 else "")
            raise CannotBeDone(
                f"This report cannot be undone: something else has changed {named} since. Nothing was changed."
            )
        _write({
            change["agreement"]: {**change["before"], **({"payment_token": ""} if change["takes_token"] else {})}
            for change in upload.changes
        }, now)
        _take_tasks_back(upload, by, now)
        upload.state, upload.undone_by, upload.undone_at = UploadState.UNDONE, by, now
        upload.save()
    logger.warning("status report %s undone", upload_id)
    return upload


def _rows_of_ours(report: Report) -> list[ReportedRow]:
    """The rows about subscriptions of ours. A subscription's id is kept only where a rescue may need it."""
    without_token: dict[str, bool] = {}
    for chunk in chunks(report.rows):
        without_token |= {
            reference: rate is None and not token
            for reference, rate, token in SubscriptionAgreement.objects.filter(
                reference_number__in=[row.reference_number for row in chunk]
            ).values_list("reference_number", "current_rate", "payment_token")
        }
    return [
        ReportedRow(
            row.line, row.reference_number, row.status,
            row.subscription_id if without_token[row.reference_number] and _is_token(row.subscription_id) else "",
        )
        for row in report.rows
        if row.reference_number in without_token
    ]


def _is_token(text: str) -> bool:
    return re.fullmatch(TOKEN_PATTERN, text, re.ASCII) is not None


def _look(upload: StatusUpload, now: datetime) -> Plan:
    """Work out what an upload would do, as things are now, and note it in the upload, which is not saved."""
    plan = work_out([ReportedRow(*row) for row in upload.rows], SubscriptionAgreement.objects.all(), now=now)
    upload.changes = [change.as_json() for change in plan.changes]
    upload.incomplete_references = plan.incomplete
    return plan


def _confirm(upload_id: int, by: User, leave_out: bool, now: datetime) -> StatusUpload:
    upload = StatusUpload.objects.select_for_update(no_key=True).get(pk=upload_id)
    if upload.state != UploadState.PREVIEWED:
        raise CannotBeDone(f"This report cannot be confirmed: it is {upload.get_state_display()} already.")
    if upload.problems and not leave_out:
        raise CannotBeDone(
            "Some rows could not be read, so nothing was applied. Say that they are to be left out, or upload "
            "a better file."
        )
    previewed = upload.changes
    _lock_customers_of_revived(previewed)
    _lock(previewed)
    plan = _look(upload, now)
    if upload.changes != previewed:
        raise DataHasMoved(
            "Something has changed since this preview was made. Nothing was applied; please look at the new one."
        )
    _write({
        change.agreement: {**change.after, **({"payment_token": change.token} if change.token else {})}
        for change in plan.changes
    }, now)
    upload.tasks_ended = _end_cancellations(plan.changes, upload, by, now)
    upload.tasks_opened = _open_second_subscriptions(plan.changes, now)
    upload.state, upload.confirmed_by, upload.confirmed_at = UploadState.CONFIRMED, by, now
    upload.rows = []
    upload.save()
    logger.warning("status report %s confirmed: %s changes", upload_id, len(plan.changes))
    return upload


def _lock_customers_of_revived(changes: Sequence[dict[str, Any]]) -> None:
    """A report may give a customer a second subscription, and so may a callback at the same time."""
    revived = [change["agreement"] for change in changes if Change.from_json(change).revives]
    customers = {agreement.customer for agreement in SubscriptionAgreement.objects.filter(pk__in=revived)}
    for customer in sorted(customers):
        lock_customer(customer)


def _lock(changes: Sequence[dict[str, Any]]) -> None:
    """Lock the agreements that the changes are about, in the order of their ids."""
    for chunk in chunks(sorted(change["agreement"] for change in changes)):
        locked = SubscriptionAgreement.objects.filter(pk__in=chunk).order_by("pk").select_for_update(no_key=True)
        list(locked.values_list("pk"))


def _write(values: Mapping[int, Mapping[str, str | None]], now: datetime) -> None:
    """Write columns of many agreements: a statement for each set of columns and chunk of rows.

    A statement for each agreement would take minutes for a report of 50,000.
    """
    alike: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for agreement, new in values.items():
        alike[tuple(sorted(new))].append(agreement)
    for columns, agreements in alike.items():
        for chunk in chunks(agreements):
            arrays = [[values[agreement][column] for agreement in chunk] for column in columns]
            _update(columns, chunk, arrays, now)


def _update(
    columns: Sequence[str], agreements: Sequence[int], values: Sequence[Sequence[str | None]], now: datetime
) -> None:
    meta = SubscriptionAgreement._meta
    types = {field.column: field.db_type(connection) for field in meta.concrete_fields}
    with connection.cursor() as cursor:
        assignments = ", ".join(f"{column} = CAST(new.{column} AS {types[column]})" for column in columns)
        arrays = ", ".join(["%s::bigint[]", *["%s::text[]" for _ in columns]])
        # The names of columns and types are the model's own, never what somebody has sent.
        cursor.execute(
            f"UPDATE {meta.db_table} AS old SET {assignments}, updated_at = %s "
            f"FROM unnest({arrays}) AS new(id, {', '.join(columns)}) WHERE old.id = new.id",
            [now, list(agreements), *map(list, values)],
        )


def _changed_since(upload: StatusUpload) -> list[str]:
    """The reference numbers of the upload's subscriptions whose last change was not the upload's."""
    references = {change["agreement"]: change["reference_number"] for change in upload.changes}
    moved = []
    for chunk in chunks(list(references)):
        last_changes = (
            History.objects.filter(pgh_obj__in=chunk)
            .order_by("pgh_obj_id", "-pgh_id")
            .distinct("pgh_obj_id")
            .values_list("pgh_obj_id", "pgh_context")
        )
        moved += [
            references[agreement]
            for agreement, context in last_changes
            if not context or (context.get("source"), context.get("upload")) != ("status report", upload.pk)
        ]
    return sorted(moved)


def _end_cancellations(changes: Sequence[Change], upload: StatusUpload, by: User, now: datetime) -> list[int]:
    """End the cancellations that the report shows to be done; return the tasks."""
    canceled = [change.agreement for change in changes if change.shows_cancellation]
    ended: list[int] = []
    for chunk in chunks(canceled):
        ended += end_open(
            StaffTask.objects.filter(kind=TaskKind.CANCELLATION, agreement__in=chunk), Resolution.DONE,
            by=by, note=f"Reported as Canceled by the {upload}.", now=now,
        )
    return ended


def _open_second_subscriptions(changes: Sequence[Change], now: datetime) -> list[int]:
    """Tell staff of customers whom the report has given a second standing subscription; return the tasks."""
    opened = []
    for change in changes:
        if not change.revives:
            continue
        agreement = SubscriptionAgreement.objects.get(pk=change.agreement)
        standing = SubscriptionAgreement.objects.of(agreement.customer).standing(now)
        if standing.filter(pk=agreement.pk).exists() and standing.exclude(pk=agreement.pk).exists():
            task = StaffTask.objects.create(
                kind=TaskKind.SECOND_SUBSCRIPTION, agreement=agreement, opened_at=now
            )
            opened.append(task.pk)
    return opened


def _take_tasks_back(upload: StatusUpload, by: User, now: datetime) -> None:
    """Open again the tasks that the upload ended, and withdraw those that it opened."""
    for task in StaffTask.objects.filter(pk__in=upload.tasks_ended).select_for_update(no_key=True):
        task.done_at, task.done_by, task.resolution, task.note = None, None, "", ""
        task.save(update_fields=["done_at", "done_by", "resolution", "note"])
    end_open(
        StaffTask.objects.filter(pk__in=upload.tasks_opened), Resolution.WITHDRAWN,
        by=by, note=f"The {upload} was undone.", now=now,
    )
