"""How long Perma.cc waits for a customer's status:  python -m bench.status

In turn, so that all meet the same conditions: GET /subscribe/, a page that needs no database; the status of a
customer in a nearly empty database; of any customer in a full one; and of the customer with the most agreements
there.
"""

import argparse
import json
import random
from typing import Any
from urllib.parse import urlencode

import psycopg2

from perma_payments.tests import perma_cc

from .world import FORM, databases, median_and_99th, seconds, services, use_django

CUSTOMERS, AGREEMENTS, PURCHASES = 50_000, 200_000, 200_000
SAMPLE = random.Random(7)

# The lower a customer's number, the more it has: a few have hundreds or thousands. Half are registrars.
# The histories, which no request reads, stay empty: triggers do not fire for a replica.
FILL = f"""
SET session_replication_role = replica;
SELECT setseed(0.7);

INSERT INTO perma_payments_referencenumber (value)
SELECT 'PERMA-' || to_char(n / 10000, 'FM0000') || '-' || to_char(n % 10000, 'FM0000')
FROM generate_series(1, {AGREEMENTS} + {PURCHASES}) n;

INSERT INTO perma_payments_subscriptionagreement (
    customer_type, customer_pk, status, reference_number, payment_token, current_rate, current_frequency,
    current_link_limit, current_link_limit_effective_timestamp, schedule_start, covered_until,
    coverage_proof, created_at, updated_at)
SELECT CASE customer % 2 WHEN 0 THEN 'Registrar' ELSE 'Individual' END, customer / 2 + 1, status,
    'PERMA-' || to_char(n / 10000, 'FM0000') || '-' || to_char(n % 10000, 'FM0000'),
    to_char(n, 'FM0000000000000000000000'),
    45, 'monthly', '100', created, created + interval '1 month', created + interval '1 month', 'checkout', created,
    created
FROM (
    SELECT n, floor({CUSTOMERS} * power(random(), 3))::int AS customer,
        now() - random() * interval '3000 days' - interval '40 days' AS created,
        (ARRAY['Current', 'Canceled', 'Canceled', 'Canceled', 'Pending', 'Rejected', 'Aborted'])
            [1 + floor(7 * random())] AS status
    FROM generate_series(1, {AGREEMENTS}) n
) drawn;

INSERT INTO perma_payments_purchase (
    customer_type, customer_pk, status, reference_number, amount, link_quantity, paid_at, acknowledged_at,
    created_at, updated_at)
SELECT CASE customer % 2 WHEN 0 THEN 'Registrar' ELSE 'Individual' END, customer / 2 + 1, 'Paid',
    'PERMA-' || to_char(n / 10000, 'FM0000') || '-' || to_char(n % 10000, 'FM0000'), 15, 10, created,
    CASE WHEN random() < 0.99 THEN created END, created, created
FROM (
    SELECT n, floor({CUSTOMERS} * power(random(), 3))::int AS customer,
        now() - random() * interval '3000 days' AS created
    FROM generate_series({AGREEMENTS} + 1, {AGREEMENTS} + {PURCHASES}) n
) drawn;

ANALYZE;
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.status", description="The time of status calls.")
    parser.add_argument("--calls", type=int, default=1000, help="how many calls of each kind are measured")
    calls = parser.parse_args().calls
    with databases("full", "empty") as (full, empty):
        print(f"Filling a database with {AGREEMENTS} agreements and {PURCHASES} purchases …", flush=True)
        with psycopg2.connect(full) as connection, connection.cursor() as cursor:
            cursor.execute(FILL)
        connection.close()
        with services(full, empty, threads=4) as (port, empty_port):
            times = measure(port, empty_port, calls)
        report(times, calls)
        use_django(full)
        explain()


def body(number: int) -> str:
    """A status call about a customer of `FILL`."""
    kind = "Individual" if number % 2 else "Registrar"
    return urlencode(perma_cc.form("subscription", customer_type=kind, customer_pk=number // 2 + 1))


def measure(port: int, empty_port: int, calls: int) -> dict[str, list[float]]:
    """The seconds of each call, by what was called. The first twentieth warms up."""
    times: dict[str, list[float]] = {"page": [], "empty": [], "full": [], "most": []}
    for _ in range(calls + calls // 20):
        any_customer = body(SAMPLE.randrange(CUSTOMERS))
        times["page"].append(seconds(port, "GET", "/subscribe/"))
        times["empty"].append(seconds(empty_port, "POST", "/subscription/", any_customer))
        times["full"].append(seconds(port, "POST", "/subscription/", any_customer))
        times["most"].append(seconds(port, "POST", "/subscription/", body(0)))
    return {name: values[-calls:] for name, values in times.items()}


def report(times: dict[str, list[float]], calls: int) -> None:
    """Print the times and their ratios."""
    labels = {
        "page": "GET /subscribe/, a page without a database",
        "empty": "status, in a nearly empty database",
        "full": "status, in the full database",
        "most": "status of the customer with the most agreements",
    }
    figures = {name: median_and_99th(values) for name, values in times.items()}
    print(f"\n{calls} calls each, one after the other; one worker, four threads.\n")
    print(f"{'':44}{'median':>12}{'99th':>12}{'to the page':>14}{'to the empty':>14}")
    for name, (median, last) in figures.items():
        print(
            f"{labels[name]:44}{median * 1000:9.2f} ms{last * 1000:9.2f} ms"
            f"{median / figures['page'][0]:14.2f}{median / figures['empty'][0]:14.2f}"
        )


def explain() -> None:
    """Print the statements of one call, and how PostgreSQL finds their rows."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    for number, label in ((CUSTOMERS // 2, "any customer"), (0, "the customer with the most agreements")):
        with CaptureQueriesContext(connection) as captured:
            response = Client().generic("POST", "/subscription/", body(number), FORM, HTTP_HOST="localhost")
        if response.status_code != 200:
            raise SystemExit(f"A status call was answered with {response.status_code}.")
        print(f"\nSQL statements of a status call, {label}: {len(captured)}")
        for query in captured:
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (FORMAT JSON) {query['sql']}")
                plan = cursor.fetchone()[0]
            plan = json.loads(plan) if isinstance(plan, str) else plan
            print("  " + " <- ".join(nodes(plan[0]["Plan"])))


def nodes(plan: dict[str, Any]) -> list[str]:
    """The types of a plan's nodes, from the top, with the index or the table that each reads."""
    place = plan.get("Index Name") or plan.get("Relation Name")
    here = plan["Node Type"] + (f" ({place})" if place else "")
    return [here, *(node for part in plan.get("Plans", []) for node in nodes(part))]


if __name__ == "__main__":
    main()
