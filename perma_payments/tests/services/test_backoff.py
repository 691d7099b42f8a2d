"""How long is waited before another attempt."""

from datetime import timedelta

import pytest

from perma_payments.emails import NotDelivered, ServerFailed, Unanswered
from perma_payments.services.backoff import wait_after, wait_for_the_rest


@pytest.mark.parametrize(
    ("error", "attempts", "seconds"),
    [
        (NotDelivered("refused"), 1, 10),
        (ServerFailed("broke"), 2, 20),
        (ValueError(), 5, 160),
        (NotDelivered("refused"), 6, 300),
        (NotDelivered("refused"), 10_000, 300),
    ],
)
def test_after_a_failure_attempts_become_rarer(error, attempts, seconds):
    assert wait_after(error, attempts) == timedelta(seconds=seconds)


@pytest.mark.parametrize(("attempts", "hours"), [(1, 1), (2, 2), (5, 16), (6, 24), (10_000, 24)])
def test_without_an_answer_attempts_are_hours_apart(attempts, hours):
    assert wait_after(Unanswered("silence"), attempts) == timedelta(hours=hours)


@pytest.mark.parametrize(("attempts", "minutes"), [(1, 1), (2, 2), (7, 64), (10_000, 1440)])
def test_the_rest_of_the_recipients_are_mailed_within_a_day(attempts, minutes):
    assert wait_for_the_rest(attempts) == timedelta(minutes=minutes)
