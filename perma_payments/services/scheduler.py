"""What is due now. Any number of schedulers may run at once: each thing is taken before it is done."""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from django.conf import settings
from django.db import close_old_connections
from django.utils import timezone

from ..models import LOGIN_ATTEMPT_COUNTS_FOR, LoginAttempt
from ..postgres.problems import describe
from .acknowledgement import open_tasks_for_doubts
from .callbacks.retry import retry_responses
from .once_a_day import NotYet, do_once_a_day
from .staff_tasks.digest import remind_of_overdue, send_daily_report
from .staff_tasks.listener import TaskListener
from .staff_tasks.outbox import send_task_mails
from .status_reports.plan import purge_ids_of_old_plans

logger = logging.getLogger(__name__)

DAILY_JOBS: dict[str, Callable[..., object]] = {
    "daily report": send_daily_report,
    "overdue reminder": remind_of_overdue,
}

# Seconds until mails are looked for again, if no notification comes; and, twice as many each time, up to how many
# if the mail server or the database has failed.
POLL = 5.0
LONGEST_PAUSE = 120.0


def keep_mailing(stopping: threading.Event) -> None:
    """Mail what is due, as soon as it is, until told to stop. Raises nothing.

    All that speaks to the mail server is done here, one thing after the other, so that a server that hangs holds
    up nothing else.
    """
    listener = TaskListener()
    pause = POLL
    while not stopping.is_set():
        listener.listen()
        if mail_or_log(now=timezone.now()):
            pause = POLL
            listener.wait(pause, stopping=stopping)
        else:
            # Not woken by what would only meet the same.
            logger.warning("mails are tried again in %.0f seconds", pause)
            stopping.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
    listener.close()


def mail_or_log(*, now: datetime) -> bool:
    """Mail the tasks and daily reports that are due; return False if the mail server or the database failed."""
    close_old_connections()
    try:
        if send_task_mails(now=now).server_failed:
            return False
        do_daily_jobs(now=now)
        return True
    except Exception as error:  # the scheduler goes on
        logger.error("mails could not be looked for: %s", describe(error))
        return False
    finally:
        close_old_connections()


def do_daily_jobs(*, now: datetime) -> list[str]:
    """Do each daily job that is due and was not done today; return the names of those done now.

    A job is due from DAILY_REPORT_TIME (UTC) on, so one that was missed or has failed is done later on the
    same day. A failure is logged, and does not keep the other jobs from being done.
    """
    if now.astimezone(UTC).time() < settings.DAILY_REPORT_TIME:
        return []
    return [job for job in DAILY_JOBS if _do_or_log(job, now)]


def apply_responses(*, now: datetime) -> None:
    """Try again to apply the responses that were not applied, and let staff clear up what was left in doubt."""
    open_tasks_for_doubts(now=now)
    applied, not_applied = retry_responses(now=now)
    if applied or not_applied:
        logger.info("tried again: responses applied %s, not applied %s", applied, not_applied)


def purge_expired(*, now: datetime) -> tuple[int, int]:
    """Purge what is kept for a while only; return how much that was.

    That is the subscription ids in old previews of status reports, and old login attempts.
    """
    ids = purge_ids_of_old_plans(now=now)
    attempts, _ = LoginAttempt.objects.filter(attempted_at__lte=now - LOGIN_ATTEMPT_COUNTS_FOR).delete()
    if ids or attempts:
        logger.info("purged: subscription ids of old previews %s, login attempts %s", ids, attempts)
    return ids, attempts


def _do_or_log(job: str, now: datetime) -> bool:
    try:
        return do_once_a_day(job, DAILY_JOBS[job], now=now)
    except NotYet:
        return False
    except Exception as error:  # the scheduler goes on, and tries again
        logger.error("%s failed: %s", job, describe(error))
        return False
