"""CyberSource's signature, by the worked examples of cybersource.md §2.6."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given, strategies as st

from sandbox.cybersource.signature import data_to_sign, is_signed, sign

SECRET = "0f1e2d3c4b5a69788796a5b4c3d2e1f0" * 8

REQUEST = {
    "access_key": "00112233445566778899aabbccddeeff",
    "profile_id": "A1B2C3D4-0000-4000-8000-ABCDEF012345",
    "transaction_uuid": "2f1c7c52-7a54-4a2f-9a0e-0f6f2f6b1c01",
    "signed_field_names": "access_key,profile_id,transaction_uuid,signed_field_names,unsigned_field_names,"
    "signed_date_time,locale,transaction_type,reference_number,amount,currency",
    "unsigned_field_names": "",
    "signed_date_time": "2025-03-01T09:30:00Z",
    "locale": "en-us",
    "transaction_type": "sale",
    "reference_number": "ORDER-1001",
    "amount": "15.00",
    "currency": "USD",
}
REQUEST_SIGNATURE = "28oDxNPKFQGniajwbS3eBVEx9gTPdgfXXZiyMimaKAM="

RESPONSE = {
    "transaction_id": "7408214003316000001234",
    "decision": "ACCEPT",
    "req_access_key": "00112233445566778899aabbccddeeff",
    "req_profile_id": "A1B2C3D4-0000-4000-8000-ABCDEF012345",
    "req_transaction_uuid": "2f1c7c52-7a54-4a2f-9a0e-0f6f2f6b1c01",
    "req_transaction_type": "sale",
    "req_reference_number": "ORDER-1001",
    "req_amount": "15.00",
    "req_currency": "USD",
    "req_bill_to_surname": "Müller, Jr.",
    "message": "Request was processed successfully.",
    "reason_code": "100",
    "auth_amount": "15.00",
    "signed_field_names": "transaction_id,decision,req_access_key,req_profile_id,req_transaction_uuid,"
    "req_transaction_type,req_reference_number,req_amount,req_currency,req_bill_to_surname,"
    "message,reason_code,auth_amount,signed_field_names,signed_date_time",
    "signed_date_time": "2025-03-01T09:31:12Z",
}


def test_the_request_of_the_worked_example_has_its_signature():
    assert sign(REQUEST, SECRET) == REQUEST_SIGNATURE
    assert is_signed({**REQUEST, "signature": REQUEST_SIGNATURE}, SECRET)


def test_the_response_of_the_worked_example_has_its_signature():
    signature = "p7gJXTErLLiP1FxSmsanFZgy7Wdxw+D3Iq6sgWMu60g="
    assert sign(RESPONSE, SECRET) == signature
    assert is_signed({**RESPONSE, "signature": signature}, SECRET)


def test_an_alphabetical_list_signs_alphabetical_data():
    names = (
        "access_key,amount,currency,locale,profile_id,reference_number,signed_date_time,"
        "signed_field_names,transaction_type,transaction_uuid,unsigned_field_names"
    )
    fields = {**REQUEST, "signed_field_names": names}
    assert sign(fields, SECRET) == "MkbuR71lHfAuTMmdA8IzIyGKOgAewoum+At+R9VgHzM="


def test_data_signed_in_another_order_are_refused():
    data = ",".join(f"{name}={REQUEST[name]}" for name in sorted(REQUEST))
    digest = hmac.new(SECRET.encode(), data.encode(), hashlib.sha256).digest()
    signature = base64.b64encode(digest).decode()
    assert signature == "W/JmQGoBtnlmy7HKUrZSfFBenyYF+0YvmzzQULKN5bw="
    assert not is_signed({**REQUEST, "signature": signature}, SECRET)


def test_a_secret_that_was_decoded_first_is_refused():
    digest = hmac.new(bytes.fromhex(SECRET), data_to_sign(REQUEST).encode(), hashlib.sha256).digest()
    signature = base64.b64encode(digest).decode()
    assert signature == "s0IXjZ5RZYmFZs4raukyK/yZ+U5zWRrFxT83bbemz6c="
    assert not is_signed({**REQUEST, "signature": signature}, SECRET)


def test_an_amount_other_than_the_signed_one_is_refused():
    signature = sign({**REQUEST, "amount": "15"}, SECRET)
    assert signature == "ydi9VTkDeor6D6FPlovkOMCQVNG7SmXf89B6M5GeHvc="
    assert not is_signed({**REQUEST, "signature": signature}, SECRET)


@pytest.mark.parametrize("name", ["amount", "signed_field_names", "signature"])
def test_a_signature_over_missing_fields_is_refused(name):
    fields = {**REQUEST, "signature": REQUEST_SIGNATURE}
    del fields[name]
    assert not is_signed(fields, SECRET)


def test_a_signature_outside_ascii_is_refused():
    assert not is_signed({**REQUEST, "signature": "ü" * 44}, SECRET)


@given(name=st.sampled_from(sorted(REQUEST)), value=st.text(st.characters(codec="utf-8")))
def test_every_changed_field_is_refused(name, value):
    fields = {**REQUEST, "signature": REQUEST_SIGNATURE, name: value}
    assert is_signed(fields, SECRET) == (value == REQUEST[name])
