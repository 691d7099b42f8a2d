"""What was signed with one SECRET_KEY is accepted as long as that key is among the fallbacks, and no longer.

Machines change one after the other, so this holds for both: the one that has changed and the one that has not.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.test import Client, RequestFactory
from django.utils import timezone

from perma_payments import unsent
from perma_payments.admin.login import attempts, second_factors
from perma_payments.admin.login.attempts import TooManyAttempts
from perma_payments.emails import Mail
from perma_payments.models import StaffTask
from perma_payments.services.staff_tasks.outbox import Sent, send_task_mails
from perma_payments.views import tokens
from perma_payments.views.tokens import Purpose, TokenRefused

from . import records
from .accounts import log_in

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
FIRST, SECOND = "the first key, long enough for Django " * 2, "the second key, long enough for Django " * 2

both_ways = pytest.mark.parametrize("is_fallback", [True, False], ids=["a fallback", "no fallback"])


@pytest.fixture(autouse=True)
def first_key(settings):
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = FIRST, []


@pytest.fixture
def change_key(settings, is_fallback):
    """Go to a machine that signs with the second key, and has the first as a fallback, or not."""

    def change_key() -> None:
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = SECOND, [FIRST] if is_fallback else []

    return change_key


@both_ways
def test_a_token_of_the_portal(change_key, is_fallback):
    text = tokens.begin(records.REGISTRAR, Purpose.MANAGE, now=NOW)
    change_key()

    if is_fallback:
        assert tokens.read(text, Purpose.MANAGE, now=NOW).customer == records.REGISTRAR
    else:
        with pytest.raises(TokenRefused, match=r"^not signed by us$"):
            tokens.read(text, Purpose.MANAGE, now=NOW)


@both_ways
def test_a_form_that_came_after_the_login_had_ended(change_key, is_fallback):
    request = RequestFactory().get("/")
    request.META["CSRF_COOKIE"] = "c" * 32
    form = unsent.Unsent("/admin/perma_payments/stafftask/1/finish/", [("note", "Done.")])
    text = unsent.sign(form, request)
    change_key()

    assert unsent.read(text, request) == (form if is_fallback else None)


@both_ways
def test_an_invitation_to_set_up_a_second_factor(change_key, is_fallback):
    user = User.objects.create_user("jane", is_staff=True)
    token = second_factors.invite(user, now=NOW)
    change_key()

    app = second_factors.invited(token, now=NOW)
    assert (app is not None and app.user == user) is is_fallback


@both_ways
def test_a_link_for_a_new_password(change_key, is_fallback):
    user = User.objects.create_user("jane", password="a forgotten password")
    token = default_token_generator.make_token(user)
    change_key()

    assert default_token_generator.check_token(user, token) is is_fallback


@both_ways
def test_a_login(client: Client, change_key, is_fallback):
    log_in(client)
    assert client.get("/admin/").status_code == 200
    change_key()

    assert client.get("/admin/").status_code == (200 if is_fallback else 302)


def test_a_login_that_goes_back_and_forth_between_machines(client: Client, settings):
    log_in(client)
    for key, fallback in [(FIRST, SECOND), (SECOND, FIRST)] * 2:
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = key, [fallback]
        assert client.get("/admin/").status_code == 200

    # It was used with the second key last, so the first is no longer needed.
    settings.SECRET_KEY_FALLBACKS = []
    assert client.get("/admin/").status_code == 200


@both_ways
@pytest.mark.parametrize(
    ("allowed", "names"),
    [
        (attempts.MAX_ATTEMPTS, [("jane", "192.0.2.1")]),
        (attempts.MAX_ATTEMPTS_PER_ACCOUNT, [("jane", f"192.0.2.{number}") for number in range(20)]),
        (attempts.MAX_ATTEMPTS_PER_ADDRESS, [(f"jane{number}", "192.0.2.1") for number in range(20)]),
    ],
    ids=["account from an address", "account", "address"],
)
def test_failed_logins_that_count(allowed, names, change_key, is_fallback):
    for number in range(allowed):
        account, address = names[number % len(names)]
        attempts.begin(account=account, address=address, now=NOW)
    change_key()

    account, address = names[0]
    if is_fallback:
        with pytest.raises(TooManyAttempts):
            attempts.begin(account=account, address=address, now=NOW)
    else:
        assert attempts.begin(account=account, address=address, now=NOW)


@both_ways
def test_a_recipient_who_has_not_got_a_mail_yet(mailbox: Any, settings, change_key, is_fallback):
    settings.STAFF_EMAILS = ["anne@staff.example", "ben@staff.example"]
    mailbox.refused["ben@staff.example"] = 450
    StaffTask.objects.create(kind="duplicate charge", agreement=records.agreement(), opened_at=timezone.now())

    def send(now: datetime) -> Sent:
        return send_task_mails(lambda task: Mail("Task", "Do it."), now=now)

    send(NOW)
    mailbox.refused.clear()
    change_key()
    send(NOW + MINUTE)

    mailed = [mail["X-Rcpt"] for mail in mailbox.mails if mail["Subject"].endswith("Task")]
    assert mailed == ["anne@staff.example", *(["ben@staff.example"] if is_fallback else [])]
