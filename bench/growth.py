"""How the database grows with its subscriptions and reports:  python -m bench.growth

Twelve monthly status reports are applied to a database of 20,000 monthly subscriptions. Each lists all of them and
proves a charge for each, so every row changes; after the sixth comes one that changes nothing. After each, what
has expired is purged as the scheduler does it, and the tables are vacuumed as autovacuum does it. Printed is what
each leaves on the disk, tables with their indexes, for each subscription.
"""

import logging
import multiprocessing
from datetime import UTC, datetime, timedelta

import psycopg2

from .status_reports import fill, report
from .world import databases, use_django

SUBSCRIPTIONS = 20_000
MONTHS = 12
UNCHANGED_AFTER = 6

SIZES = """
    SELECT relname, pg_total_relation_size(oid) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""


def sizes(url: str) -> dict[str, int]:
    """Vacuum the tables, and return the bytes of each."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute(SIZES)
        found = dict(cursor.fetchall())
    connection.close()
    return found


def measure(url: str, rows: int) -> None:
    """Apply the reports, and print what each leaves. Runs in a process of its own."""
    use_django(url)
    logging.disable(logging.WARNING)
    from django.contrib.auth.models import User

    from perma_payments.management.jobs import purge_expired
    from perma_payments.services.status_reports.apply import apply_report
    from perma_payments.services.status_reports.plan import plan_report
    from perma_payments.services.status_reports.warnings import required_checks

    someone = User.objects.create_superuser("someone")
    start = before = sizes(url)
    print(f"{'at first':28}{sum(start.values()) / rows:10,.0f} bytes per subscription")
    first = datetime.now(UTC).replace(day=5, hour=12)

    def apply(name: str, now: datetime) -> None:
        nonlocal before
        planned = plan_report(report(rows, now, statuses=("CURRENT",)), by=someone, now=now)
        apply_report(planned.pk, revision=1, by=someone, checks=required_checks(planned), now=now)
        purge_expired(now=now)
        after = sizes(url)
        grown = {table: after[table] - before[table] for table in after if after[table] != before[table]}
        parts = ", ".join(
            f"{table.removeprefix('perma_payments_')} {grown[table] / rows:,.0f}"
            for table in sorted(grown, key=lambda table: -grown[table])[:4]
        )
        print(f"{name:28}{sum(grown.values()) / rows:10,.0f} bytes per subscription: {parts}", flush=True)
        before = after

    for month in range(MONTHS):
        now = first + timedelta(days=30.5 * month)
        apply(f"report {month + 1}", now)
        if month + 1 == UNCHANGED_AFTER:
            apply("one that changes nothing", now + timedelta(hours=1))
    print(f"{'in the year':28}{(sum(before.values()) - sum(start.values())) / rows:10,.0f} bytes per subscription")


def main() -> None:
    """Measure and print."""
    with databases("growth") as (url,):
        fill(url, SUBSCRIPTIONS)
        with multiprocessing.get_context("spawn").Pool(1) as process:
            process.apply(measure, (url, SUBSCRIPTIONS))


if __name__ == "__main__":
    main()
