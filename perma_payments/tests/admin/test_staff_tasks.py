"""Staff end their tasks in the admin."""

import pytest
from django.db import OperationalError
from django.utils import timezone
from django.utils.safestring import mark_safe

from perma_payments.admin.staff_tasks import Section, sections
from perma_payments.billing.transactions import Kind
from perma_payments.models import Response, StaffTask, TaskKind
from perma_payments.models.staff_task import ABOUT_ALL
from perma_payments.services import staff_tasks

from .. import records
from ..accounts import log_in
from ..pages import soup, words

pytestmark = pytest.mark.django_db

LIST = "/admin/perma_payments/stafftask/"


@pytest.fixture
def task() -> StaffTask:
    agreement = records.standing_agreement(cancellation_requested_at="2026-11-21T12:00Z")
    return StaffTask.objects.create(kind="cancellation", agreement=agreement)


def test_a_task_shows_its_instructions_and_ends_with_a_note(client, task):
    user = log_in(client, "view_stafftask", "change_stafftask")
    page = client.get(f"{LIST}{task.pk}/change/")
    assert "What to do" in words(page)
    assert "Log in to CyberSource's Business Center" in words(page)
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


@pytest.mark.parametrize("way", ["finish", "withdraw", "claim", "release", "reopen"])
def test_ending_a_task_takes_its_own_permission(client, task, way):
    log_in(client, "view_stafftask")

    assert b"Mark as done" not in client.get(f"{LIST}{task.pk}/change/").content
    assert client.post(f"{LIST}{task.pk}/{way}/", {"note": "x"}).status_code == 403
    assert client.get(f"{LIST}{task.pk}/{way}/")["Location"] == f"{LIST}{task.pk}/change/"
    task.refresh_from_db()
    assert task.done_at is None


def test_ending_a_missing_task_is_a_404(client):
    log_in(client, "view_stafftask", "change_stafftask")

    assert client.post(f"{LIST}999999/finish/", {"note": "x"}).status_code == 404


def test_ending_a_task_takes_a_login(client, task):
    page = client.post(f"{LIST}{task.pk}/finish/", {"note": "x"})

    assert b'action="/admin/login/"' in page.content
    task.refresh_from_db()
    assert task.done_at is None


def test_even_a_superuser_cannot_write_a_task(admin_client, task):
    assert admin_client.get(LIST).status_code == 200
    assert admin_client.get(f"{LIST}add/").status_code == 403
    assert admin_client.post(f"{LIST}{task.pk}/change/", {"note": "x"}).status_code == 403
    assert admin_client.post(f"{LIST}{task.pk}/delete/", {"post": "yes"}).status_code == 403


# --- The page ---------------------------------------------------------------------------------------


def test_instructions_come_before_the_buttons_and_steps_are_a_list(client, task):
    log_in(client, "view_stafftask", "change_stafftask")
    page = soup(client.get(f"{LIST}{task.pk}/change/"))

    titles = [title.get_text() for title in page.select(".task h2")]
    assert titles == ["What happened", "What to do", "Where to look", "If nothing is done"]
    steps = [" ".join(step.get_text().split()) for step in page.select(".task ol li")]
    assert steps[0] == "Log in to CyberSource's Business Center (link below)."
    assert "Search for the reference number below, as Merchant Reference Code." in steps
    text = page.select_one(".task").get_text()
    assert text.index("If nothing is done") < text.index("Mark as done")
    assert len(page.select(".task .button.default")) == 1
    assert "This task:" not in text


@pytest.mark.parametrize("kind", TaskKind)
def test_each_kind_of_task_is_a_page_with_steps(client, kind, call_back):
    log_in(client, "view_stafftask", "change_stafftask")
    outgoing = records.outgoing("subscribe")
    call_back(records.form(outgoing))
    about = {} if kind in ABOUT_ALL else {"agreement": outgoing.agreement}
    if kind not in (*ABOUT_ALL, TaskKind.CANCELLATION, TaskKind.STILL_CHARGED):
        about["response"] = outgoing.responses.get()
    this = StaffTask.objects.create(kind=kind, **about)
    page = soup(client.get(f"{LIST}{this.pk}/change/"))

    assert page.find("h1").get_text() == kind.label
    assert len(page.select(".task ol li")) >= 2


def test_a_task_is_claimed_and_colleagues_see_by_whom(client, task):
    anne = log_in(client, "view_stafftask", "change_stafftask")
    page = client.post(f"{LIST}{task.pk}/claim/", follow=True)
    assert "You are on it, since" in words(page)

    log_in(client, "view_stafftask", "change_stafftask", username="ben")
    page = client.get(f"{LIST}{task.pk}/change/")
    assert f"{anne} is on it, since" in words(page)
    assert f"Ask {anne} before you do anything" in words(page)
    assert f"{anne} is already on it" in words(client.post(f"{LIST}{task.pk}/claim/", follow=True))
    client.post(f"{LIST}{task.pk}/release/")
    assert "You are on it" in words(client.post(f"{LIST}{task.pk}/claim/", follow=True))


def test_a_task_that_is_done_leads_to_the_next_and_can_be_reopened(client, task):
    log_in(client, "view_stafftask", "change_stafftask")
    other = StaffTask.objects.create(kind="duplicate charge", agreement=task.agreement)
    page = soup(client.post(f"{LIST}{task.pk}/finish/", {"note": "Canceled."}, follow=True))
    assert page.select_one("a.next")["href"] == f"{LIST}{other.pk}/change/"

    page = client.post(f"{LIST}{task.pk}/reopen/", {"note": "It is still Current."}, follow=True)
    assert "The task is open again." in words(page)
    assert "It is still Current." in words(page)
    again = client.post(f"{LIST}{task.pk}/reopen/", {"note": "x"}, follow=True)
    assert "Nothing was changed. This task is open already." in words(again)


def test_after_the_last_task_there_is_nothing_to_do(client, task):
    log_in(client, "view_stafftask", "change_stafftask")

    assert "There is nothing else to do." in words(
        client.post(f"{LIST}{task.pk}/finish/", {"note": "Done."}, follow=True)
    )


MARKUP = "<b>bold</b>"


@pytest.mark.parametrize("kind", [kind for kind in TaskKind if kind not in ABOUT_ALL])
def test_no_text_on_the_page_of_a_task_is_markup(client, settings, monkeypatch, kind):
    # Whatever fills in the mail, and whatever Django takes its text for.
    monkeypatch.setattr("perma_payments.admin.mails.explain", lambda code: MARKUP)
    monkeypatch.setattr("perma_payments.admin.mails.business_center_url", lambda: f"https://{MARKUP}/?a=1&b=2")

    def called_safe(texts: list[str]) -> list[str]:
        return [mark_safe(text) for text in (*texts, MARKUP)]

    monkeypatch.setattr(
        "perma_payments.admin.staff_tasks.sections",
        lambda body: [
            Section(MARKUP, called_safe(each.before), called_safe(each.steps), called_safe(each.after))
            for each in sections(body)
        ],
    )
    user = log_in(client, "view_stafftask", "change_stafftask", username=MARKUP)
    outgoing = records.outgoing(Kind.PURCHASE if kind == TaskKind.ACKNOWLEDGEMENT_IN_DOUBT else Kind.SUBSCRIBE)
    response = Response.objects.create(
        fingerprint=MARKUP.encode(),
        outgoing=outgoing,
        decision=MARKUP,
        reason_code="<b>",
        transaction_id=MARKUP,
        transaction_uuid=MARKUP,
        transaction_type=MARKUP,
        reference_number=MARKUP,
        amount=MARKUP,
        currency="<b>",
        auth_amount=MARKUP,
        message=MARKUP,
        sealed=b"x",
        archive_key_id="k",
    )
    about = {"agreement": outgoing.agreement, "purchase": outgoing.purchase, "response": response}
    task = StaffTask.objects.create(kind=kind, claimed_by=user, claimed_at=timezone.now(), **about)
    url = f"{LIST}{task.pk}/change/"

    page = client.get(url)
    assert page.status_code == 200
    assert MARKUP in words(page)
    assert b"<b>" not in page.content
    done = client.post(f"{LIST}{task.pk}/finish/", {"note": MARKUP}, follow=True)
    assert f": {MARKUP}" in words(done)
    assert b"<b>" not in done.content
