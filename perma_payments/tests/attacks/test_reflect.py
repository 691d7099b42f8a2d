"""Reflect: send back to us what we have made ourselves, where something of somebody else's is expected.

The attacker is a customer who has what we gave their browser (the signed form of a checkout, the address of a page
of the portal), or a member of staff with a link to set up a second factor, or somebody who recorded our replies to
Perma.cc's servers. All of it is sealed or signed with keys that serve for other things, too. They fail because
each thing says what it is for: a message has the fields of its route, a response those that CyberSource adds, and
every signature of ours has a salt of its own.
"""

from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.core import signing
from django.test import RequestFactory
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice

from perma_payments import unsent
from perma_payments.admin.login import second_factors
from perma_payments.models import Purchase, StaffTask
from perma_payments.views import tokens
from perma_payments.views.tokens import Purpose, TokenRefused

from .. import cyber_source, perma_cc
from ..conftest import FORM
from ..pages import heading
from ..parameters import in_turn
from ..records import REGISTRAR
from ..views import traces
from ..views.conftest import assert_is_page_for_a_person, valid_form
from ..views.routes import CALLBACK, MESSAGE_ROUTES, PURCHASE, PURCHASE_HISTORY, ROUTES, SUBSCRIPTION, Asker


@in_turn("route, answered", MESSAGE_ROUTES, [SUBSCRIPTION, PURCHASE_HISTORY])
def test_our_own_reply_is_no_message(refused, post, stock, route, answered):
    refused(route, urlencode(post(answered.name).json()), reason="WrongShape")


@pytest.mark.parametrize("path", [CALLBACK.path, "/return/"])
@pytest.mark.parametrize("decision", ["ACCEPT", "CANCEL"])
@pytest.mark.parametrize("is_listed", [False, True])
def test_our_own_form_is_no_response(client, stock, path, decision, is_listed):
    """With all that CyberSource would add, in its list of signed fields or behind it."""
    added = {f"req_{name}": value for name, value in stock.items()}
    added |= {"decision": decision, "message": "Request was processed successfully.", "reason_code": "100"}
    added |= {"transaction_id": "7", "auth_amount": stock["amount"], "payment_token": "7"}
    if is_listed:
        added["signed_field_names"] = ",".join([*stock["signed_field_names"].split(","), *added])
    before = traces.rows()
    answer = client.generic("POST", path, urlencode({**stock, **added}), FORM)

    assert (answer.status_code, answer.get("Location")) in [(400, None), (303, settings.PERMA_RETURN_PAGE)]
    assert traces.rows() == before


@pytest.mark.parametrize("route", MESSAGE_ROUTES, ids=str)
def test_a_response_is_no_message_and_a_message_no_response(refused, stock, route):
    refused(route, urlencode(cyber_source.response(stock)), reason="encrypted_data came 0 times")
    refused(CALLBACK, urlencode(perma_cc.form(route.name)), reason="not signed")


# What browsers send when they open a page: current ones, and older ones.
BROWSER_HEADERS = [
    {"HTTP_SEC_FETCH_MODE": "navigate", "HTTP_ACCEPT": "text/html,application/xhtml+xml,*/*;q=0.8"},
    {"HTTP_SEC_FETCH_MODE": "navigate"},
    {"HTTP_ACCEPT": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
]


@pytest.mark.parametrize("headers", BROWSER_HEADERS)
@pytest.mark.parametrize("route", [route for route in ROUTES if route.asker is Asker.SERVERS], ids=str)
@pytest.mark.parametrize("sent", [None, PURCHASE], ids=["its own message", "a purchase"])
def test_a_browser_on_a_server_route_gets_a_page_and_does_nothing(client, stock, route, headers, sent):
    before = traces.rows()
    body = urlencode(valid_form(sent or route, stock))
    response = client.generic("POST", route.path, body, FORM, **headers)

    assert response.status_code == 400
    assert heading(response) == "We couldn't read that request"
    assert_is_page_for_a_person(response)
    assert traces.rows() == before
    opened = client.get(route.path, **headers)
    assert (opened.status_code, opened["Allow"]) == (405, "POST")
    assert_is_page_for_a_person(opened)


def test_a_page_of_a_customers_asks_nothing_as_a_server_does(refused):
    """A page's message is minutes old when it is sent; a server's is not."""
    page = perma_cc.form("update", now=timezone.now() - timedelta(seconds=122))
    for route in (SUBSCRIPTION, PURCHASE_HISTORY):
        refused(route, urlencode(page), reason="Stale")


# --- Signatures of ours ---------------------------------------------------------------------------------


@pytest.fixture
def signed(db) -> dict[str, str]:
    """One of everything that we sign, by what reads it."""
    user = User.objects.create_user("jane", password="x", is_staff=True)
    request = RequestFactory().post("/admin/perma_payments/stafftask/1/finish/", {"note": "x"})
    form = unsent.unsent_of(request)
    assert form is not None
    return {
        **{purpose: tokens.begin(REGISTRAR, purpose, now=timezone.now()) for purpose in Purpose},
        "invitation": second_factors.invite(user, now=timezone.now()),
        "unsent": unsent.sign(form, request) or "",
        "password reset": default_token_generator.make_token(user),
        "a cookie": signing.get_cookie_signer(salt="messages").sign("x"),
        "dumps": signing.dumps(["Registrar", 7, "manage", 2e9, ""]),
        "the same, with no salt of ours": signing.Signer().sign_object(["Registrar", 7, "manage", 2e9, ""]),
        "a device": signing.Signer(salt="perma_payments").sign_object([TOTPDevice.objects.get().pk, user.pk, 2e9]),
    }


def test_each_signature_of_ours_is_good_for_one_thing(signed):
    for what, text in signed.items():
        for purpose in set(Purpose) - {what}:
            with pytest.raises(TokenRefused):
                tokens.read(text, purpose, now=timezone.now())
        invited = second_factors.invited(text, now=timezone.now())
        assert (invited is not None) == (what == "invitation")
        # Even one's own is bound to the browser that it was made for.
        assert unsent.read(text, RequestFactory().get("/")) is None


@pytest.mark.django_db
def test_none_of_them_opens_a_page(client, signed):
    before = (StaffTask.objects.count(), Purchase.objects.count())
    for what, text in signed.items():
        assert client.get("/admin/second-factor/", {"invitation": text}).status_code == (
            200 if what == "invitation" else 400
        )
        status = client.get("/portal/", {"token": text}).status_code
        assert status == (200 if what in (Purpose.MANAGE, Purpose.BILLING) else 400)
        client.cookies["sessionid"] = text
        assert client.get("/admin/")["Location"].startswith("/admin/login/")
    assert before == (StaffTask.objects.count(), Purchase.objects.count())
