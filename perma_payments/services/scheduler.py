"""When the scheduler sends mails: as soon as a staff task is opened, and rarely while the mail server is down."""

import logging
import threading
from collections.abc import Callable

from django.db import close_old_connections
from django.utils import timezone

from ..postgres.problems import describe
from .staff_tasks.listener import TaskListener

logger = logging.getLogger(__name__)

# Between two looks for mails, if no notification comes. The pause doubles each time that the mail server or
# the database fails.
POLL_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 120.0


def keep_mailing(send: Callable[..., bool], *, stopping: threading.Event) -> None:
    """Call ``send(now=…)``, which returns False if the mail server failed, until told to stop. Raises nothing.

    All conversations with the mail server happen here, one after the other, so a server that hangs delays
    nothing else.
    """
    listener = TaskListener()
    pause = POLL_SECONDS
    while not stopping.is_set():
        listener.listen()
        if _send_or_log(send):
            pause = POLL_SECONDS
            listener.wait(pause, stopping=stopping)
        else:
            # New tasks do not end this pause: their mails would fail the same way.
            logger.warning("mails are tried again in %.0f seconds", pause)
            stopping.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
    listener.close()


def _send_or_log(send: Callable[..., bool]) -> bool:
    close_old_connections()
    try:
        return send(now=timezone.now())
    except Exception as error:  # the scheduler goes on
        logger.error("mails could not be sent: %s", describe(error))
        return False
    finally:
        close_old_connections()
