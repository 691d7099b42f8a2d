"""Staff who have forgotten their password get a link by email; nobody learns who has an account."""

import re
from datetime import timedelta

import pytest
from bs4 import BeautifulSoup
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from perma_payments.admin.login import second_factors
from perma_payments.admin.login.password_reset import send_links
from perma_payments.management import jobs
from perma_payments.models import PasswordResetRequest

from ...pages import words
from .test_login import wrong_code

pytestmark = pytest.mark.django_db

RESET = "/admin/password_reset/"
ADDRESS = "jane@perma.example"
NEW = {"new_password1": "another long enough one", "new_password2": "another long enough one"}


@pytest.fixture
def user():
    return User.objects.create_user("jane", email=ADDRESS, password="a forgotten password", is_staff=True)


def ask(client, email=ADDRESS):
    return client.post(RESET, {"email": email}, follow=True)


def link_in(mailbox):
    (mail,) = mailbox.mails
    (link,) = re.findall(r"http://localhost:8000(/admin/\S+)", mail.get_content())
    return link


def follow(client, link):
    """Open a link; return the page, and the address that it led to."""
    page = client.get(link, follow=True)
    return page, page.request["PATH_INFO"]


def test_a_link_by_email_sets_a_new_password(client, user, mailbox):
    assert RESET.encode() in client.get("/admin/login/").content
    ask(client)
    assert send_links(now=timezone.now())
    page, address = follow(client, link_in(mailbox))
    assert "Please enter your new password twice" in words(page)

    page = client.post(address, NEW, follow=True)
    assert "Your password has been set." in words(page)
    links = [link["href"] for link in BeautifulSoup(page.content, "html.parser").select("#content a")]
    assert links == ["/admin/login/"]
    fields = {"username": "jane", "password": NEW["new_password1"], "next": "/admin/"}
    assert client.post("/admin/login/", fields)["Location"] == "/admin/"


def test_the_mail_goes_to_the_address_on_record_and_names_nobody(client, user, mailbox):
    User.objects.update(username="nobody-else")  # with a hyphen, as no part of the link has one
    ask(client, "JANE@perma.example")
    send_links(now=timezone.now())
    (mail,) = mailbox.mails
    assert mail["X-Rcpt"] == ADDRESS
    assert "It works once, for 2 hours" in mail.get_content()
    assert "nobody-else" not in mail.get_content() and ADDRESS not in mail.get_content()


@pytest.mark.parametrize("change", [{"is_staff": False}, {"is_active": False}])
def test_only_active_staff_get_a_link(client, user, change):
    User.objects.update(**change)
    ask(client)
    assert not PasswordResetRequest.objects.exists()


def test_a_new_password_does_not_replace_the_second_factor(client, user, mailbox, settings):
    settings.REQUIRE_SECOND_FACTOR = True
    factor = second_factors.add(user)
    ask(client)
    send_links(now=timezone.now())
    _, address = follow(client, link_in(mailbox))
    client.post(address, NEW)
    assert client.get("/admin/").status_code == 302

    fields = {"username": "jane", "password": NEW["new_password1"], "next": "/admin/"}
    assert client.post("/admin/login/", {**fields, "code": wrong_code(user)}).status_code == 200
    assert client.post("/admin/login/", {**fields, "code": factor.recovery_codes[0]}).status_code == 302


def test_a_new_password_ends_other_logins(client, user, mailbox):
    other = Client()
    other.force_login(user)
    ask(client)
    send_links(now=timezone.now())
    _, address = follow(client, link_in(mailbox))
    client.post(address, NEW)
    assert other.get("/admin/").status_code == 302


def test_a_link_works_once(client, user, mailbox):
    ask(client)
    send_links(now=timezone.now())
    link = link_in(mailbox)
    _, address = follow(client, link)
    client.post(address, NEW)
    assert "The password reset link was invalid" in words(follow(Client(), link)[0])


def test_a_weak_password_is_refused(client, user, mailbox):
    ask(client)
    send_links(now=timezone.now())
    _, address = follow(client, link_in(mailbox))
    page = client.post(address, {"new_password1": "short", "new_password2": "short"})
    assert "at least 12 characters" in words(page)


def test_asking_is_limited(client, user):
    for _ in range(5):
        assert ask(client).status_code == 200
    page = ask(client)
    assert (page.status_code, page["Retry-After"]) == (429, "900")
    assert "Too many attempts. Please wait 15 minutes" in words(page)


# --- The mail ---------------------------------------------------------------------------------------


def test_a_link_that_was_asked_for_twice_is_mailed_once(client, user, mailbox):
    ask(client)
    ask(client)
    assert jobs.send_mails(now=timezone.now())
    assert jobs.send_mails(now=timezone.now())
    assert len([mail for mail in mailbox.mails if "Set a new password" in mail["Subject"]]) == 1
    assert not PasswordResetRequest.objects.exists()


def test_a_link_is_mailed_once_the_mail_server_is_back(client, user, settings, mailbox):
    ask(client)
    port, settings.EMAIL_PORT = settings.EMAIL_PORT, 1
    assert not send_links(now=timezone.now())
    settings.EMAIL_PORT = port
    assert send_links(now=timezone.now())
    assert link_in(mailbox)


def test_a_link_that_may_have_arrived_is_not_mailed_again(client, user, mailbox):
    mailbox.breaks_at = "Set a new password"
    ask(client)
    assert not send_links(now=timezone.now())
    assert not PasswordResetRequest.objects.exists()


def test_an_address_that_is_refused_stops_no_other(client, user, mailbox):
    User.objects.create_user("other", email="other@perma.example", password="another password", is_staff=True)
    mailbox.refused[ADDRESS] = 550
    ask(client)
    ask(client, "other@perma.example")
    assert send_links(now=timezone.now())
    assert [mail["X-Rcpt"] for mail in mailbox.mails] == ["other@perma.example"]
    assert not PasswordResetRequest.objects.exists()


def test_a_link_that_could_not_be_mailed_for_an_hour_is_given_up(client, user, mailbox):
    ask(client)
    later = timezone.now() + timedelta(hours=1)
    assert send_links(now=later)
    assert mailbox.mails == []
    jobs.purge_expired(now=later)
    assert not PasswordResetRequest.objects.exists()


def test_neither_link_nor_address_is_logged(client, user, mailbox, caplog):
    caplog.set_level("INFO")
    ask(client)
    send_links(now=timezone.now())
    follow(client, link_in(mailbox))
    assert f"user {user.pk} was mailed a link" in caplog.text
    assert ADDRESS not in caplog.text and link_in(mailbox) not in caplog.text
