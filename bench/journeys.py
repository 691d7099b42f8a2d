"""What each journey and job reads:  python -m bench.journeys URL_OF_A_SMALL_DATABASE URL_OF_A_LARGE_ONE

All that customers, CyberSource, Perma.cc, the scheduler and monitoring do, once each, in-process and in a
transaction that is rolled back. Each statement is explained when it runs: how many pages it touches, and how many
rows it reads. No other work on the machine disturbs these figures. `bench.fill` fills the databases.
"""

import argparse
import logging
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlencode

from .world import FORM, use_django

EXPLAIN = b"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) "
EXPLAINED = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")


@dataclass(frozen=True)
class Scan:
    """One node of a plan that reads a table or an index: how many rows it looks at, those it drops included."""

    table: str
    index: str
    rows: int


@dataclass(frozen=True)
class Plan:
    """A statement as it ran: the pages that it touched, in memory or not, and its scans."""

    sql: str
    pages: int
    scans: list[Scan] = field(default_factory=list)


@contextmanager
def explaining() -> Iterator[list[Plan]]:
    """The plan of each statement that runs meanwhile, in a transaction. Each runs twice, and is undone once."""
    from django.db import connection

    plans: list[Plan] = []

    def explain(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        if sql.lstrip("\n (").upper().startswith(EXPLAINED) and not many:
            with connection.connection.cursor() as cursor:
                cursor.execute("SAVEPOINT explained")
                cursor.execute(EXPLAIN + cursor.mogrify(sql, parameters))
                plan = cursor.fetchone()[0][0]["Plan"]
                cursor.execute("ROLLBACK TO SAVEPOINT explained")
            pages = plan.get("Shared Hit Blocks", 0) + plan.get("Shared Read Blocks", 0)
            plans.append(Plan(sql, pages, list(_scans(plan))))
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(explain):
        yield plans


def _scans(plan: Mapping[str, Any], table: str = "") -> Iterator[Scan]:
    table = plan.get("Relation Name", table)
    if plan["Node Type"].endswith("Scan") and ("Relation Name" in plan or "Index Name" in plan):
        dropped = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
        rows = (plan["Actual Rows"] + dropped) * plan["Actual Loops"]
        yield Scan(table, plan.get("Index Name", ""), round(rows))
    for part in plan.get("Plans", []):
        yield from _scans(part, table)


@contextmanager
def undone() -> Iterator[None]:
    """A transaction that is rolled back, in which even durable ones can run, as in Django's TestCase."""
    from django.db import transaction

    atomic = transaction.atomic()
    atomic._from_testcase = True  # type: ignore[attr-defined]
    with atomic:
        yield
        transaction.set_rollback(True)


def journeys() -> Iterator[tuple[str, Callable[[], object]]]:
    """What is done, by name. Each may need those before it."""
    from django.test import Client
    from django.utils import timezone

    from perma_payments.admin.mails import remind_of_overdue
    from perma_payments.billing.customers import Customer, CustomerType
    from perma_payments.management import jobs
    from perma_payments.models import OutgoingTransaction, Purchase, StaffTask, SubscriptionAgreement
    from perma_payments.services import health, staff_tasks
    from perma_payments.services.status_reports.expect import expect_report
    from perma_payments.tests import cyber_source, perma_cc, records
    from perma_payments.views import tokens
    from perma_payments.views.tokens import Purpose

    client = Client(HTTP_HOST="localhost")
    stranger = Customer(CustomerType.INDIVIDUAL, 900_000_001)
    standing = SubscriptionAgreement.objects.filter(status="Current", cancellation_requested_at=None)
    known = standing.latest("pk").customer

    def post(route: str, customer: Customer | None = stranger, **changes: Any) -> None:
        if customer:
            changes |= {"customer_type": customer.type, "customer_pk": customer.pk}
        response = client.post(f"/{route}/", urlencode(perma_cc.form(route, **changes)), content_type=FORM)
        assert response.status_code in (200, 302, 303), (route, response.status_code, response.content[:500])

    def call_back(route: str = "cybersource-callback", decision: str = "ACCEPT", **changes: Any) -> None:
        form = records.form(OutgoingTransaction.objects.latest("pk"))
        fields = {**cyber_source.response(form, decision, **changes)}
        if route == "cybersource-callback":
            last.update(fields=fields)
        response = client.post(f"/{route}/", urlencode(last["fields"]), content_type=FORM)
        assert response.status_code in (200, 302, 303), (route, response.status_code)

    def act(page: str, purpose: Purpose) -> None:
        client.cookies["csrftoken"] = csrf = "a" * 32
        fields = {"token": tokens.begin(stranger, purpose, now=timezone.now()), "csrfmiddlewaretoken": csrf}
        response = client.post(f"/portal/{page}/", urlencode(fields), content_type=FORM)
        assert response.status_code in (200, 302, 303), (page, response.status_code)

    def see(page: str, customer: Customer = known, **query: str) -> None:
        token = tokens.begin(customer, Purpose.MANAGE, now=timezone.now())
        response = client.get(f"/portal/{page}", {"token": token, **query})
        assert response.status_code == 200, (page, response.status_code)

    def acknowledge() -> None:
        paid = Purchase.objects.of(stranger).unacknowledged()[0]
        post("acknowledge-purchase", None, purchase_pk=paid.pk)

    def finish() -> None:
        from django.contrib.auth.models import User

        task = StaffTask.objects.filter(done_at=None, claimed_by=None).latest("pk")
        staff_tasks.finish(task.pk, by=User.objects.earliest("pk"), note="Done.", now=timezone.now())

    last: dict[str, dict[str, str]] = {}
    now = timezone.now()
    yield "status of a stranger", partial(post, "subscription")
    yield "status", partial(post, "subscription", known)
    yield "subscribe", partial(post, "subscribe")
    yield "callback, subscribe", call_back
    yield "callback, again", partial(call_back, transaction_id="7408214003316000009999")
    yield "return", partial(call_back, "return")
    yield "subscribe twice", partial(post, "subscribe")
    yield "change", partial(post, "change")
    yield "callback, change", call_back
    yield "update", partial(act, "update-card", Purpose.UPDATE_CARD)
    yield "callback, update", call_back
    yield "purchase", partial(post, "purchase")
    yield "callback, declined", partial(call_back, decision="DECLINE")
    yield "callback, purchase", call_back
    yield (
        "callback, unmatched",
        partial(
            call_back,
            req_transaction_uuid="00000000-0000-4000-8000-000000000000",
            transaction_id="7408214003316000008888",
        ),
    )
    yield "acknowledge", acknowledge
    yield "purchase history", partial(post, "purchase-history")
    yield "purchase history, known", partial(post, "purchase-history", known)
    for page in ("", "cancel/"):
        yield f"portal/{page}", partial(see, page)
    paid = OutgoingTransaction.objects.filter(purchase__customer_pk=stranger.pk).latest("pk")
    yield "portal/receipt/", partial(see, "receipt/", stranger, payment=str(paid.transaction_uuid))
    yield "portal, cancel", partial(act, "cancel/confirm", Purpose.CANCEL)
    yield "portal, keep", partial(act, "keep", Purpose.KEEP)
    yield "cancel request", partial(post, "cancel-request")
    yield "end a task", finish
    yield "job: responses", partial(jobs.apply_responses, now=now)
    yield "job: purge", partial(jobs.purge_expired, now=now)
    yield "job: mails", partial(jobs.send_mails, now=now)
    yield "job: daily report", partial(jobs.send_daily_report, now=now)
    yield "job: overdue reminder", partial(remind_of_overdue, now=now)
    yield "job: expect a report", partial(expect_report, now=now)
    yield "health", lambda: health.Readiness().checks(now=now)
    yield "metrics", lambda: list(health.gauges(now=now))


def measure(url: str) -> dict[str, list[Plan]]:
    """The plans of each journey. Runs in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as process:
        found: dict[str, list[Plan]] = process.apply(_measure, (url,))
    return found


def _measure(url: str) -> dict[str, list[Plan]]:
    use_django(url)
    logging.disable(logging.CRITICAL)
    from django.conf import settings
    from django.test import override_settings

    from perma_payments.tests.mail_server import mail_server

    found = {}
    with undone(), override_settings(UPDATE_LEADS_TO="page"), mail_server(settings):
        for name, act in journeys():
            with explaining() as plans:
                act()
            found[name] = plans
    return found


def main() -> None:
    """Measure and compare."""
    parser = argparse.ArgumentParser(prog="python -m bench.journeys", description="What each journey reads.")
    parser.add_argument("small", help="a filled database")
    parser.add_argument("large", help="a larger one")
    parser.add_argument("--statements", action="store_true", help="show those that read more in the larger one")
    options = parser.parse_args()
    small, large = measure(options.small), measure(options.large)
    print(f"{'':28}{'statements':>12}{'pages':>16}{'':>8}{'rows':>16}{'':>8}")
    for name in small:
        pages = [sum(plan.pages for plan in plans[name]) for plans in (small, large)]
        rows = [sum(scan.rows for plan in plans[name] for scan in plan.scans) for plans in (small, large)]
        line = f"{name:28}{len(small[name]):6}{len(large[name]):6}"
        for few, many in (pages, rows):
            line += f"{few:8}{many:8}{many / max(few, 1):8.2f}"
        print(line)
        if options.statements:
            before = Counter({plan.sql: plan.pages for plan in small[name]})
            for plan in large[name]:
                if plan.pages > 1.2 * before[plan.sql] + 8:
                    print(f"    {before[plan.sql]} -> {plan.pages}: {plan.sql[:300]}\n        {plan.scans}")


if __name__ == "__main__":
    main()
