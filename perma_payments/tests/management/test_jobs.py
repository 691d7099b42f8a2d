"""The scheduler's jobs: what is due when, and what a failure stops."""

from datetime import UTC, datetime, timedelta

import pytest

from perma_payments import emails
from perma_payments.billing.transactions import Kind
from perma_payments.management import jobs
from perma_payments.management.commands import run_scheduler
from perma_payments.models import Response, StaffTask
from perma_payments.services.callbacks.receive import receive_callback

from .. import cyber_source, records
from ..mail_server import free_port, use

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)

BOTH = ["daily report", "overdue reminder"]


def received(decision: str) -> Response:
    fields = cyber_source.response(records.form(records.outgoing(Kind.SUBSCRIBE)), decision)
    return receive_callback(b"body", list(fields.items()), now=NOW)


# --- The daily jobs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("after", "done"), [(-SECOND, []), (timedelta(), BOTH), (15 * HOUR - SECOND, BOTH)])
def test_daily_jobs_are_due_from_their_time_until_midnight(mailbox, after, done):
    assert jobs.do_daily_jobs(now=NOW + after) == done


@pytest.mark.parametrize(("after", "done"), [(SECOND, []), (15 * HOUR - SECOND, []), (15 * HOUR, []), (DAY, BOTH)])
def test_daily_jobs_are_done_once_a_day(mailbox, after, done):
    jobs.do_daily_jobs(now=NOW)

    assert jobs.do_daily_jobs(now=NOW + after) == done


def test_a_job_that_fails_is_tried_again_and_stops_no_other(settings, mailbox, caplog):
    port = settings.EMAIL_PORT
    use(settings, free_port())
    assert jobs.do_daily_jobs(now=NOW) == ["overdue reminder"]
    assert "daily report failed: Unreachable" in caplog.text
    assert not any(hasattr(record, "alarm") for record in caplog.records)

    use(settings, port)
    assert jobs.do_daily_jobs(now=NOW + 9 * SECOND) == []
    assert jobs.do_daily_jobs(now=NOW + 10 * SECOND) == ["daily report"]


def test_the_developers_hear_of_a_job_that_fails_unexpectedly(mailbox, monkeypatch, caplog):
    monkeypatch.setitem(jobs.DAILY_JOBS, "daily report", lambda now: 1 / 0)
    assert jobs.do_daily_jobs(now=NOW) == ["overdue reminder"]

    (record,) = [record for record in caplog.records if hasattr(record, "alarm")]
    assert (record.alarm, record.ids, record.exc_info[0]) == (
        "job_failed",
        {"job": "daily report"},
        ZeroDivisionError,
    )


def test_a_report_that_may_have_arrived_is_sent_again_rarely(mailbox, monkeypatch):
    monkeypatch.setattr(emails, "MAIL_SECONDS", 0.5)
    mailbox.seconds_to_answer = 30
    assert jobs.do_daily_jobs(now=NOW) == ["overdue reminder"]
    mailbox.seconds_to_answer = 0
    assert jobs.do_daily_jobs(now=NOW + HOUR - SECOND) == []
    assert jobs.do_daily_jobs(now=NOW + HOUR) == ["daily report"]

    assert [mail["Message-ID"] for mail in mailbox.mails] == ["<daily-report-2026-11-21@perma.example>"] * 2


def test_a_report_that_not_all_recipients_get_is_done(mailbox, settings):
    settings.STAFF_EMAILS = ["anne@staff.example", "ben@staff.example"]
    mailbox.refused["ben@staff.example"] = 550
    StaffTask.objects.create(kind="duplicate charge", agreement=records.agreement(), notified_at=NOW)

    assert "daily report" in jobs.do_daily_jobs(now=NOW)
    assert [mail["X-Rcpt"] for mail in mailbox.mails] == ["anne@staff.example", *settings.DEVELOPER_EMAILS]
    assert mailbox.subjects[1] == "Refused: STAFF_EMAILS, address 2"


# --- The others -------------------------------------------------------------------------------------


def test_the_task_of_a_callback_is_mailed(mailbox):
    response = received("REVIEW")

    assert jobs.send_mails(now=NOW)
    subject = f"Accept or reject a payment held for review: {response.reference_number}"
    assert mailbox.subjects[0] == subject


@pytest.mark.parametrize("is_down", [True, False])
def test_daily_jobs_wait_while_the_mail_server_is_down(settings, mailbox, is_down):
    StaffTask.objects.create(kind="duplicate charge", agreement=records.agreement(), opened_at=NOW)
    if is_down:
        use(settings, free_port())

    assert jobs.send_mails(now=NOW) is not is_down
    assert jobs.do_daily_jobs(now=NOW) == (["overdue reminder"] if is_down else [])


def test_responses_that_were_not_applied_are_tried_again():
    response = received("MAYBE")
    Response.objects.filter(pk=response.pk).update(applied_at=None, outcome="")

    assert jobs.apply_responses(now=NOW) == (1, 0)
    response.refresh_from_db()
    assert response.applied_at == NOW


def test_responses_that_wait_for_a_lock_are_tried_again_within_seconds():
    response = received("MAYBE")
    Response.objects.filter(pk=response.pk).update(applied_at=None, outcome="")

    jobs.apply_waiting_responses(now=NOW)
    response.refresh_from_db()
    assert response.applied_at == NOW
    assert run_scheduler.JOBS[jobs.apply_waiting_responses] <= 5
