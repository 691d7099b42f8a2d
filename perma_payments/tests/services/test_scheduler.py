"""The daily mails, and the scheduler that sends them."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from time import sleep
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from devtools.postgres_supervisor import eventually as wait_until
from perma_payments import emails
from perma_payments.billing.transactions import Kind
from perma_payments.models import JobRun, Response, StaffTask
from perma_payments.services import scheduler
from perma_payments.services.callbacks.receive import receive_callback
from perma_payments.services.once_a_day import NotYet, do_once_a_day
from perma_payments.services.staff_tasks.digest import remind_of_overdue, send_daily_report
from perma_payments.services.staff_tasks.listener import TaskListener
from perma_payments.services.staff_tasks.outbox import Sent

from .. import cyber_source, records
from ..mail_server import free_port, use

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


def task(kind: str = "duplicate charge", *, days: float = 0, **changes: Any) -> StaffTask:
    """A task that has been open for some days, and that somebody was told of."""
    opened_at = NOW - timedelta(days=days)
    return StaffTask.objects.create(
        **{
            "kind": kind,
            "agreement": records.agreement(),
            "opened_at": opened_at,
            "notified_at": opened_at,
            **changes,
        }
    )


# --- The daily report -------------------------------------------------------------------------------


def test_the_report_lists_what_is_open_oldest_first_with_its_age(mailbox, settings):
    young, old, middle = task(), task("cancellation", days=2.9), task("unmatched", days=1)
    task(days=9, done_at=NOW, resolution="done")

    assert send_daily_report(now=NOW) == 3
    assert mailbox.subjects == ["Still to do: 3"]
    assert mailbox.mails[0]["X-Rcpt"] == ", ".join(settings.STAFF_EMAILS)
    body = mailbox.body()
    places = [body.index(each.agreement.reference_number) for each in (old, middle, young)]
    assert places == sorted(places)
    assert "open for 2 days: Cancel a subscription in CyberSource" in body
    assert "open for 1 day: " in body
    assert "open since today: " in body
    assert "/admin/perma/registrar/7/change/" in body
    assert "* OVERDUE" not in body


def test_the_report_says_what_is_overdue(mailbox):
    task(days=3)
    task(days=2)
    send_daily_report(now=NOW)

    assert mailbox.subjects == ["Still to do: 2, 1 overdue"]
    assert mailbox.body().count("* OVERDUE, open for 3 days") == 1


def test_on_a_day_without_open_tasks_the_developers_hear_that_nothing_is_pending(mailbox, settings):
    task(done_at=NOW, resolution="done")

    assert send_daily_report(now=NOW) == 0
    assert mailbox.subjects == ["Nothing pending"]
    assert mailbox.mails[0]["X-Rcpt"] == ", ".join(settings.DEVELOPER_EMAILS)


# --- What is overdue --------------------------------------------------------------------------------


def test_nothing_overdue_sends_nothing(mailbox):
    task(days=2)
    records.paid_purchase(paid_at=NOW - timedelta(hours=23))
    records.paid_purchase(paid_at=NOW - timedelta(days=9), acknowledged_at=NOW)

    assert remind_of_overdue(now=NOW) == 0
    assert mailbox.mails == []


def test_the_reminder_names_each_thing_that_has_waited_for_too_long(mailbox, settings):
    old = task(days=3)
    purchase = records.paid_purchase(paid_at=NOW - timedelta(days=1, seconds=1))
    fields = cyber_source.response(records.form(records.outgoing(Kind.SUBSCRIBE)))
    response = receive_callback(b"body", list(fields.items()), now=NOW - timedelta(hours=2))
    Response.objects.filter(pk=response.pk).update(applied_at=None, outcome="")
    task(days=0.1, notified_at=None)

    assert remind_of_overdue(now=NOW) == 4
    assert mailbox.subjects == ["Overdue: 4"]
    assert mailbox.mails[0]["X-Rcpt"] == ", ".join([*settings.STAFF_EMAILS, *settings.DEVELOPER_EMAILS])
    body = mailbox.body()
    for named in (
        old.agreement.reference_number,
        purchase.reference_number,
        f"response {response.pk}, ACCEPT",
        "NOBODY WAS TOLD OF FOR MORE THAN AN HOUR: 1",
    ):
        assert named in body


# --- The scheduler ----------------------------------------------------------------------------------


def test_nothing_is_sent_before_its_time(mailbox):
    assert scheduler.do_daily_jobs(now=NOW - timedelta(seconds=1)) == []
    assert mailbox.mails == []


def test_each_daily_job_is_done_once_a_day(mailbox):
    assert scheduler.do_daily_jobs(now=NOW) == ["daily report", "overdue reminder"]
    assert scheduler.do_daily_jobs(now=NOW + timedelta(minutes=1)) == []
    assert scheduler.do_daily_jobs(now=NOW + timedelta(hours=14, minutes=59)) == []
    assert scheduler.do_daily_jobs(now=NOW + timedelta(days=1)) == ["daily report", "overdue reminder"]
    assert mailbox.subjects == ["Nothing pending"] * 2


def test_a_scheduler_that_was_stopped_at_the_time_does_the_job_later_that_day(mailbox):
    assert "daily report" in scheduler.do_daily_jobs(now=NOW.replace(hour=23, minute=59))


def test_a_report_that_fails_is_tried_again_and_keeps_no_other_job_from_being_done(settings, mailbox, caplog):
    port = settings.EMAIL_PORT
    use(settings, free_port())
    assert scheduler.do_daily_jobs(now=NOW) == ["overdue reminder"]
    assert "daily report failed: Unreachable" in caplog.text

    use(settings, port)
    assert scheduler.do_daily_jobs(now=NOW + timedelta(seconds=9)) == []
    assert scheduler.do_daily_jobs(now=NOW + timedelta(seconds=10)) == ["daily report"]
    assert JobRun.objects.filter(done_at__isnull=False).count() == 2


def test_a_report_that_may_have_arrived_is_sent_again_rarely_and_looks_the_same(mailbox, monkeypatch):
    monkeypatch.setattr(emails, "LIMIT", 0.5)
    mailbox.seconds_to_answer = 30
    assert scheduler.do_daily_jobs(now=NOW) == ["overdue reminder"]
    mailbox.seconds_to_answer = 0
    assert scheduler.do_daily_jobs(now=NOW + timedelta(minutes=59)) == []
    assert scheduler.do_daily_jobs(now=NOW + timedelta(hours=1)) == ["daily report"]

    assert [mail["Message-ID"] for mail in mailbox.mails] == ["<daily-report-2026-11-21@perma.example>"] * 2


def test_a_report_that_not_all_recipients_get_is_done_and_the_developers_hear_of_it(mailbox, settings):
    settings.STAFF_EMAILS = ["anne@staff.example", "ben@staff.example"]
    mailbox.refused["ben@staff.example"] = 550
    task()

    assert "daily report" in scheduler.do_daily_jobs(now=NOW)
    assert [mail["X-Rcpt"] for mail in mailbox.mails] == ["anne@staff.example", *settings.DEVELOPER_EMAILS]
    assert mailbox.subjects[1] == "Refused: STAFF_EMAILS, address 2"


def test_a_job_that_another_process_is_doing_is_left_to_it(mailbox):
    seen = []

    def do(*, now: datetime) -> None:
        with pytest.raises(NotYet, match="is being done right now"):
            do_once_a_day("daily report", seen.append, now=now)

    assert do_once_a_day("daily report", do, now=NOW)
    assert not do_once_a_day("daily report", seen.append, now=NOW)
    assert seen == []


def test_the_scheduler_tries_again_to_apply_what_was_not_applied():
    fields = cyber_source.response(records.form(records.outgoing(Kind.SUBSCRIBE)), "MAYBE")
    response = receive_callback(b"body", list(fields.items()), now=NOW)
    Response.objects.filter(pk=response.pk).update(applied_at=None, outcome="")

    scheduler.apply_responses(now=NOW)
    response.refresh_from_db()
    assert response.applied_at == NOW


# --- Mail, as soon as it is due ---------------------------------------------------------------------


@pytest.fixture
def mailing(transactional_db, monkeypatch) -> Iterator[Callable[[], None]]:
    """Starts a scheduler's mailing in a thread of its own; it ends with the test."""
    stopping = threading.Event()
    threads = []
    monkeypatch.setattr(scheduler, "do_daily_jobs", lambda now: None)

    def mail() -> None:
        scheduler.keep_mailing(stopping)
        connection.close()

    def start() -> None:
        threads.append(threading.Thread(target=mail))
        threads[-1].start()

    yield start
    stopping.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def eventually(condition: Callable[[], object]) -> None:
    """Wait until something is so: much longer than it takes, on a busy machine too."""
    assert wait_until(condition, 60)


def listening() -> set[int]:
    """The processes of PostgreSQL's whose last statement was to listen."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%LISTEN perma_%'"
        )
        return {pid for (pid,) in cursor.fetchall()}


def test_a_task_is_mailed_when_its_transaction_commits(mailbox, mailing, monkeypatch):
    monkeypatch.setattr(scheduler, "POLL", 600)  # only a notification can be this quick
    mailing()
    eventually(listening)
    with transaction.atomic():
        StaffTask.objects.bulk_create(
            StaffTask(kind="duplicate charge", agreement=records.agreement()) for _ in range(2)
        )
        sleep(0.3)  # it would be too early now, if it were
        assert mailbox.mails == []
    eventually(lambda: len(mailbox.mails) == 2)


def test_without_notifications_tasks_are_polled_for(mailbox, mailing, monkeypatch):
    monkeypatch.setattr(scheduler, "POLL", 0.2)
    monkeypatch.setattr(TaskListener, "listen", lambda self: None)
    mailing()
    StaffTask.objects.create(kind="duplicate charge", agreement=records.agreement())
    eventually(lambda: len(mailbox.mails) == 1)


def test_a_connection_that_listened_and_was_lost_is_replaced(mailbox, mailing, monkeypatch):
    monkeypatch.setattr(scheduler, "POLL", 600)
    mailing()
    eventually(listening)
    lost = listening()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) pid", [list(lost)])
    eventually(lambda: listening() - lost)
    StaffTask.objects.create(kind="duplicate charge", agreement=records.agreement())
    eventually(lambda: len(mailbox.mails) == 1)


def test_a_mail_server_that_fails_is_asked_again_less_and_less_often(settings, mailing, monkeypatch, caplog):
    monkeypatch.setattr(scheduler, "POLL", 0.1)
    monkeypatch.setattr(scheduler, "LONGEST_PAUSE", 0.4)
    use(settings, free_port())
    task(notified_at=None)
    mailing()

    def pauses() -> list[str]:
        return [record.args[0] for record in caplog.records if "tried again in" in record.msg]

    eventually(lambda: len(pauses()) >= 4)
    assert pauses()[:4] == [0.1, 0.2, 0.4, 0.4]


def test_tasks_are_mailed_again_when_the_database_is_back(mailbox, mailing, monkeypatch, caplog):
    monkeypatch.setattr(scheduler, "POLL", 0.1)
    real, failures = scheduler.send_task_mails, iter([OperationalError] * 2)

    def send(*, now: datetime) -> Sent:
        for error in failures:
            raise error
        return real(now=now)

    monkeypatch.setattr(scheduler, "send_task_mails", send)
    task(notified_at=None)
    mailing()
    eventually(lambda: len(mailbox.mails) == 1)
    assert caplog.text.count("mails could not be looked for: the connection") == 2
