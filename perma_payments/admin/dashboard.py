"""The admin's front page: whether all is right, what to do today, the numbers that matter, and the last year.

Each part is shown to users who may view the table that it is about. All staff see that checkouts are frozen, and
whether the scheduler runs.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from ..billing.statuses import Status
from ..models import CheckoutFreeze
from ..services import health, month_ends
from . import figures
from .base import may_view


class Concern(NamedTuple):
    """Something that is not as it should be, and where it is listed."""

    text: str
    url: str


class Scheduler(NamedTuple):
    """Since when the scheduler has not run, if it ever did, and whether that is too long."""

    ran_at: datetime | None
    age: str
    is_late: bool

    @classmethod
    def now(cls, now: datetime) -> "Scheduler":
        jobs = health.heartbeats()
        ran_at = health.last_tick(jobs)
        age = health.in_words(now - ran_at) if ran_at else ""
        return cls(ran_at, age, not health.scheduler(jobs, now=now).is_ok)


def overview(user: Any) -> dict[str, Any]:
    """The template's context: the parts of the page that a user may see."""
    now = timezone.now()
    shown: dict[str, Any] = {
        "overdue_days": settings.OVERDUE_DAYS,
        "freeze": CheckoutFreeze.objects.in_force().select_related("began_by").first(),
        "frozen_by_setting": settings.CHECKOUTS_FROZEN,
        "scheduler": Scheduler.now(now),
    }
    if may_view(user, "stafftask"):
        shown["work"] = figures.work_list(now=now)
    if may_view(user, "subscriptionagreement"):
        shown["subscriptions"] = figures.subscriptions(now=now)
        shown["months"] = month_ends.last_months(now=now)
        # The bars of the chart start at zero, so their lengths can be compared.
        shown["most"] = max(1, shown["subscriptions"].total, *(month.standing or 0 for month in shown["months"]))
    if may_view(user, "purchase"):
        shown["purchases"] = figures.purchases(now=now)
    if may_view(user, "response"):
        shown["responses_not_applied"] = figures.responses_not_applied()
    if may_view(user, "statusreport"):
        shown["report"] = figures.last_report(now=now)
    shown["concerns"] = list(_concerns(shown))
    return shown


def _concerns(shown: dict[str, Any]) -> Iterator[Concern]:
    """What a person should look into, other than the tasks that are not overdue."""
    if (work := shown.get("work")) and work.overdue:
        yield Concern(f"{_count(work.overdue, 'task')} overdue", _list_of("stafftask", "done_at__isempty=1"))
    if work and work.unsent:
        text = f"{_count(work.unsent, 'task')} not emailed yet (retried automatically)"
        yield Concern(text, _list_of("stafftask", "done_at__isempty=1"))
    if (subscriptions := shown.get("subscriptions")) and subscriptions.pending_long:
        text = f"{_count(subscriptions.pending_long, 'subscription')} Pending for more than a day"
        yield Concern(text, _list_of("subscriptionagreement", f"status__exact={Status.PENDING}"))
    if responses := shown.get("responses_not_applied"):
        yield Concern(f"{_count(responses, 'response')} not applied", _list_of("response", "applied=no"))
    if (report := shown.get("report")) and report.is_missing:
        yield Concern("no status report confirmed this month", _list_of("statusreport"))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _list_of(model: str, query: str = "") -> str:
    url = reverse(f"admin:perma_payments_{model}_changelist")
    return f"{url}?{query}" if query else url
