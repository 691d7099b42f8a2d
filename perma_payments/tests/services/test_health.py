"""What is late, and what only waits as it should."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from perma_payments.models import JobHeartbeat, JobRun, Resolution, StaffTask, TaskKind
from perma_payments.services import health
from perma_payments.services.staff_tasks import open_for_response

from .. import records

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture(autouse=True)
def healthy() -> None:
    """All jobs have just succeeded, and the daily report was sent."""
    for job in health.FAILING_LIMITS:
        JobHeartbeat.objects.create(job=job, ran_at=NOW, succeeded_at=NOW)
    JobRun.objects.create(job="daily report", day=NOW.date(), done_at=NOW - HOUR)


def wrong(now: datetime = NOW) -> dict[str, str]:
    """What is not all right, by name."""
    return {check.name: check.words for check in health.Readiness().checks(now=now) if not check.is_ok}


def beat(job: str, **changes: Any) -> None:
    assert JobHeartbeat.objects.filter(job=job).update(**changes) == 1


def task(**changes: Any) -> StaffTask:
    return StaffTask.objects.create(
        **{"kind": "cancellation", "agreement": records.standing_agreement(), "opened_at": NOW, **changes}
    )


def test_all_is_well_in_words():
    said = [f"{check.name}: {check.words}" for check in health.Readiness().checks(now=NOW + 20 * SECOND)]

    assert said == [
        "database: answers, with all migrations and rights",
        "scheduler: last ran 20 seconds ago (limit 10 minutes)",
        "jobs: all have succeeded lately",
        "daily report: last sent 60 minutes ago (limit 26 hours)",
        "responses: all are applied",
        "mails: all are sent",
    ]
    assert wrong() == {}


# --- The scheduler ----------------------------------------------------------------------------------


def test_a_scheduler_that_has_stopped_is_noticed():
    for job in health.FREQUENT:
        beat(job, ran_at=NOW - 10 * MINUTE)
    assert wrong() == {}
    assert wrong(NOW + SECOND) == {"scheduler": "last ran 10 minutes ago (limit 10 minutes)"}


@pytest.mark.parametrize("job", health.FREQUENT)
def test_each_of_its_threads_must_run(job):
    beat(job, ran_at=NOW - 12 * MINUTE)
    assert wrong() == {"scheduler": "last ran 12 minutes ago (limit 10 minutes)"}
    JobHeartbeat.objects.filter(job=job).delete()
    assert wrong() == {"scheduler": "has never run"}


def test_purging_may_be_left_to_a_daily_cron():
    beat("purge_expired", ran_at=NOW - 25 * HOUR, succeeded_at=NOW - 25 * HOUR)
    assert wrong() == {}
    JobHeartbeat.objects.filter(job="purge_expired").delete()
    assert wrong() == {}


@pytest.mark.parametrize(
    ("job", "limit"),
    [("apply_responses", 30 * MINUTE), ("send_task_mails", 30 * MINUTE), ("purge_expired", 26 * HOUR)],
)
def test_a_job_that_runs_and_fails_is_noticed(job, limit):
    beat(job, succeeded_at=NOW - limit)
    assert wrong() == {}
    beat(job, succeeded_at=NOW - limit - SECOND)
    words = health.in_words(limit)
    assert wrong() == {"jobs": f"{job} last succeeded {words} ago (limit {words})"}
    beat(job, succeeded_at=None)
    assert wrong() == {"jobs": f"{job} has never succeeded"}


def test_a_clock_that_is_ahead_is_noticed():
    beat("apply_responses", ran_at=NOW + HOUR, succeeded_at=NOW)
    beat("send_task_mails", ran_at=NOW + HOUR, succeeded_at=NOW)
    assert wrong() == {"scheduler": "last ran 60 minutes from now: a clock is wrong"}


def test_a_daily_report_that_was_not_sent_is_noticed():
    assert wrong(NOW - HOUR + 26 * HOUR + SECOND)["daily report"] == "last sent 26 hours ago (limit 26 hours)"
    assert "daily report" not in wrong(NOW - HOUR + 26 * HOUR)


def test_the_last_daily_report_counts_even_if_the_next_is_being_sent():
    for days, done_at in ((-1, NOW - 25 * HOUR), (1, None)):
        JobRun.objects.create(job="daily report", day=NOW.date() + timedelta(days=days), done_at=done_at)

    assert health.measure(now=NOW).reported_at == NOW - HOUR


def test_before_the_first_daily_report_none_is_missed():
    JobRun.objects.update(done_at=None)
    assert wrong() == {}


# --- Responses --------------------------------------------------------------------------------------


def test_a_response_that_is_not_applied_is_noticed():
    response = records.response(received_at=NOW - 15 * MINUTE)
    assert wrong() == {}
    assert wrong(NOW + SECOND) == {
        "responses": "the oldest that is not applied came 15 minutes ago (limit 15 minutes)"
    }
    # Nor is it forgotten because staff have been told.
    open_for_response(TaskKind.NOT_APPLIED, response, now=NOW)
    StaffTask.objects.update(notified_at=NOW)
    assert "responses" in wrong(NOW + SECOND)


def test_a_response_that_a_person_has_taken_care_of_is_not_waited_for():
    response = records.response(received_at=NOW - HOUR)
    open_for_response(TaskKind.NOT_APPLIED, response, now=NOW)
    StaffTask.objects.update(
        done_at=NOW, done_by=User.objects.create(username="anne"), resolution=Resolution.DONE, notified_at=NOW
    )
    assert wrong() == {}


def test_a_response_that_matches_nothing_waits_for_a_person_only():
    records.response(received_at=NOW - HOUR, applied_at=NOW, outcome="unmatched")
    assert wrong() == {}


# --- Mails ------------------------------------------------------------------------------------------


def test_a_mail_that_is_not_sent_is_noticed():
    late = task(opened_at=NOW - 30 * MINUTE)
    assert wrong() == {}
    assert wrong(NOW + SECOND) == {
        "mails": "the oldest that is not sent is from 30 minutes ago (limit 30 minutes)"
    }
    # Refused, and to be tried again in five minutes.
    StaffTask.objects.filter(pk=late.pk).update(mail_attempts=9, mail_due_at=NOW + 5 * MINUTE)
    assert "mails" in wrong(NOW + SECOND)


@pytest.mark.parametrize(
    "changes",
    [
        {"notified_at": NOW},
        # Some recipients were refused: for now, and for good.
        {"notified_at": NOW, "mail_due_at": NOW - HOUR, "mail_left_to": ["0" * 64]},
        # Nobody was mailed before it ended.
        {"done_at": NOW, "resolution": "withdrawn"},
        # The mail server took it without saying so. It is sent again in an hour.
        {"mail_attempts": 1, "mail_due_at": NOW + HOUR},
        # Open again only now.
        {"reopened_at": NOW},
        # Taken back only now.
        {"done_at": NOW, "resolution": "taken back"},
    ],
)
def test_a_mail_that_waits_as_it_should_is_not_late(changes):
    task(**{"opened_at": NOW - 9 * HOUR, **changes})
    assert wrong() == {}


def test_staff_must_hear_that_a_customer_took_a_request_back():
    task(opened_at=NOW - 9 * HOUR, done_at=NOW - HOUR, resolution="taken back")
    assert wrong() == {"mails": "the oldest that is not sent is from 60 minutes ago (limit 30 minutes)"}


# --- Words and numbers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (timedelta(), "0 seconds"),
        (SECOND, "1 second"),
        (119 * SECOND, "119 seconds"),
        (2 * MINUTE, "2 minutes"),
        (2 * HOUR, "2 hours"),
        (47 * HOUR, "47 hours"),
        (48 * HOUR, "2 days"),
        (-SECOND, "0 seconds"),
    ],
)
def test_a_time_has_its_largest_unit(age, words):
    assert health.in_words(age) == words


def test_gauges_say_the_same_in_numbers():
    records.response(received_at=NOW - MINUTE)
    task(opened_at=NOW - 2 * MINUTE)
    task(kind="token missing", notified_at=NOW)
    JobHeartbeat.objects.filter(job="purge_expired").delete()
    numbers = {gauge.name: dict(gauge.values) for gauge in health.gauges(now=NOW)}

    kinds = numbers.pop("open_tasks")
    assert set(kinds) == set(TaskKind.values)
    assert {kind: number for kind, number in kinds.items() if number} == {"cancellation": 1, "token missing": 1}
    never = float("inf")
    assert numbers == {
        "database_up": {"": True},
        "oldest_unapplied_response_seconds": {"": 60},
        "unsent_mails": {"": 1},
        "oldest_unsent_mail_seconds": {"": 120},
        "job_last_run_seconds": {"apply_responses": 0, "send_task_mails": 0, "purge_expired": never},
        "job_last_success_seconds": {
            "apply_responses": 0,
            "send_task_mails": 0,
            "purge_expired": never,
            "daily_report": 3600,
        },
    }
