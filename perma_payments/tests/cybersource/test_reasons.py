"""What reason codes mean, in words."""

import pytest

from perma_payments.cybersource.reasons import explain


@pytest.mark.parametrize(
    ("code", "begins"),
    [("100", "successful"), ("110", "only part"), ("204", "the account does not"), ("", "no reason")],
)
def test_a_known_reason_is_explained(code, begins):
    assert explain(code).startswith(begins)


def test_an_unknown_reason_is_said_to_be_unknown():
    assert "999" in explain("999")
