"""What the mails to staff and developers say."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from perma_payments.admin.mails import remind_of_overdue, send_daily_report, task_mail
from perma_payments.billing.transactions import Kind
from perma_payments.cybersource.signature import SigningKey, SigningKeys
from perma_payments.models import JobRun, Response, StaffTask, TaskKind
from perma_payments.models.staff_task import ABOUT_ALL
from perma_payments.services.callbacks.receive import receive_callback

from .. import cyber_source, records

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

# Each kind of task, and each checkout that makes a difference to its mail.
TASKS = [
    (kind, Kind.PURCHASE if kind == TaskKind.ACKNOWLEDGEMENT_IN_DOUBT else Kind.SUBSCRIBE)
    for kind in TaskKind
    if kind not in (TaskKind.CANCELLATION, *ABOUT_ALL)
] + [
    (TaskKind.PARTIAL_APPROVAL, Kind.PURCHASE),
    (TaskKind.UNREADABLE_AMOUNT, Kind.PURCHASE),
    (TaskKind.UNKNOWN_DECISION, Kind.PURCHASE),
    (TaskKind.NOT_WHAT_WAS_SIGNED, Kind.PURCHASE),
    (TaskKind.HELD_FOR_REVIEW, Kind.UPDATE),
]


def received(transaction: Kind = Kind.SUBSCRIBE, decision: str = "ACCEPT", *, now: datetime = NOW) -> Response:
    """A response that holds personal data and a token."""
    form = records.form(records.outgoing(transaction))
    fields = cyber_source.response(form, decision, payment_token=records.TOKEN)
    response = receive_callback(b"body", list(fields.items()), now=now)
    StaffTask.objects.update(notified_at=now)
    return response


def task(kind: str = "duplicate charge", *, open_for: timedelta = timedelta(), **changes: Any) -> StaffTask:
    """A task about a standing subscription; its mail was sent."""
    opened_at = NOW - open_for
    columns = {"agreement": records.standing_agreement(), "opened_at": opened_at, "notified_at": opened_at}
    return StaffTask.objects.create(**{"kind": kind, **columns, **changes})


def task_about(response: Response, kind: str) -> StaffTask:
    assert response.outgoing is not None
    return task(
        kind, response=response, agreement=response.outgoing.agreement, purchase=response.outgoing.purchase
    )


# --- Task mails -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "transaction"), TASKS)
def test_each_kind_of_task_has_a_mail_that_a_person_can_act_on(kind, transaction):
    this = task_about(received(transaction, "DECLINE"), kind)
    subject, body = task_mail(this)

    reference_number = (this.agreement or this.purchase).reference_number
    assert subject == f"{kind.label}: {reference_number}"
    _, *parts = re.split(r"^([A-Z ]{9,})$", body, flags=re.MULTILINE)
    assert parts[::2] == ["WHAT HAPPENED", "WHAT TO DO", "WHERE TO LOOK", "IF NOTHING IS DONE"]
    assert all(text.strip() for text in parts[1::2])
    assert "1. " in parts[3]
    assert f"Reference number: {reference_number}" in parts[5]
    assert this.response.transaction_id in parts[5]
    assert "DECLINE 203 (the bank declined without saying why)" in parts[5]
    assert "http://localhost:8001/admin/perma/registrar/7/change/" in parts[5]
    assert f"http://localhost:8000/admin/perma_payments/stafftask/{this.pk}/change/" in parts[5]
    assert not re.search("{{|{%|&#|None", body)
    assert max(len(line) for line in body.splitlines() if "http" not in line) <= 100


@pytest.mark.parametrize(("kind", "transaction"), TASKS)
def test_no_mail_holds_personal_data_or_tokens(kind, transaction):
    mail = task_mail(task_about(received(transaction), kind))

    assert cyber_source.personal_data_in(list(mail)) == []
    assert records.TOKEN not in "".join(mail)


def test_a_cancellation_is_explained_for_the_business_center(settings):
    settings.CS_MODE = "live"
    this = task("cancellation")
    subject, body = task_mail(this)

    assert subject == f"Cancel a subscription in CyberSource: {this.agreement.reference_number}"
    assert "Business Center: https://businesscenter.cybersource.com" in body
    assert "withdraw this task" in " ".join(body.split())


def test_the_mail_about_an_individual_links_to_the_individual():
    agreement = records.standing_agreement(records.INDIVIDUAL)

    assert "/admin/perma/linkuser/7/change/" in task_mail(task(agreement=agreement)).body


def test_the_mail_about_an_unmatched_response_has_no_customer():
    form = records.form(records.outgoing(Kind.SUBSCRIBE))
    fields = cyber_source.response(form, req_transaction_uuid="?", req_reference_number="a<b>\nc")
    response = receive_callback(b"body", list(fields.items()), now=NOW)
    subject, body = task_mail(response.tasks.get())

    assert "Customer:" not in body
    assert subject.endswith("(no reference number)")


@pytest.mark.parametrize(
    ("token", "sentence"),
    [("", "upload it to Perma Payments as a status report"), (records.TOKEN, "give it to Perma.cc's developers")],
)
def test_how_to_find_a_token_depends_on_the_old_one(token, sentence):
    this = task("token missing", agreement=records.standing_agreement(payment_token=token))

    assert sentence in " ".join(task_mail(this).body.split())


def test_a_mail_lists_the_other_subscriptions_of_the_customer():
    this, other = task(), records.standing_agreement()

    assert re.findall("also has: (.*)", task_mail(this).body) == [f"{other.reference_number} (Current)"]


@pytest.mark.parametrize(
    ("opened_at", "why"),
    [
        (datetime(2026, 11, 2, 9, tzinfo=UTC), "No status report has been confirmed this month."),
        (datetime(2026, 11, 1, 9, tzinfo=UTC), "A cancellation was marked as done"),
    ],
)
def test_the_mail_about_a_missing_report_is_about_no_customer(opened_at, why):
    this = StaffTask.objects.create(kind="report missing", opened_at=opened_at)
    subject, body = task_mail(this)

    assert subject == "Upload a status report"
    assert why in " ".join(body.split())
    assert "Reference number:" not in body and "Customer:" not in body


def test_the_mail_about_a_reopened_task_says_why():
    this = task(reopened_at=NOW, note="The refund did not go through.")

    assert "has been reopened on 2026-11-21: The refund did not go through." in " ".join(
        task_mail(this).body.split()
    )


def test_a_duplicate_charge_says_which_to_keep_and_which_to_refund():
    form = records.form(records.outgoing(Kind.SUBSCRIBE))
    fields = [cyber_source.response(form) for _ in range(2)]
    first, second = [receive_callback(b"body", list(each.items()), now=NOW) for each in fields]
    body = task_mail(second.tasks.get()).body

    assert f"Keep {first.transaction_id}, and refund {second.transaction_id}." in " ".join(body.split())


def test_a_task_is_not_linked_to_where_the_admin_is_off(settings):
    settings.ROOT_URLCONF = "perma_payments.tests.admin.no_urls"

    assert "This task:" not in task_mail(task()).body


# --- The daily report -------------------------------------------------------------------------------


def test_the_report_lists_what_is_open_oldest_first_with_its_age(mailbox, settings):
    young, old, middle = task(), task("cancellation", open_for=2.9 * DAY), task("unmatched", open_for=DAY)
    task(open_for=9 * DAY, done_at=NOW, resolution="done")
    send_daily_report(now=NOW)

    assert mailbox.subjects == ["Still to do: 3"]
    assert mailbox.mails[0]["X-Rcpt"] == ", ".join(settings.STAFF_EMAILS)
    assert re.findall(r"^\* .*\n  (\S+),", mailbox.body(), re.MULTILINE) == [
        each.agreement.reference_number for each in (old, middle, young)
    ]
    assert re.findall(r"^\* (.*):", mailbox.body(), re.MULTILINE) == [
        "open for 2 days",
        "open for 1 day",
        "open since today",
    ]
    assert "/admin/perma/registrar/7/change/" in mailbox.body()


def test_the_report_says_what_is_overdue(mailbox):
    task(open_for=3 * DAY)
    task(open_for=3 * DAY - HOUR)
    send_daily_report(now=NOW)

    assert mailbox.subjects == ["Still to do: 2, 1 overdue"]
    assert mailbox.body().count("* OVERDUE, open for 3 days") == 1


def test_without_open_tasks_the_developers_are_told_so(mailbox, settings):
    task(done_at=NOW, resolution="done")
    send_daily_report(now=NOW)

    assert mailbox.subjects == ["Nothing pending"]
    assert mailbox.mails[0]["X-Rcpt"] == ", ".join(settings.DEVELOPER_EMAILS)


def test_what_is_late_on_our_side_is_told_to_the_developers(mailbox, settings):
    late = timedelta(seconds=1)
    response = received(now=NOW - HOUR - late)
    Response.objects.filter(pk=response.pk).update(applied_at=None, outcome="")
    task(open_for=HOUR + late, notified_at=None)
    JobRun.objects.create(job="daily report", day=NOW.date() - 3 * DAY, done_at=NOW - 3 * DAY)
    send_daily_report(now=NOW)

    assert mailbox.subjects == ["Still to do: 1, something is late"]
    assert mailbox.mails[0]["X-Rcpt"] == ", ".join([*settings.STAFF_EMAILS, *settings.DEVELOPER_EMAILS])
    said = " ".join(mailbox.body().split())
    assert f"not been applied for more than an hour: {response.pk}." in said
    assert "not been emailed for more than an hour: 1." in said
    assert "before today, the daily report was last sent on 2026-11-18." in said


def test_what_is_late_is_told_without_open_tasks_too(mailbox, settings):
    Response.objects.filter(pk=received(now=NOW - 2 * HOUR).pk).update(applied_at=None, outcome="")
    send_daily_report(now=NOW)

    assert mailbox.subjects == ["something is late"]
    assert mailbox.mails[0]["X-Rcpt"] == ", ".join(settings.DEVELOPER_EMAILS)


def test_what_is_on_time_is_not_late(mailbox, settings):
    Response.objects.filter(pk=received(now=NOW - HOUR).pk).update(applied_at=None, outcome="")
    task(open_for=HOUR, notified_at=None)
    JobRun.objects.create(job="daily report", day=NOW.date() - DAY, done_at=NOW - DAY)
    send_daily_report(now=NOW)

    assert mailbox.subjects == ["Still to do: 1"]
    assert mailbox.mails[0]["X-Rcpt"] == ", ".join(settings.STAFF_EMAILS)


# --- The overdue reminder ---------------------------------------------------------------------------


def test_nothing_overdue_sends_nothing(mailbox):
    task(open_for=3 * DAY - HOUR)
    remind_of_overdue(now=NOW)

    assert mailbox.mails == []


def test_what_no_person_has_to_do_is_not_overdue(mailbox):
    Response.objects.filter(pk=received(now=NOW - 9 * DAY).pk).update(applied_at=None, outcome="")
    task(open_for=2 * DAY, notified_at=None)
    records.paid_purchase(paid_at=NOW - 9 * DAY)  # the customer has not come back to Perma.cc
    remind_of_overdue(now=NOW)

    assert mailbox.mails == []


def test_the_reminder_names_each_task_that_has_waited_too_long(mailbox, settings):
    old = task(open_for=3 * DAY)
    remind_of_overdue(now=NOW)

    assert mailbox.subjects == ["Overdue: 1"]
    assert mailbox.mails[0]["X-Rcpt"] == ", ".join([*settings.STAFF_EMAILS, *settings.DEVELOPER_EMAILS])
    assert old.agreement.reference_number in mailbox.body()


@pytest.mark.parametrize(("created_on", "named"), [(date(2025, 1, 21), []), (date(2025, 1, 20), [True])])
def test_the_reminder_names_a_key_60_days_before_it_ends(mailbox, settings, created_on, named):
    settings.CS_KEYS = SigningKeys(SigningKey("0011", "secret", created_on))
    remind_of_overdue(now=NOW)

    assert ["0011 ends on 2027-01-20" in mail.get_content() for mail in mailbox.mails] == named
