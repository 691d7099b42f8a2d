"""Signatures are CyberSource's own, bit for bit, and nothing else is taken for one."""

import base64
import hashlib
import hmac
from datetime import date

import pytest
from hypothesis import assume, given, settings, strategies as st

from perma_payments.cybersource.signature import SigningKey, SigningKeys, data_to_sign, is_signed, sign

from .. import cyber_source
from . import examples

names = st.text("abcdefghijklmnopqrstuvwxyz_#0123456789", min_size=1, max_size=10)
fields = st.dictionaries(names, st.text()).map(
    lambda drawn: {**drawn, "signed_field_names": ",".join([*drawn, "signed_field_names"])}
)

every_example = pytest.mark.parametrize(
    "fields, signature",
    [
        (examples.REQUEST, examples.REQUEST_SIGNATURE),
        (examples.ALPHABETICAL, examples.ALPHABETICAL_SIGNATURE),
        (examples.RESPONSE, examples.RESPONSE_SIGNATURE),
    ],
    ids=["request", "alphabetical", "response"],
)

every_mistake = pytest.mark.parametrize(
    "signature",
    [examples.SORTED_DATA_SIGNATURE, examples.DECODED_KEY_SIGNATURE, examples.OTHER_AMOUNT_SIGNATURE],
    ids=["sorted data", "decoded key", "other amount"],
)


def mac(text, key):
    return base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()


@pytest.mark.parametrize(
    "fields, text",
    [(examples.REQUEST, examples.REQUEST_TEXT), (examples.RESPONSE, examples.RESPONSE_TEXT)],
    ids=["request", "response"],
)
def test_the_data_to_sign_is_that_of_the_worked_example(fields, text):
    assert data_to_sign(fields) == text


@every_example
def test_the_signature_is_that_of_the_worked_example(fields, signature):
    assert sign(fields, examples.SECRET) == signature


@every_example
def test_the_signature_of_the_worked_example_is_verified(fields, signature):
    assert is_signed({**fields, "signature": signature}, examples.SECRET)


def test_the_order_in_which_fields_come_does_not_matter():
    backwards = dict(reversed(examples.RESPONSE.items()))
    assert sign(backwards, examples.SECRET) == examples.RESPONSE_SIGNATURE


@every_mistake
def test_no_mistake_is_made_in_signing(signature):
    assert sign(examples.REQUEST, examples.SECRET) != signature


@every_mistake
def test_signatures_made_by_common_mistakes_are_refused(signature):
    assert not is_signed({**examples.REQUEST, "signature": signature}, examples.SECRET)


def test_the_mistakes_are_those_of_the_worked_example():
    in_order = [f"{name}={examples.REQUEST[name]}" for name in examples.REQUEST]
    assert mac(",".join(sorted(in_order)), examples.SECRET.encode()) == examples.SORTED_DATA_SIGNATURE
    assert mac(",".join(in_order), bytes.fromhex(examples.SECRET)) == examples.DECODED_KEY_SIGNATURE
    assert sign({**examples.REQUEST, "amount": "15"}, examples.SECRET) == examples.OTHER_AMOUNT_SIGNATURE


def test_a_listed_field_that_is_not_there_is_not_signed_as_empty():
    without = {name: value for name, value in examples.REQUEST.items() if name != "unsigned_field_names"}
    with pytest.raises(KeyError):
        sign(without, examples.SECRET)


RIGHT = examples.RESPONSE_SIGNATURE


@pytest.mark.parametrize(
    "signature",
    [
        "",
        RIGHT[:-1],
        RIGHT[1:],
        RIGHT + "=",
        RIGHT + " ",
        " " + RIGHT,
        RIGHT.lower(),
        RIGHT.replace("+", " "),
        RIGHT.replace("+", "-").replace("/", "_"),
        "é" * 44,
        RIGHT[:-1] + "＝",
        "\ud800",
        RIGHT + "\x00",
    ],
)
def test_another_signature_is_not_verified_whatever_it_is(signature):
    assert not is_signed({**examples.RESPONSE, "signature": signature}, examples.SECRET)


@pytest.mark.parametrize(
    "secret", [examples.SECRET[:-1], examples.SECRET + "\n", examples.SECRET.upper(), cyber_source.SECRET, ""]
)
def test_a_signature_made_with_another_secret_is_not_verified(secret):
    assert not is_signed({**examples.RESPONSE, "signature": RIGHT}, secret)


@settings(deadline=None)
@given(fields=fields)
def test_any_fields_are_signed_as_cybersource_signs_them(fields):
    assert sign(fields, cyber_source.SECRET) == cyber_source.sign(fields)


@settings(deadline=None)
@given(fields=fields)
def test_a_signature_is_44_characters(fields):
    signature = sign(fields, cyber_source.SECRET)
    assert len(signature) == 44 and signature.endswith("=")


@settings(deadline=None)
@given(fields=fields.filter(lambda fields: len(fields) > 1), value=st.text(), data=st.data())
def test_a_change_of_any_signed_value_is_noticed(fields, value, data):
    name = data.draw(st.sampled_from(sorted(fields.keys() - {"signed_field_names"})))
    assume(value != fields[name])
    assert not is_signed({**fields, name: value, "signature": cyber_source.sign(fields)}, cyber_source.SECRET)


# --- The ring ---------------------------------------------------------------------------------------

NEW, OLD = SigningKey("new", "secret of the new"), SigningKey("old", "secret of the old")


def test_the_first_key_of_the_ring_signs():
    assert SigningKeys(NEW, OLD).current is NEW


def test_every_key_of_the_ring_is_found_by_its_access_key():
    ring = SigningKeys(NEW, OLD)
    assert (ring.get("new"), ring.get("old"), ring.get("other")) == (NEW, OLD, None)
    assert list(ring) == [NEW, OLD]


def test_an_empty_ring_is_refused():
    with pytest.raises(ValueError, match=r"^the ring of CyberSource's keys is empty$"):
        SigningKeys()


def test_a_ring_that_repeats_an_access_key_is_refused():
    with pytest.raises(ValueError, match=r"^an access key is repeated$"):
        SigningKeys(NEW, SigningKey("new", "another secret"))


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{!r}".format])
def test_a_key_is_shown_without_its_secret(show):
    assert "new" in show(NEW)
    assert "secret" not in show(NEW)
    assert "secret" not in show([NEW])


# --- A key in the settings --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("AbZ09:a:2026-11-21", SigningKey("AbZ09", "a", date(2026, 11, 21))),
        ("1:a", SigningKey("1", "a")),
        ("x" * 32 + ":a:", SigningKey("x" * 32, "a")),
    ],
)
def test_a_key_is_read_with_or_without_its_date(text, key):
    assert SigningKey.parse(text) == key


@pytest.mark.parametrize("text", ["", "a", ":a", "a:", "a-b:a", "x" * 33 + ":a", "a:a:2026", "a:a:21.11.2026"])
def test_a_malformed_key_is_refused(text):
    with pytest.raises(ValueError):
        SigningKey.parse(text)


@pytest.mark.parametrize(
    ("created_on", "soon"),
    [(date(2024, 11, 21), True), (date(2025, 1, 20), True), (date(2025, 1, 21), False), (None, False)],
)
def test_a_key_ends_soon_within_60_days_of_its_two_years(created_on, soon):
    assert SigningKey("a", "a", created_on).ends_soon(date(2026, 11, 21)) is soon
