"""The scheduler's jobs, which can also be run by hand, as commands: services, with the admin's mails to send."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter
from typing import NamedTuple

from django.conf import settings
from django.contrib.sessions.models import Session

from ..admin.login.password_reset import send_links
from ..admin.mails import remind_of_overdue, send_daily_report as mail_daily_report, task_mail
from ..emails import NotDelivered
from ..logs import Alarm, alarm
from ..models import (
    LOGIN_ATTEMPT_COUNTS_FOR,
    PASSWORD_RESET_REQUEST_COUNTS_FOR,
    LoginAttempt,
    PasswordResetRequest,
)
from ..postgres.problems import describe, why_unavailable
from ..services.acknowledgement import open_tasks_for_doubts
from ..services.callbacks.retry import retry_responses
from ..services.checkouts.abandon import abandon_checkouts
from ..services.heartbeats import recorded
from ..services.month_ends import count_months
from ..services.once_a_day import NotYet, do_once_a_day
from ..services.staff_tasks import outbox
from ..services.status_reports.expect import expect_report
from ..services.status_reports.purge import purge_reports

logger = logging.getLogger(__name__)


def send_daily_report(*, now: datetime) -> None:
    """Ask for the status report that is due, and mail staff what is to be done. Raises NotDelivered."""
    expect_report(now=now)
    mail_daily_report(now=now)


DAILY_JOBS: dict[str, Callable[..., object]] = {
    "daily report": send_daily_report,
    "overdue reminder": remind_of_overdue,
}


@recorded(has_failed=attrgetter("server_failed"))
def send_task_mails(*, now: datetime) -> outbox.Sent:
    """Mail staff the tasks whose mail is due."""
    return outbox.send_task_mails(task_mail, now=now)


def send_mails(*, now: datetime) -> bool:
    """Send all mail that is due, and do the daily jobs; return False if the mail server failed."""
    if send_task_mails(now=now).server_failed or not send_links(now=now):
        return False
    do_daily_jobs(now=now)
    return True


def do_daily_jobs(*, now: datetime) -> list[str]:
    """Do each daily job that is due and was not done today; return the names of those done now.

    A job is due from DAILY_REPORT_TIME (UTC) on, so one that was missed or has failed is done later that day. A
    failure is logged, and does not stop the other jobs.
    """
    if now.astimezone(UTC).time() < settings.DAILY_REPORT_TIME:
        return []
    done = []
    for job, do in DAILY_JOBS.items():
        try:
            if do_once_a_day(job, partial(do, now=now), now=now):
                done.append(job)
        except NotYet:
            pass
        except Exception as error:  # retried later
            if isinstance(error, NotDelivered) or why_unavailable(error):
                logger.error("%s failed: %s", job, describe(error))
            else:
                logger.exception("%s failed", job, extra=alarm(Alarm.JOB_FAILED, job=job))
    return done


@recorded()
def apply_responses(*, now: datetime) -> tuple[int, int]:
    """Retry the responses that could not be applied, and open tasks about acknowledgements that are in doubt.

    Returns how many responses were applied, and how many could not be.
    """
    open_tasks_for_doubts(now=now)
    applied, failed = retry_responses(now=now)
    if applied or failed:
        logger.info("responses retried: applied %s, not applied %s", applied, failed)
    return applied, failed


def apply_waiting_responses(*, now: datetime) -> None:
    """Apply the responses that had to wait for a lock when they arrived, such as that of a status report."""
    retry_responses(now=now, only_waiting=True)


class Purged(NamedTuple):
    """How many rows were deleted."""

    previews: int
    lines: int
    attempts: int
    sessions: int

    def __str__(self) -> str:
        return (
            f"previews of status reports {self.previews}, lines of status reports {self.lines}, "
            f"login attempts {self.attempts}, sessions {self.sessions}"
        )


@recorded()
def purge_expired(*, now: datetime) -> Purged:
    """Delete what is kept only for a while. Checkouts without a response for a day become Abandoned.

    A month that is over is counted for the admin's front page.
    """
    abandon_checkouts(now=now)
    previews, lines = purge_reports(now=now)
    attempts, _ = LoginAttempt.objects.filter(attempted_at__lte=now - LOGIN_ATTEMPT_COUNTS_FOR).delete()
    sessions, _ = Session.objects.filter(expire_date__lte=now).delete()
    PasswordResetRequest.objects.filter(requested_at__lte=now - PASSWORD_RESET_REQUEST_COUNTS_FOR).delete()
    purged = Purged(previews, lines, attempts, sessions)
    if any(purged):
        logger.info("purged: %s", purged)
    count_months(now=now)
    return purged
