"""The strict check of a signed form. Each test takes a valid form and breaks one thing."""

from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from sandbox.config import DEFAULT_CS_ACCESS_KEY, DEFAULT_CS_SECRET, Config
from sandbox.cybersource.form import AcceptedForm, RefusedForm, check_form, read_body

from .builders import (
    FORM_DATA,
    NOW,
    PATH_BY_TYPE,
    TYPES,
    encoded,
    signed_form,
    unsigned_form,
    with_lists,
    with_signature,
)

CREATE, UPDATE = "sale,create_payment_token", "update_payment_token"
LISTED = with_lists(unsigned_form())
SECOND_KEY = "b" * 32


def check(fields, path=None, config=None, now=NOW):
    """Check fields: a dict, or pairs if a name is repeated."""
    pairs = list(fields.items()) if isinstance(fields, dict) else fields
    path = path or PATH_BY_TYPE.get(dict(pairs).get("transaction_type"), "/pay")
    return check_form(path, pairs, config or Config(), now)


def assert_refused(verdict, *words):
    """Assert that a form is refused, for a reason that contains `words`."""
    assert isinstance(verdict, RefusedForm), verdict
    for word in words:
        assert word in verdict.reason


def assert_accepted(verdict):
    """Assert that a form is accepted, with valid values."""
    assert isinstance(verdict, AcceptedForm), verdict
    assert verdict.invalid_fields == ()
    return verdict


@pytest.mark.parametrize("transaction_type", TYPES)
def test_a_valid_form_is_accepted_without_notes(transaction_type):
    form = assert_accepted(check(signed_form(transaction_type)))
    assert form.transaction_type == transaction_type
    assert form.notes == ()
    assert "signature" not in form.fields


# The body


@pytest.mark.parametrize("body", [b"amount", b"a=1&&b=2", b"a=%ff", "a=ü".encode(), b"\xff=1", b"a=1&" * 600])
def test_a_body_that_is_not_form_data_is_refused(body):
    assert_refused(read_body(FORM_DATA, body), "form data")


def test_a_body_of_another_type_is_refused():
    assert_refused(read_body("multipart/form-data", encoded(signed_form())), FORM_DATA)


def test_an_empty_body_is_read_and_the_form_refused():
    assert_refused(check(read_body(FORM_DATA, b"")), "missing")


def test_special_characters_in_a_value_are_kept():
    fields = signed_form(reference_number="a+b/c=d&e, ü")
    assert_accepted(check(read_body(FORM_DATA, encoded(fields))))


@given(st.binary(max_size=300))
def test_no_body_is_an_error(body):
    pairs = read_body(FORM_DATA, body)
    assert isinstance(pairs, RefusedForm) or isinstance(check(pairs), RefusedForm)


# The lists


@pytest.mark.parametrize("name", ["signature", "signed_field_names", "unsigned_field_names"])
def test_the_lists_and_the_signature_must_be_posted(name):
    fields = signed_form()
    del fields[name]
    assert_refused(check(fields), name, "missing")


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"csrfmiddlewaretoken": "x"}, ["neither of the two lists", "csrfmiddlewaretoken"]),
        ({"unsigned_field_names": "card_number"}, ["listed but not posted", "card_number"]),
        ({"unsigned_field_names": "amount"}, ["listed twice", "amount"]),
        ({"unsigned_field_names": "signature"}, ["signature must be in neither"]),
        ({"signed_field_names": LISTED["signed_field_names"] + ",card_number"}, ["listed but not posted"]),
        ({"signed_field_names": LISTED["signed_field_names"] + ",amount"}, ["listed twice", "amount"]),
        ({"signed_field_names": LISTED["signed_field_names"] + ",signature"}, ["signature must be in neither"]),
        (
            {"signed_field_names": LISTED["signed_field_names"].replace(",amount", ", amount")},
            ["space", "' amount'"],
        ),
        ({"signed_field_names": "", "unsigned_field_names": ",".join(LISTED)}, ["required to be signed"]),
    ],
)
def test_lists_that_do_not_match_the_fields_are_refused(changes, words):
    assert_refused(check({**signed_form(), **changes}), *words)


def test_a_repeated_field_is_refused():
    fields = signed_form()
    assert_refused(check([*fields.items(), ("amount", fields["amount"])]), "repeated", "amount")


# The fields that must be signed

REQUIRED = [
    ("sale", "access_key"),
    ("sale", "profile_id"),
    ("sale", "transaction_uuid"),
    ("sale", "signed_date_time"),
    ("sale", "locale"),
    ("sale", "transaction_type"),
    ("sale", "reference_number"),
    ("sale", "amount"),
    ("sale", "currency"),
    (CREATE, "amount"),
    (CREATE, "recurring_amount"),
    (CREATE, "recurring_frequency"),
    (UPDATE, "transaction_uuid"),
    (UPDATE, "payment_token"),
    (UPDATE, "allow_payment_token_update"),
    ("sale,update_payment_token", "amount"),
    ("sale,update_payment_token", "payment_token"),
    ("sale,update_payment_token", "allow_payment_token_update"),
]


@pytest.mark.parametrize("transaction_type, name", REQUIRED)
def test_a_required_field_that_is_missing_is_refused(transaction_type, name):
    fields = signed_form(transaction_type, **{name: None})
    assert_refused(check(fields, PATH_BY_TYPE[transaction_type]), "required and missing", name)


@pytest.mark.parametrize("transaction_type, name", REQUIRED)
def test_a_required_field_that_is_not_signed_is_refused(transaction_type, name):
    fields = with_signature(with_lists(unsigned_form(transaction_type), unsigned=[name]))
    assert_refused(check(fields), "required to be signed", name)


def test_the_list_of_unsigned_fields_must_be_signed():
    signed = LISTED["signed_field_names"].removesuffix(",unsigned_field_names")
    fields = {**LISTED, "signed_field_names": signed, "unsigned_field_names": "unsigned_field_names"}
    assert_refused(check(with_signature(fields)), "required to be signed")


def test_a_plain_update_may_have_amount_and_currency():
    assert "amount" not in unsigned_form(UPDATE)
    assert_accepted(check(signed_form(UPDATE, amount="0.00", currency="USD")))


# Account, signature, clock


def test_an_unknown_access_key_is_refused():
    assert_refused(check(signed_form(access_key="a" * 32)), "access_key")


def test_another_profile_is_refused():
    assert_refused(check(signed_form(profile_id="5A4DB0C5-0000-4000-8000-000000000002")), "profile_id")


@pytest.mark.parametrize("name", sorted(signed_form()))
def test_no_field_can_be_changed_after_signing(name):
    fields = signed_form()
    assert_refused(check({**fields, name: fields[name] + "1"}))


def test_a_changed_amount_breaks_the_signature():
    assert_refused(check({**signed_form(), "amount": "0.01"}), "signature")


@pytest.mark.parametrize(
    "access_key, secret, is_accepted",
    [
        (DEFAULT_CS_ACCESS_KEY, "another secret", False),
        (SECOND_KEY, "the second secret", True),
        (SECOND_KEY, DEFAULT_CS_SECRET, False),
    ],
)
def test_each_access_key_has_its_own_secret(access_key, secret, is_accepted):
    config = Config(cs_keys={DEFAULT_CS_ACCESS_KEY: DEFAULT_CS_SECRET, SECOND_KEY: "the second secret"})
    fields = with_signature(with_lists(unsigned_form(access_key=access_key)), secret)
    assert isinstance(check(fields, config=config), AcceptedForm if is_accepted else RefusedForm)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "2026-03-10T09:30:00",
        "2026-03-10T09:30:00.000Z",
        "2026-03-10T09:30:00+00:00",
        "2026-03-10 09:30:00Z",
        "2026-3-10T09:30:00Z",
        "2026-02-30T09:30:00Z",
        "２026-03-10T09:30:00Z",
        " 2026-03-10T09:30:0Z",
    ],
)
def test_a_time_in_another_format_is_refused(value):
    assert_refused(check(signed_form(signed_date_time=value)), "signed_date_time")


@pytest.mark.parametrize("minutes", [15, -15])
def test_a_form_may_be_fifteen_minutes_old_or_ahead(minutes):
    assert_accepted(check(signed_form(), now=NOW + timedelta(minutes=minutes)))


@pytest.mark.parametrize("seconds", [15 * 60 + 1, -15 * 60 - 1])
def test_a_form_that_is_older_or_further_ahead_is_refused(seconds):
    assert_refused(check(signed_form(), now=NOW + timedelta(seconds=seconds)), "15 minutes")


# Path and type


@pytest.mark.parametrize(
    "transaction_type, path, is_accepted",
    [
        ("sale", "/pay", True),
        ("sale", "/oneclick/pay", False),  # has no payment_token
        ("sale", "/token/update", False),
        (CREATE, "/pay", True),
        (CREATE, "/oneclick/pay", False),
        (CREATE, "/token/update", False),
        (UPDATE, "/pay", True),
        (UPDATE, "/oneclick/pay", False),
        (UPDATE, "/token/update", True),
        ("sale,update_payment_token", "/pay", True),
        ("sale,update_payment_token", "/oneclick/pay", True),
        ("sale,update_payment_token", "/token/update", False),
    ],
)
def test_a_path_accepts_only_its_own_types(transaction_type, path, is_accepted):
    verdict = check(signed_form(transaction_type), path)
    assert isinstance(verdict, AcceptedForm if is_accepted else RefusedForm)


def test_a_sale_with_a_stored_card_goes_to_oneclick():
    assert_accepted(check(signed_form(payment_token="7408214003316000001234"), "/oneclick/pay"))


@pytest.mark.parametrize(
    "value", ["", "Sale", "sale, create_payment_token", "create_payment_token,sale", "refund"]
)
def test_another_transaction_type_is_refused(value):
    assert_refused(check(signed_form(transaction_type=value)), "transaction_type")


# Values


@pytest.mark.parametrize(
    "name, value",
    [
        ("amount", "12,50"),
        ("amount", "-1.00"),
        ("amount", ""),
        ("amount", "15"),
        ("amount", "15.0"),
        ("amount", "1234567890123.00"),
        ("amount", "１5.00"),
        ("amount", " 15.00"),
        ("amount", "15.00\n"),
        ("amount", "1e2"),
        ("currency", "usd"),
        ("currency", ""),
        ("locale", "en_us"),
        ("locale", ""),
        ("transaction_uuid", ""),
        ("transaction_uuid", "x" * 51),
        ("transaction_uuid", "ü"),
        ("reference_number", ""),
        ("reference_number", "x" * 51),
        ("reference_number", "<b>"),
        ("reference_number", "PERMA\n1"),
        ("payment_method", "Card"),
        ("recurring_amount", ""),
        ("recurring_frequency", "yearly"),
        ("recurring_frequency", ""),
        ("recurring_start_date", "2026-04-01"),
        ("recurring_start_date", "20260431"),
        ("recurring_start_date", "2026041"),
        ("bill_to_email", "nobody"),
        ("bill_to_address_country", "USA"),
        ("bill_to_forename", "\U0001f600"),
    ],
)
def test_a_bad_value_is_accepted_and_named(name, value):
    verdict = check(signed_form(CREATE, **{name: value}))
    assert isinstance(verdict, AcceptedForm)
    assert verdict.invalid_fields == (name,)


@pytest.mark.parametrize(
    "name, value",
    [
        ("payment_token", ""),
        ("payment_token", "12 34"),
        ("payment_token", "x" * 33),
        ("allow_payment_token_update", "false"),
        ("allow_payment_token_update", ""),
    ],
)
def test_a_bad_value_of_an_update_is_accepted_and_named(name, value):
    verdict = check(signed_form(UPDATE, **{name: value}))
    assert isinstance(verdict, AcceptedForm)
    assert verdict.invalid_fields == (name,)


@pytest.mark.parametrize(
    "name, value",
    [
        ("amount", "0.00"),
        ("amount", "000000000015.00"),
        ("locale", "de-de"),
        ("reference_number", "Größe 1, (x)"),
        ("recurring_frequency", "semi-annually"),
        ("recurring_start_date", "20280229"),
        ("bill_to_surname", "Müller, Jr."),
        ("bill_to_address_state", ""),
    ],
)
def test_a_good_value_is_not_named(name, value):
    assert_accepted(check(signed_form(CREATE, **{name: value})))


def test_all_bad_values_are_named_at_once():
    verdict = check(signed_form(amount="x", locale="x"))
    assert set(verdict.invalid_fields) == {"amount", "locale"}


@given(
    transaction_type=st.sampled_from(TYPES),
    name=st.sampled_from(sorted(unsigned_form("sale,update_payment_token"))),
    value=st.text(st.characters(codec="utf-8")),
)
def test_no_signed_value_is_an_error(transaction_type, name, value):
    fields = signed_form(transaction_type, **{name: value})
    assert isinstance(check(fields, "/pay"), AcceptedForm | RefusedForm)


# Notes


@pytest.mark.parametrize(
    "transaction_type, changes, word",
    [
        ("sale", {"recurring_amount": "5.00"}, "recurring_amount"),
        (CREATE, {"payment_token": "1234"}, "payment_token"),
        (CREATE, {"recurring_start_date": None}, "tomorrow"),
        (CREATE, {"recurring_start_date": "20260309"}, "passed"),
        ("sale", {"customer_number": "7"}, "customer_number"),
    ],
)
def test_what_is_unusual_but_not_wrong_is_noted(transaction_type, changes, word):
    form = assert_accepted(check(signed_form(transaction_type, **changes)))
    assert any(word in note for note in form.notes)


def test_an_optional_field_that_is_not_signed_is_noted():
    fields = with_lists(unsigned_form(CREATE), unsigned=["recurring_start_date"])
    form = assert_accepted(check(with_signature(fields)))
    assert any("recurring_start_date" in note for note in form.notes)
