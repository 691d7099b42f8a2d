"""Staff end their tasks in the admin."""

import pytest
from django.db import OperationalError

from perma_payments.models import StaffTask
from perma_payments.services import staff_tasks

from .. import records
from ..accounts import log_in

pytestmark = pytest.mark.django_db

LIST = "/admin/perma_payments/stafftask/"


@pytest.fixture
def task() -> StaffTask:
    agreement = records.standing_agreement(cancellation_requested_at="2026-11-21T12:00Z")
    return StaffTask.objects.create(kind="cancellation", agreement=agreement)


def test_a_task_shows_its_instructions_and_ends_with_a_note(client, task):
    user = log_in(client, "view_stafftask", "change_stafftask")
    page = client.get(f"{LIST}{task.pk}/change/")
    assert b"IF NOTHING IS DONE" in page.content
    assert b"Withdraw: the customer changed their mind" in page.content

    done = client.post(f"{LIST}{task.pk}/finish/", {"note": "Cancelled."}, follow=True)
    assert b"The task is done." in done.content
    assert b"Mark as done" not in done.content
    task.refresh_from_db()
    assert (task.done_by, task.resolution, task.note) == (user, "done", "Cancelled.")


def test_a_cancellation_can_be_withdrawn(client, task):
    log_in(client, "view_stafftask", "change_stafftask")
    client.post(f"{LIST}{task.pk}/withdraw/", {"note": "They called."})

    task.refresh_from_db()
    task.agreement.refresh_from_db()
    assert (task.resolution, task.agreement.cancellation_requested_at) == ("withdrawn", None)


@pytest.mark.parametrize("note", ["", "   ", "x" * 1001])
def test_a_task_does_not_end_without_a_proper_note(client, task, note):
    log_in(client, "view_stafftask", "change_stafftask")
    page = client.post(f"{LIST}{task.pk}/finish/", {"note": note}, follow=True)

    assert b"Nothing was changed: please write a note" in page.content
    task.refresh_from_db()
    assert task.done_at is None


def test_a_task_ends_only_once(client, task):
    log_in(client, "view_stafftask", "change_stafftask")
    client.post(f"{LIST}{task.pk}/finish/", {"note": "First."})
    page = client.post(f"{LIST}{task.pk}/withdraw/", {"note": "Second."}, follow=True)

    assert b"the task had already ended" in page.content
    task.refresh_from_db()
    assert task.note == "First."


def test_a_broken_database_is_not_taken_for_a_lock(client, task, monkeypatch):
    """They would try again and again, and the log would not say why."""

    def fail(_: object) -> None:
        raise OperationalError

    monkeypatch.setattr(staff_tasks, "lock_task", fail)
    client.raise_request_exception = False
    log_in(client, "view_stafftask", "change_stafftask")

    assert client.post(f"{LIST}{task.pk}/finish/", {"note": "x"}).status_code == 503
    task.refresh_from_db()
    assert task.done_at is None


@pytest.mark.parametrize("way", ["finish", "withdraw"])
def test_ending_a_task_takes_its_own_permission(client, task, way):
    log_in(client, "view_stafftask")

    assert b"Mark as done" not in client.get(f"{LIST}{task.pk}/change/").content
    assert client.post(f"{LIST}{task.pk}/{way}/", {"note": "x"}).status_code == 403
    assert client.get(f"{LIST}{task.pk}/{way}/").status_code == 405
    task.refresh_from_db()
    assert task.done_at is None


def test_ending_a_missing_task_is_a_404(client):
    log_in(client, "view_stafftask", "change_stafftask")

    assert client.post(f"{LIST}999999/finish/", {"note": "x"}).status_code == 404


def test_ending_a_task_takes_a_login(client, task):
    response = client.post(f"{LIST}{task.pk}/finish/", {"note": "x"})

    assert (response.status_code, response["Location"].split("?")[0]) == (302, "/admin/login/")


def test_even_a_superuser_cannot_write_a_task(admin_client, task):
    assert admin_client.get(LIST).status_code == 200
    assert admin_client.get(f"{LIST}add/").status_code == 403
    assert admin_client.post(f"{LIST}{task.pk}/change/", {"note": "x"}).status_code == 403
    assert admin_client.post(f"{LIST}{task.pk}/delete/", {"post": "yes"}).status_code == 403
