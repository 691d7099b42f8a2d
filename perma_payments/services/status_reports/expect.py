"""Ask staff for the status report that is due: each month's, and one after a cancellation."""

from datetime import UTC, date, datetime, timedelta

from django.db.models import Max

from ...billing.statuses import ALIVE
from ...models import ReportState, Resolution, StaffTask, StatusReport, SubscriptionAgreement, TaskKind
from ..staff_tasks import log_opened

# By then, CyberSource has charged what was due on the 1st.
DAY_OF_MONTH = 2
# Staff who have just canceled something may be about to download the list.
AFTER_CANCELLATION = timedelta(days=1)


def expect_report(*, now: datetime) -> bool:
    """Open the task *report missing* if a report is due and the task is not open yet; return whether it was."""
    if not SubscriptionAgreement.objects.standing(now).exists():
        return False
    if not (is_due_this_month(now) or is_due_after_cancellation(now)):
        return False
    task, created = StaffTask.objects.get_or_create(
        kind=TaskKind.REPORT_MISSING, done_at=None, defaults={"opened_at": now}
    )
    if created:
        log_opened(task)
    return created


def is_due_this_month(now: datetime) -> bool:
    """Whether none was confirmed this month, and the 2nd, or the first working day after it, has come (UTC)."""
    today = now.astimezone(UTC).date()
    last = _last_applied()
    return today >= _day_due(today) and (last is None or last.astimezone(UTC).date() < today.replace(day=1))


def is_due_after_cancellation(now: datetime) -> bool:
    """Whether a cancellation was marked as done a day ago, and no report has been confirmed since."""
    done = StaffTask.objects.filter(
        kind=TaskKind.CANCELLATION,
        resolution=Resolution.DONE,
        done_at__lte=now - AFTER_CANCELLATION,
        agreement__status__in=ALIVE,
        agreement__cancellation_requested_at__isnull=False,
    )
    last = _last_applied()
    return (done if last is None else done.filter(done_at__gt=last)).exists()


def _day_due(today: date) -> date:
    day = today.replace(day=DAY_OF_MONTH)
    while day.weekday() >= 5:
        day += timedelta(days=1)
    return day


def _last_applied() -> datetime | None:
    applied = StatusReport.objects.filter(state=ReportState.APPLIED)
    last: datetime | None = applied.aggregate(last=Max("applied_at"))["last"]
    return last
