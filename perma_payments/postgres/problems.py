"""Why the database is unavailable, in our own words: PostgreSQL's may quote rows."""

import psycopg2
from django.db import Error, InterfaceError, OperationalError
from psycopg2 import errorcodes

from .time_limits import TimedOut

# By SQLSTATE, or its class (https://www.postgresql.org/docs/current/errcodes-appendix.html).
_BY_CODE = {
    errorcodes.LOCK_NOT_AVAILABLE: "a lock could not be acquired in time",
    errorcodes.DEADLOCK_DETECTED: "two transactions waited for each other's locks",
    errorcodes.CLASS_TRANSACTION_ROLLBACK: "two transactions were in conflict",
    errorcodes.QUERY_CANCELED: "it did not answer in time",
    errorcodes.READ_ONLY_SQL_TRANSACTION: "it is read-only",
    errorcodes.DISK_FULL: "its disk is full",
    errorcodes.TOO_MANY_CONNECTIONS: "it has no connection left",
    errorcodes.IDLE_IN_TRANSACTION_SESSION_TIMEOUT: "the transaction was idle for too long",
    errorcodes.CANNOT_CONNECT_NOW: "it is starting or stopping",
    errorcodes.ADMIN_SHUTDOWN: "it was stopped, or has ended the connection",
    errorcodes.CRASH_SHUTDOWN: "it has crashed, and is starting again",
    errorcodes.INVALID_PASSWORD: "the user name or the password is wrong",
    errorcodes.INVALID_CATALOG_NAME: "there is no such database",
    errorcodes.CLASS_CONNECTION_EXCEPTION: "the connection was lost",
    errorcodes.CLASS_INSUFFICIENT_RESOURCES: "it lacks memory or disk space",
    errorcodes.CLASS_OPERATOR_INTERVENTION: "it was stopped, or has ended the connection",
    errorcodes.CLASS_SYSTEM_ERROR: "its operating system reported an error",
}
# A connection that was never made has no SQLSTATE, only a text from libpq, PostgreSQL or PgBouncer. Some phrases
# contain others, so the order counts.
_BY_PHRASE = {
    "password authentication failed": _BY_CODE[errorcodes.INVALID_PASSWORD],
    "no password supplied": "no password was given",
    "no such user": _BY_CODE[errorcodes.INVALID_PASSWORD],
    "SASL authentication failed": _BY_CODE[errorcodes.INVALID_PASSWORD],
    "no such database": _BY_CODE[errorcodes.INVALID_CATALOG_NAME],
    "no pg_hba.conf entry": "it does not let this user in from here (pg_hba.conf)",
    "could not translate host name": "the name of its host is unknown",
    "starting up": _BY_CODE[errorcodes.CANNOT_CONNECT_NOW],
    "shutting down": _BY_CODE[errorcodes.CANNOT_CONNECT_NOW],
    "recovery mode": _BY_CODE[errorcodes.CANNOT_CONNECT_NOW],
    "not yet accepting connections": _BY_CODE[errorcodes.CANNOT_CONNECT_NOW],
    "not accepting connections": "it does not accept connections",
    "connection slots": _BY_CODE[errorcodes.TOO_MANY_CONNECTIONS],
    "too many clients": _BY_CODE[errorcodes.TOO_MANY_CONNECTIONS],
    "too many connections": _BY_CODE[errorcodes.TOO_MANY_CONNECTIONS],
    "no more connections allowed": _BY_CODE[errorcodes.TOO_MANY_CONNECTIONS],
    "query_wait_timeout": _BY_CODE[errorcodes.TOO_MANY_CONNECTIONS],
    "unsupported startup parameter": "PgBouncer refuses a start-up option of the connection (DATABASE_URL)",
    "server login": "PgBouncer cannot log in to it",
    "cannot connect to server": "PgBouncer cannot reach it",
    "Connection refused": "the connection was refused: nobody listens there",
    "No such file or directory": "the connection was refused: nobody listens there",
    "No route to host": "its host cannot be reached",
    "Network is unreachable": "its host cannot be reached",
    "timed out": "it did not answer in time",
    "timeout expired": "it did not answer in time",
    "certificate": "its certificate could not be verified (sslmode and sslrootcert in DATABASE_URL)",
    "SSL": "the connection could not be encrypted",
    "terminating connection": _BY_CODE[errorcodes.ADMIN_SHUTDOWN],
    "closed": "the connection was lost",
}


def why_unavailable(error: BaseException) -> str | None:
    """Return why the database is unavailable for now, or None for an error that trying again would not fix.

    It may be gone, hang, be full or read-only, or another transaction may hold a lock.
    """
    if not isinstance(error, Error):
        return None
    cause = error.__cause__
    if isinstance(cause, TimedOut):
        return _BY_CODE[errorcodes.QUERY_CANCELED]
    code = getattr(cause, "pgcode", None)
    # All errors of PgBouncer have the same code.
    if code and code[:2] != errorcodes.CLASS_CONNECTION_EXCEPTION:
        return _BY_CODE.get(code) or _BY_CODE.get(code[:2])
    # psycopg2 raises a plain DatabaseError if a connection breaks in the middle of an answer.
    if not isinstance(error, InterfaceError | OperationalError) and type(cause) is not psycopg2.DatabaseError:
        return None
    text = str(error)
    if text.rstrip().endswith("does not exist"):
        return _BY_CODE[errorcodes.INVALID_CATALOG_NAME if "database" in text else errorcodes.INVALID_PASSWORD]
    reasons = (reason for phrase, reason in _BY_PHRASE.items() if phrase in text)
    return next(reasons, "the connection could not be made, or was lost")


def is_locked(error: BaseException) -> bool:
    """Return whether someone else was changing the same thing, so trying again in a moment may succeed."""
    code = getattr(error.__cause__, "pgcode", None)
    return code in (errorcodes.LOCK_NOT_AVAILABLE, errorcodes.DEADLOCK_DETECTED)


def describe(error: BaseException) -> str:
    """Return an error for the log: why the database is unavailable, or else the error's type and SQLSTATE."""
    name = type(error).__qualname__
    code = getattr(error.__cause__, "pgcode", None)
    return why_unavailable(error) or (f"{name} {code}" if code else name)
