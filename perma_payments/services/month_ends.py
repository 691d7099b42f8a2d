"""How many subscriptions stood at the end of each of the last months, for the admin's front page.

That takes reading the whole history, but no month that is over changes: what happens is recorded as of now, and
the history is append-only. So the scheduler counts each month once. An import is the exception, as it brings a
history of its own: it begins by forgetting what was counted.
"""

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from dateutil.relativedelta import relativedelta
from django.db import connection, transaction
from django.db.models import Max

from ..billing.coverage import midnight
from ..billing.statuses import Status
from ..models import MonthEnd, SubscriptionAgreement
from ..postgres.clock import time_there
from .locks import lock, try_to_lock

MONTHS = 12
# An event has the time at which its transaction began, which may have been long before its COMMIT.
GRACE = timedelta(hours=1)
# How many agreements' histories are read at a time: a statement takes a second or less.
BATCH = 20_000

# Held while months are counted, or what is counted changes.
_LOCK = "month ends"
_HISTORY = SubscriptionAgreement.pgh_event_model._meta.db_table  # type: ignore[attr-defined]

# Each event of the history says how an agreement was until its next event. A Canceled one stood only until its
# covered_until, including that second (billing.statuses.is_standing, in SQL). So each event becomes a span of
# time, and a month counts the spans that its end lies in. An event has the time at which its transaction began,
# but did not happen before the one it waited for, so no event is earlier than the previous one.
_COUNT = f"""
    WITH event AS (
        SELECT status, covered_until, since,
               lead(since, 1, 'infinity') OVER (PARTITION BY pgh_obj_id ORDER BY pgh_id) AS next
        FROM (
            SELECT pgh_id, pgh_obj_id, status, covered_until,
                   max(pgh_created_at) OVER (PARTITION BY pgh_obj_id ORDER BY pgh_id) AS since
            FROM {_HISTORY} WHERE pgh_obj_id BETWEEN %s AND %s
        ) moment
    ), span AS (
        SELECT since,
               CASE status WHEN %s THEN least(next, covered_until + interval '1 second') ELSE next END AS until
        FROM event
        WHERE status IN (%s, %s) OR (status = %s AND covered_until IS NOT NULL)
    )
    SELECT month_end, count(*) FROM unnest(%s) month_end JOIN span ON since < month_end AND until >= month_end
    GROUP BY month_end
"""
_STATUSES = (Status.CANCELED, Status.CURRENT, Status.HOLD, Status.CANCELED)


class Month(NamedTuple):
    """How many subscriptions stood at the end of a month, or None if that is not counted yet."""

    month: date
    standing: int | None


def last_months(*, now: datetime) -> list[Month]:
    """The last twelve months that are over, latest first."""
    this_month = now.astimezone(UTC).date().replace(day=1)
    months = [this_month - relativedelta(months=back) for back in range(1, MONTHS + 1)]
    counted = dict(MonthEnd.objects.filter(month__in=months).values_list("month", "standing"))
    return [Month(month, counted.get(month)) for month in months]


def count_months(*, now: datetime) -> int:
    """Count those that were not counted yet; return how many that were.

    While another scheduler counts them, or an import is going on, it counts nothing: the next purge does.
    """
    with transaction.atomic():
        if not try_to_lock(_LOCK):
            return 0
        # A clock that is ahead must not count a month that goes on.
        over = min(now, time_there()) - GRACE
        lacking = [month for month, standing in last_months(now=now) if standing is None and _end(month) <= over]
        if lacking:
            counts = _count([_end(month) for month in lacking])
            MonthEnd.objects.bulk_create(MonthEnd(month=each, standing=counts[_end(each)]) for each in lacking)
    return len(lacking)


def forget() -> None:
    """Let all months be counted again after this transaction, which changes the history."""
    lock(_LOCK)
    MonthEnd.objects.all().delete()


def _count(ends: list[datetime]) -> dict[datetime, int]:
    """How many subscriptions stood at each of these moments."""
    counts = dict.fromkeys(ends, 0)
    last = SubscriptionAgreement.objects.aggregate(pk=Max("pk"))["pk"] or 0
    with connection.cursor() as cursor:
        for first in range(1, last + 1, BATCH):
            cursor.execute(_COUNT, [first, first + BATCH - 1, *_STATUSES, ends])
            for end, number in cursor.fetchall():
                counts[end] += number
    return counts


def _end(month: date) -> datetime:
    """When a month ended: what happens at that very moment belongs to the next one."""
    return midnight(month + relativedelta(months=1))
