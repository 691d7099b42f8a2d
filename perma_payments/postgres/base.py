"""Django's backend for PostgreSQL, in which nothing waits longer than time_limits.py says.

Two limits work together:

* PostgreSQL's own (``lock_timeout``, ``statement_timeout``, …) come first and cost a transaction, not a
  connection. They are set for one transaction only, before its first statement and in the same round trip:
  what is set for a session is refused by a pooler such as PgBouncer, or meets another client there.
* Ours, on this side of the connection, holds if PostgreSQL says nothing at all: it is frozen, or the network is
  gone. The connection is closed then, because nobody knows what was still done on it.
"""

import select
from typing import Any

import psycopg2
from django.db.backends.postgresql import base
from psycopg2 import extensions

from .time_limits import TimedOut, seconds_left, within

# Also where no time limit is set, in commands: who waits for a lock makes others wait behind them.
LOCK_SECONDS = 5.0
# A new connection, from the name of the host to the password; DATABASE_URL may say otherwise.
CONNECT_SECONDS = 3.0
# Whether a connection still works, before a request uses it.
HEALTH_CHECK_SECONDS = 1.5


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
        """See psycopg2's cursor."""
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
        """The last statement as it was sent, without the limits: Django logs and tests what it asked."""
        query: bytes | None = super().query
        return query and query.removeprefix(self._limits.encode())


def limits(*, in_transaction: bool) -> str:
    """The SQL that limits the transaction it begins, or the one statement behind it; empty for no limits.

    A statement on its own is limited only where there is a time limit: some, such as CREATE DATABASE, must be
    alone.
    """
    left = seconds_left()
    if left is None:
        return f"SET LOCAL lock_timeout = {LOCK_SECONDS * 1000:.0f}; " if in_transaction else ""
    # A little less than ours, so that the connection is kept; a lock's first, so that it can be told apart.
    settings = {"lock_timeout": min(LOCK_SECONDS, left * 0.8), "statement_timeout": left * 0.9}
    if in_transaction:
        # Of a machine that is gone nobody else would end the transaction, and give back its locks.
        settings["idle_in_transaction_session_timeout"] = left + 1
    return "".join(f"SET LOCAL {name} = {max(seconds * 1000, 1):.0f}; " for name, seconds in settings.items())


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection as Django uses it."""

    def get_connection_params(self) -> dict[str, Any]:
        """See Django's backend."""
        return {**super().get_connection_params(), "cursor_factory": Cursor}

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """See Django's backend. libpq's own connect_timeout does not count where a callback waits."""
        with within(float(conn_params.get("connect_timeout") or CONNECT_SECONDS)):
            return super().get_new_connection(conn_params)

    def ensure_connection(self) -> None:
        """See Django's backend. A connection that has broken is replaced at once, not by the next request."""
        if self.connection is not None and self.connection.closed and not self.in_atomic_block:
            self.close()
        super().ensure_connection()

    def is_usable(self) -> bool:
        """See Django's backend."""
        try:
            with within(HEALTH_CHECK_SECONDS):
                with self.connection.cursor(cursor_factory=extensions.cursor) as cursor:
                    cursor.execute("SELECT 1")
        except psycopg2.Error:
            return False
        return True
