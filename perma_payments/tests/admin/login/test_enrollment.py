"""Staff set up their own second factor, by a superuser's invitation and with their password."""

import re
from datetime import timedelta
from unittest import mock

import pytest
from bs4 import BeautifulSoup
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from django_otp.oath import totp
from django_otp.plugins.otp_static.models import StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from perma_payments.admin.login import second_factors

from ...pages import words
from .test_login import wrong_code

pytestmark = pytest.mark.django_db

PASSWORD = "a long enough password"


@pytest.fixture(autouse=True)
def as_in_production(settings):
    """A second factor is required."""
    settings.REQUIRE_SECOND_FACTOR = True


@pytest.fixture
def user():
    return User.objects.create_user("jane", password=PASSWORD, is_staff=True, email="jane@perma.example")


@pytest.fixture
def superuser(settings):
    """A superuser's browser."""
    boss = User.objects.create_superuser("boss", password=PASSWORD)
    factor = second_factors.add(boss)
    browser = Client()
    fields = {"username": "boss", "password": PASSWORD, "code": factor.recovery_codes[0], "next": "/admin/"}
    assert browser.post("/admin/login/", fields).status_code == 302
    return browser


def invite(superuser, user, reason="new phone"):
    """Make a link, as a superuser does; return its path and query."""
    page = superuser.post(f"/admin/auth/user/{user.pk}/second-factor/", {"reason": reason})
    (link,) = re.findall(r"http://localhost:8000(/admin/second-factor/\?invitation=\S+)", words(page))
    return link


def give_password(browser, link, username="jane", password=PASSWORD):
    return browser.post(link, {"username": username, "password": password})


def code_of(user):
    return f"{totp(TOTPDevice.objects.get(user=user).bin_key):06}"


def is_in(browser):
    return browser.get("/admin/").status_code == 200


def test_an_invited_person_sets_up_an_app_and_is_logged_in(client, superuser, user):
    link = invite(superuser, user)
    assert "Log in with your username and password first." in words(client.get(link))
    assert give_password(client, link)["Location"] == link
    assert not is_in(client)

    page = client.get(link)
    soup = BeautifulSoup(page.content, "html.parser")
    assert soup.select_one(".qr svg path") and not soup.find_all(style=True)
    assert second_factors.secret_of(TOTPDevice.objects.get(user=user)) in words(page)
    assert "no-store" in page["Cache-Control"]

    code = code_of(user)
    page = client.post(link, {"code": f"{code[:3]} {code[3:]}"})
    codes = [
        code.get_text().replace("-", "")
        for code in BeautifulSoup(page.content, "html.parser").select(".codes code")
    ]
    assert set(codes) == set(StaticToken.objects.filter(device__user=user).values_list("token", flat=True))
    assert len(codes) == 10
    assert is_in(client)
    fields = {"username": "jane", "password": PASSWORD, "next": "/admin/", "code": codes[0]}
    assert Client().post("/admin/login/", fields).status_code == 302


def test_a_wrong_code_sets_up_nothing(client, superuser, user):
    link = invite(superuser, user)
    give_password(client, link)
    page = client.post(link, {"code": wrong_code(user)})
    assert "That isn't the code that the app shows now." in words(page)
    assert not second_factors.has_one(user)
    assert not is_in(client)


def test_a_link_without_the_password_shows_nothing(client, superuser, user):
    link = invite(superuser, user)
    secret = second_factors.secret_of(TOTPDevice.objects.get(user=user))
    assert secret not in words(client.get(link))
    assert secret not in words(client.post(link, {"code": code_of(user)}))
    assert "don't match" in words(give_password(client, link, password="wrong"))
    assert not second_factors.has_one(user)


def test_a_link_is_no_good_with_another_accounts_password(client, superuser, user):
    User.objects.create_user("other", password=PASSWORD, is_staff=True)
    assert "don't match" in words(give_password(client, invite(superuser, user), username="other"))


def test_a_link_asks_for_the_password_even_if_someone_else_is_logged_in(superuser, user):
    link = invite(superuser, user)
    assert "Log in with your username and password first." in words(superuser.get(link))


def test_the_session_gets_a_new_key_with_its_new_rights(client, superuser, user):
    link = invite(superuser, user)
    give_password(client, link)
    before = client.session.session_key
    client.post(link, {"code": code_of(user)})
    assert client.session.session_key != before


def test_recovery_codes_are_made_once(user):
    second_factors.invite(user, now=timezone.now())
    app = TOTPDevice.objects.get(user=user)
    assert second_factors.confirm(app, code_of(user))
    assert second_factors.confirm(app, f"{totp(app.bin_key, drift=1):06}") is None
    assert StaticToken.objects.filter(device__user=user).count() == 10


def test_the_password_alone_sets_up_nothing(client, superuser, user):
    invite(superuser, user)
    page = client.post("/admin/login/", {"username": "jane", "password": PASSWORD, "code": code_of(user)})
    assert page.status_code == 200
    assert not is_in(client)


def test_guessing_the_password_by_a_link_is_limited(client, superuser, user):
    link = invite(superuser, user)
    for _ in range(5):
        give_password(client, link, password="wrong")
    page = give_password(client, link)
    assert (page.status_code, page["Retry-After"]) == (429, "900")


def no_longer_works(page):
    return page.status_code == 400 and "This link no longer works" in words(page)


def test_a_link_works_once(client, superuser, user):
    link = invite(superuser, user)
    give_password(client, link)
    client.post(link, {"code": code_of(user)})
    assert no_longer_works(client.get(link))


def test_a_newer_link_replaces_it(client, superuser, user):
    link = invite(superuser, user)
    newer = invite(superuser, user)
    assert no_longer_works(client.get(link))
    assert client.get(newer).status_code == 200


def test_a_link_works_for_a_day(client, superuser, user):
    now = timezone.now()
    link = invite(superuser, user)
    with mock.patch("django.utils.timezone.now", return_value=now + timedelta(hours=23, minutes=59)):
        assert client.get(link).status_code == 200
    with mock.patch("django.utils.timezone.now", return_value=now + timedelta(days=1, minutes=1)):
        assert no_longer_works(client.get(link))


@pytest.mark.parametrize("change", [{"is_staff": False}, {"is_active": False}])
def test_a_link_works_only_for_active_staff(client, superuser, user, change):
    link = invite(superuser, user)
    User.objects.filter(pk=user.pk).update(**change)
    assert no_longer_works(client.get(link))


@pytest.mark.parametrize("query", ["", "?invitation=x", "?invitation=WzEsMSwxXQ:x"])
def test_a_link_that_was_damaged_is_refused(client, query):
    assert no_longer_works(client.get(f"/admin/second-factor/{query}"))


# --- A superuser resets somebody's second factor ----------------------------------------------------


def test_a_reset_ends_the_old_factor_and_its_logins_and_is_on_record(client, superuser, user):
    factor = second_factors.add(user)
    fields = {"username": "jane", "password": PASSWORD, "next": "/admin/"}
    client.post("/admin/login/", {**fields, "code": factor.recovery_codes[0]})
    assert is_in(client)

    page = superuser.get(f"/admin/auth/user/{user.pk}/second-factor/")
    assert "jane has a second factor." in words(page)
    invite(superuser, user, reason="lost phone")

    assert not is_in(client)
    assert client.post("/admin/login/", {**fields, "code": factor.recovery_codes[1]}).status_code == 200
    assert "lost phone" in words(superuser.get(f"/admin/auth/user/{user.pk}/history/"))


def test_a_reset_takes_a_reason(superuser, user):
    second_factors.add(user)
    assert "This field is required." in words(superuser.post(f"/admin/auth/user/{user.pk}/second-factor/"))
    assert second_factors.has_one(user)


def test_only_a_superuser_resets(client, settings, user):
    settings.REQUIRE_SECOND_FACTOR = False
    helper = User.objects.create_user("helper", is_staff=True)
    helper.user_permissions.set(Permission.objects.filter(codename__endswith="_user"))
    client.force_login(helper)
    second_factors.add(user)
    page = f"/admin/auth/user/{user.pk}/"
    assert "Second factor" not in words(client.get(f"{page}change/"))
    assert client.post(f"{page}second-factor/", {"reason": "x"}).status_code == 403
    assert second_factors.has_one(user)


def test_the_users_page_leads_there(superuser, user):
    page = superuser.get(f"/admin/auth/user/{user.pk}/change/")
    assert f"/admin/auth/user/{user.pk}/second-factor/".encode() in page.content


def test_nobody_is_invited_who_cannot_log_in(superuser, user):
    User.objects.filter(pk=user.pk).update(is_staff=False)
    page = superuser.post(f"/admin/auth/user/{user.pk}/second-factor/", {"reason": "x"})
    assert "jane can't log in here" in words(page)
    assert not TOTPDevice.objects.filter(user=user).exists()


def test_neither_link_nor_secret_is_logged(client, superuser, user, caplog):
    link = invite(superuser, user)
    give_password(client, link)
    client.post(link, {"code": code_of(user)})
    assert link.partition("=")[2] not in caplog.text
    assert second_factors.secret_of(TOTPDevice.objects.get(user=user)) not in caplog.text
    assert LogEntry.objects.filter(object_id=str(user.pk)).count() == 2
