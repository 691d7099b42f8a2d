"""Forge: make the service believe a message of Perma.cc's, or a response of CyberSource's, that they did not send.

The attacker is anyone with a browser. They have our code and its formats, perhaps a message and a signed form of a
checkout of their own, and the development keys. They want a subscription without paying, or to end somebody
else's. They fail because a box opens only with a key of Perma.cc's. Of a response, only fields that CyberSource's
secret signed are read, and none of them if the signed text could be split in another way.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from django.conf import settings
from nacl.public import Box, PrivateKey, PublicKey

from perma_payments.models import StaffTask, TaskKind

from .. import cyber_source, perma_cc
from ..conftest import FORM
from ..parameters import in_turn
from ..views import traces
from ..views.routes import CALLBACK, MESSAGE_ROUTES
from ..views.test_bad_callbacks import STRANGER, callback, the_agreement
from ..views.traces import MARKER

# --- Messages without the key -------------------------------------------------------------------------

_ANYONE = PrivateKey.generate()
BOXES = {
    "with a key of their own": Box(_ANYONE, PublicKey(perma_cc.PERMA_PAYMENTS_PUBLIC)),
    "for themselves": Box(PrivateKey(perma_cc.PERMA_SECRET), _ANYONE.public_key),
    "with our public key as the secret": Box(
        PrivateKey(perma_cc.PERMA_PAYMENTS_PUBLIC), PublicKey(perma_cc.PERMA_PAYMENTS_PUBLIC)
    ),
    "with Perma.cc's public key as the secret": Box(
        PrivateKey(perma_cc.PERMA_PUBLIC), PublicKey(perma_cc.PERMA_PAYMENTS_PUBLIC)
    ),
}


@in_turn("route, sealed", MESSAGE_ROUTES, list(BOXES))
def test_a_message_that_perma_cc_did_not_seal_is_refused(refused, route, sealed):
    sealed = perma_cc.seal(perma_cc.fields(route.name), box=BOXES[sealed])
    refused(route, urlencode({"encrypted_data": sealed}), reason="none of our keys opens it")


def test_a_message_that_is_not_sealed_at_all_is_refused(refused):
    plain = base64.b64encode(bytes(24) + b'{"customer_pk": 7}').decode()
    for route in MESSAGE_ROUTES:
        refused(route, urlencode({"encrypted_data": plain}), reason="none of our keys opens it")
        refused(route, urlencode(perma_cc.fields(route.name)), reason="encrypted_data came 0 times")


@in_turn("route, index", MESSAGE_ROUTES, [0, 23, 24, 40, -1])
def test_their_own_message_with_one_changed_byte_is_refused(refused, route, index):
    box = bytearray(base64.b64decode(perma_cc.form(route.name)["encrypted_data"]))
    box[index] ^= 1
    changed = {"encrypted_data": base64.b64encode(box).decode()}
    refused(route, urlencode(changed), reason="none of our keys opens it")


# --- Responses without the secret ---------------------------------------------------------------------


@pytest.fixture
def not_believed(client, refused, stock, caplog) -> Callable[..., None]:
    """POST a response to both routes: the callback refuses it, the other leads back to Perma.cc without a word."""

    def not_believed(fields: dict[str, str], *, reason: str = "refused") -> None:
        refused(CALLBACK, urlencode(fields), reason=reason)
        before = traces.rows()
        caplog.clear()
        answer = client.generic("POST", "/return/", urlencode(fields), FORM)
        assert (answer.status_code, answer["Location"]) == (303, settings.PERMA_RETURN_PAGE)
        assert traces.rows() == before
        (said,) = traces.reasons(caplog)
        assert reason in said and MARKER not in said

    return not_believed


@pytest.mark.parametrize(
    "changes",
    [
        {"signature": None},
        {"signature": ""},
        {"signature": MARKER},
        {"signature": "\x00"},
        {"signature": "ü"},
        {"signature": "A" * 10_000},
        {"signature": "A" * 43 + "="},
        {"signed_field_names": None},
        {"signed_field_names": ""},
        {"signed_field_names": ","},
        {"signed_field_names": MARKER},
        {"signed_field_names": "decision"},
        {"signed_field_names": "signed_field_names"},
        {"signed_field_names": "decision,\x00"},
        {"signed_field_names": ",".join(f"n{index}" for index in range(10_000))},
        {"decision": "ACCEPT"},
        {"decision": ""},
        {"req_amount": "0.01"},
        {"req_transaction_uuid": STRANGER},
        {"req_reference_number": "PERMA-0000-0000"},
        {"payment_token": "1"},
        {"message": MARKER},
        {"req_access_key": "\x00"},
        {"req_access_key": ""},
        {"req_access_key": "x" * 10_000},
        {"decision": None},
        {"req_transaction_uuid": None},
        {"req_bill_to_surname": "Someone Else"},
        {"signed_date_time": "2020-01-01T00:00:00Z"},
        {"req_profile_id": MARKER},
    ],
    ids=lambda changes: str(changes)[:50],
)
def test_a_response_changed_after_signing_is_not_believed(not_believed, stock, changes):
    # A decline, as anyone can have: it is to become an ACCEPT.
    fields = callback(stock, "DECLINE", auth_amount="12.50", payment_token="7")
    not_believed({name: value for name, value in {**fields, **changes}.items() if value is not None})


@pytest.mark.parametrize(
    "secret", ["", "c0ffee00", "d0ffee00" * 32, cyber_source.ACCESS_KEY, cyber_source.PROFILE_ID]
)
def test_a_response_signed_with_another_secret_is_not_believed(not_believed, stock, secret):
    not_believed(callback(stock, secret=secret), reason="the signature is wrong")


OTHER_ALGORITHMS: dict[str, Callable[[bytes, bytes], str]] = {
    "in hexadecimal": lambda key, text: hmac.new(key, text, hashlib.sha256).hexdigest(),
    "SHA-1": lambda key, text: base64.b64encode(hmac.new(key, text, hashlib.sha1).digest()).decode(),
    "SHA-512": lambda key, text: base64.b64encode(hmac.new(key, text, hashlib.sha512).digest()).decode(),
    "of the text alone": lambda key, text: base64.b64encode(hashlib.sha256(text).digest()).decode(),
    "for addresses": lambda key, text: (
        base64.urlsafe_b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode().replace("=", "_")
    ),
    "by the key as bytes": lambda key, text: base64.b64encode(
        hmac.new(bytes.fromhex(key.decode()), text, hashlib.sha256).digest()
    ).decode(),
}


@pytest.mark.parametrize("algorithm", OTHER_ALGORITHMS)
def test_a_signature_by_another_algorithm_is_not_believed(not_believed, stock, algorithm):
    fields = callback(stock)
    text = ",".join(f"{name}={fields[name]}" for name in fields["signed_field_names"].split(","))
    signature = OTHER_ALGORITHMS[algorithm](cyber_source.SECRET.encode(), text.encode())
    not_believed({**fields, "signature": signature}, reason="the signature is wrong")


@pytest.mark.parametrize(
    "access_key", [cyber_source.ACCESS_KEY.upper(), f"{cyber_source.ACCESS_KEY} ", "0", "None"]
)
def test_a_response_that_names_no_key_of_ours_is_not_believed(not_believed, stock, access_key):
    not_believed(callback(stock, req_access_key=access_key), reason="signed with a key that we do not know")


@pytest.mark.parametrize(
    "name",
    [
        "decision",
        "message",
        "req_access_key",
        "req_profile_id",
        "req_reference_number",
        "req_transaction_type",
        "req_transaction_uuid",
        "signed_date_time",
        "signed_field_names",
        "reason_code",
        "transaction_id",
    ],
)
def test_what_matters_must_be_covered_by_the_signature(not_believed, stock, name):
    names = ",".join(each for each in callback(stock)["signed_field_names"].split(",") if each != name)
    not_believed(callback(stock, signed_field_names=names), reason=f"not covered by the signature: {name}")


@pytest.mark.parametrize(
    "games", [lambda names: names.swapcase(), lambda names: names.replace(",", " ,"), "{0},{0}".format]
)
def test_a_list_of_names_that_others_would_read_differently_is_not_believed(not_believed, stock, games):
    names = games(callback(stock)["signed_field_names"])
    not_believed(callback(stock, signed_field_names=names))


def test_a_response_for_another_profile_is_not_believed(not_believed, stock):
    fields = callback(stock, req_profile_id="A1B2C3D4-0000-4000-8000-ABCDEF012345")
    not_believed(fields, reason="for another profile")


# --- Signed by CyberSource, but not what it meant -----------------------------------------------------


def deliver(client, fields: dict[str, str]) -> None:
    assert client.generic("POST", CALLBACK.path, urlencode(fields), FORM).status_code == 200


def test_a_decision_typed_as_an_address_has_no_effect(client, stock):
    deliver(client, callback(stock, "DECLINE", req_bill_to_address_line1="x,decision=ACCEPT"))

    assert the_agreement().status == "Pending"
    assert [task.kind for task in StaffTask.objects.all()] == [TaskKind.NOT_WHAT_WAS_SIGNED]


@pytest.mark.parametrize(
    "name", ["Decision", "DECISION", "decision ", "decision\x00", "decision[]", "req_decision"]
)
def test_another_decision_behind_the_signature_has_no_effect(client, stock, name):
    deliver(client, callback(stock, "DECLINE", unsigned={name: "ACCEPT"}))

    assert the_agreement().status == "Rejected"


def test_unsigned_money_and_tokens_are_not_believed(client, stock):
    fields = callback(stock, payment_token=..., auth_amount=...)
    deliver(client, {**fields, "payment_token": "123", "auth_amount": "0.01"})

    assert (the_agreement().status, the_agreement().payment_token) == ("Current", "")
    assert [task.kind for task in StaffTask.objects.all()] == [TaskKind.TOKEN_MISSING]
