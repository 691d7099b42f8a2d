"""``/return/``: the customer's browser brings CyberSource's response, and goes on to Perma.cc."""

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.db import OperationalError, connection
from django.test import Client

from perma_payments.billing.transactions import Kind
from perma_payments.models import Response, SubscriptionAgreement
from perma_payments.perma.returns import Ending, address
from perma_payments.services.callbacks import apply

from .. import cyber_source, records
from ..conftest import FORM
from . import traces
from .conftest import assert_is_page_for_a_person
from .traces import MARKER

RETURN, CALLBACK = "/return/", "/cybersource-callback/"
PAGE = "http://localhost:8001/settings/usage-plan/"


def bring(client, fields, path=RETURN, **extra):
    """POST a response as CyberSource's page lets the browser do; the unsigned field is as observed."""
    body = urlencode({**fields, "utf8": "✓"})
    return client.generic("POST", path, body, FORM, **extra)


def landed(answer):
    """The query with which the customer arrives at Perma.cc's page."""
    assert answer.status_code == 303
    assert answer["Cache-Control"] == "no-store"
    assert answer.content == b""
    assert not answer.cookies
    assert "Cookie" not in answer.get("Vary", "")
    assert answer["Location"].startswith(PAGE)
    return answer["Location"].removeprefix(PAGE)


@pytest.fixture
def form(db):
    """The signed form of a checkout to subscribe."""
    return records.form(records.outgoing(Kind.SUBSCRIBE))


# --- What the customer is told ----------------------------------------------------------------------


KINDS = [Kind.SUBSCRIBE, Kind.PURCHASE, Kind.CHANGE, Kind.UPDATE]
TOLD = {
    "ACCEPT": ["?subscription=success", "?purchase=success", "?change=success", "?update=success"],
    # Granted, until a person has looked; but a card that is to be replaced is not.
    "REVIEW": ["?subscription=success", "?purchase=success", "?change=success", ""],
    "CANCEL": ["?subscription=canceled", "?purchase=canceled", "", ""],
    "DECLINE": ["", "", "", ""],
    "ERROR": ["", "", "", ""],
    "PENDING": ["", "", "", ""],
}


@pytest.mark.parametrize(
    ("decision", "kind", "query"),
    [(decision, kind, query) for decision, told in TOLD.items() for kind, query in zip(KINDS, told, strict=True)],
)
@pytest.mark.parametrize("first", ["the browser", "the server"])
def test_the_customer_lands_with_what_is_true(client, db, decision, kind, query, first):
    fields = cyber_source.response(records.form(records.outgoing(kind)), decision)
    if first == "the server":
        assert bring(client, fields, CALLBACK).status_code == 200
    assert landed(bring(client, fields)) == query
    if first == "the browser":
        assert bring(client, fields, CALLBACK).status_code == 200
    assert Response.objects.count() == 1


@pytest.mark.parametrize(
    ("change_kind", "decision", "query"),
    [
        ("upgrade", "ACCEPT", "?change=success"),
        ("downgrade", "ACCEPT", "?change=success"),
        ("taking back", "ACCEPT", "?change=canceled"),
        ("taking back", "DECLINE", ""),
        ("taking back", "CANCEL", ""),
    ],
)
def test_a_change_that_was_taken_back_is_called_that(client, db, change_kind, decision, query):
    outgoing = records.outgoing(Kind.CHANGE, change_kind=change_kind)

    assert landed(bring(client, cyber_source.response(records.form(outgoing), decision))) == query


def test_a_response_that_only_the_browser_brings_is_applied(client, form):
    assert landed(bring(client, cyber_source.response(form))) == "?subscription=success"

    response = Response.objects.get()
    assert (response.decision, response.outcome) == ("ACCEPT", "took effect")
    assert SubscriptionAgreement.objects.get().status == "Current"


def test_browser_and_server_bring_the_same_response(client, form):
    server = cyber_source.response(form, card_type_name="Visa", unsigned={"merchant_id": "perma"})
    browser = cyber_source.response(
        form,
        transaction_id=server["transaction_id"],
        payment_token=server["payment_token"],
        signed_date_time="2026-11-25T12:00:01Z",
    )
    assert server["signature"] != browser["signature"]
    assert bring(client, server, CALLBACK).status_code == 200
    before = traces.rows()

    assert landed(bring(client, browser)) == "?subscription=success"
    assert traces.rows() == before


@pytest.mark.django_db(transaction=True)
def test_browser_and_server_at_once_are_one_response(client):
    fields = cyber_source.response(records.form(records.outgoing(Kind.SUBSCRIBE)))

    def deliver(path):
        try:
            return bring(Client(), fields, path)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(deliver, [RETURN, CALLBACK] * 4))
    assert {landed(answer) for answer in answers[::2]} == {"?subscription=success"}
    assert {answer.status_code for answer in answers[1::2]} == {200}
    assert Response.objects.count() == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"reason_code": "110", "auth_amount": "6.00"},  # a part
        {"req_amount": "1.00"},  # not what was signed
        {"req_reference_number": "PERMA-0000-0000"},
        {"req_bill_to_address_line1": "x,decision=CANCEL"},  # ambiguous
        {"req_transaction_uuid": "0b8e6d3a-5c4e-4f0d-9a51-6f1f0c3e7d21"},  # of no transaction of ours
        {"req_transaction_uuid": "x"},
    ],
)
def test_what_took_no_effect_is_not_a_success(client, form, changes):
    assert landed(bring(client, cyber_source.response(form, **changes))) == ""
    assert Response.objects.count() == 1


def test_a_second_charge_is_not_a_success(client, form):
    bring(client, cyber_source.response(form))

    assert landed(bring(client, cyber_source.response(form))) == ""
    assert Response.objects.count() == 2


@pytest.mark.parametrize(
    ("before", "changes", "query"),
    [
        ("DECLINE", {}, "?subscription=canceled"),
        ("ERROR", {"reason_code": "150"}, ""),  # the charge may exist
        ("ACCEPT", {"reason_code": "110", "auth_amount": "6.00"}, ""),
        ("ACCEPT", {}, ""),
        ("REVIEW", {}, ""),
    ],
)
def test_not_charged_is_said_only_if_it_is_certain(client, form, before, changes, query):
    bring(client, cyber_source.response(form, before, **changes), CALLBACK)

    assert landed(bring(client, cyber_source.response(form, "CANCEL"))) == query


def test_a_cancel_says_nothing_more_once_the_checkout_was_paid(client, form):
    cancel = cyber_source.response(form, "CANCEL")
    assert landed(bring(client, cancel)) == "?subscription=canceled"
    bring(client, cyber_source.response(form), CALLBACK)

    assert landed(bring(client, cancel)) == ""


def test_the_address_has_a_parameter_only_if_there_is_a_message():
    told = {(kind, ending): address("https://perma.cc/x/", kind, ending) for kind in Kind for ending in Ending}

    assert told[Kind.CHANGE, Ending.SUCCESS] == "https://perma.cc/x/?change=success"
    # That one would say that a scheduled downgrade was taken back.
    assert told[Kind.CHANGE, Ending.CANCELED] == "https://perma.cc/x/"
    assert told[Kind.UPDATE, Ending.CANCELED] == "https://perma.cc/x/"


@pytest.mark.parametrize("query", ["", "?next=https://evil.example/", "?subscription=success"])
def test_it_leads_to_perma_cc_and_nowhere_else(client, form, settings, query):
    settings.PERMA_RETURN_PAGE = "https://perma.cc/settings/usage-plan/"
    extra = {"HTTP_REFERER": "https://evil.example/", "HTTP_X_FORWARDED_HOST": "evil.example"}
    answer = bring(client, cyber_source.response(form), f"{RETURN}{query}", **extra)

    assert answer["Location"] == "https://perma.cc/settings/usage-plan/?subscription=success"


# --- What is not believed ---------------------------------------------------------------------------


@pytest.fixture
def sent_on(client, stock, caplog):
    """POST something that must not be believed: it leads to the bare page, and leaves only one line in the log."""

    def sent_on(body, content_type=FORM, **extra):
        before = traces.rows()
        caplog.clear()
        assert landed(client.generic("POST", RETURN, body, content_type, **extra)) == ""
        assert traces.rows() == before
        (said,) = traces.reasons(caplog)
        assert said.startswith("/return/: refused: ")
        assert MARKER not in traces.log(caplog)
        return said

    return sent_on


@pytest.mark.parametrize(
    "body", [b"", b"&", b"\x00", b"\xff\xfe", MARKER.encode(), b"decision=ACCEPT", b"x" * 300_000], ids=len
)
def test_garbage_is_not_believed(sent_on, body):
    sent_on(body)


def test_a_repeated_key_is_not_believed(sent_on, stock):
    fields = cyber_source.response(stock)
    sent_on(urlencode([*fields.items(), ("decision", fields["decision"])]))


@pytest.mark.parametrize("content_type", ["", "application/json", "multipart/form-data; boundary=x", "text/plain"])
def test_other_content_types_are_not_believed(sent_on, stock, content_type):
    sent_on(urlencode(cyber_source.response(stock)), content_type)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_opening_the_address_leads_to_perma_cc(client, stock, method):
    before = traces.rows()
    fields = urlencode(cyber_source.response(stock))

    assert landed(client.generic(method, RETURN)) == ""
    assert landed(client.generic(method, f"{RETURN}?{fields}")) == ""
    assert landed(client.generic(method, RETURN, fields, FORM)) == ""
    assert traces.rows() == before


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_any_other_method_gets_a_page(client, stock, method):
    before = traces.rows()
    answer = client.generic(method, RETURN, urlencode(cyber_source.response(stock)), FORM)

    assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD, POST")
    assert_is_page_for_a_person(answer)
    assert traces.rows() == before


# --- When something breaks --------------------------------------------------------------------------


def test_without_a_database_the_log_says_what_is_lost(client, form, monkeypatch, caplog):
    def fail(*args):
        raise OperationalError(MARKER)

    monkeypatch.setattr("perma_payments.services.callbacks.receive._keep", fail)
    assert landed(bring(client, cyber_source.response(form))) == ""

    assert "CRITICAL perma_payments.services.callbacks.receive: a response could not be kept: ACCEPT 100" in (
        traces.log(caplog)
    )
    assert "/return/: a customer was sent back without a message: the connection" in traces.log(caplog)
    assert MARKER not in traces.log(caplog)


@pytest.mark.parametrize(
    ("decision", "query"), [("ACCEPT", "?subscription=success"), ("REVIEW", ""), ("CANCEL", ""), ("DECLINE", "")]
)
def test_a_customer_who_paid_is_told_even_before_it_is_applied(client, form, monkeypatch, decision, query):
    def fail(*args, **kwargs):
        raise OperationalError

    monkeypatch.setattr(apply, "apply_response", fail)

    assert landed(bring(client, cyber_source.response(form, decision))) == query
    assert Response.objects.get().applied_at is None


# --- A browser at the callback ----------------------------------------------------------------------


def test_a_browser_that_is_sent_to_the_callback_is_led_on(client, form):
    fields = cyber_source.response(form)

    assert landed(bring(client, fields, CALLBACK, HTTP_SEC_FETCH_MODE="navigate")) == "?subscription=success"
    assert landed(bring(client, {}, CALLBACK, HTTP_SEC_FETCH_MODE="navigate")) == ""
    assert Response.objects.count() == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"HTTP_ACCEPT": "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"},
        {"HTTP_SEC_FETCH_MODE": "cors"},
        {"HTTP_USER_AGENT": "Mozilla/5.0"},
        {"HTTP_ORIGIN": "https://secureacceptance.cybersource.com"},
    ],
    ids=str,
)
def test_cybersources_server_always_gets_its_200(client, form, headers):
    answer = bring(client, cyber_source.response(form), CALLBACK, **headers)

    assert (answer.status_code, answer.content) == (200, b"received\n")


def test_the_page_is_where_the_contract_says():
    assert settings.PERMA_RETURN_PAGE == PAGE
