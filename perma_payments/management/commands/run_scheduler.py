"""``manage.py run_scheduler``: the one long-running process beside the web server."""
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from apscheduler.schedulers.blocking import BlockingScheduler
from django.core.management.base import BaseCommand
from django.db import close_old_connections
from django.utils import timezone

from ...services import scheduler


class Command(BaseCommand):
    """Do what is due, until told to stop. Several schedulers may run at once; each job is done once."""

    help = (
        "Send the daily report at DAILY_REPORT_TIME, remind of what is overdue, try again every five minutes to "
        "send mails and apply responses that failed, and purge what is kept for a while only. Runs until it is "
        "interrupted."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """See Django's BaseCommand."""
        jobs = BlockingScheduler(timezone=UTC, job_defaults={"coalesce": True, "misfire_grace_time": None})
        jobs.add_job(_job(scheduler.do_daily_jobs), "interval", minutes=1, next_run_time=datetime.now(UTC))
        jobs.add_job(_job(scheduler.retry), "interval", minutes=5, next_run_time=datetime.now(UTC))
        jobs.add_job(_job(scheduler.purge_expired), "interval", minutes=15, next_run_time=datetime.now(UTC))
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, lambda *_: jobs.shutdown(wait=False))
        self.stdout.write("The scheduler runs.")
        self.stdout.flush()
        jobs.start()


def _job(job: Callable[..., object]) -> Callable[[], None]:
    """A job that is told the time, and leaves no database connection to grow old until the next one."""
    def run() -> None:
        close_old_connections()
        try:
            job(now=timezone.now())
        finally:
            close_old_connections()

    return run
