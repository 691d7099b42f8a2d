"""``manage.py run_scheduler``: the one long-running process beside the web server."""
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler
from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections
from django.utils import timezone

from ...services import scheduler

# Seconds for a mail that is being sent when the process is told to stop. One that takes longer is sent again
# by the next scheduler.
LIMIT_TO_STOP = 2.0


class Command(BaseCommand):
    """Do what is due, until told to stop. Several schedulers may run at once; each thing is done once."""

    help = (
        "Mail each staff task when it is opened, send the daily report at DAILY_REPORT_TIME, remind of what is "
        "overdue, try again what has failed, and purge what is kept for a while only. Runs until interrupted."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """See Django's BaseCommand."""
        stopping = threading.Event()
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, lambda *_: stopping.set())
        jobs = BackgroundScheduler(timezone=UTC, job_defaults={"coalesce": True, "misfire_grace_time": None})
        jobs.add_job(_job(scheduler.apply_responses), "interval", minutes=1, next_run_time=datetime.now(UTC))
        jobs.add_job(_job(scheduler.purge_expired), "interval", minutes=15, next_run_time=datetime.now(UTC))
        jobs.start()
        mails = threading.Thread(target=scheduler.keep_mailing, args=[stopping], name="mails", daemon=True)
        mails.start()
        self.stdout.write("The scheduler runs.")
        self.stdout.flush()
        while not stopping.wait(1):
            if not mails.is_alive():
                raise CommandError("The thread that sends mails has ended.")
        jobs.shutdown(wait=False)
        mails.join(LIMIT_TO_STOP)


def _job(job: Callable[..., object]) -> Callable[[], None]:
    """A job that is told the time, and leaves no database connection to grow old until the next one."""
    def run() -> None:
        close_old_connections()
        try:
            job(now=timezone.now())
        finally:
            close_old_connections()

    return run
