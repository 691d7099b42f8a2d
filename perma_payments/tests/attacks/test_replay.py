"""Replay: send again what was valid once, to get something twice, or to undo what happened since.

The attacker is a customer, or somebody who got hold of a customer's page, its address, or a recorded request: with
the Back button, from a shared computer, or from a proxy's log. They want a second subscription for one payment,
links credited twice, or an old cancellation to count again. They fail because a message, a token and a response
each count once, and a message for a day at most. What is answered a second time changes nothing.

What the contract leaves open: five routes take messages of the same fields, so within a day somebody who has a
customer's page can carry its message from one to another of these. That page has the buttons of all of them.
"""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from perma_payments.billing.transactions import Kind
from perma_payments.models import OutgoingTransaction, Purchase, Response, SubscriptionAgreement

from .. import cyber_source, perma_cc, records
from ..conftest import FORM
from ..pages import checkout_form, heading
from ..parameters import in_turn
from ..views import traces
from ..views.routes import (
    ACKNOWLEDGE_PURCHASE,
    BROWSER_ROUTES,
    CALLBACK,
    CHANGE,
    MESSAGE_ROUTES,
    PURCHASE,
    SUBSCRIBE,
    UPDATE,
)
from ..views.test_portal import ACTIONS, act, agreement, cancel, found, press, see, token  # noqa: F401

pytestmark = pytest.mark.django_db

DAY = timedelta(hours=24)


def send(client, route, body: str):
    return client.generic("POST", route.path, body, FORM)


def message(route, **changes) -> str:
    return urlencode(perma_cc.form(route.name, **changes))


# --- Messages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", [SUBSCRIBE, PURCHASE, CHANGE, UPDATE], ids=str)
def test_a_message_begins_one_checkout_however_often_it_is_sent(client, route):
    if route in (CHANGE, UPDATE):
        records.standing_agreement()
    body = message(route)
    forms = [checkout_form(send(client, route, body)) for _ in range(8)]

    assert len({form["transaction_uuid"] for form in forms}) == OutgoingTransaction.objects.count() == 1
    send(client, CALLBACK, urlencode(cyber_source.response(forms[0])))
    before = traces.rows()
    for _ in range(2):
        response = send(client, route, body)
        assert route is SUBSCRIBE or (response.status_code, heading(response)) == (400, "This page has expired")
        assert not response.content.count(b"signed_field_names")
    assert traces.rows() == before


@pytest.mark.parametrize("route", BROWSER_ROUTES, ids=str)
def test_a_page_from_the_day_before_begins_nothing(refused, route):
    yesterday = datetime.now(UTC) - DAY - timedelta(seconds=2)
    assert heading(refused(route, message(route, now=yesterday), reason="Stale")) == "This page has expired"


OTHER_FIELDS = [
    (route, other)
    for route in MESSAGE_ROUTES
    for other in MESSAGE_ROUTES
    if perma_cc.fields(route.name).keys() != perma_cc.fields(other.name).keys()
    and {route, other} != {SUBSCRIBE, CHANGE}
]


@pytest.mark.parametrize("route, other", OTHER_FIELDS, ids=str)
def test_a_message_for_one_route_is_refused_at_another(refused, route, other):
    refused(other, message(route), reason="WrongShape")


@pytest.mark.django_db(transaction=True)
def test_an_acknowledgement_counts_once(client):
    purchase = records.paid_purchase()
    body = message(ACKNOWLEDGE_PURCHASE, purchase_pk=purchase.pk)
    assert send(client, ACKNOWLEDGE_PURCHASE, body).status_code == 200
    at = Purchase.objects.get().acknowledged_at

    for again in (body, message(ACKNOWLEDGE_PURCHASE, purchase_pk=purchase.pk)):
        assert send(client, ACKNOWLEDGE_PURCHASE, again).status_code == 400
    assert Purchase.objects.get().acknowledged_at == at


# --- Responses ----------------------------------------------------------------------------------------


@in_turn("first, second", [CALLBACK.path, "/return/"], [CALLBACK.path, "/return/", "/return/", CALLBACK.path])
@pytest.mark.parametrize("changes", [{}, {"req_transaction_uuid": "0b8e6d3a-5c4e-4f0d-9a51-6f1f0c3e7d21"}])
def test_a_response_counts_once_wherever_it_is_delivered(client, stock, first, second, changes):
    fields = cyber_source.response(stock, **changes)
    client.generic("POST", first, urlencode(fields), FORM)
    assert Response.objects.count() == 1
    before = traces.rows()

    for _ in range(7):
        client.generic("POST", second, urlencode(fields), FORM)
        client.generic("POST", second, urlencode({**fields, "utf8": "✓", "merchant_id": "x"}), FORM)
    assert traces.rows() == before


@pytest.mark.parametrize("late", ["CANCEL", "DECLINE"])
@pytest.mark.parametrize("path", [CALLBACK.path, "/return/"])
def test_an_older_end_of_a_checkout_takes_nothing_from_who_has_paid(client, stock, late, path):
    old = cyber_source.response(stock, late, signed_date_time="2026-11-01T12:00:00Z")
    client.generic("POST", CALLBACK.path, urlencode(old), FORM)
    client.generic("POST", CALLBACK.path, urlencode(cyber_source.response(stock)), FORM)
    before = traces.rows()

    client.generic("POST", path, urlencode(old), FORM)
    assert traces.rows() == before
    assert SubscriptionAgreement.objects.get(customer_type="Registrar").status == "Current"


def test_the_payment_of_a_subscription_that_has_ended_does_not_bring_it_back(client, stock):
    paid = urlencode(cyber_source.response(stock))
    client.generic("POST", CALLBACK.path, paid, FORM)
    SubscriptionAgreement.objects.filter(customer_type="Registrar").update(status="Canceled")
    before = traces.rows()

    client.generic("POST", CALLBACK.path, paid, FORM)
    client.generic("POST", "/return/", paid, FORM)
    assert traces.rows() == before


def test_the_token_of_an_older_update_does_not_come_back(client):
    standing = records.standing_agreement()
    older, newer = (records.form(records.outgoing(Kind.UPDATE, standing)) for _ in range(2))
    responses = [cyber_source.response(form, payment_token=pan) for form, pan in ((older, "111"), (newer, "222"))]
    for fields in [*responses, responses[0]]:
        client.generic("POST", CALLBACK.path, urlencode(fields), FORM)

    standing.refresh_from_db()
    assert standing.payment_token == "222"


# --- Buttons of the portal ----------------------------------------------------------------------------


@pytest.fixture
def page(settings):
    settings.UPDATE_LEADS_TO = "page"


def test_a_replayed_cancellation_does_not_cancel_what_was_kept_since(client, page, agreement):
    confirm = client.get(str(found(see(client), "a.cancel")["href"]))
    kept = client.get(press(client, confirm, "form.cancel")["Location"])
    press(client, kept, "form.keep")
    before = traces.rows()

    again = client.get(press(client, confirm, "form.cancel")["Location"])
    assert found(again, "#subscription")["data-status"] == "Current"
    assert traces.rows() == before


def test_a_replayed_taking_back_does_not_undo_a_later_cancellation(client, page, agreement):
    canceled = cancel(client)
    press(client, canceled, "form.keep")
    cancel(client)
    before = traces.rows()

    again = client.get(press(client, canceled, "form.keep")["Location"])
    assert found(again, "#subscription")["data-status"] == "Cancellation Requested"
    assert traces.rows() == before
