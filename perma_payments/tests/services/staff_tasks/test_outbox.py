"""Staff are mailed their tasks: by real SMTP, with servers that fail in all the ways they do."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import pytest
from django.db import connection

from devtools.processes import eventually
from perma_payments import emails
from perma_payments.billing.transactions import Kind
from perma_payments.emails import Mail
from perma_payments.models import JobRun, StaffTask
from perma_payments.models.history import HistorySource
from perma_payments.services.backoff import LEASE
from perma_payments.services.staff_tasks import outbox, take_back
from perma_payments.services.staff_tasks.listener import TaskListener
from perma_payments.services.staff_tasks.outbox import Sent, send_task_mails

from ... import records
from ...mail_server import free_port, hanging_mail_server, use

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ANNE, BEN = "anne@staff.example", "ben@staff.example"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def two_staff(settings):
    settings.STAFF_EMAILS = [ANNE, BEN]


def task(**changes: Any) -> StaffTask:
    """A task that has not been mailed yet."""
    columns = {"kind": "duplicate charge", "agreement": records.agreement(), "opened_at": NOW}
    return StaffTask.objects.create(**{**columns, **changes})


def compose(task: StaffTask) -> Mail:
    return Mail(f"Task {task.reference_number}", "Do it.")


def send(after: timedelta = timedelta()) -> Sent:
    """A round, so long after the tasks were opened."""
    return send_task_mails(compose, now=NOW + after)


def send_in_thread() -> Sent:
    try:
        return send()
    finally:
        connection.close()


def mail_columns(task: StaffTask) -> tuple[datetime | None, datetime | None, int]:
    task.refresh_from_db()
    return task.notified_at, task.mail_due_at, task.mail_attempts


# --- What is sent -----------------------------------------------------------------------------------


def test_tasks_are_mailed_to_all_staff_oldest_first(mailbox):
    later, first = task(opened_at=NOW + HOUR), task()

    assert send() == Sent(2)
    assert mailbox.subjects == [compose(first).subject, compose(later).subject]
    assert [mail["X-Rcpt"] for mail in mailbox.mails] == [f"{ANNE}, {BEN}"] * 2
    assert mailbox.conversations == 1


def test_a_task_that_was_mailed_is_not_mailed_again(mailbox):
    this = task()
    send()

    assert send(9 * DAY) == Sent(0)
    assert mail_columns(this) == (NOW, None, 0)


def test_without_tasks_nothing_is_said_to_the_mail_server(mailbox):
    task(notified_at=NOW)
    task(done_at=NOW, resolution="withdrawn")

    assert send() == Sent(0)
    assert mailbox.conversations == 0


def test_the_history_has_the_mail_and_not_its_attempts(mailbox):
    mailbox.refuses = True
    this = task()
    send()
    mailbox.refuses = False
    send(HOUR)

    opened, mailed = this.events.order_by("pgh_id")
    assert (opened.notified_at, mailed.notified_at) == (None, NOW + HOUR)
    assert mailed.pgh_context == {"source": HistorySource.MAIL}


def test_a_callback_leaves_its_mail_to_the_scheduler(settings, call_back):
    with hanging_mail_server(settings) as server:
        assert call_back(records.form(records.outgoing(Kind.SUBSCRIBE)), "REVIEW").status_code == 200
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert StaffTask.objects.get().notified_at is None


# --- Requests that are taken back -------------------------------------------------------------------


def customer_takes_back(this: StaffTask) -> None:
    take_back(StaffTask.objects.get(pk=this.pk), now=NOW)


def test_staff_are_mailed_once_about_a_task_that_is_taken_back(mailbox):
    this = task()
    send()
    customer_takes_back(this)

    assert send(MINUTE) == Sent(1)
    assert send(HOUR) == Sent(0)
    assert len({mail["Message-ID"] for mail in mailbox.mails}) == 2


def test_a_task_that_is_taken_back_before_its_mail_is_mailed_once(mailbox):
    customer_takes_back(task())

    assert send() == Sent(1)
    assert send(HOUR) == Sent(0)


def test_a_task_that_is_taken_back_while_it_is_mailed_is_mailed_again(mailbox):
    this = task()

    def compose_and_take_back(mailed: StaffTask) -> Mail:
        mail = compose(mailed)
        if mailed.done_at is None:
            customer_takes_back(this)
        return mail

    assert [send_task_mails(compose_and_take_back, now=NOW).number for _ in range(3)] == [1, 1, 0]


def test_a_failed_mail_about_what_was_taken_back_is_tried_again(mailbox):
    mailbox.refuses = True
    this = task(notified_at=NOW)
    customer_takes_back(this)
    send()
    mailbox.refuses = False

    assert send(HOUR) == Sent(1)
    this.refresh_from_db()
    assert this.notified_at == NOW + HOUR


def test_taking_back_wakes_the_scheduler(transactional_db):
    this = task()
    listener = TaskListener()
    listener.listen()
    customer_takes_back(this)
    before = monotonic()
    listener.wait(30, stopping=threading.Event())
    listener.close()

    assert monotonic() - before < 20


# --- Mails that fail --------------------------------------------------------------------------------


def test_a_mail_that_is_refused_does_not_stop_the_others(mailbox):
    mailbox.refuses = True
    task(), task()

    assert send() == Sent(0)
    assert mailbox.conversations == 1


def test_a_mail_that_is_refused_is_tried_again_later(mailbox):
    mailbox.refuses = True
    this = task()
    send()
    mailbox.refuses = False

    assert mail_columns(this) == (None, NOW + 10 * SECOND, 1)
    assert send(9 * SECOND) == Sent(0)
    assert send(10 * SECOND) == Sent(1)


def test_a_mail_that_cannot_be_composed_does_not_stop_the_others(mailbox, caplog):
    broken, _ = task(), task()

    assert send_task_mails(lambda task: 1 / 0 if task == broken else compose(task), now=NOW) == Sent(1)
    assert f"staff task {broken.pk} could not be mailed: ZeroDivisionError" in caplog.text
    assert mail_columns(broken) == (None, NOW + 10 * SECOND, 1)


def test_a_server_that_is_down_ends_the_round_and_delays_no_mail(mailbox, settings):
    port = settings.EMAIL_PORT
    use(settings, free_port())
    task(), task()
    assert send() == Sent(0, server_failed=True)

    use(settings, port)
    assert send() == Sent(2)


def test_a_server_that_never_speaks_ends_the_round(settings):
    settings.EMAIL_TIMEOUT = 0.2
    task(), task()
    with hanging_mail_server(settings) as server:
        assert send() == Sent(0, server_failed=True)
        server.accept()[0].close()
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_mail_that_breaks_the_conversation_delays_no_other(mailbox):
    poison, other = task(), task()
    mailbox.breaks_at = poison.agreement.reference_number
    assert send() == Sent(0, server_failed=True)
    assert send() == Sent(1)

    assert mailbox.subjects == [compose(other).subject]


def test_a_round_starts_no_mail_after_its_time(mailbox, monkeypatch):
    monkeypatch.setattr(outbox, "ROUND_SECONDS", 0.2)
    mailbox.seconds_to_answer = 0.3
    task(), task()

    assert send() == Sent(1)


# --- Mails whose fate is unknown --------------------------------------------------------------------


def test_a_mail_without_a_confirmation_is_sent_again_rarely(mailbox, monkeypatch):
    monkeypatch.setattr(emails, "MAIL_SECONDS", 0.5)
    mailbox.seconds_to_answer = 30
    this = task()
    assert send() == Sent(0, server_failed=True)
    assert mail_columns(this) == (None, NOW + HOUR, 1)
    assert send(HOUR - SECOND) == Sent(0)

    mailbox.seconds_to_answer = 0
    assert send(HOUR) == Sent(1)
    first, second = [mail["Message-ID"] for mail in mailbox.mails]
    assert first == second


def test_a_mail_without_a_confirmation_delays_no_other(mailbox, monkeypatch):
    monkeypatch.setattr(emails, "MAIL_SECONDS", 0.5)
    mailbox.seconds_to_answer = 30
    task(), task()
    send(), send()

    assert len({mail["Message-ID"] for mail in mailbox.mails}) == 2


def test_a_mail_counts_though_the_server_is_slow_and_hangs_at_quit(mailbox, settings, monkeypatch):
    monkeypatch.setattr(emails, "QUIT_SECONDS", 0.2)
    settings.EMAIL_TIMEOUT = 0.3
    mailbox.seconds_to_answer, mailbox.hangs_at_quit = 0.6, True
    task()

    assert send() == Sent(1)
    assert send(9 * DAY) == Sent(0)
    assert len(mailbox.mails) == 1


# --- Recipients that are refused --------------------------------------------------------------------


def test_a_task_counts_as_mailed_though_one_address_is_refused(mailbox):
    mailbox.refused[BEN] = 550
    this = task()

    assert send() == Sent(1)
    assert mailbox.mails[0]["X-Rcpt"] == ANNE
    assert mail_columns(this) == (NOW, None, 0)


def test_the_developers_are_told_of_a_refusal_without_the_address(mailbox, settings, caplog):
    mailbox.refused[BEN] = 550
    task()
    send()

    assert mailbox.mails[1]["X-Rcpt"] == ", ".join(settings.DEVELOPER_EMAILS)
    assert mailbox.subjects[1] == "Refused: STAFF_EMAILS, address 2"
    assert "Address: number 2 in the list\nCode: 550 (for good)" in mailbox.body(1).replace("\r\n", "\n")
    assert "the mail server refused STAFF_EMAILS, address 2 (550)" in caplog.text
    assert BEN not in mailbox.body(1) + caplog.text


@pytest.mark.parametrize(("later", "notices"), [(HOUR, 1), (DAY, 2)])
def test_the_developers_are_told_of_a_refusal_once_a_day(mailbox, later, notices):
    mailbox.refused[BEN] = 550
    task()
    send()
    task()
    send(later)

    assert mailbox.subjects.count("Refused: STAFF_EMAILS, address 2") == notices


def test_one_who_is_refused_for_now_alone_gets_the_mail_later(mailbox):
    mailbox.refused[BEN] = 450
    this = task()
    assert send() == Sent(1)
    assert mail_columns(this) == (NOW, NOW + MINUTE, 1)

    mailbox.refused.clear()
    assert send(MINUTE - SECOND) == Sent(0)
    assert send(MINUTE) == Sent(1)
    assert [mail["X-Rcpt"] for mail in mailbox.mails if "Task" in mail["Subject"]] == [ANNE, BEN]
    assert mail_columns(this) == (NOW, None, 1)


def test_a_recipient_removed_from_the_settings_is_dropped(mailbox, settings):
    mailbox.refused[BEN] = 450
    this = task()
    send()
    settings.STAFF_EMAILS = [ANNE]
    send(MINUTE)

    this.refresh_from_db()
    assert (this.mail_due_at, this.mail_left_to) == (None, None)
    assert [mail["X-Rcpt"] for mail in mailbox.mails if "Task" in mail["Subject"]] == [ANNE]


# --- The password of the mail server changes --------------------------------------------------------


def test_with_a_second_login_the_password_is_changed_without_a_pause(mailbox, settings):
    mailbox.logins = {"first": "old", "second": "new"}
    for name, password in mailbox.logins.items():
        settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = name, password
        task()
        assert send() == Sent(1)
    del mailbox.logins["first"]
    task()
    assert send() == Sent(1)


def test_with_a_wrong_password_mails_wait_and_follow_when_it_is_right(mailbox, settings, caplog):
    mailbox.logins = {"first": "new"}
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "first", "old"
    first, second = task(), task()
    assert send() == Sent(0, server_failed=True)
    assert f"staff task {first.pk} could not be mailed: SMTPAuthenticationError 535" in caplog.text
    assert mailbox.mails == []
    for each in (first, second):
        each.refresh_from_db()
        assert (each.notified_at, each.mail_attempts) == (None, 0)

    settings.EMAIL_HOST_PASSWORD = "new"
    assert send() == Sent(2)
    assert len(mailbox.mails) == 2


def test_a_task_refused_for_all_does_not_count_as_mailed(mailbox):
    mailbox.refused |= {ANNE: 550, BEN: 550}
    this = task()

    assert send() == Sent(0)
    assert mailbox.subjects == ["Refused: STAFF_EMAILS, address 1", "Refused: STAFF_EMAILS, address 2"]
    assert mail_columns(this) == (None, NOW + 10 * SECOND, 1)


def test_a_refusal_of_the_developers_is_only_logged(mailbox, settings, caplog):
    mailbox.refused |= {BEN: 550} | dict.fromkeys(settings.DEVELOPER_EMAILS, 550)
    task()

    assert send() == Sent(1)
    assert "the developers could not be notified of that: NotDelivered" in caplog.text
    assert JobRun.objects.get().done_at is None


# --- Several processes, and processes that end ------------------------------------------------------


def test_what_a_killed_process_was_sending_is_sent_again_later(mailbox, monkeypatch):
    class Killed(BaseException):
        """Nothing catches it, so it ends the process as a signal would."""

    def kill(*args: Any, **kwargs: Any) -> None:
        raise Killed

    task()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(emails.MailServer, "send", kill)
        send()

    assert send(LEASE - SECOND) == Sent(0)
    assert send(LEASE) == Sent(1)


@pytest.mark.django_db(transaction=True)
def test_no_transaction_waits_for_the_mail_server(mailbox, monkeypatch):
    states = []
    real = emails.MailServer.send

    def watched(*args: Any, **kwargs: Any) -> Any:
        states.append(connection.in_atomic_block)
        return real(*args, **kwargs)

    monkeypatch.setattr(emails.MailServer, "send", watched)
    task()
    send()
    assert states == [False]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("answers", "result", "due_at"), [(True, Sent(1), None), (False, Sent(0, server_failed=True), NOW + HOUR)]
)
def test_a_connection_that_was_lost_during_the_mail_is_replaced(mailbox, monkeypatch, answers, result, due_at):
    if not answers:
        monkeypatch.setattr(emails, "MAIL_SECONDS", 2)
    mailbox.holds = True
    this = task()

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send_in_thread)
        assert eventually(lambda: mailbox.mails, 60)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            assert cursor.fetchone()[0] >= 1
        mailbox.holds = not answers
        assert sending.result() == result
    this.refresh_from_db()
    assert this.mail_due_at == due_at
    assert len(mailbox.mails) == 1


@pytest.mark.django_db(transaction=True)
def test_several_at_once_mail_each_task_once(mailbox):
    subjects = {compose(task()).subject for _ in range(10)}

    with ThreadPoolExecutor(4) as pool:
        results = [future.result() for future in [pool.submit(send_in_thread) for _ in range(4)]]
    assert sum(result.number for result in results) == 10
    assert sorted(mailbox.subjects) == sorted(subjects)
