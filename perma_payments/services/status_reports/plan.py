"""Staff upload CyberSource's report of subscriptions: look, confirm, undo (docs/statuses.md).

1. ``preview`` reads the file and works out what it would change. Nothing is changed.
2. ``confirm`` works it out again, under locks, and applies all of it, if it is still the same.
3. ``undo`` puts everything back, if nothing else has changed those subscriptions since.
"""

import hashlib
import logging
import re
from datetime import datetime, timedelta

import pghistory
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q

from ...billing.coverage import Proof
from ...billing.statuses import Status
from ...cybersource.status_report import Problem, Report, read_report
from ...models import (
    PREVIEW_LASTS,
    ReportState,
    Resolution,
    StaffTask,
    StatusReport,
    StatusReportLine,
    SubscriptionAgreement,
    TaskKind,
)
from ...models.fields import REFERENCE_NUMBER_PATTERN
from ...models.history import HistorySource
from ..locks import try_to_lock
from ..staff_tasks.tasks import end_open, open_about, open_for_revived
from . import sql as reported_statuses
from .warnings import warnings_about

logger = logging.getLogger(__name__)

# How many reference numbers are kept by name, of those that came several times and of those we do not know.
NAMED = 200

# Whatever else a file has in that column might be about a person.
_LIKE_A_REFERENCE = re.compile(r"(?=.*[0-9])[0-9A-Za-z_.-]{1,50}", re.ASCII)

# How many subscriptions that have changed since are named.
_MOVED_NAMED = 10


class CannotBeDone(Exception):
    """What was asked for cannot be done now, and nothing was changed. The text is a sentence for staff."""


class DataHasMoved(CannotBeDone):
    """The ledger has changed since the preview. The preview is worked out anew."""


def preview(data: bytes, *, by: User, now: datetime) -> StatusReport:
    """Read a report and keep what it would change, for staff to look at. Raises UnreadableReport."""
    report = read_report(data)
    with transaction.atomic():
        upload = StatusReport.objects.create(
            digest=hashlib.sha256(data).hexdigest(),
            made_on=report.made_on,
            row_count=report.row_count,
            problems=[[problem.line, _why_not_read(problem)] for problem in report.problems],
            unknown_statuses=report.unknown_statuses,
            spoilt_ids=report.spoilt_ids,
            ignored_dates=report.spoilt_dates,
            duplicate_count=len(report.duplicates),
            uploaded_by=by,
            uploaded_at=now,
        )
        ours = reported_statuses.keep_what_is_ours(upload, report.rows)
        _name_the_others(upload, report, ours)
        _count(upload, now)
        upload.save()
    logger.info(
        "status report %s uploaded: %s rows, %s ours, %s changes, %s not read",
        upload.pk,
        upload.row_count,
        upload.matched_count,
        upload.change_count,
        len(upload.problems),
    )
    return upload


def confirm(upload_id: int, *, revision: int, by: User, leave_out: bool, now: datetime) -> StatusReport:
    """Apply all of an upload's changes, in one transaction.

    ``revision`` is that of the preview which was looked at. ``leave_out`` says that the rows which could
    not be read are to be left out. Raises CannotBeDone, and DataHasMoved after working the preview out anew.
    """
    try:
        with (
            transaction.atomic(),
            pghistory.context(source=HistorySource.STATUS_REPORT, report=upload_id, user=by.pk),
        ):
            upload = _confirm(upload_id, revision, by, leave_out, now)
    except DataHasMoved:
        with transaction.atomic():
            upload = StatusReport.objects.select_for_update(no_key=True).get(pk=upload_id)
            # Somebody else may have confirmed it in the meantime.
            if upload.state == ReportState.PREVIEWED:
                _work_out_anew(upload, now)
        raise
    logger.warning("status report %s confirmed: %s changes", upload_id, upload.change_count)
    return upload


def undo(upload_id: int, *, by: User, now: datetime) -> StatusReport:
    """Put back everything that an upload has changed.

    Raises CannotBeDone if anything else has changed one of those subscriptions since.
    """
    with (
        transaction.atomic(),
        pghistory.context(source=HistorySource.STATUS_REPORT_REVERTED, report=upload_id, user=by.pk),
    ):
        upload = _alone_with(upload_id)
        if upload.state != ReportState.CONFIRMED:
            raise CannotBeDone(f"This report cannot be undone: it is {upload.get_state_display()}.")
        later = reported_statuses.later_report(upload)
        if later is not None:
            raise CannotBeDone(
                f"This report cannot be undone: the {later} is later, is confirmed, and names some of the same "
                "subscriptions. Nothing was changed; undo that one first."
            )
        reported_statuses.lock(upload, "before")
        moved = reported_statuses.changed_since(upload)
        if moved:
            named = ", ".join(moved[:_MOVED_NAMED])
            more = f" and {len(moved) - _MOVED_NAMED} more" if len(moved) > _MOVED_NAMED else ""
            raise CannotBeDone(
                f"This report cannot be undone: something else has changed {named}{more} since. Nothing was "
                "changed."
            )
        reported_statuses.write(upload, "before", now)
        _take_tasks_back(upload, by, now)
        revived = reported_statuses.revived(upload, "before")
        # A customer whose task was withdrawn just now may still be charged twice, for other subscriptions.
        was_told = SubscriptionAgreement.objects.filter(tasks__in=upload.tasks_opened)
        open_for_revived(SubscriptionAgreement.objects.filter(Q(pk__in=revived) | Q(pk__in=was_told)), now=now)
        upload.state, upload.undone_by, upload.undone_at = ReportState.UNDONE, by, now
        upload.save(update_fields=["state", "undone_by", "undone_at"])
    logger.warning("status report %s undone", upload_id)
    return upload


def forget_ids_of_old_previews(*, now: datetime) -> int:
    """Empty the subscription ids of previews that can no longer be confirmed; return how many there were.

    They are tokens, and kept only as long as somebody may need them: an hour more than a preview lasts, so
    that nobody is just about to confirm one.
    """
    old = StatusReport.objects.filter(
        state=ReportState.PREVIEWED, uploaded_at__lt=now - PREVIEW_LASTS - timedelta(hours=1)
    )
    return StatusReportLine.objects.filter(report__in=old).exclude(subscription_id="").update(subscription_id="")


# --- Preview ----------------------------------------------------------------------------------------


def _why_not_read(problem: Problem) -> str:
    """A sentence, with the reference number if it looks like one of ours."""
    if re.fullmatch(REFERENCE_NUMBER_PATTERN, problem.reference_number, re.ASCII):
        return f"{problem.reference_number}: {problem.why}"
    return problem.why


def _name_the_others(upload: StatusReport, report: Report, ours: set[str]) -> None:
    """Note what the report has besides one row for each of our subscriptions."""
    twice = [each for each in report.duplicates if each.reference_number in ours]
    upload.duplicates = [[each.reference_number, each.lines, each.statuses, each.counts] for each in twice[:NAMED]]
    unknown = [row.reference_number for row in report.rows if row.reference_number not in ours]
    upload.unknown_count = len(unknown)
    upload.unknown_references = [text for text in unknown if _LIKE_A_REFERENCE.fullmatch(text)][:NAMED]


def _count(upload: StatusReport, now: datetime) -> None:
    """Note how much an upload would do and what is unusual about it. Saves nothing."""
    upload.matched_count = upload.lines.count()
    upload.change_count = reported_statuses.changes_of(upload).count()
    upload.warnings = warnings_about(upload, now=now)


# --- Confirm and undo -------------------------------------------------------------------------------


def _alone_with(upload_id: int) -> StatusReport:
    """An upload, while no report is being confirmed or undone elsewhere: each depends on those before."""
    if not try_to_lock("status reports"):
        raise CannotBeDone(
            "A status report is being confirmed or undone right now. Please wait a moment, then reload this page "
            "to see how things are."
        )
    return StatusReport.objects.select_for_update(no_key=True).get(pk=upload_id)


def _confirm(upload_id: int, revision: int, by: User, leave_out: bool, now: datetime) -> StatusReport:
    upload = _alone_with(upload_id)
    _refuse_what_cannot_be_confirmed(upload, revision, leave_out, now)
    reported_statuses.lock(upload, "after")
    if any(effect != then for _, then, effect in reported_statuses.worked_out_again(upload)):
        raise DataHasMoved(
            "Something has changed since this preview was made. Nothing was applied; please look at the new one."
        )
    reported_statuses.write(upload, "after", now)
    upload.tasks_ended = _end_tasks(upload, by, now)
    upload.tasks_opened = _open_tasks(upload, now)
    upload.lines.exclude(subscription_id="").update(subscription_id="")
    upload.state, upload.confirmed_by, upload.confirmed_at = ReportState.CONFIRMED, by, now
    upload.save(update_fields=["state", "confirmed_by", "confirmed_at", "tasks_ended", "tasks_opened"])
    return upload


def _refuse_what_cannot_be_confirmed(upload: StatusReport, revision: int, leave_out: bool, now: datetime) -> None:
    if upload.state != ReportState.PREVIEWED:
        raise CannotBeDone(f"This report cannot be confirmed: it is {upload.get_state_display()} already.")
    if upload.has_expired(now):
        raise CannotBeDone(
            "This preview is more than a day old. Nothing was changed; please download the report again, and "
            "upload it."
        )
    if upload.revision != revision:
        raise CannotBeDone(
            "This preview has been worked out anew since you looked at it. Nothing was changed; please look at it "
            "again."
        )
    later = StatusReport.objects.filter(state=ReportState.CONFIRMED, uploaded_at__gt=upload.uploaded_at).first()
    if later is not None:
        raise CannotBeDone(
            f"A later report has been confirmed since: the {later}. Nothing was changed; please download the "
            "report again, and upload it."
        )
    if not upload.matched_count:
        raise CannotBeDone("No row of this report is about a subscription of ours: there is nothing to confirm.")
    if upload.problems and not leave_out:
        raise CannotBeDone(
            "Some rows could not be read, so nothing was applied. Say that they are to be left out, or upload "
            "a better file."
        )


def _work_out_anew(upload: StatusReport, now: datetime) -> None:
    """Replace what the preview says by what is true now."""
    reported_statuses.work_out_anew(upload)
    _count(upload, now)
    upload.revision += 1
    upload.save(update_fields=["revision", "matched_count", "change_count", "warnings"])


# --- Staff tasks -------------------------------------------------------------------------------------


def _end_tasks(upload: StatusReport, by: User, now: datetime) -> list[int]:
    """End what the report shows to be done: cancellations, and tokens that it has brought; return the tasks."""
    canceled = upload.lines.filter(after__status=Status.CANCELED) | upload.lines.filter(
        after__has_key="cancellation_requested_at"
    )
    with_token = upload.lines.filter(takes_token=True)
    shown = [
        (TaskKind.CANCELLATION, canceled, f"Reported as Canceled by the {upload}."),
        (TaskKind.TOKEN_MISSING, with_token, f"The {upload} had it."),
    ]
    return [
        task
        for kind, rows, note in shown
        for task in end_open(
            StaffTask.objects.filter(kind=kind, agreement__in=rows.values("agreement")),
            Resolution.DONE,
            by=by,
            note=note,
            now=now,
        )
    ]


def _open_tasks(upload: StatusReport, now: datetime) -> list[int]:
    """Open the tasks that the report gives; return them."""
    with_new_token = upload.lines.filter(takes_token=True)
    # Such tokens end when the card does (cybersource.md §4.6).
    changing = with_new_token.filter(subscription_id__regex="^[0-9]{16}$").values_list("agreement", flat=True)
    ended = SubscriptionAgreement.objects.filter(
        report_lines__report=upload, report_lines__after__status=Status.CANCELED, coverage_proof=Proof.UNPROVEN
    )
    return [
        *open_for_revived(reported_statuses.revived(upload, "after"), now=now),
        *open_about(TaskKind.UNPROVEN_CHARGE, ended.values_list("pk", flat=True), now=now),
        *open_about(TaskKind.TOKEN_CHANGES, changing, now=now),
    ]


def _take_tasks_back(upload: StatusReport, by: User, now: datetime) -> None:
    """Open again the tasks that the upload ended, and withdraw those that it opened."""
    for task in StaffTask.objects.filter(pk__in=upload.tasks_ended).order_by("id").select_for_update(no_key=True):
        task.done_at, task.done_by, task.resolution, task.note = None, None, "", ""
        task.save(update_fields=["done_at", "done_by", "resolution", "note"])
    end_open(
        StaffTask.objects.filter(pk__in=upload.tasks_opened),
        Resolution.WITHDRAWN,
        by=by,
        note=f"The {upload} was undone.",
        now=now,
    )
