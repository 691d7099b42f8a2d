"""Peek: read what is somebody else's.

The attacker is a stranger; a customer with the address of their own page in the portal; or a member of staff who
may only look, or whose account has no group yet, or who has a password but no code. They want other customers'
payments, card tokens, and the secrets of accounts. They fail because every page of the admin asks for a login and
a permission, each token of the portal is bound to its customer, and no page shows secrets to anyone.
"""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django_otp.plugins.otp_static.models import StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from perma_payments.admin.login import groups, second_factors
from perma_payments.billing.transactions import Kind
from perma_payments.models import Response
from perma_payments.views.tokens import Purpose

from .. import cyber_source, records
from ..admin.test_permissions import everything, log_in  # noqa: F401 (a fixture)
from ..conftest import Post
from ..records import INDIVIDUAL, REGISTRAR
from ..views.test_portal import PAGES, agreement, see, token  # noqa: F401 (a fixture)
from .addresses import Address, of_the_admin

pytestmark = pytest.mark.django_db

# What nobody has to log in for.
OPEN = {
    "admin:login",
    "admin:logout",
    "admin:enroll",
    "admin:password_reset",
    "admin:password_reset_done",
    "admin:password_reset_confirm",
    "admin:password_reset_complete",
}
# What every member of staff gets: nothing about customers is on these pages.
OF_ALL_STAFF = {"admin:index", "admin:help", "admin:jsi18n", "admin:password_change", "admin:password_change_done"}


@pytest.fixture
def accounts(everything: None) -> User:
    """Some rows of each table, of accounts too. Returns a superuser with a second factor."""
    boss = User.objects.create_superuser("boss", password="x")
    second_factors.add(boss)
    return boss


def looked(client: Client) -> dict[Address, Any]:
    """The answer to a GET of every address of the admin, except the logout."""
    return {each: client.get(each.path) for each in of_the_admin() if each.name != "admin:logout"}


def seen(client: Client) -> set[str]:
    """The names of the addresses that show something, of those that ask for a login."""
    return {each.name for each, answer in looked(client).items() if answer.status_code == 200} - OPEN


def password_alone(client: Client, settings: Any) -> None:
    settings.REQUIRE_SECOND_FACTOR = True
    log_in(client, groups.BILLING_STAFF)


@pytest.mark.parametrize("has_password", [False, True])
def test_strangers_and_those_without_a_code_are_led_to_the_login(client, accounts, settings, has_password):
    if has_password:
        password_alone(client, settings)
    answers = {each: answer for each, answer in looked(client).items() if each.name not in OPEN}

    assert len(answers) > 80
    assert {(answer.status_code, answer["Location"].split("?")[0]) for answer in answers.values()} == {
        (302, "/admin/login/")
    }


def test_users_who_are_not_staff_are_refused(client, accounts):
    log_in(client, groups.BILLING_STAFF, is_staff=False)

    assert {answer.status_code for each, answer in looked(client).items() if each.name not in OPEN} == {403}


def test_staff_without_a_group_see_nothing_of_customers(client, accounts):
    log_in(client, None)

    assert seen(client) == OF_ALL_STAFF


@pytest.mark.parametrize("group", [groups.AUDITORS, groups.BILLING_STAFF])
def test_nobody_sees_a_secret(client, accounts, group):
    log_in(client, group)
    secrets = [
        records.TOKEN,
        User.objects.get(username="boss").password,
        TOTPDevice.objects.get().key,
        second_factors.secret_of(TOTPDevice.objects.get()),
        *StaticToken.objects.values_list("token", flat=True),
        *Session.objects.values_list("session_key", flat=True),
        *filter(None, Response.objects.values_list("payment_token", flat=True)),
        bytes(Response.objects.get().sealed).hex(),
    ]
    answers = looked(client)

    assert not {each.name for each in answers if each.name.startswith(("admin:auth_", "admin:otp_"))} & seen(
        client
    )
    for each, answer in answers.items():
        text = answer.getvalue().decode()
        assert [secret for secret in secrets if secret in text] == [], each
        assert cyber_source.personal_data_in([text]) == [], each


# --- The portal -----------------------------------------------------------------------------------------


@pytest.fixture
def payment(call_back: Post) -> Any:
    outgoing = records.outgoing(Kind.PURCHASE, records.purchase(INDIVIDUAL))
    call_back(records.form(outgoing))
    return outgoing


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("purpose", [Purpose.MANAGE, Purpose.BILLING])
def test_no_page_of_the_portal_shows_another_customers_payments(client, agreement, payment, page, purpose):
    text = see(client, token(purpose, REGISTRAR), page, payment=str(payment.transaction_uuid)).content.decode()

    assert payment.reference_number not in text and str(payment.transaction_uuid) not in text
    assert "Individual" not in text


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    "other",
    [{"customer_pk": "7"}, {"customer_type": "Individual"}, {"customer": "Individual 7"}, {"id": "1"}],
    ids=str,
)
def test_no_other_field_says_whose_page_it_is(client, agreement, payment, page, other):
    assert payment.reference_number not in see(client, None, page, **other).content.decode()
