"""Record when each of the scheduler's jobs last ran, and when it last succeeded.

The scheduler and the commands that stand in for it both do, so monitoring need not know which of them is used.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, NamedTuple, TypeVar, cast

from django.db import Error

from ..models import JobHeartbeat
from ..postgres.problems import describe
from ..postgres.time_limits import within

logger = logging.getLogger(__name__)

J = TypeVar("J", bound=Callable[..., Any])

# A little less than a minute, so that a job that runs every minute is recorded each time.
WRITE_EVERY = timedelta(seconds=55)
# For writing, which delays the job's next run.
SECONDS = 2.0


class Run(NamedTuple):
    """How a job last ended in this process."""

    ran_at: datetime
    succeeded: bool


# By job: its last run in this process, and when the last one that was written began.
_last: dict[str, Run] = {}
_written: dict[str, datetime] = {}


def recorded(*, has_failed: Callable[[Any], bool] = lambda result: False) -> Callable[[J], J]:
    """Have each run of a job recorded under its name. It fails if it raises, or if ``has_failed(result)``."""

    def decorate(job: J) -> J:
        @wraps(job)
        def run(*, now: datetime) -> Any:
            succeeded = False
            try:
                result = job(now=now)
                succeeded = not has_failed(result)
                return result
            finally:
                _record(job.__name__, Run(now, succeeded))

        return cast(J, run)

    return decorate


def all_succeed(jobs: dict[str, timedelta], *, now: datetime) -> bool:
    """Whether the last run of each job in this process succeeded, and began within the job's time."""
    return all((run := _last.get(job)) and run.succeeded and now - run.ran_at <= jobs[job] for job in jobs)


def _record(job: str, run: Run) -> None:
    """Write a run, unless one was written within the minute. Raises nothing if the database fails."""
    _last[job] = run
    written = _written.get(job)
    if written and abs(run.ran_at - written) < WRITE_EVERY:
        return
    try:
        with within(SECONDS):
            # Of two schedulers, the one that writes last counts, even if its clock is behind: a clock that was
            # ahead for a while hides nothing after that.
            JobHeartbeat.objects.bulk_create(
                [JobHeartbeat(job=job, ran_at=run.ran_at, succeeded_at=run.ran_at if run.succeeded else None)],
                update_conflicts=True,
                unique_fields=["job"],
                update_fields=["ran_at", "succeeded_at"] if run.succeeded else ["ran_at"],
            )
    except Error as error:
        logger.warning("the run of %s could not be recorded: %s", job, describe(error))
    else:
        _written[job] = run.ran_at
