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
from ...services.scheduler import keep_mailing
from .. import jobs

logger = logging.getLogger(__name__)

# How long to wait, when told to stop, for a mail that is being sent. One that takes longer is sent again by the
# next scheduler.
SECONDS_TO_STOP = 2.0
# For each answer of the database: a job may take longer in all, but must not wait forever.
SECONDS_FOR_DATABASE = 30.0


class Command(BaseCommand):
    help = (
        "Mail each staff task when it is opened, send the daily report at DAILY_REPORT_TIME, remind of what is "
        "overdue, try again what has failed, and purge what is kept only for a while. Runs until interrupted. "
        "Several may run at once: each thing is done once."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_if_behind()
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        background = BackgroundScheduler(timezone=UTC, job_defaults={"coalesce": True, "misfire_grace_time": None})
        background.add_job(_job(jobs.apply_responses), "interval", minutes=1, next_run_time=datetime.now(UTC))
        background.add_job(_job(jobs.purge_expired), "interval", minutes=15, next_run_time=datetime.now(UTC))
        background.start()
        mails = threading.Thread(target=_keep_mailing, args=[stopping], name="mails", daemon=True)
        mails.start()
        self.stdout.write("The scheduler is running.")
        self.stdout.flush()
        while not stopping.wait(1):
            if not mails.is_alive():
                raise CommandError("The thread that sends mails has ended.")
        background.shutdown(wait=False)
        mails.join(SECONDS_TO_STOP)


def refuse_if_behind() -> None:
    """Raise CommandError if the database lacks migrations. If it does not answer, start and wait for it."""
    try:
        problem = schema.behind()
    except Error as error:
        logger.error("starting, but the database cannot serve: %s", describe(error))
        return
    if problem:
        raise CommandError(problem)


def _keep_mailing(stopping: threading.Event) -> None:
    with waiting_at_most(SECONDS_FOR_DATABASE):
        keep_mailing(jobs.send_mails, stopping=stopping)


def _job(job: Callable[..., object]) -> Callable[[], None]:
    """A job that is given the time, and that leaves no database connection open until its next run."""

    @wraps(job)
    def run() -> None:
        close_old_connections()
        try:
            with waiting_at_most(SECONDS_FOR_DATABASE):
                job(now=timezone.now())
        except Error as error:
            reason = why_unavailable(error)
            if reason is None:
                raise
            logger.error("%s: the database cannot serve this: %s", job.__name__, reason)
        finally:
            close_old_connections()

    return run
