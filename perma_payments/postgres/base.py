"""Django's backend for PostgreSQL, in which nothing waits longer than time_limits.py allows.

Two limits work together:

* PostgreSQL's own (``lock_timeout``, ``statement_timeout``, …) is the shorter one and costs a transaction, not a
  connection. It is set for one transaction at a time, in the same round trip as its first statement: a pooler such
  as PgBouncer would refuse a setting for the session, or pass it on to another client.
* Ours, on this side of the connection, counts if PostgreSQL does not answer at all, because it is frozen or the
  network is gone. Then the connection is closed, because what it did last cannot be known.
"""

import select
import time
from typing import Any

import psycopg2
from django.db.backends.postgresql import base
from psycopg2 import extensions

from .time_limits import TimedOut, seconds_for_a_lock, seconds_left, within

# Holds even without a time limit, as in commands: whatever waits for a lock makes others wait behind it.
LOCK_SECONDS = 5.0
# For a new connection, from looking up the host to the password. DATABASE_URL can change it (connect_timeout).
CONNECT_SECONDS = 3.0
# For asking whether a connection still works, before a request uses it.
HEALTH_CHECK_SECONDS = 1.5
# A connection that was in use this recently is not asked. Firewalls drop only those that are idle for minutes.
RECENTLY_SECONDS = 10.0


def wait(connection: Any) -> None:
    """Wait for PostgreSQL to answer on a connection. Raises TimedOut; psycopg2 then closes it."""
    while (state := connection.poll()) != extensions.POLL_OK:
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN if state == extensions.POLL_READ else select.POLLOUT)
        left = seconds_left()
        if not poll.poll(None if left is None else max(left * 1000, 0)):
            raise TimedOut("the time limit has passed")


extensions.set_wait_callback(wait)


class Cursor(extensions.cursor):
    """A cursor that begins each transaction with PostgreSQL's own time limits."""

    _limits = ""

    def execute(self, query: Any, vars: Any = None) -> None:
        self._limits = ""
        if (
            isinstance(query, str)
            and self.connection.get_transaction_status() == extensions.TRANSACTION_STATUS_IDLE
        ):
            self._limits = limits(in_transaction=not self.connection.autocommit)
            query = self._limits + query
        super().execute(query, vars)

    @property
    def query(self) -> bytes | None:
        """The last statement that was sent, without the limits, for Django's logs and tests."""
        query: bytes | None = super().query
        return query and query.removeprefix(self._limits.encode())


def limits(*, in_transaction: bool) -> str:
    """Return the SQL that limits a transaction before its first statement, or a statement on its own.

    Without a time limit, a statement on its own has no limits: some, such as CREATE DATABASE, must be sent alone.
    """
    left, for_a_lock = seconds_left(), seconds_for_a_lock() or LOCK_SECONDS
    if left is None:
        return f"SET LOCAL lock_timeout = {for_a_lock * 1000:.0f}; " if in_transaction else ""
    # A little less than our own limit, which closes the connection. That for locks is shorter, to show the cause.
    settings = {"lock_timeout": min(for_a_lock, left * 0.8), "statement_timeout": left * 0.9}
    if in_transaction:
        # If this machine is gone, nothing else would end the transaction and release its locks.
        settings["idle_in_transaction_session_timeout"] = left + 1
    return "".join(f"SET LOCAL {name} = {max(seconds * 1000, 1):.0f}; " for name, seconds in settings.items())


class DatabaseWrapper(base.DatabaseWrapper):
    health_check_done: bool
    _last_used = 0.0

    def get_connection_params(self) -> dict[str, Any]:
        return {**super().get_connection_params(), "cursor_factory": Cursor}

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        # libpq ignores its own connect_timeout if a callback waits.
        with within(float(conn_params.get("connect_timeout") or CONNECT_SECONDS)):
            return super().get_new_connection(conn_params)

    def ensure_connection(self) -> None:
        # Replace a connection that broke within this request, instead of leaving that to the next.
        self._close_if_broken()
        super().ensure_connection()

    def close_if_health_check_failed(self) -> None:
        # Django asks before each request whether its connection works, which takes as long as a statement. A
        # PostgreSQL that has closed one has said so, even if nobody has listened yet.
        if not self.health_check_done and self.connection is not None:
            now = time.monotonic()
            is_recent, self._last_used = now - self._last_used < RECENTLY_SECONDS, now
            self.health_check_done = is_recent and not _has_said_something(self.connection)
        super().close_if_health_check_failed()

    def close_if_unusable_or_obsolete(self) -> None:
        # Django would replace a broken connection first. This runs after a request and before a job of the
        # scheduler's, when the database may be down and must not be needed.
        self._close_if_broken()
        super().close_if_unusable_or_obsolete()

    def _close_if_broken(self) -> None:
        if self.connection is not None and self.connection.closed and not self.in_atomic_block:
            self.close()

    def is_usable(self) -> bool:
        try:
            with within(HEALTH_CHECK_SECONDS):
                with self.connection.cursor(cursor_factory=extensions.cursor) as cursor:
                    cursor.execute("SELECT 1")
        except psycopg2.Error:
            return False
        return True


def _has_said_something(connection: Any) -> bool:
    """Whether PostgreSQL has sent something unasked, such as that it ends the connection, or closed it."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
