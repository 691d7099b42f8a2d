"""Do a job once a day, however many processes and people ask for it."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from django.db.models import F, Q

from ..models import JobRun
from ..postgres.write import insert_unless_there
from .backoff import LEASE, check_connection, wait_after

logger = logging.getLogger(__name__)


class NotYet(Exception):
    """The job is running elsewhere, or has failed and must wait; the text is a sentence for the operator."""

    def __init__(self, job: str, due_at: datetime) -> None:
        super().__init__(f"The {job} is running, or has failed; it is due again at {due_at:%H:%M:%S} UTC.")


def do_once_a_day(job: str, do: Callable[[], object], *, now: datetime) -> bool:
    """Call ``do()`` unless the job was done today (UTC); return whether it was done now.

    Raises what the job raises, and then NotYet until it is due again.
    """
    day = now.astimezone(UTC).date()
    this = JobRun.objects.filter(job=job, day=day)
    run = this.first()
    if run is None:
        insert_unless_there(JobRun(job=job, day=day))
        run = this.get()
    is_due = Q(done_at=None) & (Q(next_attempt_at=None) | Q(next_attempt_at__lte=now))
    if not this.filter(is_due).update(attempts=F("attempts") + 1, next_attempt_at=now + LEASE):
        run.refresh_from_db()
        if run.done_at is None and run.next_attempt_at is not None:
            raise NotYet(job, run.next_attempt_at)
        return False
    try:
        do()
    except Exception as error:
        check_connection()
        this.update(next_attempt_at=now + wait_after(error, run.attempts + 1))
        raise
    check_connection()
    this.update(done_at=now, next_attempt_at=None)
    logger.info("%s done", job)
    return True
