"""Mails to staff and developers. They hold ids and amounts only: no personal data."""

import re
from collections.abc import Sized
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, NamedTuple

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from ..billing.transactions import Kind
from ..cybersource.reasons import explain
from ..emails import Mail, recipients
from ..models import DatabaseRestore, JobRun, Resolution, Response, StaffTask, SubscriptionAgreement, TaskKind
from ..services.staff_tasks.outbox import send_report
from ..services.status_reports.expect import is_due_this_month
from .links import business_center_url, perma_admin_url

APPLY_WITHIN = timedelta(hours=1)
NOTIFY_WITHIN = timedelta(hours=1)
# How many responses that are late are named.
MAX_NAMED = 20


def task_mail(task: StaffTask) -> Mail:
    """What happened, what to do, where to look, and what happens if nobody does it."""
    is_taken_back = task.resolution == Resolution.TAKEN_BACK
    body = _render(
        "cancellation_taken_back" if is_taken_back else task.kind.replace(" ", "_"),
        task=task,
        outgoing=task.response.outgoing if task.response else None,
        others=_other_standing(task),
        granted=_granted_response(task),
        restore=DatabaseRestore.objects.filter(done_at=task.opened_at).first()
        if task.kind == TaskKind.RESTORED
        else None,
        reason=explain(task.response.reason_code) if task.response else "",
        after_cancellation=task.kind == TaskKind.REPORT_MISSING and not is_due_this_month(task.opened_at),
        perma_admin_url=_perma_admin_url(task),
        business_center_url=business_center_url(),
        task_url=_task_url(task),
    )
    subject = "Do not cancel: taken back by the customer" if is_taken_back else task.get_kind_display()
    return Mail(f"{subject}: {task.reference_number}" if task.reference_number else subject, body)


def send_daily_report(*, now: datetime) -> None:
    """Mail staff every open task, oldest first; if there is none, tell the developers. Raises NotDelivered.

    It goes out every day, so silence means that something is broken. If something is late that only developers can
    help with, they get it as well.
    """
    tasks = _open_tasks(now)
    late = _what_is_late(now)
    names = ["STAFF_EMAILS"] if tasks else []
    if late or not tasks:
        names.append("DEVELOPER_EMAILS")
    overdue = sum(task.is_overdue for task in tasks)
    counts = [f"Still to do: {len(tasks)}"] if tasks else []
    counts += [f"{overdue} overdue"] if overdue else []
    counts += ["something is late"] if late else []
    template = "daily_report" if tasks else "nothing_pending"
    body = _render(template, now=now, tasks=tasks, overdue_days=settings.OVERDUE_DAYS, late=late)
    mail = Mail(", ".join(counts) or "Nothing pending", body)
    send_report("daily-report", mail, to=recipients(*names), now=now)


def _what_is_late(now: datetime) -> list[str]:
    """What the service itself should have done by now, in sentences for the developers."""
    late = []
    unapplied = Response.objects.filter(applied_at=None, received_at__lt=now - APPLY_WITHIN).order_by("id")
    if ids := list(unapplied.values_list("pk", flat=True)[:MAX_NAMED]):
        late.append(
            "Responses from CyberSource that have not been applied for more than an hour: "
            f'{", ".join(map(str, ids))}. The log says why, and "manage.py apply_responses" tries again.'
        )
    if unmailed := StaffTask.objects.filter(
        done_at=None, notified_at=None, opened_at__lt=now - NOTIFY_WITHIN
    ).count():
        late.append(
            f"Staff tasks that have not been emailed for more than an hour: {unmailed}. The log says why, and "
            '"manage.py send_task_mails" tries again.'
        )
    today = now.astimezone(UTC).date()
    runs = JobRun.objects.filter(job="daily report", day__lt=today, done_at__isnull=False)
    last = runs.order_by("-day").values_list("day", flat=True).first()
    if last is not None and today - last > timedelta(days=1):
        late.append(f"The scheduler: before today, the daily report was last sent on {last:%Y-%m-%d}.")
    return late


def remind_of_overdue(*, now: datetime) -> None:
    """Mail staff and developers about what a person should have done by now, if anything. Raises NotDelivered."""
    waiting: dict[str, Sized] = {
        "tasks": [task for task in _open_tasks(now) if task.is_overdue],
        "keys": [key for key in settings.CS_KEYS if key.ends_soon(now.astimezone(UTC).date())],
    }
    if number := sum(len(each) for each in waiting.values()):
        body = _render("overdue", now=now, overdue_days=settings.OVERDUE_DAYS, **waiting)
        to = recipients("STAFF_EMAILS", "DEVELOPER_EMAILS")
        send_report("overdue", Mail(f"Overdue: {number}", body), to=to, now=now)


class _OpenTask(NamedTuple):
    task: StaffTask
    age: int  # in days
    is_overdue: bool
    perma_admin_url: str
    url: str


def _open_tasks(now: datetime) -> list[_OpenTask]:
    tasks = StaffTask.objects.filter(done_at=None).order_by("opened_at", "id")
    return [
        _OpenTask(task, age, age >= settings.OVERDUE_DAYS, _perma_admin_url(task), _task_url(task))
        for task in tasks.select_related("agreement", "purchase", "response")
        for age in [task.age_in_days(now)]
    ]


def _other_standing(task: StaffTask) -> list[SubscriptionAgreement]:
    """The customer's other standing subscriptions: what is done to one may have to be done to them."""
    if task.agreement is None:
        return []
    standing = SubscriptionAgreement.objects.of(task.agreement.customer).standing(timezone.now())
    return list(standing.exclude(pk=task.agreement.pk))


def _granted_response(task: StaffTask) -> Response | None:
    """The other response that gave the customer what they paid for: to the same checkout, or the same change."""
    if task.response is None or task.response.outgoing is None:
        return None
    outgoing = task.response.outgoing
    others = Response.objects.granted().exclude(pk=task.response.pk).order_by("id")
    same_change = others.filter(
        outgoing__agreement=outgoing.agreement_id,
        outgoing__kind=Kind.CHANGE,
        outgoing__recurring_amount=outgoing.recurring_amount,
        outgoing__link_limit=outgoing.link_limit,
    )
    own = others.filter(outgoing=outgoing).first()
    return own or (same_change.last() if outgoing.kind == Kind.CHANGE else None)


def _perma_admin_url(task: StaffTask) -> str:
    """The customer's page in Perma.cc's own admin; empty without a customer."""
    return perma_admin_url(task.customer) if task.customer else ""


def _task_url(task: StaffTask) -> str:
    """The task's page in our admin; empty where the admin is off."""
    try:
        path = reverse("admin:perma_payments_stafftask_change", args=[task.pk])
    except NoReverseMatch:
        return ""
    return settings.PAYMENTS_URL + path


def _render(name: str, **context: Any) -> str:
    """Render a mail's template. Its steps begin with ``#.`` and are numbered here, as some depend on the task."""
    numbers = count(1)
    text = render_to_string(f"perma_payments/mail/{name}.txt", context)
    return re.sub(r"^#\.", lambda _: f"{next(numbers)}.", text, flags=re.MULTILINE)
