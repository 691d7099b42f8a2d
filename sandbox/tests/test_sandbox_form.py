"""The strict check of a signed form. Each test takes a valid form and breaks one thing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings, strategies as st

from sandbox.config import DEFAULT_CS_ACCESS_KEY, DEFAULT_CS_PROFILE_ID, DEFAULT_CS_SECRET
from sandbox.cybersource.form import Order, Refusal, Rules, check_form, read_body

from .builders import NOW, PATH_BY_TYPE, TYPES, encoded, signed_form, unsigned_form, with_lists, with_signature

RULES = Rules(
    profile_id=DEFAULT_CS_PROFILE_ID,
    keys={DEFAULT_CS_ACCESS_KEY: DEFAULT_CS_SECRET},
    strict_clock=True,
    token_update_on_pay=True,
)


def check(fields, path=None, rules=RULES, now=NOW):
    """Check fields: a dict, or pairs where a name is repeated."""
    pairs = list(fields.items()) if isinstance(fields, dict) else fields
    path = path or PATH_BY_TYPE.get(dict(pairs).get("transaction_type"), "/pay")
    return check_form(path, pairs, rules, now)


def assert_refused(verdict, *words):
    """Assert that a form is refused, for a reason in which `words` occur."""
    assert isinstance(verdict, Refusal), verdict
    for word in words:
        assert word in verdict.reason


def assert_accepted(verdict):
    """Assert that a form is accepted, with valid values; the order."""
    assert isinstance(verdict, Order), verdict
    assert verdict.invalid_fields == ()
    return verdict


@pytest.mark.parametrize("transaction_type", TYPES)
def test_a_valid_form_of_each_type_is_accepted_without_notes(transaction_type):
    order = assert_accepted(check(signed_form(transaction_type)))
    assert order.transaction_type == transaction_type
    assert order.notes == ()
    assert "signature" not in order.fields


# The body


@pytest.mark.parametrize("body", [b"amount", b"a=1&&b=2", b"a=%ff", "a=ü".encode(), b"\xff=1", b"a=1&" * 600])
def test_a_body_that_is_no_form_data_is_refused(body):
    assert isinstance(read_body(body), Refusal)


def test_an_empty_body_is_read_and_the_form_refused():
    assert_refused(check(read_body(b"")), "missing")


def test_plus_slash_and_equals_in_a_value_arrive_as_they_are():
    fields = signed_form(consumer_id="a+b/c=d&e, ü")
    assert_accepted(check(read_body(encoded(fields))))


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_body_is_an_error(body):
    pairs = read_body(body)
    assert isinstance(pairs, Refusal) or isinstance(check(pairs), Refusal)


# The lists


@pytest.mark.parametrize("name", ["signature", "signed_field_names", "unsigned_field_names"])
def test_the_lists_and_the_signature_must_be_posted(name):
    fields = signed_form()
    del fields[name]
    assert_refused(check(fields), name, "missing")


def test_a_field_in_neither_list_is_refused():
    assert_refused(
        check({**signed_form(), "csrfmiddlewaretoken": "x"}), "neither of the two lists", "csrfmiddlewaretoken"
    )


def test_a_listed_field_that_is_not_posted_is_refused():
    fields = with_lists(unsigned_form(tax_amount="1.00"))
    fields = with_signature(fields)
    del fields["tax_amount"]
    assert_refused(check(fields), "listed but not posted", "tax_amount")


def test_an_unsigned_field_that_is_not_posted_is_refused():
    fields = with_lists(unsigned_form())
    fields = with_signature({**fields, "unsigned_field_names": "card_number"})
    assert_refused(check(fields), "listed but not posted", "card_number")


def test_a_field_in_both_lists_is_refused():
    fields = with_lists(unsigned_form())
    fields = with_signature({**fields, "unsigned_field_names": "amount"})
    assert_refused(check(fields), "listed twice", "amount")


def test_a_field_twice_in_a_list_is_refused():
    fields = with_lists(unsigned_form())
    fields["signed_field_names"] += ",amount"
    assert_refused(check(with_signature(fields)), "listed twice", "amount")


@pytest.mark.parametrize("name", ["signed_field_names", "unsigned_field_names"])
def test_the_signature_in_a_list_is_refused(name):
    fields = with_lists(unsigned_form())
    fields[name] = f"{fields[name]},signature".lstrip(",")
    assert_refused(check({**fields, "signature": "x" * 44}), "signature must be in neither")


def test_a_blank_in_a_list_is_refused():
    fields = with_lists(unsigned_form())
    fields["signed_field_names"] = fields["signed_field_names"].replace(",amount", ", amount")
    assert_refused(check({**fields, "signature": "x" * 44}), "space", "' amount'")


def test_an_empty_list_of_signed_fields_is_refused():
    fields = with_lists(unsigned_form())
    everything = ",".join(fields)
    fields = {**fields, "signed_field_names": "", "unsigned_field_names": everything}
    assert_refused(check({**fields, "signature": "x" * 44}), "required to be signed")


def test_a_repeated_field_is_refused_even_with_the_same_value():
    fields = signed_form()
    pairs = [*fields.items(), ("amount", fields["amount"])]
    assert_refused(check(pairs), "repeated", "amount")


# The fields that must be signed

ALWAYS = [
    "access_key",
    "profile_id",
    "transaction_uuid",
    "signed_date_time",
    "locale",
    "transaction_type",
    "reference_number",
]
REQUIRED = [
    *((kind, name) for kind in TYPES for name in ALWAYS),
    *((kind, name) for kind in TYPES if kind != "update_payment_token" for name in ("amount", "currency")),
    *(
        (kind, name)
        for kind in TYPES
        if "update" in kind
        for name in ("payment_token", "allow_payment_token_update")
    ),
    ("sale,create_payment_token", "recurring_amount"),
    ("sale,create_payment_token", "recurring_frequency"),
]


@pytest.mark.parametrize("transaction_type, name", REQUIRED)
def test_a_required_field_that_is_missing_is_refused(transaction_type, name):
    fields = signed_form(transaction_type, **{name: None})
    assert_refused(check(fields, PATH_BY_TYPE[transaction_type]), "required and missing", name)


@pytest.mark.parametrize("transaction_type, name", REQUIRED)
def test_a_required_field_that_is_not_signed_is_refused(transaction_type, name):
    fields = with_signature(with_lists(unsigned_form(transaction_type), unsigned=[name]))
    assert_refused(check(fields), "required to be signed", name)


def test_the_list_of_unsigned_fields_must_itself_be_signed():
    fields = with_lists(unsigned_form())
    fields["signed_field_names"] = fields["signed_field_names"].removesuffix(",unsigned_field_names")
    fields["unsigned_field_names"] = "unsigned_field_names"
    assert_refused(check(with_signature(fields)), "required to be signed")


def test_a_plain_update_needs_neither_amount_nor_currency_and_may_have_both():
    assert "amount" not in unsigned_form("update_payment_token")
    assert_accepted(check(signed_form("update_payment_token", amount="0.00", currency="USD")))


def test_an_optional_field_that_is_not_signed_is_accepted_with_a_note():
    fields = with_signature(
        with_lists(unsigned_form("sale,create_payment_token"), unsigned=["recurring_start_date"])
    )
    order = assert_accepted(check(fields))
    assert any("recurring_start_date" in note for note in order.notes)


# Account, signature, clock


def test_an_unknown_access_key_is_refused():
    assert_refused(check(signed_form(access_key="a" * 32)), "access_key")


def test_another_profile_is_refused():
    assert_refused(check(signed_form(profile_id="5A4DB0C5-0000-4000-8000-000000000002")), "profile_id")


@pytest.mark.parametrize("name", sorted(signed_form()))
def test_no_field_can_be_altered_after_signing(name):
    fields = signed_form()
    assert_refused(check({**fields, name: fields[name] + "1"}))


def test_an_altered_amount_breaks_the_signature():
    assert_refused(check({**signed_form(), "amount": "0.01"}), "signature")


def test_a_form_signed_with_another_secret_is_refused():
    fields = with_signature(with_lists(unsigned_form()), "another secret")
    assert_refused(check(fields), "signature")


def test_each_access_key_has_its_own_secret():
    second = "b" * 32
    rules = replace(RULES, keys={**RULES.keys, second: "the second secret"})
    fields = with_lists(unsigned_form(access_key=second))
    assert_accepted(check(with_signature(fields, "the second secret"), rules=rules))
    assert_refused(check(with_signature(fields, DEFAULT_CS_SECRET), rules=rules), "signature")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "2026-03-10T09:30:00",
        "2026-03-10T09:30:00.000Z",
        "2026-03-10T09:30:00+00:00",
        "2026-03-10 09:30:00Z",
        "2026-3-10T09:30:00Z",
        "2026-03-10T09:30:00z",
        "2026-13-10T09:30:00Z",
        "2026-02-30T09:30:00Z",
        "２026-03-10T09:30:00Z",
        " 2026-03-10T09:30:0Z",
    ],
)
def test_a_time_in_another_format_is_refused(value):
    assert_refused(check(signed_form(signed_date_time=value)), "signed_date_time")


@pytest.mark.parametrize("minutes, is_accepted", [(15, True), (-15, True)])
def test_a_form_may_be_fifteen_minutes_old_or_ahead(minutes, is_accepted):
    assert_accepted(check(signed_form(), now=NOW + timedelta(minutes=minutes)))


@pytest.mark.parametrize("seconds", [15 * 60 + 1, -15 * 60 - 1])
def test_a_form_older_or_further_ahead_is_refused_unless_the_clock_is_not_strict(seconds):
    now = NOW + timedelta(seconds=seconds)
    assert_refused(check(signed_form(), now=now), "15 minutes")
    assert_accepted(check(signed_form(), now=now, rules=replace(RULES, strict_clock=False)))


# Path and type


@pytest.mark.parametrize(
    "transaction_type, path, is_accepted",
    [
        ("sale", "/pay", True),
        ("sale", "/oneclick/pay", False),  # has no payment_token
        ("sale", "/token/create", False),
        ("sale", "/token/update", False),
        ("sale,create_payment_token", "/pay", True),
        ("sale,create_payment_token", "/oneclick/pay", False),
        ("sale,create_payment_token", "/token/create", False),
        ("sale,create_payment_token", "/token/update", False),
        ("update_payment_token", "/pay", True),
        ("update_payment_token", "/oneclick/pay", False),
        ("update_payment_token", "/token/create", False),
        ("update_payment_token", "/token/update", True),
        ("sale,update_payment_token", "/pay", True),
        ("sale,update_payment_token", "/oneclick/pay", True),
        ("sale,update_payment_token", "/token/create", False),
        ("sale,update_payment_token", "/token/update", False),
    ],
)
def test_a_path_takes_its_own_types_only(transaction_type, path, is_accepted):
    verdict = check(signed_form(transaction_type), path)
    assert isinstance(verdict, Order if is_accepted else Refusal)


def test_a_sale_with_a_stored_card_goes_to_oneclick():
    assert_accepted(check(signed_form(payment_token="7408214003316000001234"), "/oneclick/pay"))


def test_a_plain_update_at_pay_can_be_switched_off():
    rules = replace(RULES, token_update_on_pay=False)
    assert_refused(check(signed_form("update_payment_token"), "/pay", rules), "/pay")
    assert_accepted(check(signed_form("update_payment_token"), "/token/update", rules))


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
        ("amount", "1x.00"),
        ("amount", "-1.00"),
        ("amount", "$5.00"),
        ("amount", ""),
        ("amount", "15"),
        ("amount", "15.0"),
        ("amount", "1.2.3"),
        ("amount", "1234567890123.00"),
        ("amount", "１5.00"),
        ("amount", " 15.00"),
        ("amount", "15.00\n"),
        ("amount", "NaN"),
        ("amount", "1e2"),
        ("currency", "usd"),
        ("currency", "US"),
        ("currency", ""),
        ("locale", "en_us"),
        ("locale", "xx-xx"),
        ("locale", ""),
        ("locale", "EN-US"),
        ("transaction_uuid", ""),
        ("transaction_uuid", "x" * 51),
        ("transaction_uuid", "ü"),
        ("reference_number", ""),
        ("reference_number", "x" * 51),
        ("reference_number", "<b>"),
        ("reference_number", "PERMA\n1"),
        ("payment_method", "Card"),
        ("payment_method", "bitcoin"),
        ("recurring_amount", "x"),
        ("recurring_amount", ""),
        ("recurring_frequency", "yearly"),
        ("recurring_frequency", ""),
        ("recurring_start_date", "2026-04-01"),
        ("recurring_start_date", "20260431"),
        ("recurring_start_date", "soon"),
        ("recurring_start_date", "2026041"),
        ("recurring_number_of_installments", "1000"),
        ("recurring_number_of_installments", "61"),
        ("recurring_automatic_renew", "yes"),
        ("consumer_id", "x" * 101),
        ("merchant_defined_data7", "\U0001f600"),
        ("bill_to_email", "nobody"),
        ("bill_to_address_country", "USA"),
        ("bill_to_phone", "123"),
        ("override_custom_receipt_page", "javascript:alert(1)"),
        ("customer_ip_address", "1.2.3.400"),
        ("line_item_count", "201"),
    ],
)
def test_a_bad_value_in_a_signed_form_is_accepted_and_named(name, value):
    verdict = check(signed_form("sale,create_payment_token", **{name: value}))
    assert isinstance(verdict, Order)
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
    verdict = check(signed_form("update_payment_token", **{name: value}))
    assert isinstance(verdict, Order)
    assert verdict.invalid_fields == (name,)


@pytest.mark.parametrize(
    "name, value",
    [
        ("amount", "0.00"),
        ("amount", "000000000015.00"),
        ("locale", "en"),
        ("locale", "de-de"),
        ("reference_number", "Größe 1, (x)"),
        ("recurring_frequency", "semi-annually"),
        ("recurring_start_date", "20280229"),
        ("recurring_number_of_installments", "60"),
        ("bill_to_surname", "Müller, Jr."),
        ("bill_to_address_line2", ""),
        ("merchant_defined_data100", "x" * 100),
        ("item_199_unit_price", "1.00"),
        ("customer_ip_address", "192.0.2.1"),
        ("ignore_avs", "true"),
    ],
)
def test_a_good_value_is_not_named(name, value):
    assert_accepted(check(signed_form("sale,create_payment_token", **{name: value})))


def test_all_bad_values_are_named_at_once():
    verdict = check(signed_form(amount="x", locale="x"))
    assert set(verdict.invalid_fields) == {"amount", "locale"}


@settings(deadline=None)
@given(
    transaction_type=st.sampled_from(TYPES),
    name=st.sampled_from(sorted(unsigned_form("sale,update_payment_token"))),
    value=st.text(st.characters(codec="utf-8")),
)
def test_whatever_is_signed_is_judged_and_no_error(transaction_type, name, value):
    fields = signed_form(transaction_type, **{name: value})
    assert isinstance(check(fields, "/pay"), (Order, Refusal))


# Notes


@pytest.mark.parametrize(
    "transaction_type, changes, word",
    [
        ("sale", {"recurring_amount": "5.00"}, "recurring_amount"),
        ("sale,create_payment_token", {"payment_token": "1234"}, "payment_token"),
        ("sale,create_payment_token", {"recurring_start_date": None}, "tomorrow"),
        ("sale,create_payment_token", {"recurring_start_date": "20260309"}, "past"),
        ("sale", {"customer_number": "7"}, "customer_number"),
    ],
)
def test_what_is_odd_and_not_wrong_is_noted(transaction_type, changes, word):
    order = assert_accepted(check(signed_form(transaction_type, **changes)))
    assert any(word in note for note in order.notes)
