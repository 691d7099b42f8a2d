"""Mail, as soon as it is due."""

import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from time import sleep

import pytest
from django.db import OperationalError, connection, transaction

from devtools.processes import eventually as wait_until
from perma_payments.models import StaffTask
from perma_payments.services import scheduler
from perma_payments.services.staff_tasks.listener import TaskListener

from .. import records

pytestmark = pytest.mark.django_db(transaction=True)


def eventually(condition: Callable[[], object]) -> None:
    """Wait for a condition, much longer than it should take even on a busy machine."""
    assert wait_until(condition, 60)


def open_tasks(number: int) -> None:
    StaffTask.objects.bulk_create(
        StaffTask(kind="duplicate charge", agreement=records.agreement()) for _ in range(number)
    )


class Outbox:
    """Counts the tasks at each round, which ends with the next of ``results``, or True if there is none left."""

    def __init__(self) -> None:
        self.rounds: list[int] = []
        self.results: list[bool | Exception] = []

    def send(self, *, now: datetime) -> bool:
        self.rounds.append(StaffTask.objects.count())
        result = self.results.pop(0) if self.results else True
        if isinstance(result, Exception):
            raise result
        return result


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def start(outbox) -> Iterator[Callable[[], None]]:
    """Starts a scheduler's mailing in a thread of its own; it ends with the test."""
    stopping = threading.Event()

    def mail() -> None:
        scheduler.keep_mailing(outbox.send, stopping=stopping)
        connection.close()

    thread = threading.Thread(target=mail)
    yield thread.start
    stopping.set()
    thread.join(10)
    assert not thread.is_alive()


def listening() -> set[int]:
    """The processes of PostgreSQL's whose last statement was to listen."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%LISTEN perma_%'"
        )
        return {pid for (pid,) in cursor.fetchall()}


def test_mail_is_due_when_the_transaction_of_a_task_commits(outbox, start, monkeypatch):
    monkeypatch.setattr(scheduler, "POLL_SECONDS", 600)  # only a notification can be this quick
    start()
    eventually(lambda: listening() and outbox.rounds)
    with transaction.atomic():
        open_tasks(2)
        sleep(0.3)  # a notification would come too early now
        assert outbox.rounds == [0]
    eventually(lambda: outbox.rounds == [0, 2])


def test_without_notifications_mail_is_polled_for(outbox, start, monkeypatch):
    monkeypatch.setattr(scheduler, "POLL_SECONDS", 0.2)
    monkeypatch.setattr(TaskListener, "listen", lambda self: None)
    start()
    open_tasks(1)
    eventually(lambda: 1 in outbox.rounds)


def test_a_connection_that_listened_and_was_lost_is_replaced(outbox, start, monkeypatch):
    monkeypatch.setattr(scheduler, "POLL_SECONDS", 600)
    start()
    eventually(listening)
    lost = listening()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) pid", [list(lost)])
    eventually(lambda: listening() - lost)
    open_tasks(1)
    eventually(lambda: 1 in outbox.rounds)


def test_a_mail_server_that_fails_is_asked_less_and_less_often(outbox, start, monkeypatch, caplog):
    monkeypatch.setattr(scheduler, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(scheduler, "LONGEST_PAUSE_SECONDS", 0.4)
    outbox.results = [False] * 4 + [True, False]
    start()

    def pauses() -> list[object]:
        return [record.args[0] for record in caplog.records if "retried in" in record.msg]

    eventually(lambda: len(pauses()) == 5)
    assert pauses() == [0.1, 0.2, 0.4, 0.4, 0.1]


def test_mail_is_tried_again_when_the_database_is_back(outbox, start, monkeypatch, caplog):
    monkeypatch.setattr(scheduler, "POLL_SECONDS", 0.1)
    outbox.results = [OperationalError(), OperationalError()]
    start()
    eventually(lambda: len(outbox.rounds) > 3)
    assert caplog.text.count("send: the database cannot serve this: the connection") == 2
