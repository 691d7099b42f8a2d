"""What the admin's front page tells: the work list, the numbers that matter, and a year of subscriptions.

Each part is one or two statements, so that the page stays quick, and is asked for on its own: who may
not look at a table is not told numbers from it.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from dateutil.relativedelta import relativedelta
from django.conf import settings
from django.db import connection
from django.db.models import Count, Q, Sum

from ..billing.schedules import Frequency
from ..billing.statuses import Status
from ..models import Purchase, ReportState, Response, StaffTask, StatusReport, SubscriptionAgreement

TASKS_SHOWN = 50
MONTHS_SHOWN = 12

# From here on, what should have happened by now is worth a look.
A_DAY = timedelta(days=1)

# The report of a month is uploaded on its 2nd.
REPORT_EXPECTED_BY = 3


@dataclass(frozen=True)
class TaskLine:
    """An open task, as the work list shows it."""

    id: int
    what: str
    age: int
    is_overdue: bool
    reference_number: str
    customer: str


@dataclass(frozen=True)
class WorkList:
    """What a person must do: the oldest tasks, and how many there are."""

    lines: list[TaskLine]
    open: int
    overdue: int
    unsent: int

    @property
    def hidden(self) -> int:
        """How many open tasks are not among the lines."""
        return self.open - len(self.lines)


@dataclass(frozen=True)
class Subscriptions:
    """The standing subscriptions, counted, and what the Current ones bring in."""

    by_status: list[tuple[str, list[int], int]]
    customer_types: list[str]
    total: int
    monthly_value: Decimal
    pending_long: int


@dataclass(frozen=True)
class Purchases:
    """Purchases that are paid, and that Perma.cc has not credited yet."""

    unacknowledged: int
    for_more_than_a_day: int


@dataclass(frozen=True)
class LastReport:
    """When the last status report was confirmed, if any ever was, and whether that is too long ago."""

    upload_id: int | None
    applied_at: datetime | None
    is_missing: bool


@dataclass(frozen=True)
class MonthEnd:
    """How many subscriptions stood at the end of a month."""

    month: date
    standing: int


def work_list(*, now: datetime) -> WorkList:
    """The open tasks, the oldest first, up to TASKS_SHOWN of them."""
    open_tasks = StaffTask.objects.filter(done_at__isnull=True)
    counts = open_tasks.aggregate(
        open=Count("id"),
        overdue=Count("id", filter=Q(opened_at__lte=now - timedelta(days=settings.OVERDUE_DAYS))),
        unsent=Count("id", filter=Q(notified_at__isnull=True)),
    )
    oldest = open_tasks.select_related("agreement", "purchase", "response").order_by("opened_at", "id")
    return WorkList([_line(task, now) for task in oldest[:TASKS_SHOWN]], **counts)


def _line(task: StaffTask, now: datetime) -> TaskLine:
    age = task.age_in_days(now)
    return TaskLine(
        id=task.pk,
        what=task.get_kind_display(),
        age=age,
        is_overdue=age >= settings.OVERDUE_DAYS,
        reference_number=task.reference_number,
        customer=str(task.customer or ""),
    )


def subscriptions(*, now: datetime) -> Subscriptions:
    """Count the standing subscriptions, and add up what the Current ones bring in."""
    groups = (
        SubscriptionAgreement.objects.standing(now)
        .order_by()
        .values_list("status", "customer_type", "current_frequency")
        .annotate(count=Count("id"), rates=Sum("current_rate"))
    )
    counts: Counter[tuple[str, str]] = Counter()
    rates: dict[str, Decimal] = defaultdict(Decimal)
    for status, customer_type, frequency, count, rate in groups:
        counts[status, customer_type] += count
        if status == Status.CURRENT:
            rates[frequency] += rate
    types = sorted({customer_type for _, customer_type in counts}, reverse=True)
    by_status = []
    for status in (Status.CURRENT, Status.HOLD, Status.CANCELED):
        row = [counts[status, customer_type] for customer_type in types]
        by_status.append((str(status), row, sum(row)))
    return Subscriptions(
        by_status=by_status,
        customer_types=types,
        total=counts.total(),
        monthly_value=monthly_value(rates),
        pending_long=SubscriptionAgreement.objects.filter(
            status=Status.PENDING, created_at__lt=now - A_DAY
        ).count(),
    )


def monthly_value(rates: dict[str, Decimal]) -> Decimal:
    """What rates bring in per month, given the sum of the rates of each frequency; rounded once, at the end."""
    per_year = sum((Frequency(name).charges_per_year * rate for name, rate in rates.items()), Decimal())
    return (per_year / 12).quantize(Decimal("0.01"), ROUND_HALF_UP)


def purchases(*, now: datetime) -> Purchases:
    """Count the purchases that wait for Perma.cc to credit them."""
    return Purchases(
        **Purchase.objects.unacknowledged()
        .order_by()
        .aggregate(unacknowledged=Count("id"), for_more_than_a_day=Count("id", filter=Q(paid_at__lt=now - A_DAY)))
    )


def responses_not_applied() -> int:
    """How many of CyberSource's responses have not been applied."""
    return Response.objects.filter(applied_at__isnull=True).count()


def last_report(*, now: datetime) -> LastReport:
    """When the last status report was confirmed. It is missing if none was this month, once the 3rd is over."""
    last = (
        StatusReport.objects.filter(state=ReportState.APPLIED)
        .order_by("-applied_at")
        .values_list("id", "applied_at")
        .first()
    )
    today = now.astimezone(UTC)
    month_began = today.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    upload_id, applied_at = last or (None, None)
    return LastReport(
        upload_id=upload_id,
        applied_at=applied_at,
        is_missing=today.day > REPORT_EXPECTED_BY and (applied_at is None or applied_at < month_began),
    )


def year_of_standing(*, now: datetime) -> list[MonthEnd]:
    """How many subscriptions stood at the end of each of the last twelve months, from the history.

    Each event says how an agreement was from then until its next event; one that was Canceled stood only
    until its covered_until, that second included (billing.statuses.is_standing, in SQL). So each is a span of
    time, and a month's end counts the spans that it lies in. (What waited for a lock has the time at which
    its transaction began: it did not happen before what it waited for.)
    """
    this_month = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    # A month ends where the next one begins; what happens at that very moment belongs to the next.
    ends = [this_month - relativedelta(months=back) for back in reversed(range(MONTHS_SHOWN))]
    counts = ", ".join("count(*) FILTER (WHERE since < %s AND until >= %s)" for _ in ends)
    history = SubscriptionAgreement.pgh_event_model._meta.db_table  # type: ignore[attr-defined]
    # The name of the table is the model's own.
    sql = f"""
        WITH event AS (
            SELECT status, covered_until, since,
                   lead(since, 1, 'infinity') OVER (PARTITION BY pgh_obj_id ORDER BY pgh_id) AS next
            FROM (
                SELECT pgh_id, pgh_obj_id, status, covered_until,
                       max(pgh_created_at) OVER (PARTITION BY pgh_obj_id ORDER BY pgh_id) AS since
                FROM {history}
            ) moment
        ), span AS (
            SELECT since,
                   CASE status WHEN %s THEN least(next, covered_until + interval '1 second') ELSE next END AS until
            FROM event
            WHERE status IN (%s, %s) OR (status = %s AND covered_until IS NOT NULL)
        )
        SELECT {counts} FROM span
    """
    with connection.cursor() as cursor:
        cursor.execute(
            sql,
            [
                Status.CANCELED,
                Status.CURRENT,
                Status.HOLD,
                Status.CANCELED,
                *(moment for end in ends for moment in (end, end)),
            ],
        )
        standing = cursor.fetchone()
    return [
        MonthEnd(month=(end - relativedelta(days=1)).date().replace(day=1), standing=count)
        for end, count in zip(ends, standing, strict=True)
    ]
