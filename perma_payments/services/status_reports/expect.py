"""Ask staff for the status report that is due: each month's, and one after a cancellation."""

from datetime import UTC, date, datetime, timedelta

import pghistory
from django.db.models import QuerySet

from ...billing.coverage import midnight
from ...billing.statuses import ALIVE
from ...models import ReportState, Resolution, StaffTask, StatusReport, SubscriptionAgreement, TaskKind
from ...models.history import HistorySource
from ...postgres.write import insert_unless_there
from ..staff_tasks import log_opened

# By then, CyberSource has charged what was due on the 1st.
DAY_OF_MONTH = 2
# Staff who have just canceled something may be about to download the list.
AFTER_CANCELLATION = timedelta(days=1)


def expect_report(*, now: datetime) -> bool:
    """Open the task *report missing* if a report is due and the task is not open yet; return whether it was."""
    agreements = SubscriptionAgreement.objects
    # An index finds the first at once, and PostgreSQL looks for all to find one of either.
    if not (agreements.filter(status__in=sorted(ALIVE)).exists() or agreements.standing(now).exists()):
        return False
    if not (is_due_this_month(now) or is_due_after_cancellation(now)):
        return False
    if StaffTask.objects.filter(kind=TaskKind.REPORT_MISSING, done_at=None).exists():
        return False
    task = StaffTask(kind=TaskKind.REPORT_MISSING, opened_at=now)
    with pghistory.context(source=HistorySource.SCHEDULER):
        if not insert_unless_there(task):
            return False
    log_opened(task)
    return True


def is_due_this_month(now: datetime) -> bool:
    """Whether the 2nd, or the first working day after it, has come (UTC), and no report knows of this month."""
    today = now.astimezone(UTC).date()
    return today >= _day_due(today) and all(report.as_of < today.replace(day=1) for report in _applied())


def is_due_after_cancellation(now: datetime) -> bool:
    """Whether a cancellation was marked as done a day ago, and no report made since then has been confirmed."""
    known_until = max(map(_knows_until, _applied()), default=datetime.min.replace(tzinfo=UTC))
    return StaffTask.objects.filter(
        kind=TaskKind.CANCELLATION,
        resolution=Resolution.DONE,
        done_at__gt=known_until,
        done_at__lte=now - AFTER_CANCELLATION,
        agreement__status__in=ALIVE,
        agreement__cancellation_requested_at__isnull=False,
    ).exists()


def _knows_until(report: StatusReport) -> datetime:
    """The last moment that an applied report covers: it shows if what was marked as done by then is canceled."""
    assert report.applied_at is not None
    end_of_day = midnight(report.as_of + timedelta(days=1)) - timedelta(microseconds=1)
    return min(report.applied_at, end_of_day)


def _day_due(today: date) -> date:
    day = today.replace(day=DAY_OF_MONTH)
    while day.weekday() >= 5:
        day += timedelta(days=1)
    return day


def _applied() -> QuerySet[StatusReport]:
    return StatusReport.objects.filter(state=ReportState.APPLIED).only("made_on", "uploaded_at", "applied_at")
