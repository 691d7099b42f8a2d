"""What the admin's front page counts: tasks, subscriptions, purchases, responses and reports.

Each function makes one or two queries, so the page stays fast, and reads one table, because a user may not be
permitted to view the others.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from django.conf import settings
from django.db.models import Case, Count, Q, Sum, When

from ..billing.coverage import midnight
from ..billing.schedules import Frequency
from ..billing.statuses import ALIVE, Status
from ..models import Purchase, ReportState, Response, StaffTask, StatusReport, SubscriptionAgreement

TASKS_SHOWN = 50

# What is still pending after this long deserves a look.
A_DAY = timedelta(days=1)

# Staff upload the month's report on the 2nd.
REPORT_EXPECTED_BY = 3


@dataclass(frozen=True)
class WorkList:
    """The oldest open tasks with their ages in days; how many tasks are open, overdue, and not emailed yet."""

    oldest: list[tuple[StaffTask, int]]
    open: int
    overdue: int
    unsent: int

    @property
    def hidden(self) -> int:
        return self.open - len(self.oldest)


@dataclass(frozen=True)
class Subscriptions:
    """The standing subscriptions, and what the Current ones are worth per month.

    ``by_status`` has a status, its count for each of ``customer_types``, and its total.
    """

    by_status: list[tuple[str, list[int], int]]
    customer_types: list[str]
    total: int
    monthly_value: Decimal
    pending_long: int


class LastReport(NamedTuple):
    """The last status report that was confirmed, if any, and whether that was too long ago."""

    pk: int | None
    applied_at: datetime | None
    is_missing: bool


def work_list(*, now: datetime) -> WorkList:
    """The open tasks, oldest first, up to TASKS_SHOWN of them."""
    open_tasks = StaffTask.objects.filter(done_at__isnull=True)
    counts = open_tasks.aggregate(
        open=Count("id"),
        overdue=Count("id", filter=Q(opened_at__lte=now - timedelta(days=settings.OVERDUE_DAYS))),
        unsent=Count("id", filter=Q(notified_at__isnull=True)),
    )
    related = open_tasks.select_related("agreement", "purchase", "response", "claimed_by")
    tasks = related.order_by("opened_at", "id")
    return WorkList([(task, task.age_in_days(now)) for task in tasks[:TASKS_SHOWN]], **counts)


def subscriptions(*, now: datetime) -> Subscriptions:
    # Apart, because an index has all that is asked of the first.
    alive = SubscriptionAgreement.objects.filter(status__in=sorted(ALIVE))
    running_out = SubscriptionAgreement.objects.standing(now).filter(status=Status.CANCELED)
    counts: Counter[tuple[str, str]] = Counter()
    rates: dict[str, Decimal] = defaultdict(Decimal)
    for rows in (alive, running_out):
        groups = rows.order_by().values_list("status", "customer_type", "current_frequency")
        sums = groups.annotate(count=Count("*"), rates=Sum(rate_in_force(now)))
        for status, customer_type, frequency, count, rate in sums:
            counts[status, customer_type] += count
            if status == Status.CURRENT:
                rates[frequency] += rate
    types = sorted({customer_type for _, customer_type in counts}, reverse=True)
    by_status = []
    for status in (Status.CURRENT, Status.HOLD, Status.CANCELED):
        row = [counts[status, customer_type] for customer_type in types]
        by_status.append((str(status), row, sum(row)))
    pending = SubscriptionAgreement.objects.filter(status=Status.PENDING)
    return Subscriptions(
        by_status=by_status,
        customer_types=types,
        total=counts.total(),
        monthly_value=monthly_value(rates),
        pending_long=pending.filter(created_at__lt=now - A_DAY).count(),
    )


def rate_in_force(now: datetime) -> Case:
    """billing.terms.AgreedTerms.as_of, in SQL."""
    return Case(When(scheduled_from__lte=now, then="scheduled_rate"), default="current_rate")


def monthly_value(rates: dict[str, Decimal]) -> Decimal:
    """Dollars per month, given the sum of the rates of each frequency; rounded only once, at the end."""
    per_year = sum((Frequency(name).charges_per_year * rate for name, rate in rates.items()), Decimal())
    return (per_year / 12).quantize(Decimal("0.01"), ROUND_HALF_UP)


def purchases(*, now: datetime) -> dict[str, int]:
    """Paid purchases that Perma.cc has not credited: how many, and how many ``for_more_than_a_day``."""
    unacknowledged = Purchase.objects.unacknowledged().order_by()
    return unacknowledged.aggregate(
        unacknowledged=Count("id"), for_more_than_a_day=Count("id", filter=Q(paid_at__lt=now - A_DAY))
    )


def responses_not_applied() -> int:
    return Response.objects.filter(applied_at__isnull=True).count()


def last_report(*, now: datetime) -> LastReport:
    """A report is missing if none was confirmed this month, once the 3rd is over."""
    applied = StatusReport.objects.filter(state=ReportState.APPLIED).order_by("-applied_at")
    pk, applied_at = applied.values_list("id", "applied_at").first() or (None, None)
    today = now.astimezone(UTC).date()
    is_missing = today.day > REPORT_EXPECTED_BY and (
        applied_at is None or applied_at < midnight(today.replace(day=1))
    )
    return LastReport(pk, applied_at, is_missing)
