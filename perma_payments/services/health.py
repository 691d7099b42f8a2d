"""Whether the service does its work: what should have been done by now, and how long it has waited.

Monitoring (views/probes.py) and the admin's front page ask here. Nothing in it is about a customer.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from typing import NamedTuple

from django.db import Error
from django.db.models import Count, Exists, Min, OuterRef, Q
from django.db.models.functions import Greatest
from django.db.models.query import QuerySet

from ..metrics import Gauge
from ..models import JobHeartbeat, JobRun, Resolution, Response, StaffTask, TaskKind
from ..postgres import schema
from ..postgres.problems import describe
from ..postgres.time_limits import within
from . import database_role
from .backoff import LEASE

# For all that is asked of the database at once. Load balancers and monitors wait for five or more.
SECONDS = 2.0

# The jobs that run every minute or more often. A round of mails begins up to eight minutes after the last one, if
# the mail server hangs at each step and is then left alone for two minutes.
FREQUENT = ("apply_responses", "send_task_mails")
SCHEDULER_LIMIT = timedelta(minutes=10)
# How long each job may fail. Every attempt may meet a restart or a lock; thirty of them may not. Where cron takes
# the scheduler's place, it purges once a day.
FAILING_LIMITS = {
    "apply_responses": timedelta(minutes=30),
    "send_task_mails": timedelta(minutes=30),
    "purge_expired": timedelta(hours=26),
}
# It goes out every day, even if there is nothing to report; the two hours are for attempts that fail.
REPORT_LIMIT = timedelta(hours=26)
# A response is applied within seconds, or at one of the next fifteen attempts. Staff are told the same.
UNAPPLIED_LIMIT = timedelta(minutes=15)
# A mail that is refused is tried again every five minutes at least.
UNSENT_LIMIT = timedelta(minutes=30)


class Heartbeat(NamedTuple):
    """When a job last ran, and when it last succeeded, if ever."""

    ran_at: datetime
    succeeded_at: datetime | None


@dataclass(frozen=True)
class Measured:
    """What is in the database. Each ``since`` is when the oldest began to wait; None if none waits."""

    unapplied_since: datetime | None
    unsent: int
    unsent_since: datetime | None
    open_tasks: Mapping[str, int]  # by kind
    jobs: Mapping[str, Heartbeat]
    reported_at: datetime | None


class Check(NamedTuple):
    """One thing that is right or not, in words for a person who is woken by it."""

    name: str
    is_ok: bool
    words: str


def measure(*, now: datetime) -> Measured:
    """Measure, in five statements that read indexes. Raises django.db.Error."""
    unsent, unsent_since = (
        _unsent(now)
        .aggregate(number=Count("id"), since=Min(Greatest("opened_at", "reopened_at", "done_at")))
        .values()
    )
    reports = JobRun.objects.filter(job="daily report", done_at__isnull=False)
    kinds = StaffTask.objects.filter(done_at=None).order_by().values_list("kind")
    return Measured(
        unapplied_since=_unapplied().aggregate(since=Min("received_at"))["since"],
        unsent=unsent,
        unsent_since=unsent_since,
        open_tasks=dict(kinds.annotate(Count("id"))),
        jobs=heartbeats(),
        reported_at=reports.order_by("-day").values_list("done_at", flat=True).first(),
    )


def heartbeats() -> dict[str, Heartbeat]:
    """The last run of each job, by its name. Raises django.db.Error."""
    rows = JobHeartbeat.objects.values_list("job", "ran_at", "succeeded_at")
    return {job: Heartbeat(ran_at, succeeded_at) for job, ran_at, succeeded_at in rows}


def _unapplied() -> QuerySet[Response]:
    """The responses that the scheduler should have applied: a person has taken care of the others."""
    settled = StaffTask.objects.filter(kind=TaskKind.NOT_APPLIED, response=OuterRef("pk"), done_at__isnull=False)
    return Response.objects.filter(~Exists(settled), applied_at=None)


def _unsent(now: datetime) -> QuerySet[StaffTask]:
    """The tasks whose mail has reached nobody."""
    # Tried again after an hour or more; any other failure, within LEASE.
    may_have_arrived = Q(mail_due_at__gt=now + LEASE)
    return StaffTask.objects.filter(
        ~may_have_arrived | Q(mail_due_at=None),
        Q(done_at=None) | Q(resolution=Resolution.TAKEN_BACK),
        notified_at=None,
    )


# --- In words ---------------------------------------------------------------------------------------


class Readiness:
    """Whether the service can do its work now. What cannot change while this process lives is checked once."""

    def __init__(self) -> None:
        self._is_prepared = False

    def checks(self, *, now: datetime) -> list[Check]:
        """Return all that was checked, within SECONDS. Where one thing depends on another, that is named alone."""
        try:
            with within(SECONDS):
                return list(self._checks(now))
        except Error as error:
            return [Check("database", False, describe(error))]

    def _checks(self, now: datetime) -> Iterator[Check]:
        if not self._is_prepared:
            if schema.missing():
                yield Check("migrations", False, "some were not run: run manage.py migrate and grant_access")
                return
            if database_role.lacking():
                yield Check("rights", False, "the service's role lacks some: run manage.py grant_access")
                return
            self._is_prepared = True
        measured = measure(now=now)
        yield Check("database", True, "answers, with all migrations and rights")
        yield scheduler(measured.jobs, now=now)
        yield _failing(measured.jobs, now)
        yield _late(
            "daily report", "last sent", measured.reported_at, REPORT_LIMIT, now, if_none="none was sent yet"
        )
        yield _late(
            "responses",
            "the oldest that is not applied came",
            measured.unapplied_since,
            UNAPPLIED_LIMIT,
            now,
            if_none="all are applied",
        )
        yield _late(
            "mails",
            "the oldest that is not sent is from",
            measured.unsent_since,
            UNSENT_LIMIT,
            now,
            if_none="all are sent",
        )


def last_tick(jobs: Mapping[str, Heartbeat]) -> datetime | None:
    """When the last of the jobs that run every minute began to run; None if one never has."""
    return min(jobs[job].ran_at for job in FREQUENT) if jobs.keys() >= set(FREQUENT) else None


def scheduler(jobs: Mapping[str, Heartbeat], *, now: datetime) -> Check:
    """Whether they do."""
    if last_tick(jobs) is None:
        return Check("scheduler", False, "has never run")
    return _late("scheduler", "last ran", last_tick(jobs), SCHEDULER_LIMIT, now)


def _failing(jobs: Mapping[str, Heartbeat], now: datetime) -> Check:
    for job, limit in FAILING_LIMITS.items():
        if last := jobs.get(job):
            if last.succeeded_at is None:
                return Check("jobs", False, f"{job} has never succeeded")
            check = _late("jobs", f"{job} last succeeded", last.succeeded_at, limit, now)
            if not check.is_ok:
                return check
    return Check("jobs", True, "all have succeeded lately")


def _late(
    name: str, what: str, moment: datetime | None, limit: timedelta, now: datetime, *, if_none: str = ""
) -> Check:
    """Check that ``moment`` is no longer ago than the limit. Without one, all is well, as ``if_none`` says."""
    if moment is None:
        return Check(name, True, if_none)
    age = now - moment
    if age < -limit:
        return Check(name, False, f"{what} {in_words(-age)} from now: a clock is wrong")
    return Check(name, age <= limit, f"{what} {in_words(age)} ago (limit {in_words(limit)})")


def in_words(age: timedelta) -> str:
    """Return a time in its largest unit of which there are at least two: "20 seconds", "26 hours"."""
    seconds = max(int(age.total_seconds()), 0)
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return "1 second" if seconds == 1 else f"{seconds} seconds"


# --- As metrics -------------------------------------------------------------------------------------


def gauges(*, now: datetime) -> Iterator[Gauge]:
    """The same as numbers. If the database does not answer within SECONDS, only that."""
    try:
        with within(SECONDS):
            measured = measure(now=now)
    except Error:
        measured = None
    yield Gauge("database_up", "Whether the database answers.", {"": measured is not None})
    if measured is None:
        return

    def age(moment: datetime | None, if_none: float = 0) -> float:
        return (now - moment).total_seconds() if moment else if_none

    yield Gauge(
        "oldest_unapplied_response_seconds",
        "Age of the oldest response that should have been applied; 0 if there is none.",
        {"": age(measured.unapplied_since)},
    )
    kinds = {str(kind): measured.open_tasks.get(kind, 0) for kind in TaskKind.values}
    yield Gauge("open_tasks", "Open staff tasks.", kinds, label="kind")
    yield Gauge("unsent_mails", "Mails about staff tasks that wait to be sent.", {"": measured.unsent})
    yield Gauge(
        "oldest_unsent_mail_seconds",
        "Age of the oldest of them; 0 if there is none.",
        {"": age(measured.unsent_since)},
    )
    jobs = {job: measured.jobs.get(job) for job in FAILING_LIMITS}
    ran = {job: age(last and last.ran_at, inf) for job, last in jobs.items()}
    yield Gauge("job_last_run_seconds", "Time since the scheduler's jobs last ran.", ran, label="name")
    succeeded = {job: age(last and last.succeeded_at, inf) for job, last in jobs.items()}
    succeeded["daily_report"] = age(measured.reported_at, inf)
    yield Gauge("job_last_success_seconds", "Time since they last succeeded.", succeeded, label="name")
