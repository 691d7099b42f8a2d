"""How staff tasks end, are claimed, and are opened again."""

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from perma_payments.models import StaffTask, SubscriptionAgreement
from perma_payments.models.history import HistorySource
from perma_payments.services import staff_tasks
from perma_payments.services.callbacks.receive import receive_callback

from ... import cyber_source, records

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def staff() -> User:
    return User.objects.create_user("staff")


def task(kind: str = "cancellation") -> StaffTask:
    agreement = records.standing_agreement(cancellation_requested_at=NOW)
    return StaffTask.objects.create(kind=kind, agreement=agreement, opened_at=NOW)


def test_a_task_that_is_done_says_by_whom_when_and_how(staff):
    this = staff_tasks.finish(task().pk, by=staff, note="Canceled it.", now=NOW)

    this.refresh_from_db()
    assert (this.done_at, this.done_by, this.resolution, this.note) == (NOW, staff, "done", "Canceled it.")
    context = this.events.last().pgh_context
    assert context == {"source": HistorySource.STAFF, "user": staff.pk, "reason": "Canceled it."}


def test_a_cancellation_that_is_done_stays_requested(staff):
    this = staff_tasks.finish(task().pk, by=staff, note="Canceled it.", now=NOW)

    this.agreement.refresh_from_db()
    assert this.agreement.cancellation_requested_at == NOW  # until a status report says Canceled


def test_a_cancellation_that_is_withdrawn_was_never_requested(staff):
    this = staff_tasks.withdraw(task().pk, by=staff, note="They called.", now=NOW)

    this.refresh_from_db()
    this.agreement.refresh_from_db()
    assert (this.resolution, this.agreement.cancellation_requested_at) == ("withdrawn", None)
    assert this.agreement.status == "Current"


@pytest.mark.parametrize("end", [staff_tasks.finish, staff_tasks.withdraw])
def test_a_task_ends_once(staff, end):
    this = staff_tasks.finish(task().pk, by=staff, note="Canceled it.", now=NOW)

    with pytest.raises(staff_tasks.NotOpen):
        end(this.pk, by=staff, note="Again.", now=timezone.now())
    this.agreement.refresh_from_db()
    assert this.agreement.cancellation_requested_at == NOW


def test_withdrawing_another_task_leaves_the_subscription_alone(staff):
    this = task("duplicate charge")
    before = this.agreement.events.count()
    staff_tasks.withdraw(this.pk, by=staff, note="A test.", now=NOW)

    assert this.agreement.events.count() == before


# --- Claimed tasks ----------------------------------------------------------------------------------


@pytest.fixture
def colleague() -> User:
    return User.objects.create_user("colleague")


def test_a_task_is_claimed_by_one_person(staff, colleague):
    this = task()
    staff_tasks.claim(this.pk, by=staff, now=NOW)
    with pytest.raises(staff_tasks.Claimed) as refused:
        staff_tasks.claim(this.pk, by=colleague, now=NOW)

    assert refused.value.by == staff
    this.refresh_from_db()
    assert (this.claimed_by, this.claimed_at) == (staff, NOW)


def test_claiming_again_keeps_the_time(staff):
    this = task()
    staff_tasks.claim(this.pk, by=staff, now=NOW)
    staff_tasks.claim(this.pk, by=staff, now=timezone.now())

    this.refresh_from_db()
    assert this.claimed_at == NOW


def test_a_released_task_can_be_claimed_by_someone_else(staff, colleague):
    this = task()
    staff_tasks.claim(this.pk, by=staff, now=NOW)
    staff_tasks.release(this.pk, by=colleague)

    assert staff_tasks.claim(this.pk, by=colleague, now=NOW).claimed_by == colleague


@pytest.mark.parametrize("act", [lambda pk, by: staff_tasks.claim(pk, by=by, now=NOW), staff_tasks.release])
def test_a_task_that_has_ended_is_not_claimed_or_released(staff, act):
    this = staff_tasks.finish(task().pk, by=staff, note="Done.", now=NOW)

    with pytest.raises(staff_tasks.NotOpen):
        act(this.pk, by=staff)


def test_a_task_that_ends_is_nobodys(staff, colleague):
    this = task()
    staff_tasks.claim(this.pk, by=staff, now=NOW)
    staff_tasks.finish(this.pk, by=colleague, note="Done.", now=NOW)

    this.refresh_from_db()
    assert (this.claimed_by, this.claimed_at, this.done_by) == (None, None, colleague)


# --- Reopened tasks ---------------------------------------------------------------------------------


def test_a_reopened_task_is_open_with_its_reason_and_mailed_again(staff):
    this = staff_tasks.finish(task().pk, by=staff, note="Done.", now=NOW)
    StaffTask.objects.update(notified_at=NOW)
    staff_tasks.reopen(this.pk, by=staff, note="It is still Current.", now=NOW)

    this.refresh_from_db()
    assert (this.done_at, this.done_by, this.resolution, this.note) == (None, None, "", "It is still Current.")
    assert (this.reopened_at, this.notified_at) == (NOW, None)
    context = this.events.last().pgh_context
    assert context == {"source": HistorySource.STAFF, "user": staff.pk, "reason": "It is still Current."}


def open_another(this: StaffTask) -> None:
    StaffTask.objects.create(kind=this.kind, agreement=this.agreement)


def end_subscription(this: StaffTask) -> None:
    SubscriptionAgreement.objects.update(status="Canceled")


def withdraw_request(this: StaffTask) -> None:
    SubscriptionAgreement.objects.update(cancellation_requested_at=None)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (open_another, "Another task of this kind is open"),
        (end_subscription, "the subscription has ended"),
        (withdraw_request, "The request was withdrawn"),
    ],
)
def test_what_makes_no_sense_is_not_reopened(staff, change, why):
    this = staff_tasks.finish(task().pk, by=staff, note="Done.", now=NOW)
    change(this)

    with pytest.raises(staff_tasks.CannotReopen, match=why):
        staff_tasks.reopen(this.pk, by=staff, note="x", now=NOW)
    this.refresh_from_db()
    assert this.done_at == NOW


def test_the_task_of_a_response_that_was_applied_is_not_reopened(staff):
    fields = cyber_source.response(records.form(records.outgoing("subscribe")))
    response = receive_callback(b"body", list(fields.items()), now=NOW)
    this = StaffTask.objects.create(kind="not applied", response=response, opened_at=NOW)
    staff_tasks.finish(this.pk, by=staff, note="Done.", now=NOW)

    with pytest.raises(staff_tasks.CannotReopen, match="the response has been applied"):
        staff_tasks.reopen(this.pk, by=staff, note="x", now=NOW)


def test_an_open_task_is_not_reopened(staff):
    with pytest.raises(staff_tasks.CannotReopen, match="open already"):
        staff_tasks.reopen(task().pk, by=staff, note="x", now=NOW)
