"""Escalate: do what one's account, page or session does not allow.

The attacker has an account without the permission, or one that may only look, or a password without a code; a
planted or a stolen session; or the portal's page of their own subscription. They want to confirm a report, correct
a subscription, end somebody else's, or make their account more than it is. They fail because every address that
acts asks for its permission, accounts are changed by superusers alone, and a session is new after each login and
gone after the logout. The addresses are the site's own, so a page that is added without a guard fails here.
"""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.auth.tokens import default_token_generator
from django.db import transaction
from django.test import Client
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from perma_payments.admin.login import groups
from perma_payments.models import UsedMessage
from perma_payments.services.cancellation import request_cancellation

from ..admin.test_permissions import POSTED, everything, kept, log_in  # noqa: F401 (a fixture)
from ..records import INDIVIDUAL, REGISTRAR
from ..views import traces
from ..views.test_portal import ACTIONS, act, agreement, token  # noqa: F401 (a fixture)
from .addresses import of_the_admin
from .test_peek import OF_ALL_STAFF, OPEN, accounts, password_alone  # noqa: F401 (a fixture)

pytestmark = pytest.mark.django_db

PASSWORD = "a long enough password"

# What a POST of billing staff may do.
OF_BILLING_STAFF = {
    *(f"stafftask_{action}" for action in ("finish", "withdraw", "reopen", "claim", "release", "offer")),
    *(f"statusreport_{action}" for action in ("upload", "confirm", "discard", "undo")),
    *(f"{table}_correct" for table in ("subscriptionagreement", "purchase", "response", "outgoingtransaction")),
    "checkoutfreeze_switch",
}


@pytest.fixture(autouse=True)
def _quick_passwords(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def client() -> Client:
    """Any page may have given it Django's token against forgery."""
    return Client(raise_request_exception=False)


def everything_kept() -> dict[str, Any]:
    """All rows of ours, and the accounts."""
    accounts = (User, Group, TOTPDevice, StaticDevice, User.groups.through, User.user_permissions.through)
    return {
        **kept(),
        **{model.__name__: list(model.objects.order_by("pk").values()) for model in accounts},
        "permissions": list(Group.permissions.through.objects.order_by("pk").values()),
    }


def allowed(client: Client) -> set[str]:
    """The names of the addresses at which a POST is not refused; what it does is undone."""
    names = set()
    for each in of_the_admin():
        if each.name == "admin:logout":
            continue
        with transaction.atomic():
            answer = client.post(each.path, POSTED)
            transaction.set_rollback(True)
        is_login = b'name="password"' in answer.content and each.name not in OPEN
        if answer.status_code not in (403, 404, 405) and not is_login:
            names.add(each.name)
    return names


@pytest.mark.parametrize("who", ["a stranger", "not staff", "without a code", "without a group", "an auditor"])
def test_those_who_may_not_act_change_nothing(client, accounts, settings, who):
    match who:
        case "not staff":
            log_in(client, groups.BILLING_STAFF, is_staff=False)
        case "without a code":
            password_alone(client, settings)
        case "without a group":
            log_in(client, None)
        case "an auditor":
            log_in(client, groups.AUDITORS)
    before = everything_kept()
    for each in of_the_admin():
        if each.name != "admin:logout":
            assert client.post(each.path, POSTED).status_code < 500, each
    assert everything_kept() == before


def test_billing_staff_may_do_what_is_listed_here_and_an_auditor_nothing(client, accounts):
    log_in(client, groups.AUDITORS)
    of_auditors = allowed(client)
    client.logout()
    User.objects.filter(username="someone").delete()
    log_in(client, groups.BILLING_STAFF)

    assert allowed(client) - of_auditors == {f"admin:perma_payments_{name}" for name in OF_BILLING_STAFF}
    # Pages, which Django shows as if it were a GET.
    pages = {*OPEN, *OF_ALL_STAFF, "admin:app_list", "admin:django.views.generic.base.RedirectView"}
    assert {name for name in of_auditors - pages if not name.endswith(("_changelist", "_history"))} == set()


def test_billing_staff_can_delete_no_rows_of_a_list(client, accounts):
    log_in(client, groups.BILLING_STAFF)
    before = everything_kept()
    for each in of_the_admin():
        if each.name.endswith("_changelist"):
            client.post(each.path, {**POSTED, "_selected_action": [str(pk) for pk in range(1, 9)]})
    assert everything_kept() == before


# --- Accounts -------------------------------------------------------------------------------------------

ALL_POWER = {"is_superuser": "on", "is_staff": "on", "is_active": "on", "user_permissions": ["1"], "groups": ["1"]}


@pytest.mark.parametrize("group", [groups.AUDITORS, groups.BILLING_STAFF])
def test_staff_do_not_make_themselves_more_than_they_are(client, accounts, group):
    user = log_in(client, group)
    before = everything_kept()
    for path in ("change/", "password/", "second-factor/", "delete/"):
        assert client.post(f"/admin/auth/user/{user.pk}/{path}", {**ALL_POWER, "username": "x"}).status_code == 403
    client.post("/admin/password_change/", {**ALL_POWER, "old_password": "", "username": "boss"})
    assert everything_kept() == before


def test_those_who_look_after_accounts_make_nobody_more_than_they_are(client, accounts):
    """Even with all of Django's permissions for accounts, which neither group has."""
    user = log_in(client, None)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="auth"))
    before = everything_kept()
    for each in of_the_admin():
        if each.name.startswith("admin:auth_"):
            fields = {**ALL_POWER, "username": "new", "name": "new", "permissions": ["1"]}
            fields |= {"usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
            client.post(each.path, {**POSTED, **fields})
    assert everything_kept() == before


def test_a_link_for_ones_own_password_sets_nobody_elses(client, accounts):
    user = User.objects.create_user("jane", password=PASSWORD, is_staff=True)
    theirs = urlsafe_base64_encode(force_bytes(accounts.pk))
    page = client.get(f"/admin/password_reset/{theirs}/{default_token_generator.make_token(user)}/", follow=True)
    assert "The password reset link was invalid" in page.content.decode()

    # With one's own link opened, so that it is in the session.
    own = urlsafe_base64_encode(force_bytes(user.pk))
    client.get(f"/admin/password_reset/{own}/{default_token_generator.make_token(user)}/")
    new = {"new_password1": "another long enough one", "new_password2": "another long enough one"}
    client.post(f"/admin/password_reset/{theirs}/set-password/", new)
    assert User.objects.get(pk=accounts.pk).password == accounts.password


# --- Sessions -------------------------------------------------------------------------------------------


def test_a_session_that_was_planted_is_not_logged_in(client):
    User.objects.create_user("jane", password=PASSWORD, is_staff=True)
    planter = Client()
    planter.session.save()
    planter.cookies["sessionid"] = planter.session.session_key
    client.cookies["sessionid"] = planter.cookies["sessionid"].value
    client.post("/admin/login/", {"username": "jane", "password": PASSWORD, "next": "/admin/"})

    assert client.get("/admin/").status_code == 200
    assert planter.get("/admin/").status_code == 302


def test_a_session_is_gone_after_the_logout(client, accounts):
    log_in(client, groups.BILLING_STAFF)
    thief = Client()
    thief.cookies["sessionid"] = client.cookies["sessionid"].value
    assert thief.get("/admin/").status_code == 200
    client.post("/admin/logout/")

    assert thief.get("/admin/").status_code == 302


# --- The portal -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("other", [{}, {"customer_type": "Registrar", "customer_pk": "7"}], ids=str)
def test_a_token_acts_for_its_own_customer_only(client, agreement, action, other):
    request_cancellation(REGISTRAR, nonce=bytes(24), now=timezone.now())
    before = traces.rows()

    act(client, action, token(ACTIONS[action], INDIVIDUAL), **other)
    # Even a request that changed nothing is used up.
    used = set(traces.rows()) - set(before)
    assert {table for table, _ in used} <= {UsedMessage._meta.db_table}
