"""The developers are mailed about errors: grouped, a few an hour, without values, and not by the request."""

import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import OperationalError

from devtools.processes import eventually
from perma_payments import error_mails
from perma_payments.billing.transactions import Kind
from perma_payments.error_mails import (
    HOUR,
    MAILS_PER_HOUR,
    MOST_GROUPS,
    RETRY,
    SETTLE,
    ErrorMails,
    Problem,
    Waiting,
)
from perma_payments.logs import Alarm
from perma_payments.services.callbacks import receive
from perma_payments.services.checkouts import begin
from perma_payments.services.scheduler import run_job

from . import cyber_source, records
from .conftest import FORM
from .mail_server import free_port, use

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
VALUE = "Zaphod-4242424242424242"


def problem(what: str = "TypeError", detail: str = "") -> Problem:
    return Problem(Alarm.ERROR, what, NOW, detail)


# --- What waits, and for how long -------------------------------------------------------------------


def mail(waiting: Waiting, *, now: float) -> list[tuple[str, int]]:
    """Send what is due; return what was in the mail."""
    due_at = waiting.due_at()
    groups = waiting.take(now=now) if due_at is not None and due_at <= now else []
    if groups:
        waiting.was_sent(now=now)
    return [(group.what, group.count) for group in groups]


def test_a_problem_is_mailed_soon_with_those_that_came_with_it():
    waiting = Waiting()
    assert waiting.due_at() is None
    for what in ("TypeError", "KeyError", "TypeError"):
        waiting.add(problem(what), now=100)

    assert mail(waiting, now=100) == []
    assert waiting.due_at() == 100 + SETTLE
    assert mail(waiting, now=100 + SETTLE) == [("TypeError", 2), ("KeyError", 1)]
    assert waiting.due_at() is None


def test_the_same_problem_is_mailed_once_an_hour_with_its_number_since_then():
    waiting = Waiting()
    waiting.add(problem(), now=0)
    assert mail(waiting, now=1) == [("TypeError", 1)]
    for now in (2, 1000, HOUR - 1):
        waiting.add(problem(), now=now)
    waiting.add(problem("KeyError"), now=5)

    assert mail(waiting, now=6) == [("KeyError", 1)]
    assert mail(waiting, now=HOUR) == []
    assert waiting.due_at() == HOUR + 1
    assert mail(waiting, now=HOUR + 1) == [("TypeError", 3)]


def test_a_process_sends_three_mails_an_hour_and_the_next_one_has_what_was_held_back():
    waiting = Waiting()
    for number in range(MAILS_PER_HOUR):
        waiting.add(problem(f"{number}"), now=number * 10)
        assert (waiting.next_mail(now=number * 10 + 1) is not None) == (number == MAILS_PER_HOUR - 1)
        assert mail(waiting, now=number * 10 + 1) == [(f"{number}", 1)]
    waiting.add(problem("held back"), now=50)
    waiting.add(problem("too"), now=60)

    assert waiting.take(now=70, at_the_end=True) == []
    assert mail(waiting, now=HOUR) == []
    assert waiting.due_at() == HOUR + 1
    assert mail(waiting, now=HOUR + 1) == [("held back", 1), ("too", 1)]
    assert waiting.next_mail(now=HOUR + 11) == 10


def test_what_could_not_be_mailed_is_kept_with_what_came_meanwhile_and_tried_less_and_less_often():
    waiting = Waiting()
    waiting.add(problem(detail="first"), now=0)
    pauses = []
    now = 1.0
    for _ in range(8):
        groups = waiting.take(now=now)
        waiting.add(problem(detail="later"), now=now)
        waiting.put_back(groups, now=now)
        due_at = waiting.due_at()
        assert due_at is not None
        pauses.append(due_at - now)
        now = due_at
    assert pauses == [RETRY, 60, 120, 240, 480, 900, 900, 900]

    (group,) = waiting.take(now=now)
    assert (group.count, group.details[:2]) == (9, ["first", "later"])
    waiting.was_sent(now=now)
    waiting.add(problem("KeyError"), now=now)
    assert waiting.due_at() == now + SETTLE


def test_nothing_grows_without_bound():
    waiting = Waiting()
    for number in range(10_000):
        waiting.add(problem(f"{number % 5_000}", detail=f"{number}"), now=number / 1_000)
    waiting.add(Problem(Alarm.NOT_KEPT, "", NOW), now=11)

    most_important, *groups = waiting.take(now=20)
    assert most_important.title == "A response could not be kept"
    assert len(groups) == MOST_GROUPS + 1
    assert sum(group.count for group in groups) == 10_000
    assert max(len(group.details) for group in groups) == error_mails.MOST_DETAILS
    text = error_mails.mail_about(groups, next_mail_at=NOW)
    assert "Error: of other kinds (9,900 times)" in text.body
    assert "no earlier than 12:00 UTC." in text.body
    assert text.subject == f"Error: 0 (2 times), and {MOST_GROUPS} more"


# --- What is mailed ---------------------------------------------------------------------------------


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> Iterator[ErrorMails]:
    """What a running service has, on the log of this process. It mails when it is stopped, however slow we are."""
    monkeypatch.setattr(error_mails, "SETTLE", 600.0)
    monkeypatch.setattr(error_mails, "SECONDS_TO_STOP", 60.0)
    handler = ErrorMails()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)
    handler.stop()


def fail(*args: Any, **kwargs: Any) -> None:
    raise RuntimeError(VALUE)


@pytest.mark.django_db
def test_a_response_that_could_not_be_kept_is_mailed_with_its_ids(handler, mailbox, call_back, monkeypatch):
    form = records.form(records.outgoing(Kind.SUBSCRIBE))

    def fail(*args: Any) -> None:
        raise OperationalError(VALUE)

    monkeypatch.setattr(receive, "_keep", fail)
    assert call_back(form, transaction_id="7785541575113762489895").status_code == 503
    handler.stop()

    assert mailbox.subjects == ["A response could not be kept"]
    body = mailbox.body()
    assert f"transaction_uuid {form['transaction_uuid']}, transaction_id 7785541575113762489895" in body
    assert "find the payment in the Business Center" in body.replace("\n", " ")
    assert VALUE not in body and cyber_source.personal_data_in([body]) == []


def test_what_cannot_be_mailed_breaks_nothing_and_shows_no_value(handler, monkeypatch, capsys):
    def no_room(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_room)
    try:
        fail()
    except RuntimeError:
        logging.getLogger("perma_payments").exception("it failed")

    said = capsys.readouterr().err
    assert "could not be logged: builtins.RuntimeError" in said
    assert VALUE not in said


@pytest.mark.django_db
def test_of_callbacks_with_an_unknown_key_only_the_number_is_mailed(handler, mailbox, call_back, monkeypatch):
    reported: list[str] = []
    monkeypatch.setattr(error_mails.sentry, "report", lambda kind, record: reported.append(kind))
    form = records.form(records.outgoing(Kind.SUBSCRIBE))
    for _ in range(30):  # more than the log shows
        assert call_back(form, req_access_key="0" * 32, req_transaction_uuid=VALUE).status_code == 400
    handler.stop()

    assert mailbox.subjects == ["Callbacks signed with an unknown key (30 times)"]
    assert reported == ["unknown_key"]
    assert "Compare its Key Management with CS_KEYS" in mailbox.body()
    assert "Zaphod" not in mailbox.body() and "0" * 32 not in mailbox.body() and "  - " not in mailbox.body()


@pytest.mark.django_db
def test_a_job_that_fails_unexpectedly_is_mailed(handler, mailbox):
    def tidy_up(*, now: datetime) -> None:
        fail()

    assert run_job(tidy_up) is None
    handler.stop()

    assert mailbox.subjects[0].startswith(
        f"A scheduled job failed: tidy_up: RuntimeError in {__name__}.fail, line "
    )
    assert "Zaphod" not in mailbox.body()


@pytest.mark.django_db
def test_what_a_customer_did_not_notice_is_an_error_too(handler, mailbox, client, monkeypatch):
    monkeypatch.setattr("perma_payments.views.cybersource.ending_of", fail)
    fields = cyber_source.response(records.form(records.outgoing(Kind.SUBSCRIBE)))
    assert client.post("/return/", urlencode(fields), content_type=FORM).status_code == 303
    handler.stop()

    assert mailbox.subjects[0].startswith(f"Error: RuntimeError in {__name__}.fail, line ")
    assert "Zaphod" not in mailbox.body()


@pytest.mark.django_db
def test_nobody_is_mailed_about_refusals_or_a_database_that_is_down(handler, mailbox, post, client, monkeypatch):
    client.get("/nothing/")
    client.get("/", HTTP_HOST="192.0.2.1")
    client.post("/subscribe/", {"a": "b"})
    client.post("/cybersource-callback/", {"a": "b"})

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OperationalError

    monkeypatch.setattr(begin, "subscribe", fail)
    assert post("subscribe").status_code == 503
    try:
        raise TimeoutError
    except TimeoutError:
        logging.getLogger("gunicorn.error").exception("Socket error processing request.")
    handler.stop()
    assert mailbox.mails == []


def test_a_mail_server_that_is_down_costs_one_warning_and_gets_the_mail_when_it_is_back(
    handler, mailbox, settings, monkeypatch, caplog
):
    monkeypatch.setattr(error_mails, "SETTLE", 0.0)
    monkeypatch.setattr(error_mails, "RETRY", 0.05)
    handler._waiting = Waiting()
    port = settings.EMAIL_PORT
    use(settings, free_port())

    try:
        fail()
    except RuntimeError:
        logging.getLogger("perma_payments").exception("it failed")
    assert eventually(lambda: handler._waiting._pause > 0.15, 20)  # three attempts
    use(settings, port)
    assert eventually(lambda: mailbox.mails, 20)
    handler.stop()
    assert len(mailbox.mails) == 1
    assert caplog.text.count("the developers cannot be mailed about errors, which is tried again") == 1
