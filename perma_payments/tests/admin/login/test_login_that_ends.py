"""A login that ends, or a page that is out of date, costs nobody what they typed."""

import secrets

import pytest
from bs4 import BeautifulSoup
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import clear_script_prefix, set_script_prefix
from django.utils import timezone

from perma_payments.models import StaffTask

from ... import records
from ...pages import heading, words

pytestmark = pytest.mark.django_db

LOGIN = "/admin/login/"
LIST = "/admin/perma_payments/stafftask/"
PASSWORD = "a long enough password"
NOTE = "Canceled in the Business Center.\nThe customer <called> twice."
OURS = {"HTTP_ORIGIN": "http://testserver"}


@pytest.fixture
def user():
    user = User.objects.create_user("jane", password=PASSWORD, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__endswith="_stafftask"))
    return user


@pytest.fixture
def task():
    agreement = records.standing_agreement(cancellation_requested_at=timezone.now())
    return StaffTask.objects.create(kind="cancellation", agreement=agreement)


@pytest.fixture
def browser():
    """A browser at a service that looks for forgery, as it does outside of tests."""
    return Client(enforce_csrf_checks=True)


def fields_of(page, action):
    """The fields of a page's form, as the browser would send them."""
    (form,) = BeautifulSoup(page.content, "html.parser").select(f'form[action^="{action}"]')
    return {field["name"]: field.get("value", "") for field in form.find_all("input", {"name": True})}


def send(browser, task, note=NOTE):
    """Press "Mark as done" on a page that was opened while logged in."""
    browser.get(LOGIN)
    token = browser.cookies["csrftoken"].value
    fields = {"note": note, "csrfmiddlewaretoken": token}
    return browser.post(f"{LIST}{task.pk}/finish/", fields, **OURS)


def log_in(browser, page, **changes):
    """Fill in the login form of a page."""
    fields = {**fields_of(page, LOGIN), "username": "jane", "password": PASSWORD, **changes}
    return browser.post(LOGIN, fields)


def test_a_note_survives_logging_in_again(browser, user, task):
    page = send(browser, task)
    assert "Your login has ended, so nothing was changed. What you typed is kept" in words(page)
    assert "no-store" in page["Cache-Control"]

    page = log_in(browser, page)
    assert heading_of(page) == "Send it now?"
    assert f"It is about: {task} Note Canceled" in words(page)
    assert "Canceled in the Business Center. The customer <called> twice." in words(page)
    assert "no-store" in page["Cache-Control"]
    task.refresh_from_db()
    assert task.done_at is None

    path = f"{LIST}{task.pk}/finish/"
    assert browser.post(path, fields_of(page, path))["Location"] == f"{LIST}{task.pk}/change/"
    task.refresh_from_db()
    assert (task.note, task.done_by) == (NOTE, user)


def heading_of(page):
    return BeautifulSoup(page.content, "html.parser").find("div", id="content").h1.get_text()


def test_a_note_survives_a_wrong_password(browser, user, task):
    page = log_in(browser, send(browser, task), password="wrong")
    assert "What you typed is kept" in words(page)
    assert "The customer <called> twice." in words(log_in(browser, page))


def test_what_it_is_about_is_told_only_to_those_who_may_see_it(browser, user, task):
    page = send(browser, task)
    user.user_permissions.clear()
    assert task.agreement.reference_number not in words(log_in(browser, page))


def test_the_form_of_a_row_that_is_gone_is_still_offered(browser, user, task):
    task.pk = 999999
    assert "The customer <called> twice." in words(log_in(browser, send(browser, task)))


@pytest.fixture
def prefix(browser):
    """The service is below a prefix that a proxy adds, as a web server tells it."""
    browser.defaults["SCRIPT_NAME"] = "/payments"
    set_script_prefix("/payments/")
    yield
    clear_script_prefix()


def test_a_note_survives_below_a_prefix_too(browser, user, task, prefix):
    browser.get(LOGIN)
    fields = {"note": NOTE, "csrfmiddlewaretoken": browser.cookies["csrftoken"].value}
    page = browser.post(f"{LIST}{task.pk}/finish/", fields)
    fields = {**fields_of(page, f"/payments{LOGIN}"), "username": "jane", "password": PASSWORD}
    page = browser.post(LOGIN, fields)
    assert "The customer <called> twice." in words(page)
    assert fields_of(page, f"/payments{LIST}{task.pk}/finish/")["note"] == NOTE


def test_a_form_that_someone_else_kept_is_not_shown(browser, user, task):
    theirs = fields_of(send(Client(enforce_csrf_checks=True), task), LOGIN)["unsent"]
    page = log_in(browser, browser.get(LOGIN), unsent=theirs)
    assert page["Location"] == "/admin/"


def test_a_form_that_was_tampered_with_is_not_shown(browser, user, task):
    page = send(browser, task)
    kept = fields_of(page, LOGIN)["unsent"]
    assert log_in(browser, page, unsent="x" + kept)["Location"] == f"{LIST}{task.pk}/finish/"


def test_without_a_form_the_login_leads_to_the_page_that_the_address_belongs_to(browser, user, task):
    page = browser.get(f"{LIST}{task.pk}/finish/", follow=True)
    assert browser.get(log_in(browser, page)["Location"])["Location"] == f"{LIST}{task.pk}/change/"


def test_a_note_that_is_too_long_to_carry_is_not_promised(browser, user, task):
    page = send(browser, task, secrets.token_hex(100_000))
    assert "unsent" not in fields_of(page, LOGIN)
    assert "Log in, then try again." in words(page)


def test_a_file_has_to_be_chosen_again(browser, user):
    browser.get(LOGIN)
    path = "/admin/perma_payments/statusreport/upload/"
    file = SimpleUploadedFile("list.csv", b"x")
    page = browser.post(path, {"report": file, "csrfmiddlewaretoken": browser.cookies["csrftoken"].value})
    assert "Log in, then choose the file again." in words(page)
    assert log_in(browser, page)["Location"] == path


def test_passwords_are_not_carried(browser, user):
    browser.get(LOGIN)
    fields = {"old_password": "secret", "csrfmiddlewaretoken": browser.cookies["csrftoken"].value}
    page = browser.post("/admin/password_change/", fields)
    assert "unsent" not in fields_of(page, LOGIN)


def test_a_note_survives_a_login_in_another_tab(browser, user, task):
    browser.get(LOGIN)
    before = browser.cookies["csrftoken"].value
    log_in(browser, browser.get(LOGIN))
    path = f"{LIST}{task.pk}/finish/"

    page = browser.post(path, {"note": NOTE, "csrfmiddlewaretoken": before}, **OURS)
    assert (page.status_code, heading(page)) == (403, "That form wasn't accepted")
    assert browser.post(path, fields_of(page, path), **OURS).status_code == 302
    task.refresh_from_db()
    assert (task.note, task.done_by) == (NOTE, user)


@pytest.mark.parametrize("extra", [{}, {"HTTP_ORIGIN": "https://elsewhere.example"}])
def test_a_form_from_elsewhere_is_not_offered_again(browser, user, task, extra):
    log_in(browser, browser.get(LOGIN))
    page = browser.post(f"{LIST}{task.pk}/finish/", {"note": NOTE}, **extra)
    assert page.status_code == 403
    assert "called" not in words(page) and "<form" not in page.content.decode()


def test_what_was_typed_is_not_logged(browser, user, task, caplog):
    log_in(browser, send(browser, task))
    assert "called" not in caplog.text


# --- Pages for what staff cannot see ----------------------------------------------------------------


@pytest.mark.parametrize(
    "path, status, title",
    [("auth/user/", 403, "You don't have access to this page"), ("no/such/page/", 404, "Page not found")],
)
def test_a_refusal_is_a_page_that_leads_back_to_the_staff_pages(client, user, path, status, title):
    client.force_login(user)
    page = client.get(f"/admin/{path}")
    assert (page.status_code, heading_of(page)) == (status, title)
    assert page_links(page) >= {"/admin/"}
    assert "Perma.cc settings" not in words(page)


def page_links(page):
    return {link["href"] for link in BeautifulSoup(page.content, "html.parser").find_all("a", href=True)}


def test_a_method_that_makes_no_sense_gets_a_page_too(client, user, task):
    client.force_login(user)
    page = client.put(f"{LIST}{task.pk}/finish/")
    assert (page.status_code, page["Allow"]) == (405, "POST")
    assert heading_of(page) == "Page not found"


def test_someone_who_is_not_staff_is_told_so(client):
    client.force_login(User.objects.create_user("visitor"))
    page = client.get("/admin/")
    assert page.status_code == 403
    assert "You are logged in as visitor, which isn't a staff account." in words(page)
    assert LOGIN in page_links(page)


# --- The login page ---------------------------------------------------------------------------------


def test_after_a_wrong_password_the_next_thing_to_type_is_the_password(client, user):
    def focused(page):
        return [field["name"] for field in BeautifulSoup(page.content, "html.parser").select("[autofocus]")]

    assert focused(client.get(LOGIN)) == ["username"]
    assert focused(client.post(LOGIN, {"username": "jane", "password": "wrong"})) == ["password"]
