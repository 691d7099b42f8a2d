"""Staff log in with a password and, where it is required, a code; and cannot be guessed."""

import base64
import io
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from unittest import mock

import pytest
from bs4 import BeautifulSoup
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.contrib.auth.password_validation import validate_password
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client, RequestFactory
from django.utils import timezone
from django_otp.oath import totp
from django_otp.plugins.otp_static.models import StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from perma_payments.addresses import address_of
from perma_payments.admin.login import attempts as login_attempts, second_factors
from perma_payments.admin.site import StaffSite
from perma_payments.management import jobs
from perma_payments.models import LoginAttempt
from perma_payments.setting_parsers import origin_of

from ...environments import production, settings_of

pytestmark = pytest.mark.django_db

LOGIN = "/admin/login/"
PASSWORD = "a long enough password"


@pytest.fixture
def user():
    return User.objects.create_user("someone", password=PASSWORD, is_staff=True)


@pytest.fixture
def required(settings):
    """A second factor is required, as it is in production."""
    settings.REQUIRE_SECOND_FACTOR = True


@pytest.fixture
def factor(required, user):
    return second_factors.add(user)


def current_code(user):
    return f"{totp(TOTPDevice.objects.get(user=user).bin_key):06}"


def codes_around_now(user):
    """What the app shows now, and for a minute and a half before and after."""
    key = TOTPDevice.objects.get(user=user).bin_key
    return {f"{totp(key, drift=drift):06}" for drift in range(-3, 4)}


def wrong_code(user):
    """Six digits that the app does not show: any are right once in a while."""
    right = codes_around_now(user)
    return next(code for code in map("{:06}".format, range(len(right) + 1)) if code not in right)


def log_in(client, username="someone", password=PASSWORD, code=None, **extra):
    fields = {"username": username, "password": password, "next": "/admin/"}
    fields |= {"code": code} if code is not None else {}
    return client.post(LOGIN, fields, **extra)


def is_in(client):
    return client.get("/admin/").status_code == 200


def text(page):
    return " ".join(BeautifulSoup(page.content, "html.parser").get_text(" ").split())


# --- With a password --------------------------------------------------------------------------------


def test_in_development_a_password_is_enough(client, user):
    page = client.get(LOGIN)
    assert page.status_code == 200 and b'name="code"' not in page.content

    assert log_in(client)["Location"] == "/admin/"
    assert is_in(client)


@pytest.mark.parametrize("username, password", [("someone", "wrong"), ("nobody", PASSWORD)])
def test_a_wrong_password_and_an_unknown_user_look_the_same(client, user, username, password):
    page = log_in(client, username, password)
    assert page.status_code == 200
    assert "That username and password don't match a staff account." in text(page)
    assert not is_in(client)


@pytest.mark.parametrize("change", [{"is_staff": False}, {"is_active": False}])
def test_only_active_staff_can_log_in(client, user, change):
    User.objects.update(**change)
    assert log_in(client).status_code == 200
    assert not is_in(client)


def test_the_page_leads_back_to_where_the_user_was_going(client, user):
    wanted = client.get("/admin/perma_payments/stafftask/?q=x")["Location"]
    assert (
        client.post(wanted, {"username": "someone", "password": PASSWORD, "next": "/admin/perma_payments/"})[
            "Location"
        ]
        == "/admin/perma_payments/"
    )


def test_a_password_has_twelve_characters_at_least():
    with pytest.raises(ValidationError, match="at least 12"):
        validate_password("xT7-kQ9.wZ2")
    validate_password("xT7-kQ9.wZ2+")


# --- The log ----------------------------------------------------------------------------------------


def logged(caplog):
    return [record.getMessage() for record in caplog.records if record.name.startswith("perma_payments.")]


def test_each_login_is_in_the_log_without_what_was_typed(client, user, caplog):
    caplog.set_level(logging.INFO)
    log_in(client)
    log_in(client, password="wrong")
    log_in(client, "a password typed as a name")

    assert logged(caplog) == [
        f"user {user.pk} logged in with a password",
        f"login failed: user {user.pk}",
        "login failed: no such user",
    ]


def test_the_log_says_which_second_factor_was_used(client, user, factor, caplog):
    caplog.set_level(logging.INFO)
    log_in(client, code=current_code(user))
    log_in(Client(), code=wrong_code(user))
    log_in(Client(), code=factor.recovery_codes[0])

    assert logged(caplog) == [
        f"user {user.pk} logged in with a password and totpdevice",
        f"login failed: user {user.pk}",
        f"user {user.pk} logged in with a password and staticdevice",
    ]


def test_an_attempt_too_many_is_in_the_log(client, user, caplog):
    fail(client, 6)

    assert logged(caplog)[-1] == "login refused: too many attempts"


def test_what_a_user_may_not_see_is_one_line_in_the_log(client, user, caplog):
    log_in(client)
    caplog.clear()
    client.get("/admin/auth/user/")

    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert lines == [f"/admin/auth/user/: user {user.pk} has no access"]


# --- With a code ------------------------------------------------------------------------------------


def test_a_password_and_a_code_log_in(client, user, factor):
    assert log_in(client, code=current_code(user)).status_code == 302
    assert is_in(client)


def test_a_code_may_be_typed_in_groups(client, user, factor):
    code = current_code(user)
    assert log_in(client, code=f" {code[:3]} {code[3:]} ").status_code == 302


@pytest.mark.parametrize("code", [None, "abcdefgh", "x", "12345678901234567890", "١٢٣٤٥٦", "\x00"])
def test_a_wrong_code_looks_like_a_wrong_password(client, user, factor, code):
    code = code or wrong_code(user)
    page = log_in(client, code=code)
    assert page.status_code == 200
    with_wrong_password = text(log_in(client, password="wrong", code=code))
    assert text(page) == with_wrong_password
    assert not is_in(client)


def test_a_code_that_was_typed_is_not_shown_again(client, user, factor):
    assert b"654321" not in log_in(client, password="wrong", code="654321").content


def test_without_a_code_the_password_is_not_checked(client, user, factor):
    with mock.patch("django.contrib.auth.forms.authenticate") as authenticate:
        page = log_in(client, code="")
    assert not authenticate.called
    assert "This field is required." in text(page)
    assert not LoginAttempt.objects.exists()


def test_a_code_works_once(client, user, factor):
    code = current_code(user)
    assert log_in(client, code=code).status_code == 302
    again = Client()
    assert "you may have to wait for the next one" in text(log_in(again, code=code))
    assert not is_in(again)


def test_someone_elses_code_does_not_work(client, user, factor):
    other = User.objects.create_user("other", is_staff=True)
    second_factors.add(other)
    while codes_around_now(other) & codes_around_now(user):
        second_factors.add(other, replace=True)
    assert log_in(client, code=current_code(other)).status_code == 200


def test_each_recovery_code_works_once(client, user, factor):
    first, second, *others = factor.recovery_codes
    assert len(others) == 8
    assert log_in(client, code=f"{first[:4]}-{first[4:]}".upper()).status_code == 302
    assert is_in(client)
    assert log_in(Client(), code=first).status_code == 200
    # The device waits a second after a code that was refused.
    with mock.patch("django_otp.models.timezone.now", return_value=timezone.now() + timedelta(seconds=2)):
        assert log_in(Client(), code=second).status_code == 302


def test_a_wrong_recovery_code_does_not_delay_the_app(client, user, factor):
    log_in(client, code="abcdefgh")
    assert log_in(client, code=current_code(user)).status_code == 302


def test_after_a_wrong_code_the_right_one_has_to_wait(client, user, factor):
    now = timezone.now()
    with mock.patch("django.utils.timezone.now", return_value=now):
        log_in(client, code=wrong_code(user))
        assert log_in(client, code=current_code(user)).status_code == 200
    with mock.patch("django.utils.timezone.now", return_value=now + timedelta(seconds=4)):
        assert log_in(client, code=current_code(user)).status_code == 302


def test_without_a_second_factor_the_page_says_whom_to_ask(client, user, required):
    page = log_in(client, code="123456")
    assert page.status_code == 200
    assert "or the developers: developers@perma.example" in text(page)
    assert not is_in(client)


def test_a_session_without_a_code_ends_once_it_is_required(client, user, settings):
    log_in(client)
    assert is_in(client)
    settings.REQUIRE_SECOND_FACTOR = True
    assert client.get("/admin/")["Location"].startswith(LOGIN)
    assert "You are logged in as someone, but without a code." in text(client.get(LOGIN))


def test_replacing_a_second_factor_ends_its_sessions(client, user, factor):
    log_in(client, code=current_code(user))
    second_factors.add(user, replace=True)
    assert not is_in(client)


# --- The command that gives someone a second factor -------------------------------------------------


def add_second_factor(*arguments):
    out = io.StringIO()
    call_command("add_second_factor", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_shows_what_logs_someone_in(client, user, required):
    shown = add_second_factor("someone")
    assert "It will not be shown again." in shown and "█" in shown
    assert re.search(r"^  otpauth://totp/Perma%20Payments%3Asomeone\?secret=[A-Z2-7]{32}&", shown, re.MULTILINE)
    codes = re.findall(r"^  ([a-z2-7]{4}-[a-z2-7]{4})$", shown, re.MULTILINE)
    assert len(set(codes)) == 10
    secret = re.search(r"^  ([A-Z2-7]{32})$", shown, re.MULTILINE)[1]
    assert log_in(client, code=f"{totp(base64.b32decode(secret)):06}").status_code == 302
    assert log_in(Client(), code=codes[3]).status_code == 302


def test_the_command_replaces_only_when_told_to(user):
    add_second_factor("someone")
    key = TOTPDevice.objects.get().key
    with pytest.raises(CommandError, match="--replace"):
        add_second_factor("someone")
    assert TOTPDevice.objects.get().key == key

    add_second_factor("someone", "--replace")
    assert TOTPDevice.objects.get().key != key
    assert StaticToken.objects.count() == 10


def test_the_command_refuses_users_who_cannot_log_in(user):
    with pytest.raises(CommandError, match="no user nobody"):
        add_second_factor("nobody")
    User.objects.update(is_staff=False)
    with pytest.raises(CommandError, match="cannot log in"):
        add_second_factor("someone")


@pytest.mark.parametrize("permissions", [["view_user"], ["view_user", "change_user"]])
def test_the_admin_shows_no_secret_of_an_account(client, user, permissions):
    factor = second_factors.add(user)
    secrets = {user.password, user.password.split("$")[-1], TOTPDevice.objects.get().key, factor.secret}
    secrets |= set(factor.recovery_codes)
    other = User.objects.create_user("other", is_staff=True)
    other.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(other)
    for page in ("change", "history", "delete"):
        shown = client.get(f"/admin/auth/user/{user.pk}/{page}/").content.decode()
        assert [secret for secret in secrets if secret in shown] == []
    assert user.get_username() in client.get(f"/admin/auth/user/{user.pk}/change/").content.decode()


# --- Too many attempts ------------------------------------------------------------------------------


def fail(client, times, **fields):
    for _ in range(times):
        response = log_in(client, **{"password": "wrong", **fields})
    return response


def test_after_five_failures_the_right_password_is_refused_too(client, user):
    assert fail(client, 5).status_code == 200
    refused = log_in(client)
    assert (refused.status_code, refused["Retry-After"]) == (429, "900")
    assert "Too many attempts. Please wait 15 minutes, then try again." in text(refused)
    assert not is_in(client)
    # In other letters it is the same account.
    assert log_in(Client(), "Someone").status_code == 429


def test_failures_from_one_address_lock_out_no_other_address(client, user):
    fail(client, 6)
    assert log_in(Client(), REMOTE_ADDR="192.0.2.9").status_code == 302


def test_after_twenty_failures_an_account_is_locked_everywhere(client, user):
    failures = [fail(client, 1, REMOTE_ADDR=f"192.0.2.{number}") for number in range(20)]
    assert [failure.status_code for failure in failures] == [200] * 20
    # It is the same account in other letters.
    assert log_in(Client(), "Someone", REMOTE_ADDR="192.0.2.99").status_code == 429


def test_another_account_is_not_locked(client, user):
    fail(client, 5, username="other")
    assert log_in(client).status_code == 302


def test_after_fifteen_minutes_the_account_is_open_again(client, user):
    fail(client, 5)
    log_in(client)  # refused attempts do not lengthen the wait
    LoginAttempt.objects.update(attempted_at=timezone.now() - timedelta(minutes=15))
    assert log_in(client).status_code == 302
    jobs.purge_expired(now=timezone.now())
    assert not LoginAttempt.objects.exists()


def test_an_attempt_that_counts_is_not_purged(client, user):
    fail(client, 5)
    jobs.purge_expired(now=timezone.now())
    assert log_in(client).status_code == 429


def test_wrong_codes_count_as_failures(client, user, factor):
    for _ in range(5):
        log_in(client, code=wrong_code(user))
    TOTPDevice.objects.update(throttling_failure_count=0, throttling_failure_timestamp=None)
    assert log_in(client, code=current_code(user)).status_code == 429


def test_success_does_not_count_and_does_not_clear(client, user):
    fail(client, 4)
    assert [log_in(client).status_code for _ in range(10)] == [302] * 10
    fail(client, 1)
    assert log_in(client).status_code == 429


def test_after_twenty_failures_an_address_is_locked(client, user):
    assert [log_in(client, f"user{number}", "wrong").status_code for number in range(20)] == [200] * 20
    assert log_in(client).status_code == 429
    assert log_in(Client(), REMOTE_ADDR="192.0.2.9").status_code == 302


def test_neither_names_nor_addresses_are_stored(client):
    log_in(client, "my password, typed into the wrong field", "x", REMOTE_ADDR="192.0.2.9")
    kept = str(LoginAttempt.objects.values().get())
    assert "password" not in kept and "192.0.2.9" not in kept


@pytest.mark.django_db(transaction=True)
def test_simultaneous_attempts_all_count():
    def begin(_):
        try:
            login_attempts.begin(account="someone", address=None, now=timezone.now())
            return 1
        except login_attempts.TooManyAttempts:
            return 0
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(begin, range(24))) <= login_attempts.MAX_ATTEMPTS


@pytest.mark.parametrize(
    "proxies, headers, address",
    [
        (0, {"REMOTE_ADDR": "192.0.2.1"}, "192.0.2.1"),
        (0, {"REMOTE_ADDR": "192.0.2.1", "HTTP_X_FORWARDED_FOR": "198.51.100.1"}, "192.0.2.1"),
        (0, {"REMOTE_ADDR": ""}, None),
        (1, {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "198.51.100.1, 192.0.2.1"}, "192.0.2.1"),
        (1, {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "198.51.100.1, nonsense"}, None),
        (2, {"REMOTE_ADDR": "10.0.0.2", "HTTP_X_FORWARDED_FOR": "192.0.2.1, 10.0.0.1"}, "192.0.2.1"),
        (2, {"REMOTE_ADDR": "10.0.0.2", "HTTP_X_FORWARDED_FOR": "198.51.100.1, 192.0.2.1,10.0.0.1"}, "192.0.2.1"),
        (3, {"HTTP_X_FORWARDED_FOR": "x, 192.0.2.1, 10.0.0.1, 10.0.0.2"}, "192.0.2.1"),
        # Everyone would share the proxies' own addresses.
        (1, {"REMOTE_ADDR": "10.0.0.1"}, None),
        (2, {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "10.0.0.1"}, None),
        (2, {"HTTP_X_FORWARDED_FOR": "unknown, 10.0.0.1"}, None),
        (1, {"HTTP_X_FORWARDED_FOR": "192.0.2.1:5678"}, "192.0.2.1"),
        (1, {"HTTP_X_FORWARDED_FOR": "[2001:db8:1:2:3:4:5:6]:5678"}, "2001:db8:1:2::/64"),
        (1, {"HTTP_X_FORWARDED_FOR": "198.51.100.1,"}, None),
        (0, {"REMOTE_ADDR": "2001:db8:1:2:3:4:5:6"}, "2001:db8:1:2::/64"),
        (0, {"REMOTE_ADDR": "::ffff:192.0.2.1"}, "192.0.2.1"),
    ],
)
def test_a_client_cannot_choose_the_address_that_counts(settings, proxies, headers, address):
    settings.TRUSTED_PROXIES = proxies
    assert address_of(RequestFactory().get("/", **headers)) == address


def test_behind_two_proxies_strangers_lock_out_only_themselves(client, user, settings):
    settings.TRUSTED_PROXIES = 2
    for number in range(21):
        forwarded = f"203.0.113.{number}, 198.51.100.1, 10.0.0.1"
        last = log_in(client, f"user{number}", "wrong", HTTP_X_FORWARDED_FOR=forwarded)
    assert last.status_code == 429
    assert log_in(Client(), HTTP_X_FORWARDED_FOR="192.0.2.9, 10.0.0.1").status_code == 302


def test_a_login_that_bypassed_a_proxy_is_logged_and_counted(client, user, settings, caplog):
    settings.TRUSTED_PROXIES = 2
    assert fail(client, 6, HTTP_X_FORWARDED_FOR="198.51.100.1").status_code == 429
    assert "(TRUSTED_PROXIES is 2)" in caplog.text
    assert "198.51.100.1" not in caplog.text


def test_without_an_address_the_account_alone_counts(client, user):
    failures = [log_in(client, f"user{number}", "wrong", REMOTE_ADDR="") for number in range(25)]
    assert [failure.status_code for failure in failures] == [200] * 25
    assert log_in(client, REMOTE_ADDR="").status_code == 302
    fail(client, 5, REMOTE_ADDR="")
    assert log_in(client, REMOTE_ADDR="").status_code == 429


# --- Where a login leads ----------------------------------------------------------------------------


def test_a_login_never_leads_to_another_site(client, user):
    fields = {"username": "someone", "password": PASSWORD, "next": "https://elsewhere.example/"}
    assert client.post(LOGIN, fields)["Location"] == "/admin/"


# --- Sessions and the site --------------------------------------------------------------------------


def test_a_session_ends_a_day_after_the_login(client, user):
    log_in(client)
    end = Session.objects.get().expire_date
    assert abs(end - timezone.now() - timedelta(days=1)) < timedelta(minutes=1)

    with mock.patch("django.utils.timezone.now", return_value=timezone.now() + timedelta(hours=20)):
        session = client.session
        session["something"] = "new"
        session.save()
        assert Session.objects.get().expire_date == end
        client.post(
            "/admin/password_change/",
            {"old_password": PASSWORD, "new_password1": "another long one", "new_password2": "another long one"},
        )
        assert Session.objects.get().expire_date == end
        assert is_in(client)
    with mock.patch("django.utils.timezone.now", return_value=end + timedelta(seconds=1)):
        assert not is_in(client)


def test_the_session_cookie_is_for_this_site_only(client, user):
    cookie = log_in(client).cookies["sessionid"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    assert 86390 <= cookie["max-age"] <= 86400


def test_the_default_site_has_this_login():
    assert isinstance(admin.site, StaffSite)
    assert admin.site.site_header == "Perma Payments"
    assert {"StaffTask", "User", "Group"} <= {model.__name__ for model in admin.site._registry}


def test_the_login_page_obeys_its_policy(client, factor):
    page = client.get(LOGIN)
    assert "default-src 'self'" in page["Content-Security-Policy"]
    soup = BeautifulSoup(page.content, "html.parser")
    assert not [script for script in soup.find_all("script") if not script.get("src")]
    assert not soup.find_all("style") and not soup.find_all(style=True)


# --- Forms that may be forged -----------------------------------------------------------------------


@pytest.fixture
def suspicious():
    """A browser at a service that looks for forgery, as it does outside of tests."""
    return Client(enforce_csrf_checks=True)


def log_in_with_token(client, **extra):
    page = client.get(LOGIN, **extra)
    token = BeautifulSoup(page.content, "html.parser").find("input", {"name": "csrfmiddlewaretoken"})["value"]
    return log_in_as_posted(client, token, **extra)


def log_in_as_posted(client, token, **extra):
    fields = {"username": "someone", "password": PASSWORD, "next": "/admin/", "csrfmiddlewaretoken": token}
    return client.post(LOGIN, fields, **extra)


@pytest.mark.parametrize(
    "host, origin",
    [
        ("perma-payments", "https://payments.example.org"),  # nginx's default Host: the name of its upstream
        ("localhost", "https://payments.example.org"),
        ("localhost:8000", "http://localhost:8000"),
    ],
)
def test_staff_log_in_whatever_host_a_proxy_passes_on(suspicious, user, settings, host, origin):
    settings.CSRF_TRUSTED_ORIGINS = ["https://payments.example.org"]
    assert log_in_with_token(suspicious, HTTP_HOST=host, HTTP_ORIGIN=origin).status_code == 302


@pytest.mark.parametrize(
    "url, origin",
    [
        ("https://Payments.Example.org", "https://payments.example.org"),
        ("https://payments.example.org:443", "https://payments.example.org"),
        ("https://localhost:8443", "https://localhost:8443"),
        ("http://localhost:80", "http://localhost"),
        ("https://[::1]:8443", "https://[::1]:8443"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(url, origin):
    assert origin_of(url) == origin


def test_the_origin_of_payments_url_is_trusted():
    settings = settings_of(**production(PAYMENTS_URL="https://Payments.example.org:8443"))
    assert settings.CSRF_TRUSTED_ORIGINS == ["https://payments.example.org:8443"]


@pytest.mark.parametrize(
    "extra, cookie, words",
    [
        ({}, True, "The page it came from was out of date"),
        ({}, False, "Your browser sent no cookie along with the form."),
        (
            {"HTTP_ORIGIN": "https://elsewhere.example"},
            True,
            "Open it at http://localhost:8000/admin/ and try again",
        ),
    ],
)
def test_a_form_that_may_be_forged_gets_a_plain_page(suspicious, user, caplog, extra, cookie, words):
    if cookie:
        suspicious.get(LOGIN)
    page = log_in_as_posted(suspicious, "x" * 64, **extra)
    assert page.status_code == 403
    assert "That form wasn't accepted Nothing was changed." in text(page)
    assert words in text(page)
    assert "developers@perma.example" in text(page)
    links = [link["href"] for link in BeautifulSoup(page.content, "html.parser").find_all("a")]
    assert "http://localhost:8000/admin/" in links
    assert page["Cache-Control"] == "no-store"
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage().startswith("Forbidden (")
    assert not is_in(suspicious)
