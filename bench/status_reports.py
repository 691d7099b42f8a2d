"""How a status report grows with its rows:  python -m bench.status_reports

Reads, plans, applies and reverts a report of 5,000 and one of 20,000 subscriptions, each on a database that holds
just those, in a process of its own. Every row changes something: half become Hold, half stay Current and are paid
for longer. The last step applies the report again with the ORM, in place of services/status_reports/sql.py.
"""

import argparse
import cProfile
import logging
import multiprocessing
import pstats
import resource
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple
from unittest.mock import patch

import psycopg2

from .world import databases, use_django

FEW, MANY = 5_000, 20_000
STEPS = [
    "read",
    "plan",
    "page of the plan",
    "CSV of the plan",
    "apply",
    "page once applied",
    "revert",
    "apply with the ORM",
]

# Monthly subscriptions of 100 days ago that were last known to be paid until 40 days ago. The past before
# the upload has no history: triggers do not fire for a replica.
FILL = """
SET session_replication_role = replica;

INSERT INTO perma_payments_referencenumber (value)
SELECT 'PERMA-' || to_char(n / 10000, 'FM0000') || '-' || to_char(n % 10000, 'FM0000')
FROM generate_series(1, {rows}) n;

INSERT INTO perma_payments_subscriptionagreement (
    customer_type, customer_pk, status, reference_number, payment_token, current_rate, current_frequency,
    current_link_limit, current_link_limit_effective_timestamp, schedule_start, covered_until,
    coverage_proof, created_at, updated_at)
SELECT 'Registrar', n, 'Current', 'PERMA-' || to_char(n / 10000, 'FM0000') || '-' || to_char(n % 10000, 'FM0000'),
    to_char(n, 'FM0000000000000000000000'), 45, 'monthly', '100', created, created + interval '30 days',
    created + interval '60 days', 'report', created, created
FROM (SELECT n, now() - interval '100 days' AS created FROM generate_series(1, {rows}) n) drawn;

INSERT INTO perma_payments_outgoingtransaction (
    kind, transaction_uuid, transaction_type, agreement_id, message_nonce, amount, recurring_amount,
    recurring_frequency, recurring_start_date, link_limit, link_limit_effective_timestamp, created_at)
SELECT 'subscribe', gen_random_uuid(), 'sale,create_payment_token', id,
    decode(lpad(to_hex(id), 48, '0'), 'hex'), 45, 45, 'monthly',
    (date_trunc('month', created_at) + interval '1 month')::date, '100', created_at, created_at
FROM perma_payments_subscriptionagreement;

ANALYZE;
"""


class Step(NamedTuple):
    """What one step took: seconds, and the most memory of the process until its end, in bytes."""

    seconds: float
    memory: int


def report(rows: int) -> bytes:
    """A report of all that `FILL` has made."""
    lines = [
        "Subscription Search Results",
        "Merchant ID: example_merchant",
        f"Date: {datetime.now(UTC):%b %d %Y}",
        "",
        "Subscription ID,Merchant Reference Code,Customer Name,Amount,Currency,Status",
    ]
    for number in range(1, rows + 1):
        lines.append(
            f'{number:022},PERMA-{number // 10_000:04}-{number % 10_000:04},"Example {number}, Erin",45.00,USD,'
            f"{'HOLD' if number % 2 else 'CURRENT'}"
        )
    return "\r\n".join([*lines, ""]).encode()


def fill(url: str, rows: int) -> None:
    """Put the subscriptions into a database."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(FILL.format(rows=rows))
    connection.close()


def measure(url: str, rows: int, profile: bool) -> list[Step]:
    """Take a report in and put everything back. Runs in a process of its own."""
    use_django(url)
    logging.disable(logging.WARNING)  # Applying and reverting are logged as warnings.
    from django.contrib.auth.models import User
    from django.test import Client
    from django.utils import timezone

    from perma_payments.cybersource.status_report import read_report
    from perma_payments.models import SubscriptionAgreement
    from perma_payments.services.status_reports.apply import apply_report
    from perma_payments.services.status_reports.plan import plan_report
    from perma_payments.services.status_reports.revert import revert_report
    from perma_payments.services.status_reports.warnings import required_checks

    someone = User.objects.create_superuser("someone")
    client = Client(HTTP_HOST="localhost")
    client.force_login(someone)
    client.get("/admin/perma_payments/statusreport/")  # Warms up.
    data, now = report(rows), timezone.now()
    steps: list[Step] = []

    def step(act: Callable[[], Any]) -> Any:
        profiler = cProfile.Profile()
        start = time.perf_counter()
        result = profiler.runcall(act) if profile else act()
        # Linux counts in kilobytes.
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        steps.append(Step(time.perf_counter() - start, memory))
        if profile:
            print(f"\n{rows:,} rows, {STEPS[len(steps) - 1]}:", flush=True)
            pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(12)
        return result

    def page() -> None:
        response = client.get(f"/admin/perma_payments/statusreport/{planned.pk}/change/")
        if response.status_code != 200:
            raise SystemExit(f"The page of a report was answered with {response.status_code}.")

    def csv() -> None:
        lines = client.get(f"/admin/perma_payments/statusreport/{planned.pk}/changes.csv").getvalue().count(b"\n")
        if lines != rows + 1:
            raise SystemExit(f"The CSV of a report has {lines} lines.")

    def check(**expected: int) -> None:
        counts = {status: Agreements.filter(status=status).count() for status in expected}
        if counts != expected:
            raise SystemExit(f"Subscriptions by status: {counts}, expected {expected}.")

    Agreements = SubscriptionAgreement.objects
    step(partial(read_report, data))
    planned = step(partial(plan_report, data, by=someone, now=now))
    if planned.change_count != rows:
        raise SystemExit(f"{planned.change_count} of {rows} rows would change something.")
    step(page)
    step(csv)
    step(partial(apply_report, planned.pk, revision=1, by=someone, checks=required_checks(planned), now=now))
    check(Hold=rows // 2, Current=rows // 2)
    step(page)
    step(partial(revert_report, planned.pk, by=someone, now=now))
    check(Hold=0, Current=rows)
    again = plan_report(data, by=someone, now=now)
    with patch("perma_payments.services.status_reports.apply.write_changes", write_with_the_orm):
        step(partial(apply_report, again.pk, revision=1, by=someone, checks=required_checks(again), now=now))
    check(Hold=rows // 2, Current=rows // 2)
    return steps


def write_with_the_orm(report: Any, side: str, now: datetime) -> None:
    """What sql.py does, without SQL."""
    from perma_payments.models import SubscriptionAgreement
    from perma_payments.models.status_report import CHANGED_BY_REPORTS
    from perma_payments.services.status_reports.plan import planned_lines

    columns = {field.name: field for field in SubscriptionAgreement._meta.concrete_fields}
    for lines in planned_lines(report):
        agreements = [line.agreement for line in lines if line.after is not None]
        for line in lines:
            for name, value in (getattr(line, side) or {}).items():
                setattr(line.agreement, name, columns[name].to_python(value))
            line.agreement.updated_at = now
            if line.takes_token:
                line.agreement.payment_token = line.subscription_id
        SubscriptionAgreement.objects.bulk_update(
            agreements, [*CHANGED_BY_REPORTS, "payment_token", "updated_at"], batch_size=500
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.status_reports", description="Growing reports.")
    parser.add_argument("--profile", action="store_true", help="say where the time goes; all is slower then")
    profile = parser.parse_args().profile
    with databases("few", "many") as (few_url, many_url):
        found = []
        for url, rows in ((few_url, FEW), (many_url, MANY)):
            fill(url, rows)
            with multiprocessing.get_context("spawn").Pool(1) as process:
                found.append(process.apply(measure, (url, rows, profile)))
    print(f"{'':24}{FEW:>12,} rows{MANY:>12,} rows{'ratio':>8}{'at most':>12}")
    for name, few, many in zip(STEPS, *found, strict=True):
        print(
            f"{name:24}{few.seconds:15.2f} s{many.seconds:15.2f} s{many.seconds / few.seconds:8.1f}"
            f"{many.memory / 1e6:9.0f} MB"
        )
    print(f"With {FEW:,} rows at most {found[0][-1].memory / 1e6:.0f} MB.")


if __name__ == "__main__":
    main()
