"""How long is waited before another attempt."""

from datetime import timedelta

import pytest

from perma_payments.emails import NotDelivered, ServerFailed, Unanswered
from perma_payments.services.backoff import doubled, wait_after


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
def test_a_wait_doubles_up_to_the_longest(attempts, minutes):
    assert doubled(timedelta(minutes=1), attempts, timedelta(days=1)) == timedelta(minutes=minutes)
