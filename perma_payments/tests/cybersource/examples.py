"""The worked examples of cybersource.md §2.6, word for word."""

SECRET = "0f1e2d3c4b5a69788796a5b4c3d2e1f0" * 8
ACCESS_KEY = "00112233445566778899aabbccddeeff"
PROFILE_ID = "A1B2C3D4-0000-4000-8000-ABCDEF012345"

REQUEST = {
    "access_key": ACCESS_KEY,
    "profile_id": PROFILE_ID,
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
REQUEST_TEXT = (
    "access_key=00112233445566778899aabbccddeeff,profile_id=A1B2C3D4-0000-4000-8000-ABCDEF012345,"
    "transaction_uuid=2f1c7c52-7a54-4a2f-9a0e-0f6f2f6b1c01,signed_field_names=access_key,profile_id,"
    "transaction_uuid,signed_field_names,unsigned_field_names,signed_date_time,locale,transaction_type,"
    "reference_number,amount,currency,unsigned_field_names=,signed_date_time=2025-03-01T09:30:00Z,locale=en-us,"
    "transaction_type=sale,reference_number=ORDER-1001,amount=15.00,currency=USD"
)
REQUEST_SIGNATURE = "28oDxNPKFQGniajwbS3eBVEx9gTPdgfXXZiyMimaKAM="

ALPHABETICAL = {
    **REQUEST,
    "signed_field_names": "access_key,amount,currency,locale,profile_id,reference_number,signed_date_time,"
    "signed_field_names,transaction_type,transaction_uuid,unsigned_field_names",
}
ALPHABETICAL_SIGNATURE = "MkbuR71lHfAuTMmdA8IzIyGKOgAewoum+At+R9VgHzM="

# What mistakes give for REQUEST.
SORTED_DATA_SIGNATURE = "W/JmQGoBtnlmy7HKUrZSfFBenyYF+0YvmzzQULKN5bw="
DECODED_KEY_SIGNATURE = "s0IXjZ5RZYmFZs4raukyK/yZ+U5zWRrFxT83bbemz6c="
OTHER_AMOUNT_SIGNATURE = "ydi9VTkDeor6D6FPlovkOMCQVNG7SmXf89B6M5GeHvc="

RESPONSE = {
    "transaction_id": "7408214003316000001234",
    "decision": "ACCEPT",
    "req_access_key": ACCESS_KEY,
    "req_profile_id": PROFILE_ID,
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
    "req_transaction_type,req_reference_number,req_amount,req_currency,req_bill_to_surname,message,"
    "reason_code,auth_amount,signed_field_names,signed_date_time",
    "signed_date_time": "2025-03-01T09:31:12Z",
}
RESPONSE_TEXT = (
    "transaction_id=7408214003316000001234,decision=ACCEPT,req_access_key=00112233445566778899aabbccddeeff,"
    "req_profile_id=A1B2C3D4-0000-4000-8000-ABCDEF012345,"
    "req_transaction_uuid=2f1c7c52-7a54-4a2f-9a0e-0f6f2f6b1c01,req_transaction_type=sale,"
    "req_reference_number=ORDER-1001,req_amount=15.00,req_currency=USD,req_bill_to_surname=Müller, Jr.,"
    "message=Request was processed successfully.,reason_code=100,auth_amount=15.00,"
    "signed_field_names=transaction_id,decision,req_access_key,req_profile_id,req_transaction_uuid,"
    "req_transaction_type,req_reference_number,req_amount,req_currency,req_bill_to_surname,message,reason_code,"
    "auth_amount,signed_field_names,signed_date_time,signed_date_time=2025-03-01T09:31:12Z"
)
RESPONSE_SIGNATURE = "p7gJXTErLLiP1FxSmsanFZgy7Wdxw+D3Iq6sgWMu60g="
