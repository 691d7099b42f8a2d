"""Jobs that are done once a day."""

from datetime import UTC, datetime, timedelta

import pytest

from perma_payments.models import JobRun
from perma_payments.services.backoff import LEASE
from perma_payments.services.once_a_day import NotYet, do_once_a_day

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def succeed() -> None:
    pass


def fail() -> None:
    raise ValueError("the text of a mail")


def run(do, *, after: timedelta = timedelta()) -> bool:
    return do_once_a_day("job", do, now=NOW + after)


@pytest.mark.parametrize(("hours", "is_done"), [(0, False), (14, False), (15, True)])
def test_a_job_is_done_once_on_each_day_of_utc(hours, is_done):
    assert run(succeed)
    assert run(succeed, after=timedelta(hours=hours)) == is_done


def test_a_job_that_another_process_is_doing_is_left_to_it():
    def do() -> None:
        with pytest.raises(NotYet, match=r"^The job is running, .* due again at 09:05:00 UTC\.$"):
            run(succeed)

    assert run(do)


def test_a_job_that_fails_is_due_again_after_a_while():
    with pytest.raises(ValueError):
        run(fail)

    with pytest.raises(NotYet):
        run(succeed, after=9 * SECOND)
    assert run(succeed, after=10 * SECOND)


def test_each_failure_doubles_the_wait():
    with pytest.raises(ValueError):
        run(fail)
    with pytest.raises(ValueError):
        run(fail, after=10 * SECOND)

    assert JobRun.objects.get().next_attempt_at == NOW + 30 * SECOND


def test_what_a_killed_process_was_doing_is_done_later():
    JobRun.objects.create(job="job", day=NOW.date(), attempts=1, next_attempt_at=NOW + LEASE)

    with pytest.raises(NotYet):
        run(succeed, after=LEASE - SECOND)
    assert run(succeed, after=LEASE)
