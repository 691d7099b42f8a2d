"""Staff tasks: opened, told of, ended."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from perma_payments.billing.transactions import Kind
from perma_payments.models import StaffTask, TaskKind
from perma_payments.models.history import HistorySource
from perma_payments.services import staff_tasks
from perma_payments.services.callbacks.receive import receive_callback
from perma_payments.services.staff_tasks.mail import compose

from ... import cyber_source, records

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def staff() -> User:
    return User.objects.create_user("staff")


def cancellation(**changes: Any) -> StaffTask:
    agreement = records.standing_agreement(cancellation_requested_at=NOW)
    return StaffTask.objects.create(kind="cancellation", agreement=agreement, opened_at=NOW, **changes)


def about_a_response(
    kind: str, *, decision: str = "ACCEPT", transaction: Kind = Kind.SUBSCRIBE, **changes: Any
) -> StaffTask:
    """A task of one kind about a response that holds personal data."""
    outgoing = records.outgoing(transaction)
    fields = cyber_source.response(records.form(outgoing), decision, **changes)
    response = receive_callback(b"body", list(fields.items()), now=NOW)
    StaffTask.objects.filter(notified_at__isnull=True).update(notified_at=NOW)
    subject = {"agreement": outgoing.agreement, "purchase": outgoing.purchase}
    return StaffTask.objects.create(kind=kind, response=response, opened_at=NOW, **subject)


# --- What the mails say -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in TaskKind if kind != TaskKind.CANCELLATION])
@pytest.mark.parametrize("transaction", [Kind.SUBSCRIBE, Kind.PURCHASE])
def test_each_kind_has_a_mail_that_a_person_can_act_on(kind, transaction, settings):
    task = about_a_response(kind, transaction=transaction, decision="DECLINE")
    subject, body = compose(task)

    reference_number = (task.agreement or task.purchase).reference_number
    assert subject == f"{kind.label}: {reference_number}"
    for part in ("WHAT HAPPENED", "WHAT TO DO", "WHERE TO LOOK", "IF NOBODY DOES IT"):
        _heading, _, rest = body.partition(part)
        assert rest.strip().splitlines()[0] not in ("WHAT TO DO", "WHERE TO LOOK", "IF NOBODY DOES IT")
    assert "1. " in body
    assert f"Reference number: {reference_number}" in body
    assert task.response.transaction_id in body
    assert "DECLINE 203 (the bank declined without saying why)" in body
    assert "http://localhost:8001/admin/perma/registrar/7/change/" in body
    assert f"http://localhost:8000/admin/perma_payments/stafftask/{task.pk}/change/" in body
    assert "{{" not in body and "{%" not in body and "&#" not in body and "None" not in body
    assert max(len(line) for line in body.splitlines() if "http" not in line) <= 100


def test_the_mail_of_a_cancellation_tells_what_to_do_in_the_business_center(settings):
    settings.CS_MODE = "live"
    task = cancellation()
    subject, body = compose(task)

    assert subject == f"Cancel a subscription in CyberSource: {task.agreement.reference_number}"
    assert "Business Center: https://businesscenter.cybersource.com" in body
    assert "withdraw this\ntask instead" in body
    assert "goes on being charged" in body


def test_the_mail_about_an_individual_links_to_the_individual():
    task = StaffTask.objects.create(
        kind="cancellation", agreement=records.standing_agreement(records.INDIVIDUAL), opened_at=NOW
    )

    assert "/admin/perma/linkuser/7/change/" in compose(task)[1]


def test_the_mail_about_a_response_to_nothing_of_ours_has_no_customer():
    form = records.form(records.outgoing(Kind.SUBSCRIBE))
    fields = cyber_source.response(form, req_transaction_uuid="?", req_reference_number="a<b>\nc")
    response = receive_callback(b"body", list(fields.items()), now=NOW)
    subject, body = compose(response.tasks.get())

    assert "Customer:" not in body
    assert subject.endswith("(no reference number)")


@pytest.mark.parametrize(
    ("token", "sentence"),
    [("", "upload it to Perma Payments as a status report"), (records.TOKEN, "give it to Perma.cc's developers")],
)
def test_how_to_find_a_token_depends_on_whether_there_is_an_old_one(token, sentence):
    task = StaffTask.objects.create(
        kind="token missing", agreement=records.standing_agreement(payment_token=token)
    )

    assert sentence in " ".join(compose(task)[1].split())


@pytest.mark.parametrize("kind", list(TaskKind))
def test_no_mail_holds_personal_data_or_tokens(kind):
    task = about_a_response(kind, payment_token=records.TOKEN)
    task.agreement.refresh_from_db()
    assert task.agreement.payment_token == records.TOKEN
    subject, body = compose(task)

    assert cyber_source.personal_data_in([subject, body]) == []
    assert records.TOKEN not in subject + body


def test_the_admin_is_not_linked_to_where_it_is_off(settings):
    settings.ROOT_URLCONF = "perma_payments.tests.services.staff_tasks.no_urls"

    assert "This task:" not in compose(cancellation())[1]


# --- Their end --------------------------------------------------------------------------------------


def test_a_task_that_is_done_says_by_whom_when_and_how(staff):
    task = staff_tasks.finish(cancellation().pk, by=staff, note="Cancelled it.", now=NOW)

    task.refresh_from_db()
    assert (task.done_at, task.done_by, task.resolution, task.note) == (NOW, staff, "done", "Cancelled it.")
    # It was asked for, and CyberSource will report it.
    task.agreement.refresh_from_db()
    assert task.agreement.cancellation_requested_at == NOW
    context = task.events.last().pgh_context
    assert context == {"source": HistorySource.STAFF, "user": staff.pk, "reason": "Cancelled it."}


def test_a_cancellation_that_is_withdrawn_was_never_asked_for(staff):
    task = staff_tasks.withdraw(cancellation().pk, by=staff, note="They called.", now=NOW)

    task.refresh_from_db()
    task.agreement.refresh_from_db()
    assert (task.resolution, task.agreement.cancellation_requested_at) == ("withdrawn", None)
    assert task.agreement.status == "Current"


def test_a_task_ends_once(staff):
    task = cancellation()
    staff_tasks.finish(task.pk, by=staff, note="Cancelled it.", now=NOW)

    for end in (staff_tasks.finish, staff_tasks.withdraw):
        with pytest.raises(staff_tasks.NotOpen):
            end(task.pk, by=staff, note="Again.", now=timezone.now())
    task.agreement.refresh_from_db()
    assert task.agreement.cancellation_requested_at == NOW


def test_another_kind_of_task_that_is_withdrawn_leaves_the_subscription_alone(staff):
    task = about_a_response("duplicate charge")
    before = task.agreement.events.count()
    staff_tasks.withdraw(task.pk, by=staff, note="A test.", now=NOW)

    assert task.agreement.events.count() == before
