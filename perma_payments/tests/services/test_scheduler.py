"""The daily mails, and the scheduler that sends them."""
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perma_payments.billing.transactions import Kind
from perma_payments.models import JobRun, Response, StaffTask
from perma_payments.services import scheduler
from perma_payments.services.daily_report import remind_of_overdue, send_daily_report
from perma_payments.services.receive_callback import receive_callback

from .. import cyber_source, ledger
from ..mail_server import free_port, use

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


def task(kind: str = "paid twice", *, days: float = 0, **changes: Any) -> StaffTask:
    """A task that has been open for some days, and that somebody was told of."""
    opened_at = NOW - timedelta(days=days)
    return StaffTask.objects.create(**{
        "kind": kind, "agreement": ledger.agreement(), "opened_at": opened_at, "notified_at": opened_at, **changes,
    })


# --- The daily report -------------------------------------------------------------------------------

def test_the_report_lists_what_is_open_oldest_first_with_its_age(mailbox, settings):
    young, old, middle = task(), task("cancellation", days=2.9), task("unplaced", days=1)
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
    ledger.paid_purchase(paid_at=NOW - timedelta(hours=23))
    ledger.paid_purchase(paid_at=NOW - timedelta(days=9), acknowledged_at=NOW)

    assert remind_of_overdue(now=NOW) == 0
    assert mailbox.mails == []


def test_the_reminder_names_each_thing_that_has_waited_for_too_long(mailbox, settings):
    old = task(days=3)
    purchase = ledger.paid_purchase(paid_at=NOW - timedelta(days=1, seconds=1))
    fields = cyber_source.response(ledger.form(ledger.outgoing(Kind.SUBSCRIBE)))
    response = receive_callback(b"body", list(fields.items()), now=NOW - timedelta(hours=2))
    Response.objects.filter(pk=response.pk).update(applied_at=None, outcome="")
    task(days=0.1, notified_at=None)

    assert remind_of_overdue(now=NOW) == 4
    assert mailbox.subjects == ["Overdue: 4"]
    assert mailbox.mails[0]["X-Rcpt"] == ", ".join([*settings.STAFF_EMAILS, *settings.DEVELOPER_EMAILS])
    body = mailbox.body()
    for named in (
        old.agreement.reference_number, purchase.reference_number, f"response {response.pk}, ACCEPT",
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
    assert "daily report failed: NotDelivered" in caplog.text

    use(settings, port)
    assert scheduler.do_daily_jobs(now=NOW + timedelta(minutes=1)) == ["daily report"]
    assert JobRun.objects.count() == 2


def test_the_scheduler_tries_again_what_has_failed(mailbox):
    outgoing = ledger.outgoing(Kind.SUBSCRIBE)
    fields = cyber_source.response(ledger.form(outgoing), "MAYBE")
    response = receive_callback(b"body", list(fields.items()), now=NOW)
    Response.objects.filter(pk=response.pk).update(applied_at=None, outcome="")
    late = task(notified_at=None)

    scheduler.retry(now=NOW)
    response.refresh_from_db()
    late.refresh_from_db()
    assert (response.applied_at, late.notified_at) == (NOW, NOW)
