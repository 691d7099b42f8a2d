"""Purge: delete previews that were never confirmed, and what no one needs any longer of a report's lines.

A report of 100,000 subscriptions has as many lines. Those that agree with our records are needed only until a
later report is confirmed, and those that change no more than dates only for as long as the report can be undone:
the history of each subscription has these changes. All others are kept, as is the report's own row, with its
numbers.
"""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from ...models import PLAN_LASTS, KeptLines, ReportState, StatusReport, StatusReportLine
from ...models.status_report import ROUTINE, UNCHANGED

# Someone may be confirming a preview just when it expires.
GRACE = timedelta(hours=1)
UNDO_LASTS = timedelta(days=90)
# How many lines are deleted at a time.
BATCH = 5_000


def purge_reports(*, now: datetime) -> tuple[int, int]:
    """Delete what has had its time; return how many previews that were, and how many lines of other reports."""
    expired = StatusReport.objects.filter(state=ReportState.PLANNED, uploaded_at__lt=now - PLAN_LASTS - GRACE)
    previews = sum(_delete_preview(report) for report in expired.only("pk"))
    _mark(KeptLines.CHANGES, _superseded().filter(kept_lines=KeptLines.ALL))
    old = _superseded().filter(uploaded_at__lt=now - UNDO_LASTS)
    _mark(KeptLines.EXCEPTIONS, old.exclude(kept_lines=KeptLines.EXCEPTIONS))
    lines = 0
    for report in StatusReport.objects.filter(is_purged=False).only("pk", "kept_lines"):
        lines += _delete(report.lines.filter(UNCHANGED if report.kept_lines == KeptLines.CHANGES else ROUTINE))
        # Unless it was marked again meanwhile.
        StatusReport.objects.filter(pk=report.pk, kept_lines=report.kept_lines).update(is_purged=True)
    return previews, lines


def _superseded() -> QuerySet[StatusReport]:
    """The reports that will never be applied, and those after which a later one was."""
    later = StatusReport.objects.filter(state=ReportState.APPLIED, uploaded_at__gt=OuterRef("uploaded_at"))
    is_over = Q(state__in=[ReportState.DISCARDED, ReportState.REVERTED])
    return StatusReport.objects.filter(is_over | (Q(state=ReportState.APPLIED) & Exists(later)))


def _mark(kept: KeptLines, reports: QuerySet[StatusReport]) -> None:
    """Record which lines are kept before any other is deleted: reverting an earlier report relies on it."""
    reports.update(kept_lines=kept, is_purged=False)


def _delete_preview(report: StatusReport) -> int:
    """Delete a preview with its lines, or leave it for now if someone is just confirming or discarding it."""
    with transaction.atomic():
        previews = StatusReport.objects.filter(pk=report.pk, state=ReportState.PLANNED)
        if previews.select_for_update(skip_locked=True).first() is None:
            return 0
        _delete(report.lines.all())
        deleted, _ = previews.delete()
    return deleted


def _delete(lines: QuerySet[StatusReportLine]) -> int:
    total = 0
    while ids := list(lines.values_list("pk", flat=True)[:BATCH]):
        deleted, _ = StatusReportLine.objects.filter(pk__in=ids).delete()
        total += deleted
    return total
