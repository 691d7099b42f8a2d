"""What can be a payment token, and which tokens change with the card."""

import pytest

from perma_payments.billing.tokens import changes_with_card, is_token


@pytest.mark.parametrize("text", ["7408214003316000001234", "4111111111111111", "aZ09", "x" * 32])
def test_letters_and_digits_can_be_a_token(text):
    assert is_token(text)


@pytest.mark.parametrize("text", ["", " ", "x" * 33, "7408-2140", "7408214003316000001234\n", "１２３４", "é"])
def test_anything_else_is_not_a_token(text):
    assert not is_token(text)


@pytest.mark.parametrize(
    ("token", "changes"),
    [
        ("4111111111111111", True),
        ("411111111111111", False),
        ("41111111111111111", False),
        ("411111111111111x", False),
        ("x411111111111111", False),
        ("１１１１１１１１１１１１１１１１", False),
        ("4111111111111111\n", False),
    ],
)
def test_a_token_of_sixteen_digits_changes_with_the_card(token, changes):
    assert changes_with_card(token) is changes
