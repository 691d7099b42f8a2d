"""How a status report grows with its rows:  python -m bench.status_reports

Reads, plans, applies and reverts a report of 5,000 and one of 100,000 subscriptions, each on a database that holds
just those, in a process of its own. Every row changes something: half become Hold, and half are paid for longer,
of which a tenth had been canceled. Then the report is applied once more while another process delivers callbacks
about its subscriptions.
"""

import itertools
import logging
import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlencode

import psycopg2

from .world import FORM, databases, use_django

SIZES = (5_000, 100_000)
CALLBACKS = 400
BETWEEN_CALLBACKS = 0.02
spawn = multiprocessing.get_context("spawn")

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
SELECT 'Registrar', n, {status}, 'PERMA-' || to_char(n / 10000, 'FM0000') || '-' || to_char(n % 10000, 'FM0000'),
    to_char(n, 'FM0000000000000000000000'), 45, 'monthly', '100', created, created + interval '30 days',
    created + interval '60 days', 'report', created, created
FROM (SELECT n, now() - interval '100 days' AS created FROM generate_series(1, {rows}) n) drawn;

ANALYZE;
"""

# The same, but that a tenth of those that a report shows as charged had been canceled.
SOME_CANCELED = "CASE n % 20 WHEN 0 THEN 'Canceled' ELSE 'Current' END"


@dataclass(frozen=True)
class Step:
    """What one step took: seconds, and the most memory of the process until its end, in bytes."""

    seconds: float
    memory: int


def report(rows: int, made_on: datetime, *, statuses: tuple[str, ...]) -> bytes:
    """A report of all that `FILL` has made, whose statuses take turns."""
    lines = [
        f"Date: {made_on:%b %d %Y}",
        "Subscription ID,Merchant Reference Code,Customer Name,Amount,Currency,Status",
    ]
    for number, status in zip(range(1, rows + 1), itertools.cycle(statuses)):
        reference = f"PERMA-{number // 10_000:04}-{number % 10_000:04}"
        lines.append(f'{number:022},{reference},"Example {number}, Erin",45.00,USD,{status}')
    return "\r\n".join([*lines, ""]).encode()


def fill(url: str, rows: int, *, status: str = "'Current'") -> None:
    """Put the subscriptions into a database. Their status is an expression of SQL, of their numbers n."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(FILL.format(rows=rows, status=status))
    connection.close()


def measure(url: str, rows: int) -> dict[str, Step]:
    """Take a report in, put everything back, and apply it under callbacks. Runs in a process of its own."""
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
    now = timezone.now()
    data = report(rows, now, statuses=("HOLD", "CURRENT"))
    steps: dict[str, Step] = {}

    def step(name: str, act: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = act()
        # Linux counts in kilobytes.
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        steps[name] = Step(time.perf_counter() - start, memory)
        return result

    def page() -> None:
        response = client.get(f"/admin/perma_payments/statusreport/{planned.pk}/change/")
        if response.status_code != 200:
            raise SystemExit(f"The page of a report was answered with {response.status_code}.")

    def csv() -> None:
        response = client.get(f"/admin/perma_payments/statusreport/{planned.pk}/changes.csv")
        lines = sum(line.count(b"\n") for line in response)
        if lines != rows + 1:
            raise SystemExit(f"The CSV of a report has {lines} lines.")

    def check(**expected: int) -> None:
        counts = {status: Agreements.filter(status=status).count() for status in expected}
        if counts != expected:
            raise SystemExit(f"Subscriptions by status: {counts}, expected {expected}.")

    def apply(report: Any) -> None:
        apply_report(report.pk, revision=1, by=someone, checks=required_checks(report), now=now)

    Agreements = SubscriptionAgreement.objects
    step("read", partial(read_report, data))
    planned = step("plan", partial(plan_report, data, by=someone, now=now))
    if planned.change_count != rows:
        raise SystemExit(f"{planned.change_count} of {rows} rows would change something.")
    step("page of the plan", page)
    step("CSV of the plan", csv)
    step("apply", partial(apply, planned))
    check(Hold=rows // 2, Current=rows // 2)
    step("revert", partial(revert_report, planned.pk, by=someone, now=now))
    check(Hold=0, Current=rows - rows // 20)
    again = plan_report(data, by=someone, now=now)
    ours, theirs = spawn.Pipe()
    other = spawn.Process(target=deliver, args=(url, theirs))
    other.start()
    ours.recv()
    step("apply under callbacks", partial(apply, again))
    ours.send("applied")
    steps["longest callback"] = Step(ours.recv(), 0)
    other.join()
    check(Hold=rows // 2, Current=rows // 2)
    return steps


def deliver(url: str, parent: Connection) -> None:
    """Deliver callbacks about subscriptions all over the report until it is applied, in a process of its own.

    Tells the parent when it begins, and at the end how long the slowest took, in seconds.
    """
    use_django(url)
    logging.disable(logging.ERROR)  # A callback that has to wait too long is applied later.
    from django.test import Client

    from perma_payments.billing.transactions import Kind
    from perma_payments.models import SubscriptionAgreement
    from perma_payments.tests import cyber_source, records

    agreements = SubscriptionAgreement.objects.order_by("pk")
    some = agreements[:: max(agreements.count() // CALLBACKS, 1)]
    bodies = [urlencode(cyber_source.response(records.form(records.outgoing(Kind.UPDATE, each)))) for each in some]
    client = Client(HTTP_HOST="localhost")
    parent.send("ready")
    longest = 0.0
    for body in bodies:
        start = time.perf_counter()
        response = client.post("/cybersource-callback/", body, content_type=FORM)
        longest = max(longest, time.perf_counter() - start)
        if response.status_code != 200:
            raise SystemExit(f"A callback was answered with {response.status_code}.")
        if parent.poll(BETWEEN_CALLBACKS):
            break
    parent.recv()
    parent.send(longest)


def main() -> dict[int, dict[str, Step]]:
    """Measure, print, and return what each step took, by the number of rows."""
    found = {}
    with databases("few", "many") as urls:
        for url, rows in zip(urls, SIZES, strict=True):
            fill(url, rows, status=SOME_CANCELED)
            # Not a Pool: its processes may have no children.
            with ProcessPoolExecutor(1, spawn) as process:
                found[rows] = process.submit(measure, url, rows).result()
    few, many = found.values()
    print(f"{'':24}{SIZES[0]:>12,} rows{SIZES[1]:>12,} rows{'ratio':>8}{'at most':>12}")
    for name, step in many.items():
        print(
            f"{name:24}{few[name].seconds:15.2f} s{step.seconds:15.2f} s{step.seconds / few[name].seconds:8.1f}"
            + (f"{step.memory / 1e6:9.0f} MB" if step.memory else "")
        )
    return found


if __name__ == "__main__":
    main()
