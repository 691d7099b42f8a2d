"""Amounts are exact: what cannot be read or written exactly is refused."""

from decimal import Decimal

import pytest
from hypothesis import given, settings, strategies as st

from perma_payments.billing.money import format_amount, parse_amount, parse_echoed_amount

amounts = st.decimals(0, "9999999999.99", places=2)


@pytest.mark.parametrize(
    "text, amount",
    [("0.00", "0"), ("0.01", "0.01"), ("12.50", "12.5"), ("100.00", "100"), ("9999999999.99", "9999999999.99")],
)
def test_an_amount_is_a_string_with_two_decimals(text, amount):
    assert parse_amount(text) == Decimal(amount)
    assert str(parse_amount(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1",
        "1.",
        "1.0",
        "1.000",
        ".50",
        "01.00",
        "00.00",
        "1e2",
        "1E2",
        "1.00e2",
        "NaN",
        "sNaN",
        "Infinity",
        "-Infinity",
        "inf",
        "-1.00",
        "+1.00",
        "-0.00",
        " 1.00",
        "1.00 ",
        "1.00\n",
        "\t1.00",
        "1,00",
        "1,000.00",
        "1_0.00",
        "$1.00",
        "1.00 USD",
        "1.٠٠",
        "١.٠٠",
        "１.００",
        "1٫00",
        "۱.۰۰",
        "०.००",
        "0x1.00",
        "1.0²",
        "1.00\x00",
        "10000000000.00",
        "9" * 400 + ".00",
    ],
)
def test_any_other_string_is_not_an_amount(text):
    with pytest.raises(ValueError, match="not an amount"):
        parse_amount(text)


@pytest.mark.parametrize("value", [None, True, 0, 1, 12.5, Decimal("12.50"), b"12.50", ["12.50"], {"12.50": 1}])
def test_only_a_string_is_an_amount(value):
    with pytest.raises(ValueError, match="not an amount"):
        parse_amount(value)


@settings(deadline=None)
@given(text=st.text() | st.from_regex(r"[0-9]{0,11}[.,]?[0-9]{0,3}\n?"))
def test_what_is_read_as_an_amount_is_written_the_same_again(text):
    try:
        amount = parse_amount(text)
    except ValueError as error:
        assert not isinstance(error, ArithmeticError)
    else:
        assert format_amount(amount) == text


@settings(deadline=None)
@given(amount=amounts)
def test_what_is_written_is_read_as_the_same_amount(amount):
    assert parse_amount(format_amount(amount)) == amount


@pytest.mark.parametrize(
    "amount, text",
    [
        ("120", "120.00"),
        ("45.5", "45.50"),
        ("0", "0.00"),
        ("1E+3", "1000.00"),
        ("12.500", "12.50"),
        ("0.01", "0.01"),
    ],
)
def test_an_amount_is_written_with_exactly_two_decimals(amount, text):
    assert format_amount(Decimal(amount)) == text


@pytest.mark.parametrize("amount", ["0.001", "12.505", "12.5000001", "NaN"])
def test_an_amount_that_would_be_rounded_is_not_written(amount):
    with pytest.raises(ValueError, match=r"^an amount has two decimals$"):
        format_amount(Decimal(amount))


@pytest.mark.parametrize(
    "text, amount",
    [
        ("15.00", "15"),
        ("15", "15"),
        ("15.", "15"),
        ("15.5", "15.5"),
        ("015.00", "15"),
        ("0", "0"),
        ("15.00000000", "15"),
        ("9999999999.99", "9999999999.99"),
    ],
)
def test_an_echoed_amount_may_have_any_number_of_decimals(text, amount):
    assert parse_echoed_amount(text) == Decimal(amount)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 15.00",
        "15.00 ",
        "15.00\n",
        "-15.00",
        "+15.00",
        "15,00",
        "1,500.00",
        "1e2",
        "NaN",
        "Infinity",
        ".50",
        "15.00.00",
        "USD 15.00",
        "١٥",
        "15.000000000",
        "12345678901",
        "15.00,req_locale=en",
    ],
)
def test_anything_else_is_not_an_echoed_amount(text):
    with pytest.raises(ValueError, match=r"^not an amount of CyberSource's$"):
        parse_echoed_amount(text)


@settings(deadline=None)
@given(amount=amounts)
def test_an_amount_that_we_sent_is_read_back_from_its_echo(amount):
    assert parse_echoed_amount(format_amount(amount)) == amount
