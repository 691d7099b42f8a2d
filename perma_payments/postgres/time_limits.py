"""How long may be waited for the database: one deadline for all that a request or a job asks of it.

A deadline bounds connecting, statements, COMMIT and waiting for locks alike (see base.py). Seconds are
those of a clock that nobody sets.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import psycopg2

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
_longest_wait: ContextVar[float | None] = ContextVar("longest_wait", default=None)


class TimedOut(psycopg2.OperationalError):
    """The database did not answer within the time limit. Django makes its OperationalError of it."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Wait for the database no longer than this in all; after that, OperationalError.

    Inside another ``within``, what ends first counts.
    """
    end = time.monotonic() + seconds
    outer = _deadline.get()
    token = _deadline.set(end if outer is None else min(end, outer))
    try:
        yield
    finally:
        _deadline.reset(token)


@contextmanager
def waiting_at_most(seconds: float) -> Iterator[None]:
    """Wait for each answer of the database no longer than this; for what may take long in all."""
    token = _longest_wait.set(seconds)
    try:
        yield
    finally:
        _longest_wait.reset(token)


def allow(seconds: float) -> None:
    """Within the running ``within``, from now on: allow so many seconds instead of what was left."""
    _deadline.set(time.monotonic() + seconds)


def seconds_left() -> float | None:
    """For how long an answer may be waited for; zero or less if for no time at all, None if there is no limit."""
    deadline = _deadline.get()
    limits = [_longest_wait.get(), None if deadline is None else deadline - time.monotonic()]
    return min((limit for limit in limits if limit is not None), default=None)
