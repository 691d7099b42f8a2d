"""``manage.py run_scheduler``: the one long-running process beside the web server."""

import logging
import signal
import threading
from datetime import UTC, datetime
from functools import partial
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from ... import error_mails
from ...postgres import schema
from ...postgres.problems import describe
from ...services.ping import keep_pinging
from ...services.scheduler import keep_mailing, run_job
from .. import jobs

logger = logging.getLogger(__name__)

# Seconds between two runs of each job, besides the mails.
JOBS = {jobs.apply_waiting_responses: 5, jobs.apply_responses: 60, jobs.purge_expired: 15 * 60}
# How long a scheduler that stops waits for the mail that it is sending. After that, the next one sends it again.
SECONDS_TO_STOP = 2.0


class Command(BaseCommand):
    help = (
        "Run until interrupted: mail each staff task when it is opened, send the daily report at "
        "DAILY_REPORT_TIME, send reminders about what is overdue, retry what has failed, and purge what is kept "
        "for a limited time only. Several schedulers can run at once; each job is still done only once."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_if_behind()
        error_mails.start()
        stopping = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stopping.set())
        signal.signal(signal.SIGINT, lambda *_: stopping.set())
        background = BackgroundScheduler(timezone=UTC, job_defaults={"coalesce": True, "misfire_grace_time": None})
        for job, seconds in JOBS.items():
            background.add_job(run_job, "interval", [job], seconds=seconds, next_run_time=datetime.now(UTC))
        background.start()
        mails = threading.Thread(target=partial(keep_mailing, jobs.send_mails, stopping=stopping), daemon=True)
        mails.start()
        if url := settings.SCHEDULER_PING_URL:
            threading.Thread(target=partial(keep_pinging, url, stopping=stopping), daemon=True).start()
        self.stdout.write("The scheduler is running.")
        self.stdout.flush()
        while not stopping.wait(1):
            if not mails.is_alive():
                raise CommandError("The thread that sends mails has ended.")
        background.shutdown(wait=False)
        mails.join(SECONDS_TO_STOP)


def refuse_if_behind() -> None:
    """Raise CommandError if the database lacks migrations. If it does not answer, only log that."""
    try:
        problem = schema.behind()
    except Error as error:
        logger.error("starting, but the database cannot serve: %s", describe(error))
    else:
        if problem:
            raise CommandError(problem)
