"""A token of the portal is bound to a customer, a purpose and a time."""

from datetime import UTC, datetime, timedelta

import pytest

from perma_payments.views import tokens
from perma_payments.views.tokens import LIFETIME, Purpose, TokenRefused

from ..records import INDIVIDUAL, REGISTRAR

NOW = datetime(2026, 11, 28, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def text() -> str:
    return tokens.begin(REGISTRAR, Purpose.MANAGE, now=NOW)


@pytest.mark.parametrize("customer", [REGISTRAR, INDIVIDUAL])
@pytest.mark.parametrize("purpose", Purpose)
def test_a_token_says_whose_it_is_and_what_for(customer, purpose):
    token = tokens.read(tokens.begin(customer, purpose, now=NOW), purpose, now=NOW)

    assert (token.customer, token.purpose, token.ends) == (customer, purpose, NOW + LIFETIME)


def test_no_two_tokens_have_the_same_nonce():
    read = [tokens.read(tokens.begin(REGISTRAR, Purpose.KEEP, now=NOW), Purpose.KEEP, now=NOW) for _ in range(2)]

    assert {len(token.nonce) for token in read} == {24}
    assert read[0].nonce != read[1].nonce


def test_a_token_holds_until_the_last_moment(text):
    assert tokens.read(text, Purpose.MANAGE, now=NOW + LIFETIME)
    with pytest.raises(TokenRefused, match=r"^ended 1 seconds ago$"):
        tokens.read(text, Purpose.MANAGE, now=NOW + LIFETIME + timedelta(seconds=1))


def test_a_token_that_comes_from_another_ends_with_it(text):
    later = NOW + timedelta(minutes=20)
    other = tokens.read(text, Purpose.MANAGE, now=later).sign(Purpose.CANCEL)

    assert tokens.read(other, Purpose.CANCEL, now=later).ends == NOW + LIFETIME


@pytest.mark.parametrize("purpose", [purpose for purpose in Purpose if purpose is not Purpose.MANAGE])
def test_a_token_for_another_purpose_is_refused(text, purpose):
    with pytest.raises(TokenRefused, match=r"^for another purpose: manage$"):
        tokens.read(text, purpose, now=NOW)


@pytest.mark.parametrize("at", [0, 10, -10, -1])
def test_a_token_with_one_character_changed_is_refused(text, at):
    other = "A" if text[at] != "A" else "B"
    changed = text[:at] + other + (text[at + 1 :] if at != -1 else "")

    with pytest.raises(TokenRefused, match=r"^not signed by us$"):
        tokens.read(changed, Purpose.MANAGE, now=NOW)


@pytest.mark.parametrize("spoiled", ["", ":", "a:b", "\x00", "é", ":" * 500, "x" * 100_000])
def test_what_is_no_token_is_refused(spoiled):
    with pytest.raises(TokenRefused):
        tokens.read(spoiled, *Purpose, now=NOW)


def test_a_token_that_was_cut_is_refused(text):
    for length in range(len(text)):
        with pytest.raises(TokenRefused):
            tokens.read(text[:length], *Purpose, now=NOW)
