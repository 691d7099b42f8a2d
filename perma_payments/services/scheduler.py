"""When the scheduler sends mail: as soon as a task is opened, and rarely while the mail server is down.

The other jobs run at intervals (management/commands/run_scheduler.py). All of them are in management/jobs.py.
"""

import logging
import threading
from collections.abc import Callable

from django.db import close_old_connections
from django.utils import timezone

from ..logs import Alarm, alarm
from ..postgres.problems import why_unavailable
from ..postgres.time_limits import waiting_at_most
from .staff_tasks.listener import TaskListener

logger = logging.getLogger(__name__)

# Between two checks for mail to send, if no notification comes. The pause doubles each time that the mail server
# or the database fails.
POLL_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 120.0
# For each answer from the database: a job may take longer in total, but must not wait forever.
DATABASE_SECONDS = 30.0


@waiting_at_most(DATABASE_SECONDS)
def keep_mailing(send: Callable[..., bool], *, stopping: threading.Event) -> None:
    """Run ``send``, which returns whether the mail server works, again and again until told to stop.

    All mail goes through here, one message after another, so a server that hangs delays nothing else.
    """
    listener = TaskListener()
    pause = POLL_SECONDS
    while not stopping.is_set():
        listener.listen()
        if run_job(send):
            pause = POLL_SECONDS
            listener.wait(pause, stopping=stopping)
        else:
            # New tasks do not end this pause: their mail would fail, too.
            logger.warning("mail will be retried in %.0f seconds", pause)
            stopping.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
    listener.close()


@waiting_at_most(DATABASE_SECONDS)
def run_job(job: Callable[..., object]) -> object:
    """Return ``job(now=…)``, or None after an error, which is logged. Leaves no old database connection behind."""
    close_old_connections()
    try:
        return job(now=timezone.now())
    except Exception as error:  # the scheduler goes on
        if reason := why_unavailable(error):
            logger.error("%s: the database cannot serve this: %s", job.__name__, reason)
        else:
            logger.exception("%s failed", job.__name__, extra=alarm(Alarm.JOB_FAILED, job=job.__name__))
        return None
    finally:
        close_old_connections()
