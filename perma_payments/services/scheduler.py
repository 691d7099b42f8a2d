"""What is due now. The scheduler process asks every minute; any number of schedulers may run at once."""
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from django.conf import settings
from django.db import transaction

from ..models import JobRun
from .daily_report import remind_of_overdue, send_daily_report
from .locks import try_to_lock
from .login_tries import purge_old_tries
from .outbox import send_task_mails
from .retry_responses import retry_responses
from .upload_statuses import forget_ids_of_old_previews

logger = logging.getLogger(__name__)

DAILY_JOBS: dict[str, Callable[..., object]] = {
    "daily report": send_daily_report,
    "overdue reminder": remind_of_overdue,
}


def do_daily_jobs(*, now: datetime) -> list[str]:
    """Do each daily job that is due and was not done today; return the names of those done now.

    A job is due from DAILY_REPORT_TIME (UTC) on, so one that was missed or has failed is done later on the
    same day. A failure is logged, and does not keep the other jobs from being done.
    """
    if now.astimezone(UTC).time() < settings.DAILY_REPORT_TIME:
        return []
    return [job for job in DAILY_JOBS if _do_or_log(job, now)]


def do_once_a_day(job: str, *, now: datetime) -> bool:
    """Do a daily job unless it was done today, or is being done; return whether it was done now.

    Raises what the job raises; it then counts as not done.
    """
    today = now.astimezone(UTC).date()
    with transaction.atomic():
        # Whoever holds the lock is about to do it, and then there is a row.
        if not try_to_lock(f"job: {job}") or JobRun.objects.filter(job=job, day=today).exists():
            return False
        DAILY_JOBS[job](now=now)
        JobRun.objects.create(job=job, day=today, done_at=now)
    logger.info("%s done", job)
    return True


def retry(*, now: datetime) -> None:
    """Try again what has failed: responses that were not applied, tasks that nobody was told of.

    Each response and each task has a lock of its own, so two schedulers share the work and do nothing twice.
    """
    applied, not_applied = retry_responses(now=now)
    sent, not_sent = send_task_mails(now=now)
    if applied or not_applied or sent or not_sent:
        logger.info(
            "tried again: responses applied %s, not applied %s; tasks mailed %s, not mailed %s",
            applied, not_applied, sent, not_sent,
        )


def purge_expired(*, now: datetime) -> tuple[int, int]:
    """Purge what is kept for a while only; return how much that was.

    That is the subscription ids in old previews of status reports, and old tries to log in.
    """
    ids = forget_ids_of_old_previews(now=now)
    tries = purge_old_tries(now=now)
    if ids or tries:
        logger.info("purged: subscription ids of old previews %s, tries to log in %s", ids, tries)
    return ids, tries


def _do_or_log(job: str, now: datetime) -> bool:
    try:
        return do_once_a_day(job, now=now)
    except Exception as error:  # the scheduler goes on, and tries again in a minute
        logger.error("%s failed: %s", job, type(error).__qualname__)
        return False
