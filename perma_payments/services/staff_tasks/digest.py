"""The daily mails: what is still to do, and what is overdue. Silence would mean that something is broken."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.template.loader import render_to_string

from ...emails import recipients
from ...models import Purchase, Response, StaffTask
from .mail import perma_admin_url, task_url
from .outbox import DEVELOPERS, STAFF, send_report

# A customer who has paid is waiting for these.
ACKNOWLEDGE_WITHIN = timedelta(days=1)
APPLY_WITHIN = timedelta(hours=1)
NOTIFY_WITHIN = timedelta(hours=1)


@dataclass(frozen=True)
class Line:
    """A task, as the reports list it."""

    age: int
    what: str
    reference_number: str
    customer: str
    perma_admin_url: str
    task_url: str
    is_overdue: bool


def send_daily_report(*, now: datetime) -> int:
    """Mail staff everything that is still open, oldest first; on a day without, tell the developers so.

    Returns the number of open tasks. Raises NotDelivered.
    """
    lines = _open_tasks(now)
    if not lines:
        send_report(
            "Nothing pending",
            render_to_string("perma_payments/mail/nothing_pending.txt", {"now": now}),
            to=recipients(DEVELOPERS),
            message_id=_message_id("daily-report", now),
            now=now,
        )
        return 0
    overdue = sum(line.is_overdue for line in lines)
    subject = f"Still to do: {len(lines)}" + (f", {overdue} overdue" if overdue else "")
    body = render_to_string(
        "perma_payments/mail/daily_report.txt", {"now": now, "lines": lines, "overdue_days": settings.OVERDUE_DAYS}
    )
    send_report(subject, body, to=recipients(STAFF), message_id=_message_id("daily-report", now), now=now)
    return len(lines)


def remind_of_overdue(*, now: datetime) -> int:
    """Mail staff and developers what has waited for too long, if anything, and return how much.

    Raises NotDelivered.
    """
    tasks = [line for line in _open_tasks(now) if line.is_overdue]
    unacknowledged = list(Purchase.objects.unacknowledged().filter(paid_at__lt=now - ACKNOWLEDGE_WITHIN))
    unapplied = list(
        Response.objects.filter(applied_at__isnull=True, received_at__lt=now - APPLY_WITHIN).order_by("id")
    )
    untold = StaffTask.objects.filter(
        done_at__isnull=True, notified_at__isnull=True, opened_at__lt=now - NOTIFY_WITHIN
    ).count()
    ending = [key for key in settings.CS_KEYS if key.ends_soon(now.astimezone(UTC).date())]
    count = len(tasks) + len(unacknowledged) + len(unapplied) + untold + len(ending)
    if count:
        body = render_to_string(
            "perma_payments/mail/overdue.txt",
            {
                "now": now,
                "tasks": tasks,
                "overdue_days": settings.OVERDUE_DAYS,
                "unacknowledged": unacknowledged,
                "unapplied": unapplied,
                "untold": untold,
                "ending": ending,
            },
        )
        send_report(
            f"Overdue: {count}",
            body,
            to=recipients(STAFF, DEVELOPERS),
            message_id=_message_id("overdue", now),
            now=now,
        )
    return count


def _message_id(report: str, now: datetime) -> str:
    """The same however often a day's report is sent."""
    return f"{report}-{now.astimezone(UTC):%Y-%m-%d}"


def _open_tasks(now: datetime) -> list[Line]:
    tasks = (
        StaffTask.objects.filter(done_at__isnull=True)
        .select_related("agreement", "purchase", "response")
        .order_by("opened_at", "id")
    )
    return [
        Line(
            age=task.age_in_days(now),
            what=task.get_kind_display(),
            reference_number=task.reference_number,
            customer=str(task.customer or ""),
            perma_admin_url=perma_admin_url(task),
            task_url=task_url(task),
            is_overdue=task.age_in_days(now) >= settings.OVERDUE_DAYS,
        )
        for task in tasks
    ]
