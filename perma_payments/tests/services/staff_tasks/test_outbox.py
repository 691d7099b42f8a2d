"""Staff are mailed their tasks: by real SMTP, with servers that fail in all the ways they do."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from time import sleep
from typing import Any

import pytest
from django.db import connection

from perma_payments import emails
from perma_payments.billing.transactions import Kind
from perma_payments.models import JobRun, StaffTask
from perma_payments.models.history import HistorySource
from perma_payments.services.backoff import LEASE, wait_after_failure, wait_after_silence, wait_for_the_rest
from perma_payments.services.callbacks.receive import receive_callback
from perma_payments.services.staff_tasks import outbox
from perma_payments.services.staff_tasks.outbox import Sent, send_task_mails

from ... import cyber_source, records
from ...mail_server import free_port, hanging_mail_server, use

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ANNE, BEN = "anne@staff.example", "ben@staff.example"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def two_staff(settings):
    settings.STAFF_EMAILS = [ANNE, BEN]


def task(**changes: Any) -> StaffTask:
    """A task that nobody was told of yet."""
    return StaffTask.objects.create(
        **{"kind": "duplicate charge", "agreement": records.agreement(), "opened_at": NOW, **changes}
    )


# --- What is sent -----------------------------------------------------------------------------------


def test_tasks_are_mailed_to_all_staff_oldest_first_and_once_in_one_conversation(mailbox):
    later = task(opened_at=NOW + timedelta(hours=1))
    first = task()

    assert send_task_mails(now=NOW) == Sent(2, 0)
    assert send_task_mails(now=NOW + timedelta(days=9)) == Sent(0, 0)
    assert [subject.split()[-1] for subject in mailbox.subjects] == [
        first.agreement.reference_number,
        later.agreement.reference_number,
    ]
    assert mailbox.mails[0]["X-Rcpt"] == f"{ANNE}, {BEN}"
    assert mailbox.conversations == 1
    first.refresh_from_db()
    assert (first.notified_at, first.mail_due_at, first.mail_attempts) == (NOW, None, 0)


def test_without_tasks_nothing_is_said_to_the_mail_server(mailbox):
    task(notified_at=NOW)
    task(done_at=NOW, resolution="withdrawn")

    assert send_task_mails(now=NOW) == Sent(0, 0)
    assert mailbox.conversations == 0


def test_the_history_says_that_the_mail_was_sent_and_nothing_of_its_attempts(mailbox):
    mailbox.refuses = True
    this = task()
    send_task_mails(now=NOW)
    mailbox.refuses = False
    send_task_mails(now=NOW + timedelta(hours=1))

    opened, mailed = this.events.order_by("pgh_id")
    assert (opened.notified_at, mailed.notified_at) == (None, NOW + timedelta(hours=1))
    assert mailed.pgh_context == {"source": HistorySource.MAIL}


def test_a_callback_is_answered_and_its_task_is_left_to_the_scheduler(settings, call_back):
    with hanging_mail_server(settings) as server:
        assert call_back(records.form(records.outgoing(Kind.SUBSCRIBE)), "REVIEW").status_code == 200
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert StaffTask.objects.get().notified_at is None


def test_the_task_of_a_callback_is_mailed(mailbox):
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    receive_callback(b"body", list(cyber_source.response(records.form(outgoing), "REVIEW").items()), now=NOW)

    assert send_task_mails(now=NOW) == Sent(1, 0)
    assert mailbox.subjects == [
        f"Decide a payment that CyberSource holds for review: {outgoing.agreement.reference_number}"
    ]


# --- Mails that fail --------------------------------------------------------------------------------


def test_a_mail_that_is_refused_keeps_no_other_from_being_sent_and_is_tried_again_later(mailbox):
    mailbox.refuses = True
    this, other = task(), task()
    assert send_task_mails(now=NOW) == Sent(0, 2)
    assert mailbox.conversations == 1

    mailbox.refuses = False
    third = task(opened_at=NOW + timedelta(minutes=1))
    assert send_task_mails(now=NOW + timedelta(seconds=9)) == Sent(1, 0)
    assert mailbox.subjects[0].endswith(third.agreement.reference_number)
    assert send_task_mails(now=NOW + timedelta(seconds=10)) == Sent(2, 0)
    assert {this.agreement.reference_number, other.agreement.reference_number} == {
        subject.split()[-1] for subject in mailbox.subjects[1:]
    }


def test_attempts_become_rarer():
    assert [wait_after_failure(n).total_seconds() for n in (1, 2, 5, 6, 7, 10_000)] == [10, 20, 160, 300, 300, 300]
    hour = 60 * 60
    assert [wait_after_silence(n).total_seconds() / hour for n in (1, 2, 5, 6, 10_000)] == [1, 2, 16, 24, 24]
    minutes = [wait_for_the_rest(n).total_seconds() / 60 for n in (1, 2, 7, 10_000)]
    assert minutes == [1, 2, 64, 24 * 60]


def test_a_mail_that_cannot_be_written_keeps_no_other_from_being_sent(mailbox, monkeypatch, caplog):
    broken, _ = task(), task()
    compose = outbox.compose
    monkeypatch.setattr(outbox, "compose", lambda task: 1 / 0 if task == broken else compose(task))

    assert send_task_mails(now=NOW) == Sent(1, 1)
    assert f"staff task {broken.pk} could not be mailed: ZeroDivisionError" in caplog.text
    broken.refresh_from_db()
    assert (broken.notified_at, broken.mail_due_at) == (None, NOW + timedelta(seconds=10))


def test_a_server_that_is_down_ends_the_round_and_is_no_reason_to_wait_with_a_mail(mailbox, settings):
    port = settings.EMAIL_PORT
    use(settings, free_port())
    for _ in range(30):
        task()
    assert send_task_mails(now=NOW) == Sent(0, 1, server_failed=True)

    use(settings, port)
    assert send_task_mails(now=NOW) == Sent(30, 0)


def test_a_server_that_never_speaks_ends_the_round(settings):
    settings.EMAIL_TIMEOUT = 0.2
    for _ in range(30):
        task()
    with hanging_mail_server(settings) as server:
        assert send_task_mails(now=NOW) == Sent(0, 1, server_failed=True)
        server.accept()[0].close()
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_mail_that_breaks_the_conversation_holds_up_no_other(mailbox):
    poison, other = task(), task()
    mailbox.breaks_at = poison.agreement.reference_number
    assert send_task_mails(now=NOW) == Sent(0, 1, server_failed=True)
    assert send_task_mails(now=NOW) == Sent(1, 0)

    (subject,) = mailbox.subjects
    assert subject.endswith(other.agreement.reference_number)


def test_a_round_begins_no_mail_after_its_time(mailbox, monkeypatch):
    monkeypatch.setattr(outbox, "ROUND", 0.2)
    mailbox.seconds_to_answer = 0.3
    for _ in range(3):
        task()

    assert send_task_mails(now=NOW) == Sent(1, 0)


# --- Mails whose fate is unknown --------------------------------------------------------------------


def test_a_mail_that_was_handed_over_without_an_answer_is_sent_again_rarely(mailbox, monkeypatch):
    monkeypatch.setattr(emails, "LIMIT", 0.5)
    mailbox.seconds_to_answer = 30
    this, _ = task(), task()
    assert send_task_mails(now=NOW) == Sent(0, 1, server_failed=True)
    assert send_task_mails(now=NOW) == Sent(0, 1, server_failed=True)
    # Both have arrived once, perhaps.
    assert len(mailbox.mails) == 2
    for minutes in (5, 10, 59):
        assert send_task_mails(now=NOW + timedelta(minutes=minutes)) == Sent(0, 0)

    mailbox.seconds_to_answer = 0
    assert send_task_mails(now=NOW + timedelta(hours=1)) == Sent(2, 0)
    ids = [mail["Message-ID"] for mail in mailbox.mails]
    assert ids[:2] == ids[2:] and len(set(ids)) == 2
    this.refresh_from_db()
    assert this.notified_at == NOW + timedelta(hours=1)


def test_a_mail_that_was_taken_counts_though_the_server_is_slow_or_hangs_at_quit(mailbox, settings, monkeypatch):
    monkeypatch.setattr(emails, "LIMIT_TO_QUIT", 0.2)
    settings.EMAIL_TIMEOUT = 0.3
    mailbox.seconds_to_answer, mailbox.hangs_at_quit = 0.6, True
    task()

    assert send_task_mails(now=NOW) == Sent(1, 0)
    assert send_task_mails(now=NOW + timedelta(days=9)) == Sent(0, 0)
    assert len(mailbox.mails) == 1


# --- Recipients that are refused --------------------------------------------------------------------


def test_one_who_is_refused_for_good_is_told_of_and_the_task_counts_as_told(mailbox, settings, caplog):
    mailbox.refused[BEN] = 550
    this = task()
    assert send_task_mails(now=NOW) == Sent(1, 0)
    task()
    assert send_task_mails(now=NOW + timedelta(hours=1)) == Sent(1, 0)

    assert [mail["X-Rcpt"] for mail in mailbox.mails] == [ANNE, *settings.DEVELOPER_EMAILS, ANNE]
    assert mailbox.subjects[1] == "Refused: STAFF_EMAILS, address 2"
    assert ["Address: number 2 of the list", "Code: 550 (for good)"] == mailbox.body(1).splitlines()[3:5]
    assert BEN not in mailbox.body(1) + caplog.text
    assert "the mail server refused STAFF_EMAILS, address 2 (550)" in caplog.text
    this.refresh_from_db()
    assert (this.notified_at, this.mail_due_at) == (NOW, None)


def test_the_developers_are_told_of_it_once_a_day(mailbox):
    mailbox.refused[BEN] = 550
    for hours in (0, 1, 24):
        task()
        send_task_mails(now=NOW + timedelta(hours=hours))

    assert mailbox.subjects.count("Refused: STAFF_EMAILS, address 2") == 2


def test_one_who_is_refused_for_now_gets_the_mail_later_and_the_others_get_it_once(mailbox, settings):
    mailbox.refused[BEN] = 450
    this = task()
    assert send_task_mails(now=NOW) == Sent(1, 0)
    this.refresh_from_db()
    assert (this.notified_at, this.mail_due_at) == (NOW, NOW + timedelta(minutes=1))

    mailbox.refused.clear()
    assert send_task_mails(now=NOW + timedelta(seconds=59)) == Sent(0, 0)
    assert send_task_mails(now=NOW + timedelta(minutes=1)) == Sent(1, 0)
    assert send_task_mails(now=NOW + timedelta(days=9)) == Sent(0, 0)
    assert [mail["X-Rcpt"] for mail in mailbox.mails if "Refund" in mail["Subject"]] == [ANNE, BEN]
    this.refresh_from_db()
    assert (this.notified_at, this.mail_due_at, this.mail_left_to) == (NOW, None, None)


def test_one_who_was_left_and_is_in_the_settings_no_more_is_not_waited_for(mailbox, settings):
    mailbox.refused[BEN] = 450
    this = task()
    send_task_mails(now=NOW)
    settings.STAFF_EMAILS = [ANNE]
    send_task_mails(now=NOW + timedelta(minutes=1))

    this.refresh_from_db()
    assert (this.mail_due_at, this.mail_left_to) == (None, None)


def test_where_all_are_refused_nobody_counts_as_told_and_the_developers_hear_of_it(mailbox):
    mailbox.refused |= {ANNE: 550, BEN: 550}
    this = task()

    assert send_task_mails(now=NOW) == Sent(0, 1)
    assert mailbox.subjects == ["Refused: STAFF_EMAILS, address 1", "Refused: STAFF_EMAILS, address 2"]
    this.refresh_from_db()
    assert (this.notified_at, this.mail_due_at) == (None, NOW + timedelta(seconds=10))


def test_developers_who_are_refused_too_are_no_obstacle(mailbox, settings, caplog):
    mailbox.refused |= {BEN: 550} | dict.fromkeys(settings.DEVELOPER_EMAILS, 550)
    task()

    assert send_task_mails(now=NOW) == Sent(1, 0)
    assert "the developers could not be told of it: NotDelivered" in caplog.text
    assert JobRun.objects.get().done_at is None


# --- Several processes, and processes that end ------------------------------------------------------


def test_what_a_killed_process_was_sending_is_sent_again_later(mailbox, monkeypatch):
    class Killed(BaseException):
        """What a process does not survive."""

    def kill(*args: Any, **kwargs: Any) -> None:
        raise Killed

    this = task()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(emails.MailServer, "send", kill)
        send_task_mails(now=NOW)

    assert send_task_mails(now=NOW + LEASE - timedelta(seconds=1)) == Sent(0, 0)
    assert send_task_mails(now=NOW + LEASE) == Sent(1, 0)
    this.refresh_from_db()
    assert this.notified_at == NOW + LEASE


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_while_the_mail_server_is_spoken_to(mailbox, monkeypatch):
    states = []
    send = emails.MailServer.send

    def watched(*args: Any, **kwargs: Any) -> Any:
        states.append(connection.in_atomic_block)
        return send(*args, **kwargs)

    monkeypatch.setattr(emails.MailServer, "send", watched)
    task()
    send_task_mails(now=NOW)
    assert states == [False]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("limit", "result", "due_at"),
    [(60, Sent(1, 0), None), (1, Sent(0, 1, server_failed=True), NOW + timedelta(hours=1))],
)
def test_a_connection_that_was_lost_during_the_mail_is_replaced(mailbox, monkeypatch, limit, result, due_at):
    monkeypatch.setattr(emails, "LIMIT", limit)
    mailbox.seconds_to_answer = 0.5 if limit == 60 else 30
    this = task()

    def send() -> Sent:
        try:
            return send_task_mails(now=NOW)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send)
        while not mailbox.mails:
            sleep(0.01)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            assert cursor.fetchone()[0] >= 1
        assert sending.result() == result
    this.refresh_from_db()
    assert this.mail_due_at == due_at
    assert len(mailbox.mails) == 1


@pytest.mark.django_db(transaction=True)
def test_several_at_once_mail_each_task_once(mailbox):
    for _ in range(10):
        task()

    def send() -> Sent:
        try:
            return send_task_mails(now=NOW)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        results = [future.result() for future in [pool.submit(send) for _ in range(4)]]
    assert (sum(result.sent for result in results), sum(result.failed for result in results)) == (10, 0)
    assert len(mailbox.mails) == 10
