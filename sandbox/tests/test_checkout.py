"""CyberSource's pages, and the responses that they make the merchant receive."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from bs4 import BeautifulSoup
from werkzeug.wrappers import Response

from sandbox.app import create_app
from sandbox.config import DEFAULT_CS_SECRET, Config
from sandbox.cybersource.form import TYPES_BY_PATH
from sandbox.cybersource.outcomes import ACCEPT, CANCEL, pickable_for
from sandbox.cybersource.signature import is_signed

from .builders import (
    FORM_DATA,
    PATH_BY_TYPE,
    TYPES,
    encoded,
    signed_form,
    unsigned_form,
    with_lists,
    with_signature,
)
from .forms import Form
from .servers import closed_port


def submit(client, fields=None, path="/pay", **options):
    """POST a signed form, as a browser would."""
    body = encoded(signed_form() if fields is None else fields)
    return client.post(path, data=body, content_type=FORM_DATA, **options)


def checkout_form(page):
    """The form on a checkout page."""
    forms = BeautifulSoup(page.text, "html.parser").select("form")
    assert len(forms) == 1, page.text
    return Form(forms[0])


def finish(client, page, outcome="accept", **changes):
    """Finish the checkout on a page; the result page."""
    form = checkout_form(page)
    return client.post(form.path, data={**form.fields, "outcome": outcome, **changes}, follow_redirects=True)


def return_form(page):
    """The form of a result page, with what the customer's browser carries."""
    (form,) = BeautifulSoup(page.text, "html.parser").select("form")
    return Form(form)


def last_entry(client, kind):
    """The newest traffic entry of a kind."""
    return [entry for entry in client.get("/traffic.json").json if entry["kind"] == kind][-1]


# Receiving forms


@pytest.mark.parametrize("transaction_type", TYPES)
def test_a_good_form_leads_to_a_checkout_that_pay_accepts(client, merchant, transaction_type):
    page = submit(client, signed_form(transaction_type), PATH_BY_TYPE[transaction_type])
    assert page.status_code == 200
    assert merchant.bodies == []
    result = finish(client, page)
    assert result.status_code == 200
    (response,) = merchant.responses
    assert response["decision"] == "ACCEPT"
    assert response["req_transaction_type"] == transaction_type
    assert is_signed(response, DEFAULT_CS_SECRET)


def test_the_checkout_shows_the_order_with_buttons(client):
    page = submit(client, signed_form("sale,create_payment_token"))
    text = BeautifulSoup(page.text, "html.parser").get_text(" ", strip=True)
    for words in ("PERMA-1234-5678", "12.50 USD", "45.00 USD", "monthly", "20260401"):
        assert words in text
    assert {"Pay", "Decline", "Cancel"} <= {
        button.text for button in BeautifulSoup(page.text, "html.parser").select("button")
    }


@pytest.mark.parametrize(
    "path, body, content_type",
    [
        ("/pay", encoded({**signed_form(), "amount": "0.01"}), FORM_DATA),
        ("/pay", encoded({**signed_form(), "extra": ""}), FORM_DATA),
        ("/pay", encoded(signed_form(access_key="a" * 32)), FORM_DATA),
        ("/pay", encoded([*signed_form().items(), ("amount", "15.00")]), FORM_DATA),
        ("/pay", encoded(signed_form()), "multipart/form-data"),
        ("/oneclick/pay", encoded(signed_form(signed_date_time="2026-03-10T09:00:00Z")), FORM_DATA),
        ("/token/update", encoded(signed_form()), FORM_DATA),
        ("/token/update", b"\xff\xfe", FORM_DATA),
    ],
)
def test_every_refusal_is_the_same_403_page_without_a_callback(client, merchant, path, body, content_type):
    page = client.post(path, data=body, content_type=content_type)
    assert page.status_code == 403
    assert page.text == submit(client, {}).text
    assert merchant.bodies == []


def test_the_reason_of_a_refusal_is_in_the_traffic_only(client):
    page = submit(client, {**signed_form(), "amount": "0.01"})
    assert "signature" not in page.text
    entry = last_entry(client, "form")
    assert entry["accepted"] is False
    assert entry["reason"] == "the signature does not match the fields"
    assert ["amount", "0.01"] in entry["fields"]


@pytest.mark.parametrize("path", TYPES_BY_PATH)
def test_signed_fields_in_the_query_are_ignored(client, path):
    assert client.post(path, query_string=signed_form()).status_code == 403
    assert client.get(path, query_string=signed_form()).status_code == 405


def test_a_body_that_is_too_long_is_refused(client):
    assert submit(client, {"a": "x" * 300_000}).status_code == 413


def test_a_form_cannot_inject_html(client):
    page = submit(client, signed_form(unknown_field='"><script>alert(1)</script>'))
    assert "<script>alert" not in page.text
    assert "<script>alert" not in client.get("/traffic/").text


# Outcomes


@pytest.mark.parametrize(
    "outcome, decision, reason",
    [
        ("accept", "ACCEPT", "100"),
        ("partial", "ACCEPT", "110"),
        ("review-480", "REVIEW", "480"),
        ("decline-203", "DECLINE", "203"),
        ("error-150", "ERROR", "150"),
        ("error-bare", "ERROR", None),
        ("cancel", "CANCEL", None),
    ],
)
def test_an_outcome_is_reported_and_shown(client, merchant, outcome, decision, reason):
    result = finish(client, submit(client), outcome)
    (response,) = merchant.responses
    assert response["decision"] == decision
    assert response.get("reason_code") == reason
    shown = BeautifulSoup(result.text, "html.parser").find(id="outcome")
    assert shown["data-decision"] == decision
    assert shown["data-reason-code"] == (reason or "")


@pytest.mark.parametrize(
    "key", [outcome.key for outcome in pickable_for("sale") if outcome not in (ACCEPT, CANCEL)]
)
def test_every_other_outcome_can_be_picked_on_the_page(client, merchant, key):
    page = submit(client)
    option = BeautifulSoup(page.text, "html.parser").select_one(f'#other_outcome option[value="{key}"]')
    assert finish(client, page, "other", other_outcome=key).status_code == 200
    assert option.text.startswith(merchant.responses[0]["decision"])


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": ""},
        {"outcome": "win"},
        {"outcome": "other", "other_outcome": "x"},
        {"outcome": "review-480-no-token"},
        {"outcome": "error-104"},
        {"token": "lost"},
        {"times": "3"},
        {"times": "²"},
        {"delay": "61"},
        {"delay": "soon"},
    ],
)
def test_a_meaningless_choice_is_a_400_and_finishes_nothing(client, merchant, changes):
    page = submit(client)
    assert finish(client, page, **changes).status_code == 400
    assert merchant.bodies == []
    finish(client, page)
    assert merchant.responses[0]["decision"] == "ACCEPT"


@pytest.mark.parametrize(
    "changes",
    [
        {"card_number": "4929000000006"},
        {"card_number": ""},
        {"card_expiry_date": "01-2020"},
        {"card_expiry_date": "x"},
        {"card_cvn": "12"},
        {"card_cvn": "abc"},
        {"bill_to_email": "nobody"},
        {"bill_to_surname": "<b>"},
    ],
)
def test_mistakes_of_the_customer_are_explained_on_the_page(client, merchant, changes):
    page = submit(client)
    again = finish(client, page, **changes)
    assert again.status_code == 400
    assert 'role="alert"' in again.text
    assert merchant.bodies == []
    assert finish(client, again, bill_to_email="a@example.com", bill_to_surname="B").status_code == 200


def test_a_real_card_number_is_neither_shown_again_nor_kept(client):
    again = finish(client, submit(client), card_number="4929 1234 1234 1234", card_cvn="987")
    # The address of the checkout is random, and may contain them.
    shown = again.text.replace(checkout_form(again).path, "")
    assert "4929" not in shown and "987" not in shown
    assert "4929" not in client.get("/traffic.json").text


def test_what_the_customer_typed_comes_back(client, merchant):
    finish(
        client,
        submit(client),
        bill_to_surname="Müller, Jr.",
        bill_to_address_state="",
        card_number="378282246310005",
        card_expiry_date="11-2031",
    )
    (response,) = merchant.responses
    assert response["req_bill_to_surname"] == "Müller, Jr."
    assert "req_bill_to_address_state" not in response
    assert response["req_card_type"] == "003"
    assert response["req_card_expiry_date"] == "11-2031"


def test_an_invalid_value_ends_the_checkout_with_error_102(client, merchant):
    page = submit(client, signed_form(locale="xx"))
    assert page.status_code == 303
    (response,) = merchant.responses
    assert (response["decision"], response["reason_code"]) == ("ERROR", "102")
    assert response["invalid_fields"] == "locale"
    assert is_signed(response, DEFAULT_CS_SECRET)
    assert "locale" in client.get(page.location).text


def test_a_response_is_signed_with_the_key_of_its_request(merchant, config, clock):
    second = "b" * 32
    keys = {**config.cs_keys, second: "the second secret"}
    client = create_app(Config(payments_url=config.payments_url, cs_keys=keys), clock).test_client()
    fields = with_signature(with_lists(unsigned_form(access_key=second)), "the second secret")
    finish(client, submit(client, fields))
    (response,) = merchant.responses
    assert response["req_access_key"] == second
    assert is_signed(response, "the second secret")


def test_an_updates_token_stays_unless_the_tester_replaces_it(client, merchant):
    def update(number, **changes):
        page = submit(client, signed_form("update_payment_token", transaction_uuid=str(number)), "/token/update")
        assert checkout_form(page).fields["token"] == "stays"
        finish(client, page, **changes)
        return merchant.responses[-1].get("payment_token")

    assert update(1) is None
    assert re.fullmatch("[0-9]{12}4444", update(2, token="replaced"))


def test_only_an_update_offers_to_replace_the_token(client):
    assert "token" not in checkout_form(submit(client)).fields


def test_the_choice_about_the_token_survives_a_mistake(client, merchant):
    page = submit(client, signed_form("update_payment_token"), "/token/update")
    again = finish(client, page, card_cvn="x", token="replaced")
    assert checkout_form(again).fields["token"] == "replaced"


# Duplicates


def decisions(merchant):
    """Decision and reason of each delivery."""
    return [(response["decision"], response.get("reason_code")) for response in merchant.responses]


def test_a_finished_transaction_submitted_again_is_error_104(client, merchant):
    finish(client, submit(client))
    assert submit(client).status_code == 303
    assert decisions(merchant) == [("ACCEPT", "100"), ("ERROR", "104")]


def test_after_fifteen_minutes_it_is_a_new_transaction(client, merchant, clock):
    finish(client, submit(client))
    clock.now += timedelta(minutes=14, seconds=59)
    assert submit(client).status_code == 303
    clock.now += timedelta(seconds=1)
    signed_date_time = clock.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    finish(client, submit(client, signed_form(signed_date_time=signed_date_time)))
    assert decisions(merchant) == [("ACCEPT", "100"), ("ERROR", "104"), ("ACCEPT", "100")]
    assert merchant.responses[0]["transaction_id"] != merchant.responses[2]["transaction_id"]


def test_two_open_checkouts_of_one_transaction_are_paid_once(client, merchant):
    first, second = submit(client), submit(client)
    finish(client, first)
    finish(client, second)
    assert decisions(merchant) == [("ACCEPT", "100"), ("ERROR", "104")]


def test_pay_pressed_many_times_at_once_is_paid_once(app, merchant):
    page = submit(app.test_client())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda client: finish(client, page), [app.test_client() for _ in range(8)]))
    assert sorted(decisions(merchant)) == [("ACCEPT", "100")] + [("ERROR", "104")] * 7


def test_an_open_checkout_can_be_canceled_if_its_twin_is_paid(client, merchant):
    first, second = submit(client), submit(client)
    finish(client, first)
    finish(client, second, "cancel")
    assert decisions(merchant) == [("ACCEPT", "100"), ("CANCEL", None)]


def test_a_finished_checkout_can_never_be_canceled_or_paid_again(client, merchant, clock):
    page = submit(client)
    finish(client, page)
    finish(client, page, "cancel")
    clock.now += timedelta(hours=1)
    finish(client, page)
    assert decisions(merchant) == [("ACCEPT", "100"), ("ERROR", "104"), ("ERROR", "104")]


def test_another_transaction_is_no_duplicate(client, merchant):
    finish(client, submit(client))
    finish(client, submit(client, signed_form(transaction_uuid="another")))
    assert decisions(merchant) == [("ACCEPT", "100"), ("ACCEPT", "100")]


# Delivery


def test_a_response_is_posted_as_form_data_to_the_callback(client, merchant):
    finish(client, submit(client))
    assert merchant.paths == ["POST /cybersource-callback/"]
    assert merchant.content_types == [FORM_DATA]
    assert re.search(rb"(^|&)signature=[^&]*%3D(&|$)", merchant.bodies[0])


def test_the_merchant_is_told_before_the_browser_continues(client, merchant):
    form = checkout_form(submit(client))
    page = client.post(form.path, data={**form.fields, "outcome": "accept"})
    assert page.status_code == 303
    assert len(merchant.bodies) == 1


def test_a_response_can_be_lost(client, merchant):
    result = finish(client, submit(client), times="0")
    assert merchant.bodies == []
    assert "lost" in result.text


def test_a_response_can_come_twice_and_is_the_same_both_times(client, merchant):
    finish(client, submit(client), times="2")
    first, second = merchant.bodies
    assert first == second


def test_a_response_can_come_later_than_the_customer(client, merchant, monkeypatch):
    asleep, awake = [], threading.Event()

    def sleep(seconds):
        asleep.append(seconds)
        assert awake.wait(30)

    monkeypatch.setattr("sandbox.cybersource.delivery.sleep", sleep)
    result = finish(client, submit(client), delay="7")
    assert "1 still to be sent, 7 seconds after the checkout" in result.text
    assert merchant.bodies == []
    awake.set()
    merchant.wait_for(1)
    assert asleep == [7]
    assert decisions(merchant) == [("ACCEPT", "100")]


def test_a_decline_with_its_own_transaction_id_can_come_first(client, merchant):
    finish(client, submit(client), declined_first="on")
    assert decisions(merchant) == [("DECLINE", "203"), ("ACCEPT", "100")]
    first, second = merchant.responses
    assert first["req_transaction_uuid"] == second["req_transaction_uuid"]
    assert first["transaction_id"] != second["transaction_id"]


def test_the_result_shows_what_perma_payments_answered(client, merchant):
    merchant.answer = Response("no, <b>thanks</b>", 400)
    result = finish(client, submit(client))
    assert "<strong>400</strong>" in result.text
    assert "no, &lt;b&gt;thanks&lt;/b&gt;" in result.text


def test_a_redirect_is_not_followed(client, merchant):
    merchant.answer = Response("", 302, {"Location": "/elsewhere/"})
    finish(client, submit(client))
    assert merchant.paths == ["POST /cybersource-callback/"]
    assert last_entry(client, "callback")["status"] == 302


@pytest.mark.parametrize("body, shown", [(b"x" * 100_000, "x" * 200), (b"\xff\xfe", "\ufffd\ufffd"), (b"", "")])
def test_the_first_200_characters_of_an_answer_are_kept(client, merchant, body, shown):
    merchant.answer = Response(body)
    finish(client, submit(client))
    assert last_entry(client, "callback")["body"] == shown


def test_a_merchant_that_is_down_is_shown_and_is_no_error(clock):
    config = Config(payments_url=f"http://127.0.0.1:{closed_port()}")
    client = create_app(config, clock).test_client()
    result = finish(client, submit(client))
    assert result.status_code == 200
    assert "could not be reached" in result.text
    assert last_entry(client, "callback")["status"] is None


def test_a_merchant_that_answers_too_late_is_shown(client, merchant, monkeypatch):
    monkeypatch.setattr("sandbox.cybersource.delivery.TIMEOUT_SECONDS", 0.05)
    gone = threading.Event()

    def answer(request):
        assert gone.wait(30)
        return Response("OK")

    merchant.answer = answer
    try:
        assert "no answer within" in finish(client, submit(client)).text
    finally:
        gone.set()


@pytest.mark.parametrize(
    "outcome, status, changes, moves_on",
    [
        ("accept", 200, {}, True),
        ("cancel", 200, {}, True),
        ("decline-203", 200, {}, False),
        ("accept", 400, {}, False),
        ("accept", 200, {"times": "0"}, False),
    ],
)
def test_the_customer_is_taken_back_if_all_went_well(client, merchant, config, outcome, status, changes, moves_on):
    merchant.answer = Response("", status)
    result = finish(client, submit(client), outcome, **changes)
    form = return_form(result)
    assert (form.method, form.action) == ("post", f"{config.payments_url}/return/")
    assert BeautifulSoup(result.text, "html.parser").form.get("data-seconds") == ("2" if moves_on else None)
    assert ("return.js" in result.text) is moves_on


@pytest.mark.parametrize("outcome", ["accept", "review-480", "decline-203", "error-150", "cancel"])
def test_the_browser_carries_the_response_signed_separately(client, merchant, outcome):
    fields = return_form(finish(client, submit(client), outcome)).fields
    (server,) = merchant.responses
    assert is_signed(fields, DEFAULT_CS_SECRET)
    assert fields.pop("utf8") == "✓"
    of_its_own = {"signature", "signed_field_names"}
    for name in ("card_type_name", "merchant_id"):
        server.pop(name, None)
    assert "card_type_name" not in fields["signed_field_names"] and "merchant_id" not in fields
    assert {name: value for name, value in fields.items() if name not in of_its_own} == {
        name: value for name, value in server.items() if name not in of_its_own
    }


def test_what_the_browser_carries_is_in_the_traffic(client, config):
    fields = return_form(finish(client, submit(client))).fields
    entry = last_entry(client, "return")
    assert dict(entry["fields"]) == fields
    assert entry["url"] == f"{config.payments_url}/return/"


# Addresses of a checkout


def test_an_open_checkout_can_be_reopened_and_has_no_result(client):
    path = checkout_form(submit(client)).path
    assert checkout_form(client.get(path)).path == path
    assert client.get(path + "/result").location == path


def test_a_finished_checkout_leads_to_its_result(client):
    page = submit(client)
    path = checkout_form(page).path
    finish(client, page)
    assert client.get(path).location == path + "/result"


@pytest.mark.parametrize(
    "method, path", [("get", "/checkout/x"), ("get", "/checkout/x/result"), ("post", "/checkout/x")]
)
def test_an_unknown_checkout_is_a_404(client, method, path):
    answer = getattr(client, method)(path)
    assert answer.status_code == 404
    assert "There is no such checkout" in answer.text


def test_a_callback_is_in_the_traffic(client, merchant):
    finish(client, submit(client))
    entry = last_entry(client, "callback")
    assert dict(entry["fields"]) == merchant.responses[0]
    assert (entry["status"], entry["body"], entry["problem"]) == (200, "OK", None)
