"""When the scheduler's jobs last ran and succeeded: written rarely, and never at the cost of a job."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError

from perma_payments.models import JobHeartbeat
from perma_payments.services import heartbeats
from perma_payments.services.heartbeats import all_succeed, recorded

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


def run(how: str, after: timedelta) -> None:
    """Run a job that returns ``how``, or raises, some time after NOW."""

    def work(*, now: datetime) -> str:
        if how == "raises":
            raise RuntimeError
        return how

    assert recorded(has_failed=lambda result: result == "failed")(work)(now=NOW + after) == how


def row() -> tuple[timedelta, timedelta | None]:
    """How long after NOW the job last ran, and last succeeded, as written."""
    beat = JobHeartbeat.objects.get(job="work")
    return beat.ran_at - NOW, beat.succeeded_at and beat.succeeded_at - NOW


def test_a_run_and_its_success_are_written_in_one_row():
    run("done", MINUTE)
    run("done", 2 * MINUTE)

    assert row() == (2 * MINUTE, 2 * MINUTE)


def test_a_run_that_failed_keeps_the_last_success():
    run("failed", timedelta())
    assert row() == (timedelta(), None)
    run("done", MINUTE)
    run("failed", 2 * MINUTE)

    assert row() == (2 * MINUTE, MINUTE)


def test_a_run_that_raises_has_failed_and_still_raises():
    run("done", timedelta())
    with pytest.raises(RuntimeError):
        run("raises", MINUTE)

    assert row() == (MINUTE, timedelta())


def test_a_job_that_runs_every_few_seconds_is_written_once_a_minute():
    run("done", timedelta())
    run("done", 54 * SECOND)
    assert row() == (timedelta(), timedelta())
    run("done", 55 * SECOND)

    assert row() == (55 * SECOND, 55 * SECOND)


def test_of_two_schedulers_the_one_that_wrote_last_counts():
    """Even one whose clock is behind: the other one's may have been ahead."""
    run("done", 60 * MINUTE)
    heartbeats._written.clear()
    run("done", MINUTE)

    assert row() == (MINUTE, MINUTE)


def test_a_job_succeeds_although_its_run_cannot_be_written(monkeypatch, caplog):
    def fail(*args, **kwargs):
        raise OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as broken:
        broken.setattr(JobHeartbeat.objects, "bulk_create", fail)
        run("done", timedelta())
    assert "the run of work could not be recorded: the connection was lost" in caplog.text

    # And is written at the next run.
    run("done", SECOND)
    assert row() == (SECOND, SECOND)


@pytest.mark.parametrize(
    ("ran", "succeeds"), [([], False), (["done"], True), (["done", "failed"], False), (["failed", "done"], True)]
)
def test_jobs_succeed_if_the_last_run_of_each_did(ran, succeeds):
    for seconds, how in enumerate(ran):
        run(how, seconds * SECOND)

    assert all_succeed({"work": MINUTE}, now=NOW + MINUTE) is succeeds


def test_jobs_do_not_succeed_if_one_has_not_run_for_too_long():
    run("done", timedelta())

    assert all_succeed({"work": MINUTE}, now=NOW + MINUTE)
    assert not all_succeed({"work": MINUTE}, now=NOW + MINUTE + SECOND)
    assert not all_succeed({"work": MINUTE, "other": MINUTE}, now=NOW)
