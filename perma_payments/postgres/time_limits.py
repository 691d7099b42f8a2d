"""How long to wait for the database: one deadline for everything that a request or a job asks of it.

It limits connecting, statements, COMMIT and waiting for locks alike (base.py), by the monotonic clock.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import psycopg2

V = TypeVar("V", bound=Callable[..., Any])

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
_longest_wait: ContextVar[float | None] = ContextVar("longest_wait", default=None)
_longest_wait_for_lock: ContextVar[float | None] = ContextVar("longest_wait_for_lock", default=None)


class TimedOut(psycopg2.OperationalError):
    """The database did not answer within the time limit. Django turns it into its OperationalError."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Wait for the database no longer than this in total, and then raise OperationalError.

    Inside another ``within``, the one that ends first counts.
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
    """Wait no longer than this for each answer from the database, for work that may take long in total."""
    token = _longest_wait.set(seconds)
    try:
        yield
    finally:
        _longest_wait.reset(token)


@contextmanager
def waiting_for_locks_at_most(seconds: float) -> Iterator[None]:
    """Wait for each lock no longer than this, in transactions that begin here."""
    token = _longest_wait_for_lock.set(seconds)
    try:
        yield
    finally:
        _longest_wait_for_lock.reset(token)


def allow(seconds: float) -> None:
    """In the current ``within``, allow this many seconds from now on, instead of what was left."""
    _deadline.set(time.monotonic() + seconds)


def time_limit(seconds: float) -> Callable[[V], V]:
    """Give a view a time limit of its own, which views.middleware allows it."""

    def decorate(view: V) -> V:
        view.time_limit = seconds  # type: ignore[attr-defined]
        return view

    return decorate


def seconds_left() -> float | None:
    """Return how long to wait for an answer: zero or less for no time at all, None for no limit."""
    deadline = _deadline.get()
    limits = [_longest_wait.get(), None if deadline is None else deadline - time.monotonic()]
    return min((limit for limit in limits if limit is not None), default=None)


def seconds_for_a_lock() -> float | None:
    """Return how long to wait for each lock, or None if nobody said."""
    return _longest_wait_for_lock.get()
