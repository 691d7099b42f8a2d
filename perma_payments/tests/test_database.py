"""The database as it is in the world: frozen, locked, read-only, behind PgBouncer, older than the code."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import urlencode

import psycopg2
import pytest
import requests
from django.conf import settings as ours
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.db import OperationalError, close_old_connections, connection, transaction
from django.utils import timezone

from devtools.pgbouncer import pgbouncer
from devtools.postgres import create_database, server
from devtools.processes import free_port, run_quietly
from perma_payments.billing.transactions import Kind
from perma_payments.models import (
    Purchase,
    Response,
    StaffTask,
    SubscriptionAgreement,
    TaskKind,
    UnansweredAcknowledgement,
)
from perma_payments.models.history import HistorySource
from perma_payments.postgres import base
from perma_payments.postgres.problems import why_unavailable
from perma_payments.postgres.time_limits import allow, seconds_left, waiting_at_most, within
from perma_payments.services import acknowledgement, health
from perma_payments.services.backoff import check_connection
from perma_payments.services.callbacks.receive import receive_callback
from perma_payments.services.callbacks.retry import retry_responses
from perma_payments.services.locks import lock_customer

from . import cyber_source, perma_cc, records
from .accounts import log_in
from .programs import need
from .test_faults import FORM, HOST, Serve, Service, eventually, serve, service, url_of_test_database  # noqa: F401

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


# --- Servers of our own -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """The URL of a migrated database on a server that no other test uses: it may be stopped."""
    with server() as url:
        run_quietly("manage.py", "migrate", env={"DATABASE_URL": url}, failure="The migrations failed.")
        yield url


def ask(url: str, statement: str, *values: Any) -> Any:
    """Execute one statement, without Django; return the first value of its first row."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchone()[0] if cursor.description else None
    finally:
        connection.close()


@contextmanager
def frozen(url: str) -> Iterator[None]:
    """Stop all processes of a server. Their sockets stay open, and the kernel still answers for them."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("Which processes are a server's is read from Linux's /proc.")
    postmaster = int(Path(ask(url, "SHOW data_directory"), "postmaster.pid").read_text().split()[0])
    stopped: list[int] = []
    try:
        # First the one that starts others, so that none is missed.
        os.kill(postmaster, signal.SIGSTOP)
        stopped.append(postmaster)
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
                if parent == postmaster:
                    os.kill(int(stat.parent.name), signal.SIGSTOP)
                    stopped.append(int(stat.parent.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
        yield
    finally:
        for process in stopped:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


@pytest.fixture
def pooled(transactional_db: None) -> Iterator[str]:
    """The URL of a PgBouncer in front of the database of the tests."""
    with pgbouncer(need("PgBouncer"), url_of_test_database()) as url:
        yield url


def timed(call: Any, *arguments: Any) -> tuple[int, float]:
    """Return the status of an answer, and the seconds that it took."""
    start = time.monotonic()
    status = call(*arguments).status_code
    return status, time.monotonic() - start


def in_time(seconds: float, call: Any, *arguments: Any) -> int:
    """Return the status of an answer that came within so many seconds.

    A machine that pauses may delay one. If the limit of the code is missing or too long, it delays all three.
    """
    took = []
    for _ in range(3):
        status, took_now = timed(call, *arguments)
        if took_now < seconds:
            return status
        took.append(took_now)
    raise AssertionError(took)


def get(service: Service, path: str) -> requests.Response:
    return requests.get(service.url + path, timeout=10)


# --- A database that hangs --------------------------------------------------------------------------


def test_a_frozen_database_is_given_up_and_used_again_at_once(serve, postgres):
    service = serve(postgres)
    calls = [
        (service.post, "subscription", perma_cc.form("subscription")),
        (service.post, "purchase-history", perma_cc.form("purchase-history")),
        (service.post, "acknowledge-purchase", perma_cc.form("acknowledge-purchase")),
        (service.post, "subscribe", perma_cc.form("subscribe")),
        (service.post, "cancel-request", perma_cc.form("cancel-request")),
        (service.post, "cybersource-callback", cyber_source.response(FORM)),
    ]
    with ThreadPoolExecutor(8) as pool:
        # Each thread of the service has a connection then.
        assert {done.result().status_code for done in [pool.submit(*calls[0]) for _ in range(8)]} == {200}
        with frozen(postgres):
            answers = [pool.submit(in_time, 7, *call) for call in calls]
            # There are more threads than these, which wait for nothing.
            assert in_time(2, get, service, "/static/perma_payments/pages.css") == 200
            assert {answer.result() for answer in answers} == {503}
            assert timed(*calls[0])[0] == 503
        after = [pool.submit(in_time, 3, *calls[0]) for _ in range(8)]
        assert {answer.result() for answer in after} == {200}

    assert "/subscription/: the database cannot serve this: it did not answer in time" in service.log()
    assert "Traceback" not in service.log()


def test_an_acknowledgement_to_a_frozen_database_is_not_recorded(serve, postgres):
    service = serve(postgres)
    ask(postgres, "INSERT INTO perma_payments_referencenumber (value) VALUES ('PERMA-0000-0077')")
    number = ask(
        postgres,
        "INSERT INTO perma_payments_purchase (customer_type, customer_pk, status, reference_number,"
        " amount, link_quantity, paid_at, created_at, updated_at)"
        " VALUES ('Registrar', 7, 'Paid', 'PERMA-0000-0077', 15, 10, now(), now(), now()) RETURNING id",
    )
    form = perma_cc.form("acknowledge-purchase", purchase_pk=number)
    with frozen(postgres):
        assert in_time(2, service.post, "acknowledge-purchase", form) == 503
    assert ask(postgres, "SELECT acknowledged_at FROM perma_payments_purchase WHERE id = %s", number) is None
    again = service.post("acknowledge-purchase", perma_cc.form("acknowledge-purchase", purchase_pk=number))
    assert again.status_code == 200


# --- PgBouncer --------------------------------------------------------------------------------------


def test_a_lock_is_not_waited_for_longer_behind_pgbouncer(serve, pooled):
    service = serve(pooled)
    with transaction.atomic():
        lock_customer(records.REGISTRAR)
        assert in_time(6, service.post, "cancel-request", perma_cc.form("cancel-request")) == 503
    reason = "a lock could not be acquired in time"
    assert f"/cancel-request/: the database cannot serve this: {reason}" in service.log()


def test_a_payment_is_kept_and_applied_behind_pgbouncer(serve, pooled):
    service = serve(pooled)
    callbacks = [
        cyber_source.response(records.form(records.outgoing(Kind.SUBSCRIBE, records.agreement(customer))))
        for customer in (records.REGISTRAR, records.INDIVIDUAL)
    ]
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(service.post, "cybersource-callback", callback) for callback in callbacks * 4]
        assert {answer.result().status_code for answer in answers} == {200}
    assert set(SubscriptionAgreement.objects.values_list("status", flat=True)) == {"Current"}
    # The transaction tells the trigger who did what, no matter which connection it has.
    told = SubscriptionAgreement.objects.first().events.last().pgh_context
    assert told["source"] == HistorySource.CYBERSOURCE_RESPONSE
    assert service.post("subscription", perma_cc.form("subscription")).status_code == 200


def test_a_transaction_leaves_no_limits_behind_in_pgbouncer(pooled):
    script = """
import django
django.setup()
from django.db import connection, transaction
from perma_payments.postgres.time_limits import within

def limits():
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('lock_timeout'), current_setting('statement_timeout')")
        return cursor.fetchone()

with within(10), transaction.atomic():
    print(limits())
print(limits())
"""
    environment = {**os.environ, "DATABASE_URL": pooled, "DJANGO_SETTINGS_MODULE": "perma_payments.settings"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ours.BASE_DIR,
        env=environment,
        text=True,
        capture_output=True,
        check=True,
    )
    within_limits, alone = done.stdout.splitlines()
    assert within_limits == "('5s', '9s')" or re.fullmatch(r"\('5s', '\d{4}ms'\)", within_limits)
    assert alone == "('0', '0')"


# --- Locks ------------------------------------------------------------------------------------------


@contextmanager
def locked_table(table: str) -> Iterator[None]:
    """Lock a table, as a migration would."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


def test_a_callback_is_answered_even_if_staff_cannot_be_told(service):
    callback = cyber_source.response(records.form(records.outgoing(Kind.SUBSCRIBE)))
    # It came long ago, and could not be applied then.
    receive_callback(b"body", list(callback.items()), now=timezone.now() - timedelta(hours=1))
    SubscriptionAgreement.objects.update(status="Pending", payment_token="")
    Response.objects.update(applied_at=None, outcome="", payment_token=cyber_source.transaction_id())
    with transaction.atomic():
        lock_customer(records.REGISTRAR)
        with locked_table(StaffTask._meta.db_table):
            assert in_time(8, service.post, "cybersource-callback", callback) == 200
    response = Response.objects.get()
    assert response.applied_at is None
    assert not StaffTask.objects.exists()
    assert f"response {response.pk} could not be applied: a lock could not be acquired in time" in service.log()
    # The scheduler finds it anyway.
    retry_responses(now=NOW)
    assert SubscriptionAgreement.objects.get().status == "Current"


def test_a_callback_that_cannot_be_kept_is_refused_in_time(service):
    callback = cyber_source.response(FORM)
    with locked_table(Response._meta.db_table):
        assert in_time(8, service.post, "cybersource-callback", callback) == 503
    assert re.search("a response could not be kept: .*: a lock could not be acquired in time", service.log())


def test_monitoring_does_not_wait_for_locks(service):
    with ThreadPoolExecutor(1) as pool, locked_table("perma_payments_jobheartbeat"):
        answer = get(service, "/health/ready/")
        numbers = pool.submit(gauges).result(timeout=30)
    reason = "a lock could not be acquired in time"
    assert (answer.status_code, answer.text) == (503, f"NOT OK: database: {reason}\n")
    assert numbers == {"database_up": {"": False}}


def gauges() -> dict[str, Any]:
    """What Prometheus would read, on a connection of this thread's own."""
    try:
        return {gauge.name: dict(gauge.values) for gauge in health.gauges(now=NOW)}
    finally:
        connection.close()


# --- What the log says ------------------------------------------------------------------------------


def log_without(url: str, serve: Serve) -> str:
    """Return what the service logs for one request if it cannot use its database."""
    service = serve(url)
    assert service.post("subscription", perma_cc.form("subscription")).status_code == 503
    assert "Traceback" not in service.log()
    return service.log()


def test_the_log_says_why_there_is_no_connection(serve, postgres):
    ask(postgres, "DROP ROLE IF EXISTS guarded")
    ask(postgres, "CREATE ROLE guarded LOGIN PASSWORD 'right'")
    file = Path(ask(postgres, "SHOW hba_file"))
    file.write_text("local all guarded scram-sha-256\n" + file.read_text())
    ask(postgres, "SELECT pg_reload_conf()")
    problem = "/subscription/: the database cannot serve this: "

    base = postgres.partition("//postgres@")[2]
    log = log_without(f"postgres://guarded:guess@{base}", serve)
    assert problem + "the user name or the password is wrong [" in log
    assert "guess" not in log
    assert problem + "there is no such database [" in log_without(postgres.rpartition("/")[0] + "/another", serve)
    refused = f"postgres://user:password@{HOST}:{free_port(HOST)}/name"
    assert problem + "the connection was refused: nobody listens there [" in log_without(refused, serve)


def test_a_read_only_database_is_a_503_for_everyone(serve, transactional_db):
    """As after a failover, when a standby answers."""
    User.objects.create_user("someone", password="a long password of someone", is_staff=True)
    options = urlencode({"options": "-c default_transaction_read_only=on"})
    service = serve(f"{url_of_test_database()}?{options}")
    acknowledgement = perma_cc.form("acknowledge-purchase", purchase_pk=records.paid_purchase().pk)
    assert service.post("acknowledge-purchase", acknowledgement).status_code == 503
    assert service.post("subscribe", perma_cc.form("subscribe")).status_code == 503
    assert service.post("cybersource-callback", cyber_source.response(FORM)).status_code == 503
    with requests.Session() as session:
        page = session.get(f"{service.url}/admin/login/", timeout=10).text
        token = re.search('name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]
        login = {"username": "someone", "password": "a long password of someone", "csrfmiddlewaretoken": token}
        assert session.post(f"{service.url}/admin/login/", data=login, timeout=10).status_code == 503
    assert "/acknowledge-purchase/: the database cannot serve this: it is read-only [" in service.log()
    assert "/subscribe/: the database cannot serve this: it is read-only [" in service.log()
    assert "Traceback" not in service.log()
    # A request that only reads is answered.
    assert service.post("subscription", perma_cc.form("subscription")).status_code == 200


@pytest.mark.django_db
def test_a_session_that_cannot_be_saved_is_a_503(client, settings, monkeypatch, caplog):
    """It is saved after the view, where Django would answer 500."""
    log_in(client)
    settings.SESSION_SAVE_EVERY_REQUEST = True

    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError

    monkeypatch.setattr(SessionStore, "save", fail)
    assert client.get("/admin/").status_code == 503
    assert "/admin/: the database cannot serve this: the connection" in caplog.text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('FATAL:  password authentication failed for user "u"\n', "the password is wrong"),
        ('FATAL:  database "d" does not exist\n', "there is no such database"),
        ('FATAL:  role "u" does not exist\n', "the user name or the password is wrong"),
        ('could not translate host name "h" to address: Name or service not known\n', "host is unknown"),
        ("FATAL:  sorry, too many clients already\n", "no connection left"),
        ("FATAL:  no more connections allowed (max_client_conn)\n", "no connection left"),
        ("FATAL:  the database system is starting up\n", "starting or stopping"),
        ("FATAL:  unsupported startup parameter: options\n", "refuses a start-up option"),
        ("server closed the connection unexpectedly\n", "the connection was lost"),
        ("irgendetwas\n", "could not be made, or was lost"),
    ],
)
def test_a_failed_connection_is_reported_in_our_own_words(text, reason):
    error = OperationalError(text)
    error.__cause__ = psycopg2.OperationalError(text)
    assert reason in why_unavailable(error)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DO $$ BEGIN RAISE EXCEPTION 'Zaphod' USING ERRCODE = '53100'; END $$", "its disk is full"),
        ("DO $$ BEGIN RAISE EXCEPTION 'Zaphod' USING ERRCODE = '53300'; END $$", "it has no connection left"),
        (
            "DO $$ BEGIN RAISE EXCEPTION 'Zaphod' USING ERRCODE = '57P01'; END $$",
            "it was stopped, or has ended the connection",
        ),
        ("SELECT 1 / 0", None),
        ("SELECT * FROM nowhere", None),
    ],
)
def test_passing_errors_are_told_from_lasting_ones(statement, reason):
    with pytest.raises(Exception) as caught, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert why_unavailable(caught.value) == reason


# --- Time limits ------------------------------------------------------------------------------------


def test_of_several_limits_the_first_to_end_counts():
    assert seconds_left() is None
    with within(60):
        with within(90), waiting_at_most(70):
            assert 50 < seconds_left() <= 60
        with waiting_at_most(5):
            assert seconds_left() == 5
        allow(600)
        assert 500 < seconds_left() <= 600
    assert seconds_left() is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("in_transaction", [False, True])
def test_postgresql_ends_a_slow_statement_but_no_connection(in_transaction):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (before,) = cursor.fetchone()
    with pytest.raises(OperationalError) as caught, within(1.5):
        if in_transaction:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(60)")
        else:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(60)")
    assert why_unavailable(caught.value) == "it did not answer in time"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        assert cursor.fetchone()[0] == before


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("in_transaction", [False, True])
def test_statements_that_are_quick_alone_are_ended_together(in_transaction):
    """PostgreSQL times each statement; this limit is for all of them."""
    begun = 0
    with pytest.raises(OperationalError) as caught, within(0.5):
        with transaction.atomic() if in_transaction else nullcontext():
            for _ in range(50):
                with connection.cursor() as cursor:
                    begun += 1
                    cursor.execute("SELECT pg_sleep(0.1)")
    assert begun < 10
    assert why_unavailable(caught.value) == "it did not answer in time"
    # If that cost the connection, the next statement has a new one.
    assert not Purchase.objects.exists()


@pytest.fixture
def broken_connection(transactional_db: None) -> None:
    """A connection that PostgreSQL has ended, as the last statement has noticed."""
    with pytest.raises(OperationalError), connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert connection.connection.closed


def test_a_broken_connection_is_replaced_in_the_same_request(broken_connection):
    assert not Purchase.objects.exists()


@pytest.mark.parametrize("tidy_up", [close_old_connections, check_connection])
def test_tidying_up_a_broken_connection_needs_no_database(broken_connection, monkeypatch, tidy_up):
    with monkeypatch.context() as gone:
        gone.setattr(connection, "get_new_connection", Mock(side_effect=OperationalError("it is starting up")))
        tidy_up()
    assert not Purchase.objects.exists()


def in_the_next_request() -> int:
    """The process in PostgreSQL that serves the next request of this thread."""
    close_old_connections()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    return int(pid)


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_was_ended_between_two_requests_is_replaced():
    pid = in_the_next_request()
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
    finally:
        other.close()
    assert in_the_next_request() != pid


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("recently", "asks"), [(60, False), (0, True)])
def test_only_a_connection_that_was_idle_is_asked_whether_it_works(monkeypatch, recently, asks):
    pid = in_the_next_request()
    monkeypatch.setattr(base, "RECENTLY_SECONDS", recently)
    # What is asked, and seems not to work, is replaced.
    monkeypatch.setattr(base.DatabaseWrapper, "is_usable", lambda self: False)
    assert (in_the_next_request() != pid) == asks


@pytest.mark.django_db(transaction=True)
def test_a_statement_is_remembered_without_its_limits(django_assert_num_queries):
    with django_assert_num_queries(1) as queries, within(5):
        list(Purchase.objects.all())
    assert queries[0]["sql"].startswith("SELECT ")


# --- A schema that is not the code's ----------------------------------------------------------------


@pytest.fixture
def copy(postgres: str) -> Iterator[str]:
    """A copy of the migrated database, to spoil."""
    url = f"{postgres.rpartition('/')[0]}/copy"
    ask(url.replace("/copy", "/postgres"), "DROP DATABASE IF EXISTS copy")
    ask(url.replace("/copy", "/postgres"), "CREATE DATABASE copy TEMPLATE perma_payments")
    return url


def start(*arguments: str, url: str) -> subprocess.CompletedProcess[str]:
    """Start a part of the service that ends by itself."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ours.BASE_DIR,
        env={**os.environ, "DATABASE_URL": url},
        check=False,
        text=True,
        capture_output=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "lacking"),
    [
        (["-m", "gunicorn", "perma_payments.wsgi", "--no-control-socket"], "the last migration"),
        (["manage.py", "run_scheduler"], "everything"),
    ],
    ids=["web server", "scheduler"],
)
def test_a_database_without_migrations_stops_the_start(copy, arguments, lacking):
    if lacking == "everything":
        copy = copy.replace("/copy", "/empty")
        create_database(copy)
    else:
        ask(
            copy,
            "DELETE FROM django_migrations WHERE id = (SELECT max(id) FROM django_migrations"
            " WHERE app = 'perma_payments')",
        )
    if "gunicorn" in arguments:
        # Of two workers that fail at the same moment, the second makes Gunicorn's own master fail while it ends.
        arguments = [*arguments, "--workers", "1", "--bind", f"{HOST}:{free_port(HOST)}"]
    ended = start(*arguments, url=copy)

    assert ended.returncode != 0
    assert "The database is older than this code: " in ended.stderr
    assert "Run manage.py migrate, then start again." in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_database_that_is_ahead_is_served(serve, copy):
    """During a rolling upgrade, old code runs on a schema that is new already."""
    ask(
        copy,
        "INSERT INTO django_migrations (app, name, applied) VALUES ('perma_payments', '9999_of_tomorrow', now())",
    )
    service = serve(copy)
    assert service.post("subscription", perma_cc.form("subscription")).status_code == 200


def test_a_command_without_a_database_ends_with_a_sentence():
    ended = start("manage.py", "send_daily_report", url=f"postgres://u:secret@{HOST}:{free_port(HOST)}/name")

    assert ended.returncode == 1
    assert "the connection was refused" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "secret" not in ended.stderr


# --- Acknowledgements, in time or not at all --------------------------------------------------------


def test_a_purchase_is_offered_again_to_a_client_that_left(service):
    bought = records.paid_purchase()
    body = urlencode(perma_cc.form("acknowledge-purchase", purchase_pk=bought.pk))
    with transaction.atomic():
        Purchase.objects.select_for_update().get(pk=bought.pk)
        with socket.create_connection((HOST, int(service.url.rpartition(":")[2]))) as client:
            client.sendall(
                f"POST /acknowledge-purchase/ HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n"
                f"Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}".encode()
            )
            eventually(someone_waits_for_us)
    # Or the database was too slow: either way, it is refused.
    eventually(lambda: re.search("not recorded, as the client no longer waits|cannot serve this", service.log()))
    bought.refresh_from_db()
    assert bought.acknowledged_at is None
    assert not UnansweredAcknowledgement.objects.exists()
    form = perma_cc.form("acknowledge-purchase", purchase_pk=bought.pk)
    assert service.post("acknowledge-purchase", form).status_code == 200
    bought.refresh_from_db()
    assert bought.acknowledged_at is not None
    eventually(lambda: not UnansweredAcknowledgement.objects.exists())


def someone_waits_for_us() -> bool:
    """Return whether another transaction waits for what this one has locked."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_locks WHERE NOT granted AND transactionid = pg_current_xact_id()::xid")
        return cursor.rowcount > 0


def test_a_locked_purchase_is_not_acknowledged_late(service):
    bought = records.paid_purchase()
    form = perma_cc.form("acknowledge-purchase", purchase_pk=bought.pk)
    with transaction.atomic():
        Purchase.objects.select_for_update().get(pk=bought.pk)
        assert in_time(1.9, service.post, "acknowledge-purchase", form) == 503
    bought.refresh_from_db()
    assert bought.acknowledged_at is None


@pytest.mark.django_db(transaction=True)
def test_postgresql_refuses_to_commit_a_late_acknowledgement(monkeypatch):
    """It may be told to commit while it is frozen, and do so when nobody waits for it anymore."""
    bought = records.paid_purchase()
    monkeypatch.setattr(acknowledgement, "ACKNOWLEDGING", 0.3)

    def stall() -> bool:
        time.sleep(0.4)
        return True

    with pytest.raises(OperationalError) as caught:
        acknowledgement.acknowledge_purchase(bought.pk, is_awaited=stall, now=NOW)
    assert why_unavailable(caught.value) == "it did not answer in time"
    bought.refresh_from_db()
    assert bought.acknowledged_at is None
    assert not UnansweredAcknowledgement.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_answer_is_recorded_later_if_it_cannot_be_at_once(monkeypatch):
    """Otherwise, staff would get a task for nothing whenever the database is frozen."""
    monkeypatch.setattr(acknowledgement, "TRY_AGAIN_AFTER", 0.1)
    number = acknowledgement.acknowledge_purchase(records.paid_purchase().pk, is_awaited=lambda: True, now=NOW)
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        UnansweredAcknowledgement.objects.select_for_update().get(pk=number)
        pool.submit(answer, number).result()
        assert UnansweredAcknowledgement.objects.exists()
    eventually(lambda: not UnansweredAcknowledgement.objects.exists())


def answer(number: int) -> None:
    """Run in a thread of its own, as a request does."""
    try:
        acknowledgement.confirm_answered(number)
    finally:
        connection.close()


@pytest.mark.django_db
def test_an_acknowledgement_in_doubt_gives_one_task():
    doubtful, fresh, answered = (records.paid_purchase() for _ in range(3))
    acknowledgement.acknowledge_purchase(doubtful.pk, is_awaited=lambda: True, now=NOW - timedelta(minutes=1))
    acknowledgement.acknowledge_purchase(fresh.pk, is_awaited=lambda: True, now=NOW - timedelta(seconds=59))
    acknowledgement.confirm_answered(
        acknowledgement.acknowledge_purchase(answered.pk, is_awaited=lambda: True, now=NOW - timedelta(hours=1))
    )
    assert acknowledgement.open_tasks_for_doubts(now=NOW) == 1
    assert acknowledgement.open_tasks_for_doubts(now=NOW) == 0
    task = StaffTask.objects.get()
    assert (task.kind, task.purchase, task.done_at) == (TaskKind.ACKNOWLEDGEMENT_IN_DOUBT, doubtful, None)
    assert task.events.get().pgh_context == {"source": "scheduler"}
    # Once looked at, it may be offered, acknowledged and in doubt again.
    Purchase.objects.filter(pk=doubtful.pk).update(acknowledged_at=None)
    acknowledgement.acknowledge_purchase(doubtful.pk, is_awaited=lambda: True, now=NOW - timedelta(minutes=1))
    assert acknowledgement.open_tasks_for_doubts(now=NOW) == 1
