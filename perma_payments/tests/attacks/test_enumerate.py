"""Enumerate: find out from an answer whether something exists.

The attacker is a stranger with a list of names, addresses, ids or reference numbers; or a customer or a member of
staff who may see less than everything. They want to know who has an account, who is a customer, or what was paid.
They fail because the status, the text and so the length of an answer are the same whether it exists or not. (How
long an answer takes is not looked at here: the sealed, the signed and the password are checked before anything is
looked up, and Django hashes a password for unknown accounts, too.)
"""

import re
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.http import HttpResponse
from django.test import Client
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from perma_payments.admin.login import groups, second_factors
from perma_payments.billing.transactions import Kind

from .. import cyber_source, records
from ..admin.login.test_login import wrong_code
from ..admin.test_permissions import everything, log_in  # noqa: F401 (a fixture)
from ..conftest import FORM
from ..records import INDIVIDUAL, REGISTRAR
from ..views.routes import CALLBACK
from ..views.test_bad_callbacks import STRANGER
from ..views.test_portal import PAGES, see, token
from .addresses import of_the_admin
from .test_escalate import client  # noqa: F401 (a fixture)
from .test_peek import OPEN, accounts  # noqa: F401 (a fixture)

pytestmark = pytest.mark.django_db

PASSWORD = "a long enough password"
LOGIN, RESET = "/admin/login/", "/admin/password_reset/"


def answer(response: HttpResponse, *typed: str) -> Any:
    """What there is to see, without what was typed, ids in addresses, and signatures, which are always new."""
    text = response.getvalue().decode() if hasattr(response, "getvalue") else response.content.decode()
    headers = [response.get(name, "") for name in ("Location", "Retry-After", "Cache-Control", "Allow")]
    text = "\n".join([*headers, text])
    text = re.sub(r'(name="(?:csrfmiddlewaretoken|unsent)" value=|token=)"?[\w:%.-]+', "", text)
    for each in typed:
        text = text.replace(quote(each), "…").replace(each, "…")
    return response.status_code, re.sub(r"/[0-9]+/", "/…/", text)


# --- Accounts -------------------------------------------------------------------------------------------


@pytest.fixture
def jane() -> User:
    return User.objects.create_user("jane", email="jane@perma.example", password=PASSWORD, is_staff=True)


def tried(username: str, password: str, **fields: str) -> Any:
    fields = {"username": username, "password": password, "next": "/admin/", **fields}
    return answer(Client().post(LOGIN, fields), username)


@pytest.mark.parametrize("change", [{}, {"is_staff": False}, {"is_active": False}])
@pytest.mark.parametrize("is_required", [False, True])
def test_a_login_that_fails_does_not_say_why(jane, settings, change, is_required):
    settings.REQUIRE_SECOND_FACTOR = is_required
    second_factors.add(jane)
    User.objects.update(**change)
    code = {"code": wrong_code(jane)} if is_required else {}
    answers = [tried("jane", "wrong", **code), tried("nobody", "wrong", **code), tried("nobody", PASSWORD, **code)]
    if change or is_required:
        answers.append(tried("jane", PASSWORD, **code))

    assert all(each == answers[0] for each in answers)


def test_an_account_is_locked_whether_or_not_there_is_one(jane):
    answers = [[tried(name, "wrong") for _ in range(6)] for name in ("jane", "nobody")]

    assert answers[0] == answers[1]
    assert answers[0][-1][0] == 429


@pytest.mark.parametrize("change", [{}, {"is_staff": False}, {"is_active": False}])
def test_asking_for_a_new_password_does_not_say_whether_there_is_an_account(client, jane, change):
    User.objects.update(**change)
    addresses = ("jane@perma.example", "nobody@perma.example")
    answers = [answer(client.post(RESET, {"email": each}, follow=True), each) for each in addresses]

    assert answers[0] == answers[1]
    assert "if an account exists" in answers[0][1]


def test_a_link_that_does_not_work_does_not_say_whose_it_might_be(client, jane):
    other = User.objects.create_user("other", password=PASSWORD, is_staff=True)
    ids = [urlsafe_base64_encode(force_bytes(pk)) for pk in (jane.pk, 10**6)]
    for wrong in ("x-y", default_token_generator.make_token(other)):
        answers = [answer(client.get(f"{RESET}{each}/{wrong}/", follow=True), each) for each in ids]
        assert answers[0] == answers[1]


# --- Customers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [CALLBACK.path, "/return/"])
@pytest.mark.parametrize("name", ["req_transaction_uuid", "req_reference_number"])
def test_a_forged_response_does_not_say_whether_there_is_such_a_checkout(client, stock, path, name):
    known = {**cyber_source.response(stock), "signature": "A" * 43 + "="}
    other = {**known, name: {"req_transaction_uuid": STRANGER, "req_reference_number": "PERMA-9999-9999"}[name]}
    answers = [answer(client.post(path, urlencode(fields), content_type=FORM)) for fields in (known, other)]

    assert answers[0] == answers[1]


def test_a_receipt_does_not_say_whether_somebody_else_has_paid(client, call_back):
    outgoing = records.outgoing(Kind.PURCHASE, records.purchase(INDIVIDUAL))
    call_back(records.form(outgoing))
    wanted = [str(outgoing.transaction_uuid), STRANGER, "x"]
    answers = [answer(see(client, token(customer=REGISTRAR), "receipt/", payment=each)) for each in wanted]

    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0] == 404


@pytest.mark.parametrize("page", PAGES)
def test_a_forged_address_of_the_portal_does_not_say_who_is_a_customer(client, page):
    records.standing_agreement(REGISTRAR)
    forged = [token(customer=customer).rpartition(":")[0] + ":forged" for customer in (REGISTRAR, INDIVIDUAL)]
    answers = [answer(see(client, each, page)) for each in forged]

    assert answers[0] == answers[1]
    assert answers[0][0] == 400


# --- Rows of the admin ----------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["a stranger", "not staff", "without a group"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_those_who_may_not_see_a_row_are_not_told_whether_there_is_one(client, accounts, who, method):
    if who != "a stranger":
        log_in(client, None if who == "without a group" else groups.BILLING_STAFF, is_staff=who != "not staff")
    pairs = list(zip(of_the_admin(), of_the_admin(of_rows=False), strict=True))
    told = {}
    for known, unknown in pairs:
        if known.path != unknown.path:
            ask = getattr(client, method)
            answers = [answer(ask(each.path, {"note": "x"}), each.path) for each in (known, unknown)]
            if answers[0] != answers[1]:
                told[known.name] = answers

    assert len([None for known, unknown in pairs if known.path != unknown.path]) > 40
    assert told == {}
