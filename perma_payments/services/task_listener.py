"""Wakes the scheduler when a staff task is opened, by PostgreSQL's LISTEN and NOTIFY.

A trigger on the table notifies (models/staff_task.py). That does not pass through a pooler, so nothing depends on
it: it makes mails quick, and the scheduler also looks for itself every few seconds.
"""
import logging
import select
import threading
import time

import psycopg2
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ..models.staff_task import CHANNEL

logger = logging.getLogger(__name__)


class TaskListener:
    """Listens on a connection of its own. Raises nothing: where it hears nothing, it waits."""

    def __init__(self) -> None:
        self._connection: BaseDatabaseWrapper | None = None
        self._is_pooled = False

    def listen(self) -> None:
        """Begin to listen, or go on. What was opened before that is not heard of."""
        if self._connection is not None or self._is_pooled:
            return
        self._connection = connections.create_connection(DEFAULT_DB_ALIAS)
        try:
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                (pid,) = cursor.fetchone()
                # A pooler tells its clients a number of its own, and hands LISTEN to whichever server comes.
                self._is_pooled = pid != self._connection.connection.info.backend_pid
                if not self._is_pooled:
                    cursor.execute(f"LISTEN {CHANNEL}")
        except Error:
            self.close()  # whoever asks the database next will say what is wrong
        if self._is_pooled:
            self.close()
            logger.info("behind a pooler no notifications come through, so tasks are polled for")

    def wait(self, seconds: float, *, stopping: threading.Event) -> None:
        """Return when a task is opened, and after some seconds in any case."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not stopping.is_set():
            if self._connection is None:
                stopping.wait(left)
            elif self._has_heard(min(left, 0.5)):
                return

    def close(self) -> None:
        """Listen no more."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _has_heard(self, seconds: float) -> bool:
        assert self._connection is not None
        heard = self._connection.connection
        try:
            if not select.select([heard], [], [], seconds)[0]:
                return False
            heard.poll()
        except (psycopg2.Error, OSError, ValueError):  # ValueError: it was closed in this process
            self.close()
            return False
        has_heard = bool(heard.notifies)
        heard.notifies.clear()
        return has_heard
