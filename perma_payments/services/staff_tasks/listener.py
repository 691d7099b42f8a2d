"""Wake the scheduler when a staff task is opened, with PostgreSQL's LISTEN and NOTIFY.

A trigger on the table notifies (models/staff_task.py). Notifications do not pass through a pooler, so nothing
depends on them: they make mail prompt, but the scheduler also polls every few seconds.
"""

import logging
import select
import threading
import time

import psycopg2
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ...models.staff_task import CHANNEL

logger = logging.getLogger(__name__)

SECONDS_TO_RECONNECT = 1.0


class TaskListener:
    """Listens on a connection of its own. Raises nothing: while it cannot listen, it waits."""

    def __init__(self) -> None:
        self._connection: BaseDatabaseWrapper | None = None
        self._is_pooled = False

    def listen(self) -> None:
        """Start listening, unless it already does. Tasks that were opened earlier are not reported."""
        if self._connection is not None or self._is_pooled:
            return
        self._connection = connections.create_connection(DEFAULT_DB_ALIAS)
        try:
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                (pid,) = cursor.fetchone()
                # A pooler reports a process id of its own, and may run LISTEN on any of its connections.
                self._is_pooled = pid != self._connection.connection.info.backend_pid
                if not self._is_pooled:
                    cursor.execute(f"LISTEN {CHANNEL}")
        except Error:
            self.close()  # the next query elsewhere will say what is wrong
        if self._is_pooled:
            self.close()
            logger.info("notifications do not pass through the pooler, so the scheduler polls for tasks")

    def wait(self, seconds: float, *, stopping: threading.Event) -> None:
        """Return when a task is opened or the connection is lost, and after ``seconds`` in any case."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not stopping.is_set():
            if self._connection is None:
                stopping.wait(left)
                continue
            try:
                connection = self._connection.connection
                if select.select([connection], [], [], min(left, 0.5))[0]:
                    connection.poll()
                    if connection.notifies:
                        connection.notifies.clear()
                        return
            except (psycopg2.Error, OSError, ValueError):  # ValueError: it was closed on our side
                self.close()
                stopping.wait(min(left, SECONDS_TO_RECONNECT))
                return

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
