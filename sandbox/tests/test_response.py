"""The signed responses: the recorded shapes of cybersource.md §4.3 and the formats of §4.4."""

import re
from dataclasses import replace

import pytest

from sandbox.config import DEFAULT_CS_PROFILE_ID, DEFAULT_CS_SECRET
from sandbox.cybersource.cards import TEST_CARDS, Card, find_card, is_future_expiry
from sandbox.cybersource.form import AcceptedForm
from sandbox.cybersource.outcomes import ACCEPT, CANCEL, DUPLICATE, INVALID, PICKABLE, pickable_for
from sandbox.cybersource.page_form import BILLING
from sandbox.cybersource.response import Entered, build_response, new_format_preserving_token
from sandbox.cybersource.signature import is_signed

from .builders import NOW, PATH_BY_TYPE, TYPES, signed_form

ENTERED = Entered(billing=BILLING, card=TEST_CARDS["4111111111111111"], card_expiry_date="12-2030")

BILLING_NAMES = (
    "req_bill_to_forename, req_bill_to_surname, req_bill_to_email, req_bill_to_address_line1, "
    "req_bill_to_address_city, req_bill_to_address_state, req_bill_to_address_country, "
    "req_bill_to_address_postal_code, "
)

# As recorded, with the field that only the server's version has (card_type_name) and with the fields that
# the recorded requests did not send.
SHAPES = {
    "sale": "transaction_id, decision, req_access_key, req_profile_id, req_transaction_uuid, "
    "req_transaction_type, req_reference_number, req_amount, req_currency, req_locale, "
    "req_payment_method, " + BILLING_NAMES + "req_card_number, req_card_type, req_card_type_selection_indicator, "
    "req_card_expiry_date, card_type_name, message, reason_code, auth_avs_code, "
    "auth_avs_code_raw, auth_response, auth_amount, auth_code, auth_trans_ref_no, auth_time, "
    "request_token, bill_trans_ref_no, signed_field_names, signed_date_time",
    "sale,create_payment_token": "transaction_id, decision, req_access_key, req_profile_id, req_transaction_uuid, "
    "req_transaction_type, req_reference_number, req_amount, req_currency, req_locale, "
    "req_payment_method, req_recurring_frequency, req_recurring_amount, "
    "req_recurring_start_date, "
    + BILLING_NAMES
    + "req_card_number, req_card_type, req_card_expiry_date, card_type_name, message, "
    "reason_code, auth_avs_code, auth_avs_code_raw, auth_response, auth_amount, auth_code, "
    "auth_trans_ref_no, auth_time, request_token, bill_trans_ref_no, payment_token, "
    "signed_field_names, signed_date_time",
    "update_payment_token": "transaction_id, decision, req_access_key, req_profile_id, req_transaction_uuid, "
    "req_transaction_type, req_reference_number, req_currency, req_locale, "
    "req_payment_method, req_payment_token, req_allow_payment_token_update, "
    + BILLING_NAMES
    + "req_card_number, req_card_type, req_card_expiry_date, card_type_name, message, "
    "reason_code, request_token, signed_field_names, signed_date_time",
    "sale,update_payment_token": "transaction_id, decision, req_access_key, req_profile_id, req_transaction_uuid, "
    "req_transaction_type, req_reference_number, req_amount, req_currency, req_locale, "
    "req_payment_method, req_payment_token, req_allow_payment_token_update, "
    "req_recurring_amount, "
    + BILLING_NAMES
    + "req_card_number, req_card_type, req_card_type_selection_indicator, "
    "req_card_expiry_date, card_type_name, message, reason_code, auth_avs_code, "
    "auth_avs_code_raw, auth_response, auth_amount, auth_code, auth_trans_ref_no, auth_time, "
    "request_token, bill_trans_ref_no, signed_field_names, signed_date_time",
}


def accepted(transaction_type, invalid=(), **changes):
    """An accepted form."""
    fields = signed_form(transaction_type, **changes)
    del fields["signature"]
    return AcceptedForm(path=PATH_BY_TYPE[transaction_type], fields=fields, invalid_fields=invalid, notes=())


def respond(transaction_type="sale,create_payment_token", outcome=ACCEPT, entered=ENTERED, **changes):
    """The fields of a response."""
    pairs = build_response(
        accepted(transaction_type, **changes), outcome, entered, secret=DEFAULT_CS_SECRET, now=NOW
    )
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


@pytest.mark.parametrize("transaction_type", TYPES)
def test_an_accepted_transaction_has_the_recorded_shape(transaction_type):
    response = respond(transaction_type)
    assert response["signed_field_names"].split(",") == SHAPES[transaction_type].split(", ")


@pytest.mark.parametrize(
    "transaction_type, outcome",
    [
        *(("sale,create_payment_token", outcome) for outcome in [*PICKABLE.values(), INVALID, DUPLICATE]),
        ("sale", ACCEPT),
        ("update_payment_token", ACCEPT),
        ("sale,update_payment_token", ACCEPT),
    ],
    ids=lambda value: getattr(value, "key", value),
)
def test_every_response_is_signed_except_for_the_merchant_id(transaction_type, outcome):
    response = respond(transaction_type, outcome)
    assert is_signed(response, DEFAULT_CS_SECRET)
    signed = response["signed_field_names"].split(",")
    assert set(response) - set(signed) == {"signature", "merchant_id"}
    assert signed[-2:] == ["signed_field_names", "signed_date_time"]
    assert [name for name in response if name in signed] != signed
    assert response["decision"] == outcome.decision
    assert response["req_access_key"] and response["req_profile_id"] == DEFAULT_CS_PROFILE_ID
    assert response["req_reference_number"] == "PERMA-1234-5678"
    assert "card_cvn" not in response and "req_card_cvn" not in response
    # No field is longer than CyberSource allows.
    assert len(response["message"]) <= 255
    assert len(response.get("request_token", "")) <= 256
    assert len(response.get("auth_trans_ref_no", "")) <= 60


def test_formats_are_those_of_cybersource():
    response = respond()
    assert re.fullmatch("[1-9][0-9]{21}", response["transaction_id"])
    assert response["payment_token"] == response["transaction_id"]
    assert response["signed_date_time"] == "2026-03-10T09:30:00Z"
    assert response["auth_time"] == "2026-03-10T093000Z"
    assert response["req_card_number"] == "xxxxxxxxxxxx1111"
    assert response["req_card_type"] == "001"
    assert response["card_type_name"] == "Visa"
    assert response["req_card_expiry_date"] == "12-2030"
    assert response["auth_amount"] == response["req_amount"] == "12.50"
    assert (
        response["auth_code"],
        response["auth_avs_code"],
        response["auth_avs_code_raw"],
        response["auth_response"],
    ) == ("888888", "X", "I1", "100")
    assert response["bill_trans_ref_no"] == response["auth_trans_ref_no"]
    assert response["message"] == "Request was processed successfully."
    assert response["reason_code"] == "100"
    assert len(response["signature"]) == 44


def test_every_transaction_has_its_own_id():
    assert respond()["transaction_id"] != respond()["transaction_id"]


def test_a_masked_number_keeps_its_length():
    entered = Entered(billing={}, card=TEST_CARDS["378282246310005"], card_expiry_date="12-2030")
    assert respond(entered=entered)["req_card_number"] == "xxxxxxxxxxx0005"


def test_what_the_customer_typed_replaces_what_was_sent():
    entered = Entered(
        billing={"bill_to_forename": "Ada", "bill_to_surname": ""}, card=ENTERED.card, card_expiry_date="12-2030"
    )
    response = respond(entered=entered, bill_to_forename="Old", bill_to_surname="Old", bill_to_phone="555 0100")
    assert response["req_bill_to_forename"] == "Ada"
    assert "req_bill_to_surname" not in response
    assert response["req_bill_to_phone"] == "555 0100"


@pytest.mark.parametrize("transaction_type", ["sale,create_payment_token", "update_payment_token"])
def test_a_canceled_checkout_has_the_reduced_shape(transaction_type):
    response = respond(transaction_type, CANCEL, entered=None)
    for name in response:
        assert not name.startswith(("auth_", "transaction_id", "reason_code", "request_token"))
    assert response["req_transaction_uuid"] == "2f1c7c52-7a54-4a2f-9a0e-0f6f2f6b1c01"


def test_a_canceled_sale_has_the_recorded_order():
    assert respond("sale", CANCEL, entered=None)["signed_field_names"] == (
        "req_currency,decision,req_locale,req_card_type_selection_indicator,message,"
        "req_transaction_uuid,req_transaction_type,req_payment_method,req_access_key,"
        "req_profile_id,req_reference_number,req_amount,signed_field_names,signed_date_time"
    )


def test_an_error_before_processing_has_the_reduced_shape():
    error = respond("sale", PICKABLE["error-bare"])
    assert set(error) == set(respond("sale", CANCEL))
    assert error["decision"] == "ERROR"


@pytest.mark.parametrize("transaction_type", ["sale,create_payment_token", "update_payment_token"])
def test_a_declined_transaction_creates_and_authorizes_nothing(transaction_type):
    response = respond(transaction_type, PICKABLE["decline-204"])
    assert response["reason_code"] == "204"
    assert re.fullmatch("[0-9]{22}", response["transaction_id"])
    assert response["request_token"]
    for name in ("payment_token", "auth_code", "auth_amount", "auth_time", "bill_trans_ref_no"):
        assert name not in response
    assert ("auth_avs_code" in response) == (transaction_type != "update_payment_token")


@pytest.mark.parametrize("amount, authorized", [("12.50", "6.25"), ("0.01", "0.00")])
def test_a_partial_approval_authorizes_less_than_was_asked_for(amount, authorized):
    response = respond(outcome=PICKABLE["partial"], amount=amount)
    assert (response["decision"], response["reason_code"]) == ("ACCEPT", "110")
    assert (response["req_amount"], response["auth_amount"]) == (amount, authorized)


def test_a_review_looks_like_an_accept_with_or_without_a_token():
    review = respond(outcome=PICKABLE["review-480"])
    assert set(review) == set(respond())
    assert (review["decision"], review["reason_code"]) == ("REVIEW", "480")
    assert review["message"] == "Order has been marked for review."
    without = respond(outcome=PICKABLE["review-480-no-token"])
    assert set(review) - set(without) == {"payment_token"}


def test_an_error_102_names_the_invalid_fields():
    response = respond(outcome=INVALID, entered=None, invalid=("amount", "locale"), amount="x")
    assert (response["decision"], response["reason_code"]) == ("ERROR", "102")
    assert response["invalid_fields"] == "amount,locale"
    assert response["req_amount"] == "x"
    assert "req_card_number" not in response


def test_a_duplicate_is_an_error_104_with_its_own_id():
    response = respond(outcome=DUPLICATE, entered=None)
    assert (response["decision"], response["reason_code"]) == ("ERROR", "104")
    assert response["transaction_id"]
    assert "payment_token" not in response


@pytest.mark.parametrize(
    "transaction_type, outcome",
    [
        ("update_payment_token", ACCEPT),
        ("sale,update_payment_token", ACCEPT),
        ("sale,update_payment_token", PICKABLE["review-480"]),
    ],
)
def test_an_update_replaces_the_token_only_on_request(transaction_type, outcome):
    assert "payment_token" not in respond(transaction_type, outcome)
    response = respond(transaction_type, outcome, replace(ENTERED, replaces_token=True))
    assert re.fullmatch("[0-9]{12}1111", response["payment_token"])
    assert response["req_payment_token"] == "7408214003316000001234"


@pytest.mark.parametrize(
    "transaction_type, outcome",
    [("sale", ACCEPT), ("update_payment_token", PICKABLE["decline-203"]), ("update_payment_token", CANCEL)],
)
def test_without_an_approved_update_no_token_is_replaced(transaction_type, outcome):
    response = respond(transaction_type, outcome, replace(ENTERED, replaces_token=True))
    assert "payment_token" not in response


def test_a_token_update_gets_its_amount_back():
    assert respond("update_payment_token", amount="0.00")["req_amount"] == "0.00"


@pytest.mark.parametrize("card", TEST_CARDS.values(), ids=lambda card: card.brand)
def test_a_16_digit_token_ends_like_the_card_and_passes_luhn(card):
    token = new_format_preserving_token(card)
    doubled = [int(d) * 2 if i % 2 else int(d) for i, d in enumerate(reversed(token))]
    assert len(token) == 16 and token.endswith(card.number[-4:])
    assert sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def test_meaningless_outcomes_cannot_be_picked():
    keys = {kind: {outcome.key for outcome in pickable_for(kind)} for kind in TYPES}
    assert "partial" not in keys["update_payment_token"]
    assert "review-480-no-token" not in keys["sale"]
    assert all("accept" in chosen and "cancel" in chosen for chosen in keys.values())


def test_a_test_card_is_found_with_or_without_spaces():
    assert find_card("4111 1111 1111 1111") == Card("4111111111111111", "001", "Visa")
    assert find_card("4111 1111 1111 1112") is None
    assert find_card("") is None


@pytest.mark.parametrize(
    "value, is_future",
    [
        ("03-2026", True),
        ("12-2030", True),
        ("02-2026", False),
        ("12-2025", False),
        ("13-2030", False),
        ("3-2030", False),
        ("12/2030", False),
        ("", False),
    ],
)
def test_an_expiry_date_is_a_month_that_has_not_passed(value, is_future):
    assert is_future_expiry(value, NOW.date()) is is_future
