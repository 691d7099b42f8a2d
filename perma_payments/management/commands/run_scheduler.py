"""``manage.py run_scheduler``: the one long-running process beside the web server."""

import logging
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler
from django.core.management.base import BaseCommand, CommandError
from django.db import Error, close_old_connections
from django.utils import timezone

from ...postgres import schema
from ...postgres.problems import describe, why_unavailable
from ...postgres.time_limits import waiting_at_most
from ...services import scheduler

logger = logging.getLogger(__name__)

# Seconds for a mail that is being sent when the process is told to stop. One that takes longer is sent again
# by the next scheduler.
LIMIT_TO_STOP = 2.0
# For one answer of the database, in seconds: a job may take longer in all, but must not wait forever.
LONGEST_WAIT = 30.0


class Command(BaseCommand):
    """Do what is due, until told to stop. Several schedulers may run at once; each thing is done once."""

    help = (
        "Mail each staff task when it is opened, send the daily report at DAILY_REPORT_TIME, remind of what is "
        "overdue, try again what has failed, and purge what is kept for a while only. Runs until interrupted."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """See Django's BaseCommand."""
        refuse_if_behind()
        stopping = threading.Event()
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, lambda *_: stopping.set())
        jobs = BackgroundScheduler(timezone=UTC, job_defaults={"coalesce": True, "misfire_grace_time": None})
        jobs.add_job(_job(scheduler.apply_responses), "interval", minutes=1, next_run_time=datetime.now(UTC))
        jobs.add_job(_job(scheduler.purge_expired), "interval", minutes=15, next_run_time=datetime.now(UTC))
        jobs.start()
        mails = threading.Thread(target=_keep_mailing, args=[stopping], name="mails", daemon=True)
        mails.start()
        self.stdout.write("The scheduler runs.")
        self.stdout.flush()
        while not stopping.wait(1):
            if not mails.is_alive():
                raise CommandError("The thread that sends mails has ended.")
        jobs.shutdown(wait=False)
        mails.join(LIMIT_TO_STOP)


def refuse_if_behind() -> None:
    """Raise CommandError if the database lacks migrations. Without a database, wait for it like the web server."""
    try:
        problem = schema.behind()
    except Error as error:
        logger.error("starting, but the database cannot serve: %s", describe(error))
        return
    if problem:
        raise CommandError(problem)


def _keep_mailing(stopping: threading.Event) -> None:
    with waiting_at_most(LONGEST_WAIT):
        scheduler.keep_mailing(stopping)


def _job(job: Callable[..., object]) -> Callable[[], None]:
    """A job that is told the time, and leaves no database connection to grow old until the next one."""

    @wraps(job)
    def run() -> None:
        close_old_connections()
        try:
            with waiting_at_most(LONGEST_WAIT):
                job(now=timezone.now())
        except Error as error:
            reason = why_unavailable(error)
            if reason is None:
                raise
            logger.error("%s: the database cannot serve this: %s", job.__name__, reason)
        finally:
            close_old_connections()

    return run
