"""Nothing that anyone does reads a table that grows: an index finds what it needs.

A database is filled as years leave it (bench/fill.py). All journeys, jobs and pages of staff are run once, and
each of their statements is explained while it runs.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from django.conf import settings as ours
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client, override_settings
from django.utils import timezone

from bench.admin import paths
from bench.fill import fill_tables
from perma_payments.admin import long_lists
from perma_payments.models import (
    OutgoingTransaction,
    Purchase,
    ReferenceNumber,
    Response,
    StaffTask,
    StatusReportLine,
    SubscriptionAgreement,
    UsedMessage,
)
from perma_payments.services.status_reports.plan import plan_report

from .journeys import journeys
from .mail_server import mail_server

pytestmark = pytest.mark.django_db

AGREEMENTS = 4_000
# What one statement may read of a table that grows: several pages of a list. Each of these tables has more rows.
MOST = 800

GROWING = {
    model._meta.db_table
    for model in (
        *(SubscriptionAgreement, Purchase, OutgoingTransaction, Response, StaffTask, ReferenceNumber),
        *(UsedMessage, StatusReportLine),
        *(model.pgh_event_model for model in (SubscriptionAgreement, Purchase, StaffTask, Response)),
    )
}


EXPLAIN = b"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) "
EXPLAINED = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")


class Scan(NamedTuple):
    """One node of a plan that reads a table or an index: how many rows it looks at, those it drops included."""

    sql: str
    table: str
    index: str
    rows: int


@contextmanager
def explaining() -> Iterator[list[Scan]]:
    """The scans of each statement that runs meanwhile, in a transaction. Each runs twice, and is undone once."""
    scans: list[Scan] = []

    def explain(execute, sql, parameters, many, context):
        if sql.lstrip("\n (").upper().startswith(EXPLAINED) and not many:
            with connection.connection.cursor() as cursor:
                cursor.execute("SAVEPOINT explained")
                cursor.execute(EXPLAIN + cursor.mogrify(sql, parameters))
                scans.extend(_scans(sql, cursor.fetchone()[0][0]["Plan"]))
                cursor.execute("ROLLBACK TO SAVEPOINT explained")
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(explain):
        yield scans


def _scans(sql: str, plan: dict, table: str = "") -> Iterator[Scan]:
    table = plan.get("Relation Name", table)
    if plan["Node Type"].endswith("Scan") and ("Relation Name" in plan or "Index Name" in plan):
        dropped = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
        rows = (plan["Actual Rows"] + dropped) * plan["Actual Loops"]
        yield Scan(sql, table, plan.get("Index Name", ""), round(rows))
    for part in plan.get("Plans", []):
        yield from _scans(sql, part, table)


@pytest.fixture(scope="module")
def scans(django_db_setup, django_db_blocker) -> Iterator[dict[str, list[Scan]]]:
    """The scans of all that is done, by what it is. The database stays filled while these tests run."""
    atomic = transaction.atomic()
    atomic._from_testcase = True  # Durable transactions can run in it, as in Django's TestCase.
    with django_db_blocker.unblock(), atomic:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            fill_tables(cursor, agreements=AGREEMENTS)
            cursor.execute("SET LOCAL session_replication_role = origin")
            cursor.execute("ANALYZE")
            # What VACUUM would find, which cannot run in a transaction: an index alone can answer.
            cursor.execute(
                "UPDATE pg_class SET relallvisible = relpages WHERE relnamespace = 'public'::regnamespace"
            )
            # As in a database that is so large that reading a table whole is never the best.
            for plan in ("seqscan", "hashjoin", "mergejoin"):
                cursor.execute(f"SET LOCAL enable_{plan} = off")
        yield _run()
        transaction.set_rollback(True)


def _run() -> dict[str, list[Scan]]:
    found: dict[str, list[Scan]] = {}
    client, stranger = Client(HTTP_HOST="localhost"), Client(HTTP_HOST="localhost")
    someone = User.objects.create_superuser("someone")
    client.force_login(someone)
    with explaining() as found["wrong password"]:
        assert stranger.post("/admin/login/", {"username": "nobody", "password": "wrong"}).status_code == 200
    with explaining() as found["report"]:
        plan_report(b"Merchant Reference Code,Status\nPERMA-0000-0000,CURRENT\n", by=someone, now=timezone.now())
    with pytest.MonkeyPatch.context() as patch, override_settings(UPDATE_LEADS_TO="page"):
        patch.setattr(long_lists, "COUNTED", 200)
        for name, path in paths().items():
            with explaining() as found[f"page: {name}"]:
                assert client.get(path).status_code in (200, 302), path
        with mail_server(ours):
            for name, act in journeys():
                with explaining() as found[name]:
                    act()
    return found


# Where more is read, and why.
ACCEPTED = (
    # Of the subscriptions, all that stand are added up.
    ("page: front page", SubscriptionAgreement),
    # Each month is counted once, from all of the history.
    ("job: purge", SubscriptionAgreement.pgh_event_model),
    # All lines are shown or counted.
    ("page: last report", StatusReportLine),
)
# What is about a customer with a tenth of all rows; two filters of which neither is rare; tasks of a rare kind,
# which takes looking through all tasks; and a status report, which is compared with all subscriptions.
LEFT_OUT = re.compile("thousands|R1$|search: 1$|customer_type=Registrar|stafftask list, kind|^report$")


def test_no_statement_reads_much_of_a_table_that_grows(scans):
    accepted = {(name, model._meta.db_table) for name, model in ACCEPTED}
    much = [
        (name, scan)
        for name, of_it in scans.items()
        for scan in of_it
        if scan.table in GROWING and scan.rows > MOST
        if (name, scan.table) not in accepted and not LEFT_OUT.search(name)
    ]

    # Of the first of ACCEPTED, an index alone has what is added up, and is much smaller than the table.
    assert "agreement_alive" in {scan.index for scan in scans["page: front page"]}
    assert not much, "\n\n".join(
        f"{name}: {scan.rows} of {scan.table}, by {scan.index or 'no index'}\n{scan.sql[:600]}"
        for name, scan in much
    )


def test_each_table_that_grows_has_more_rows_than_may_be_read(scans):
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname, reltuples FROM pg_class WHERE relname = ANY(%s)", [list(GROWING)])
        rows = dict(cursor.fetchall())

    assert min(rows[table] for table in GROWING) > MOST


# Django makes these for foreign keys, by which a user could be deleted, for the beginnings of texts, and in tables
# that hardly grow.
UNREAD = re.compile("_by_id_|referencenumber_value_.*_like|unansweredacknowledgement|checkoutfreeze|jobheartbeat")


def test_each_index_is_used(scans):
    used = {scan.index for of_it in scans.values() for scan in of_it}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
            "WHERE NOT indisunique AND indrelid::regclass::text ~ '^perma_payments_'"
        )
        indexes = {name for (name,) in cursor.fetchall()}

    unused = sorted(name for name in indexes - used if not UNREAD.search(name))
    assert not unused, "\n".join(unused)


def test_what_is_filled_keeps_all_foreign_keys(scans):
    """They are not checked while it is filled."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conrelid::regclass, a.attname, confrelid::regclass, f.attname FROM pg_constraint "
            "JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = conkey[1] "
            "JOIN pg_attribute f ON f.attrelid = confrelid AND f.attnum = confkey[1] WHERE contype = 'f'"
        )
        keys = cursor.fetchall()
        assert len(keys) > 20
        for table, column, other, key in keys:
            cursor.execute(
                f"SELECT count(*) FROM {table} WHERE {column} IS NOT NULL "
                f"AND NOT EXISTS (SELECT FROM {other} WHERE {other}.{key} = {table}.{column})"
            )
            assert cursor.fetchone() == (0,), (table, column)
