"""A POST is a response of CyberSource's to us, signed in all that is read of it, or it is refused."""

import random

import pytest
from hypothesis import assume, given, settings, strategies as st

from perma_payments.billing.transactions import Kind
from perma_payments.cybersource import callback
from perma_payments.cybersource.callback import Callback, CallbackRefused
from perma_payments.cybersource.known_texts import MESSAGES
from perma_payments.cybersource.signature import SigningKey, SigningKeys

from .. import cyber_source
from . import examples
from .orders import KEY, KEYS, TOKEN, form

DECISIONS = ["ACCEPT", "REVIEW", "DECLINE", "ERROR", "CANCEL"]
REQUIRED = [
    "decision",
    "req_transaction_uuid",
    "req_access_key",
    "req_profile_id",
    "req_transaction_type",
    "req_reference_number",
    "message",
    "signed_date_time",
]
SUBSCRIBE_FORM = form(Kind.SUBSCRIBE).fields

every_kind = pytest.mark.parametrize("kind", Kind)


def verify(fields, *, keys=KEYS, profile_id=cyber_source.PROFILE_ID):
    return callback.verify(list(fields.items()), keys=keys, profile_id=profile_id)


def refuse(fields, why=None, **options):
    with pytest.raises(CallbackRefused, match=why and f"^{why}"):
        verify(fields, **options)


def response(decision="ACCEPT", **changes):
    return cyber_source.response(SUBSCRIBE_FORM, decision, **changes)


def names_of(fields):
    return fields["signed_field_names"].split(",")


def signed_in_order(fields, names):
    """The response with its names listed in this order, signed by CyberSource."""
    fields = {**fields, "signed_field_names": ",".join(names)}
    return {**fields, "signature": cyber_source.sign(fields)}


def without_signing(name, fields):
    """The response with one field posted but not covered by the signature."""
    return signed_in_order(fields, [listed for listed in names_of(fields) if listed != name])


# --- What is valid ----------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("decision", [*DECISIONS, "OTHER"])
def test_all_signed_fields_of_a_verified_response_are_read(kind, decision):
    fields = cyber_source.response(form(kind).fields, decision)
    assert verify(fields).fields == {name: value for name, value in fields.items() if name != "signature"}


def test_what_a_response_says_is_read_by_name():
    verified = verify(response(transaction_id="7408214003316000009999", payment_token="7408214003316000005678"))

    assert verified.decision == "ACCEPT"
    assert verified.reason_code == "100"
    assert verified.transaction_id == "7408214003316000009999"
    assert verified.transaction_uuid == "2f1c7c52-7a54-4a2f-9a0e-0f6f2f6b1c01"
    assert verified.transaction_type == "sale,create_payment_token"
    assert verified.reference_number == "PERMA-1234-5678"
    assert verified.amount == "12.50"
    assert verified.currency == "USD"
    assert verified.auth_amount == "12.50"
    assert verified.payment_token == "7408214003316000005678"
    assert verified.message == "Request was processed successfully."


def test_what_a_cancel_does_not_say_is_empty():
    verified = verify(response("CANCEL"))
    said = [verified.reason_code, verified.transaction_id, verified.auth_amount, verified.payment_token]
    assert said == ["", "", "", ""]


def test_an_error_that_never_reached_processing_is_verified():
    verified = verify(response("ERROR", reason_code=..., transaction_id=...))
    assert (verified.decision, verified.reason_code, verified.transaction_id) == ("ERROR", "", "")


def test_the_worked_example_is_verified():
    verified = verify(
        {**examples.RESPONSE, "signature": examples.RESPONSE_SIGNATURE},
        keys=SigningKeys(SigningKey(examples.ACCESS_KEY, examples.SECRET)),
        profile_id=examples.PROFILE_ID,
    )
    assert verified.fields == examples.RESPONSE
    assert verified.fields["req_bill_to_surname"] == "Müller, Jr."


@settings(deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_the_body_does_not_matter(randomness):
    fields = response()
    pairs = list(fields.items())
    randomness.shuffle(pairs)
    assert verify(dict(pairs)) == verify(fields)


def test_the_order_in_which_cybersource_signs_does_not_matter():
    fields = response()
    names = random.Random(1).sample(names_of(fields), k=len(names_of(fields)))
    assert verify(signed_in_order(fields, names)).fields == verify(fields).fields | {
        "signed_field_names": ",".join(names)
    }


@pytest.mark.parametrize("access_key, secret", [("new", "secret of the new"), (KEY.access_key, KEY.secret)])
def test_every_key_of_the_ring_verifies(access_key, secret):
    ring = SigningKeys(SigningKey("new", "secret of the new"), KEY)
    assert verify(response(req_access_key=access_key, secret=secret), keys=ring).decision == "ACCEPT"


def test_a_key_does_not_verify_what_another_of_the_ring_signed():
    ring = SigningKeys(SigningKey("new", "secret of the new"), KEY)
    refuse(response(req_access_key="new"), "the signature is wrong", keys=ring)


@pytest.mark.parametrize(
    "fields, token",
    [
        ({"payment_token": "111"}, "111"),
        ({"payment_token": ..., "req_payment_token": "222"}, "222"),  # as the guide spells it
        ({"payment_token": "111", "req_payment_token": "222"}, "111"),
        ({"payment_token": ...}, ""),
    ],
)
def test_a_new_token_is_read_in_either_spelling(fields, token):
    assert verify(response(**fields)).payment_token == token


@pytest.mark.parametrize("kind", [Kind.CHANGE, Kind.UPDATE])
def test_the_token_that_we_sent_is_not_taken_for_a_new_one(kind):
    sent = form(kind).fields
    assert verify(cyber_source.response(sent)).fields["req_payment_token"] == TOKEN
    assert verify(cyber_source.response(sent)).payment_token == ""
    assert verify(cyber_source.response(sent, payment_token="333")).payment_token == "333"


# --- Our own form, sent back ------------------------------------------------------------------------


def echo(form):
    return {f"req_{name}": value for name, value in form.items()}


@every_kind
@pytest.mark.parametrize(
    "added",
    [
        lambda form: {},
        lambda form: {"decision": "ACCEPT"},
        lambda form: {"decision": "ACCEPT", "message": "Request was processed successfully.", **echo(form)},
        lambda form: {
            "decision": "ACCEPT",
            "message": "",
            "reason_code": "100",
            "transaction_id": "7",
            "auth_amount": "12.50",
            "payment_token": TOKEN,
            **echo(form),
        },
        lambda form: {"decision": "CANCEL", "message": "", **echo(form)},
    ],
    ids=["nothing", "a decision", "and all req_ fields", "and all else", "a CANCEL"],
)
def test_our_own_form_sent_back_is_refused(kind, added):
    fields = form(kind).fields
    refuse({**fields, **added(fields)}, "not covered by the signature: decision")


@every_kind
def test_our_own_form_with_a_longer_field_list_is_refused(kind):
    fields = form(kind).fields
    added = {"decision": "ACCEPT", "message": "", "reason_code": "100", "transaction_id": "7", **echo(fields)}
    names = ",".join([*names_of(fields), *added])
    refuse({**fields, **added, "signed_field_names": names}, "the signature is wrong")


# --- One thing wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [("decision", None), ("signature", ""), ("signed_field_names", "another"), ("message", ""), ("utf8", None)],
)
@pytest.mark.parametrize("place", [0, -1])
def test_a_repeated_key_is_refused_even_with_the_same_value(name, value, place):
    fields = response(unsigned={"utf8": "✓"})
    pairs = list(fields.items())
    pairs.insert(place, (name, fields[name] if value is None else value))
    with pytest.raises(CallbackRefused, match=r"^a key is repeated$"):
        callback.verify(pairs, keys=KEYS, profile_id=cyber_source.PROFILE_ID)


@pytest.mark.parametrize("name", ["signed_field_names", "signature"])
def test_a_response_without_signature_or_list_is_refused(name):
    fields = response()
    del fields[name]
    refuse(fields, "not signed")


@pytest.mark.parametrize("name", ["signed_field_names", "signature"])
def test_a_response_with_an_empty_signature_or_list_is_refused(name):
    refuse({**response(), name: ""}, "not signed")


def test_nothing_at_all_is_refused():
    refuse({}, "not signed")


def test_an_empty_list_is_refused_though_its_signature_is_right():
    fields = {"signed_field_names": "", "decision": "ACCEPT"}
    refuse({**fields, "signature": cyber_source.sign(fields)}, "not signed")


@pytest.mark.parametrize("name", ["decision", "signed_field_names", "req_bill_to_email"])
def test_a_repeated_name_in_the_list_is_refused(name):
    fields = response()
    refuse(signed_in_order(fields, [*names_of(fields), name]), "signed_field_names repeats a name")


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a b",
        " decision",
        "decision ",
        "decision\n",
        "a=b",
        "a.b",
        "ä",
        "ａ",
        "décision",
        "a\x00b",
        "\u200b",
        "a&b",
        "[bill_country]",
    ],
)
def test_a_malformed_name_in_the_list_is_refused_though_signed(name):
    refuse(response(**{name: "x"}), "signed_field_names holds something that is not a name")


@pytest.mark.parametrize("name", ["a-b", "item_#_code", "A1", "req_merchant_defined_data100"])
def test_names_such_as_cybersource_has_are_verified(name):
    assert verify(response(**{name: "x"})).fields[name] == "x"


def test_a_list_that_ends_with_a_comma_is_refused():
    fields = response()
    refuse(
        signed_in_order({**fields, "": ""}, [*names_of(fields), ""]),
        "signed_field_names holds something that is not a name",
    )


def test_a_name_that_is_listed_but_was_not_posted_is_refused():
    # Signed with the absent field left out, and as empty.
    fields = response()
    names = [*names_of(fields), "absent"]
    refuse(signed_in_order(fields, names), "signed_field_names lists what was not posted")
    signature = signed_in_order({**fields, "absent": ""}, names)["signature"]
    refuse(
        {**fields, "signed_field_names": ",".join(names), "signature": signature},
        "signed_field_names lists what was not posted",
    )


def test_a_list_that_names_the_signature_is_refused():
    fields = response()
    refuse(
        signed_in_order(fields, [*names_of(fields), "signature"]), "signed_field_names lists what was not posted"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda signature: "A" + signature[1:] if signature[0] != "A" else "B" + signature[1:],
        lambda signature: signature[:-1],
        lambda signature: signature + "=",
        lambda signature: " " + signature,
        lambda signature: "é" * 44,
        lambda signature: "＝" + signature,
        lambda signature: "\ud800",
        lambda signature: "=",
    ],
    ids=["changed", "cut", "padded", "blank", "not ASCII", "wide", "half a pair", "short"],
)
def test_a_wrong_signature_is_refused(change):
    fields = response()
    refuse({**fields, "signature": change(fields["signature"])}, "the signature is wrong")


def test_a_signature_made_with_another_secret_is_refused():
    refuse(response(secret="another secret"), "the signature is wrong")


def test_a_response_to_another_profile_is_refused():
    refuse(response(req_profile_id="A1B2C3D4-0000-4000-8000-ABCDEF012345"), "for another profile")
    refuse(response(req_profile_id=cyber_source.PROFILE_ID.lower()), "for another profile")
    refuse(response(req_profile_id=""), "for another profile")


@pytest.mark.parametrize("access_key", ["unknown", "", cyber_source.ACCESS_KEY.upper()])
def test_a_response_signed_with_an_unknown_key_is_refused(access_key):
    refuse(response(req_access_key=access_key), "signed with a key that we do not know")


def test_what_is_not_text_is_refused():
    fields = response()
    refuse({**fields, "message": "\ud800"}, "not text")


# --- What must be covered ---------------------------------------------------------------------------


@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize("name", [*REQUIRED, "signed_field_names"])
def test_a_required_field_that_is_not_signed_is_refused(name, decision):
    refuse(without_signing(name, response(decision)), f"not covered by the signature: {name}$")


@pytest.mark.parametrize("name", REQUIRED)
def test_a_required_field_that_is_not_there_is_refused(name):
    refuse(response(**{name: ...}), f"not covered by the signature: {name}$")


@pytest.mark.parametrize("decision", ["ACCEPT", "REVIEW", "DECLINE", "ERROR", "OTHER", ""])
@pytest.mark.parametrize("name", ["reason_code", "transaction_id"])
def test_a_reason_or_an_id_that_is_not_signed_is_refused(name, decision):
    fields = response(decision, reason_code="100", transaction_id="7")
    refuse(without_signing(name, fields), f"not covered by the signature: {name}$")


@pytest.mark.parametrize("name", ["reason_code", "transaction_id"])
def test_unsigned_fields_of_a_cancel_are_not_read(name):
    verified = verify(response("CANCEL", unsigned={name: "100"}))
    assert name not in verified.fields
    assert (verified.reason_code, verified.transaction_id) == ("", "")


def test_fields_behind_the_signature_are_not_read():
    fields = response("CANCEL", req_amount=..., req_currency=...)
    evil = {
        "reason_code": "100",
        "transaction_id": "7",
        "req_amount": "0.01",
        "req_currency": "XXX",
        "auth_amount": "0.01",
        "payment_token": "1",
        "req_payment_token": "1",
        "utf8": "✓",
        "merchant_id": "example",
    }
    assert verify({**fields, **evil}) == verify(fields)


def test_what_was_verified_cannot_be_changed():
    verified = verify(response())
    with pytest.raises(TypeError):
        verified.fields["decision"] = "CANCEL"


# --- The same signed text, cut up in another way ----------------------------------------------------


def cut_again(names, typed, fields, forged):
    """What a customer could post who typed ``typed`` as an address: the same text under the same signature.

    ``forged`` says what the fields in front are to be; the last of them takes what is left over. Returns
    the honest response and the forged one.
    """
    rest = [name for name in names_of(fields) if name not in names]
    honest = signed_in_order({**fields, "req_bill_to_address_line1": typed}, [*names, *rest])
    dishonest = {**honest, **forged}
    assert dishonest != honest
    assert names_of(dishonest) == names_of(honest)
    # CyberSource's signature is right for both.
    assert cyber_source.sign(dishonest) == honest["signature"] == dishonest["signature"]
    return honest, dishonest


@pytest.mark.parametrize(
    "name, value",
    [
        ("decision", "ACCEPT"),
        ("message", "Request was processed successfully."),
        ("reason_code", "100"),
        ("transaction_id", "7408214003316000009999"),
        ("req_transaction_uuid", "00000000-0000-4000-8000-000000000000"),
        ("req_transaction_type", "sale"),
        ("req_reference_number", "PERMA-0000-0001"),
        ("req_profile_id", cyber_source.PROFILE_ID),
        ("signed_date_time", "2026-11-21T12:00:00Z"),
        ("req_amount", "0.01"),
        ("req_currency", "XXX"),
        ("auth_amount", "12.50"),
        ("payment_token", "1"),
        ("req_payment_token", "1"),
        ("Note_1", "1"),
    ],
)
def test_a_field_typed_as_an_address_is_ambiguous(name, value):
    true = response("DECLINE", auth_amount="5.00", payment_token="7", req_profile_id="another", Note_1="0")
    if name == "req_payment_token":  # as the guide spells a new token
        true = response("DECLINE", payment_token=..., req_payment_token="7")
    if name != "req_profile_id":
        true["req_profile_id"] = cyber_source.PROFILE_ID
    typed = f"x,{name}={value},req_locale=en"

    honest, forged = cut_again(
        ["req_bill_to_address_line1", name, "req_locale"],
        typed,
        true,
        {
            "req_bill_to_address_line1": "x",
            name: value,
            "req_locale": f"en,{name}={true[name]},req_locale={true['req_locale']}",
        },
    )

    # Which of them CyberSource meant cannot be told, so neither is acted upon.
    assert verify(forged).is_ambiguous
    if name == "req_profile_id":
        refuse(honest, "for another profile")
    else:
        assert verify(honest).is_ambiguous


@pytest.mark.parametrize("name", ["decision", "reason_code", "transaction_id", "req_currency", "auth_amount"])
def test_a_value_cannot_be_extended_by_a_typed_address(name):
    true = response()
    typed = "x,req_locale=en,req_bill_to_address_line1=y"

    _, forged = cut_again(
        [name, "req_locale", "req_bill_to_address_line1"],
        typed,
        true,
        {
            name: f"{true[name]},req_locale={true['req_locale']},req_bill_to_address_line1=x",
            "req_locale": "en",
            "req_bill_to_address_line1": "y",
        },
    )

    assert verify(forged).is_ambiguous


@pytest.mark.parametrize(
    "address",
    [
        "1 Main Street, Apt. 2",
        "decision=ACCEPT",
        "x, decision=ACCEPT",
        "c/o decision",
        "1,2,3",
        "a=b,c=d",
        "a,xdecision=1",
        "a,decision",
        "a,Decision=1",
    ],
)
def test_an_address_with_commas_and_equals_signs_is_verified(address):
    verified = verify(response(req_bill_to_address_line1=address))
    assert verified.fields["req_bill_to_address_line1"] == address
    assert not verified.is_ambiguous


# --- What the message may say -----------------------------------------------------------------------


def message(text, **fields):
    return verify(response("DECLINE", message=text, **fields)).message


@pytest.mark.parametrize(
    "text", ["Request was processed successfully.", "The consumer cancelled the transaction", ""]
)
def test_a_message_of_cybersources_own_is_read_as_it_is(text):
    assert message(text) == message(f" {text}\r\n") == text


@pytest.mark.parametrize(
    "text",
    [
        "Request was processed successfully. Erin",
        "Request was processed successfully",
        "request was processed successfully.",
        "Erin cancelled the transaction",
        "The following request field(s) is either invalid or missing: Spr\u0069ngfield",
        "E r i n",
        "\x00",
        "X" * 10_000,
    ],
)
def test_any_other_message_is_withheld_because_it_may_quote_the_customer(text):
    assert message(text) == "(withheld)"


@settings(deadline=None)
@given(st.text())
def test_a_message_is_one_of_the_known_ones_or_withheld(text):
    assert Callback({"message": text}).message in MESSAGES | {"(withheld)"}


# --- Whatever comes ---------------------------------------------------------------------------------

any_text = st.text(st.characters())  # with halves of surrogate pairs, which a percent-encoded body can spell
known_names = st.sampled_from([*REQUIRED, "signed_field_names", "signature", "reason_code", "transaction_id"])


@settings(deadline=None)
@given(st.lists(st.tuples(any_text | known_names, any_text | st.just("signed_field_names,decision"))))
def test_verifying_anything_raises_only_refusals(pairs):
    with pytest.raises(CallbackRefused):
        callback.verify(pairs, keys=KEYS, profile_id=cyber_source.PROFILE_ID)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(response())), any_text, min_size=1))
def test_any_changed_fields_are_refused(changes):
    fields = response()
    assume(any(fields[name] != value for name, value in changes.items()))
    refuse({**fields, **changes})


@settings(deadline=None)
@given(st.dictionaries(any_text.filter(lambda name: name not in ("secret", "unsigned")), any_text))
def test_verifying_any_signed_fields_raises_only_refusals(added):
    fields = {**response(), **added}
    names = [name for name in fields if name != "signature"]
    try:
        fields = signed_in_order(fields, names)
        verify(fields)
    except (CallbackRefused, UnicodeEncodeError) as error:
        # Halves of surrogate pairs cannot be encoded, so they cannot be signed either.
        assert isinstance(error, CallbackRefused) or "surrogates" in error.reason


@settings(deadline=None)
@given(st.sampled_from(DECISIONS), st.data())
def test_a_change_of_any_character_of_any_signed_value_is_refused(decision, data):
    fields = response(decision)
    name = data.draw(st.sampled_from([name for name in names_of(fields) if fields[name]]))
    value = fields[name]
    place = data.draw(st.integers(0, len(value) - 1))
    character = data.draw(st.characters().filter(lambda character: character != value[place]))
    refuse({**fields, name: value[:place] + character + value[place + 1 :]})


# --- What refusals say ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: {**fields, "signature": "Zaphod-424242"},
        lambda fields: {**fields, "signed_field_names": "Zaphod 424242"},
        lambda fields: {**fields, "signed_field_names": "Zaphod-424242"},
        lambda fields: {**fields, "signed_field_names": "Zaphod-424242,Zaphod-424242"},
        lambda fields: response(Zaphod_424242="x", signed_field_names="Zaphod_424242"),
        lambda fields: response(req_access_key="Zaphod-424242"),
        lambda fields: response(req_profile_id="Zaphod-424242"),
        lambda fields: {**fields, "message": "Zaphod-424242\ud800"},
    ],
)
def test_a_refusal_does_not_say_what_was_posted(change):
    with pytest.raises(CallbackRefused) as refusal:
        verify(change(response()))
    assert "Zaphod" not in repr(refusal.value) and "424242" not in repr(refusal.value)
    assert refusal.value.__context__ is None or refusal.value.__suppress_context__
