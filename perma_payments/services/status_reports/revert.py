"""Revert: restore everything that a status report changed, or nothing. Staff press Undo (docs/statuses.md)."""

import logging
from collections.abc import Sequence
from datetime import datetime

import pghistory
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from ...logs import ids
from ...models import (
    KeptLines,
    ReportState,
    Resolution,
    StaffTask,
    StatusReport,
    StatusReportLine,
    SubscriptionAgreement,
    TaskKind,
)
from ...models.history import HistorySource
from ..staff_tasks import end_open, has_open_twin, open_for_revived
from .apply import CannotBeDone, lock_report, revived_agreements
from .purge import UNDO_LASTS
from .sql import Versions, lock_changed, write_changes

logger = logging.getLogger(__name__)

# How many of the subscriptions that have changed since an error names.
MAX_NAMED = 10


def revert_report(report_id: int, *, by: User, now: datetime) -> StatusReport:
    """Restore everything that a report changed. Raises CannotBeDone if its agreements have changed since."""
    with (
        transaction.atomic(),
        pghistory.context(source=HistorySource.STATUS_REPORT_REVERTED, report=report_id, user=by.pk),
    ):
        report = lock_report(report_id)
        if report.state != ReportState.APPLIED:
            raise CannotBeDone(f"This report cannot be undone: it is {report.get_state_display()}.")
        # Its lines may be deleted at this moment.
        if report.kept_lines == KeptLines.EXCEPTIONS:
            raise CannotBeDone(
                f"This report cannot be undone any longer: it is older than {UNDO_LASTS.days} days. What it "
                "changed is in the timeline of each subscription. Nothing was changed now."
            )
        _refuse_before_later_reports(report)
        # Before the locks for all subscriptions, and under them for those few that have changed meanwhile.
        versions = Versions.of_changed(report)
        _refuse_if_changed_since(report)
        lock_changed(report)
        _refuse_if_changed_since(report, only=versions.changed())
        write_changes(report, "before", now)
        _take_tasks_back(report, by, now)
        report.state, report.reverted_by, report.reverted_at = ReportState.REVERTED, by, now
        report.save(update_fields=["state", "reverted_by", "reverted_at"])
    logger.warning("status report %s reverted", report_id, extra=ids(report_id=report_id, user_id=by.pk))
    return report


def _refuse_before_later_reports(report: StatusReport) -> None:
    if not report.change_count:
        return
    shared = StatusReportLine.objects.filter(
        report=OuterRef("pk"), agreement__in=report.changes().values("agreement")
    )
    # One whose lines are not all kept has, as far as we can tell, the same ones.
    has_the_same = ~Q(kept_lines=KeptLines.ALL) | Exists(shared)
    later = StatusReport.objects.filter(
        has_the_same, state=ReportState.APPLIED, uploaded_at__gt=report.uploaded_at
    )
    first = later.order_by("uploaded_at").first()
    if first is not None:
        raise CannotBeDone(
            f"This report cannot be undone: the later {first} is confirmed and has some of the same "
            "subscriptions. Nothing was changed; undo that one first."
        )


def _refuse_if_changed_since(report: StatusReport, *, only: Sequence[int] | None = None) -> None:
    """Raise CannotBeDone if the last change of an agreement is not this report's.

    Changes by reports that have been reverted don't count, and neither does their reverting.
    """
    changes = report.changes() if only is None else report.changes().filter(agreement__in=only)
    events = SubscriptionAgreement.pgh_event_model.objects  # type: ignore[attr-defined]
    reverted = StatusReport.objects.filter(state=ReportState.REVERTED).values_list("pk", flat=True)
    last_changes = (
        events.filter(pgh_obj__in=changes.values("agreement"))
        .exclude(pgh_context__report__in=list(reverted))
        .order_by("pgh_obj", "-pgh_id")
        .distinct("pgh_obj")
    )
    others = events.filter(pk__in=last_changes.values("pk")).exclude(
        pgh_context__contains={"source": HistorySource.STATUS_REPORT, "report": report.pk}
    )
    changed = list(others.order_by("reference_number").values_list("reference_number", flat=True))
    if changed:
        more = f" and {len(changed) - MAX_NAMED} more" if len(changed) > MAX_NAMED else ""
        raise CannotBeDone(
            f"This report cannot be undone: {', '.join(changed[:MAX_NAMED])}{more} changed after it was "
            "confirmed. Nothing was changed now."
        )


def _take_tasks_back(report: StatusReport, by: User, now: datetime) -> None:
    """Reopen the tasks that applying the report ended, and withdraw those that it opened."""
    for task in StaffTask.objects.filter(pk__in=report.tasks_ended).order_by("id"):
        if has_open_twin(task):
            continue
        # Not as staff_tasks.reopen does: nobody has to be told of a task that they know.
        task.done_at, task.done_by, task.resolution, task.note = None, None, "", ""
        task.save(update_fields=["done_at", "done_by", "resolution", "note"])
    # A customer who is still charged is so without the report, too: that task stays open.
    opened = StaffTask.objects.filter(pk__in=report.tasks_opened).exclude(kind=TaskKind.STILL_CHARGED)
    end_open(opened, Resolution.WITHDRAWN, by=by, note=f"The {report} was undone.", now=now)
    # A customer whose task was just withdrawn may still be charged twice, for other subscriptions.
    revived = revived_agreements(report, "before").values("pk")
    with_task = opened.values("agreement")
    open_for_revived(SubscriptionAgreement.objects.filter(Q(pk__in=revived) | Q(pk__in=with_task)), now=now)
