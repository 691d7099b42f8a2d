"""How staff tasks end."""

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from perma_payments.models import StaffTask
from perma_payments.models.history import HistorySource
from perma_payments.services import staff_tasks

from ... import records

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
