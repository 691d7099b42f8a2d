"""When to retry what has failed: a mail, or a daily job.

A process claims what it attempts for LEASE, and commits that before it talks to a mail server. So no other process
attempts it meanwhile, no transaction waits for a mail server, and what a killed process left undone is attempted
again.
"""

from datetime import timedelta

from django.db import connection

from ..emails import Unanswered

# Longer than a conversation can take (emails.MAIL_SECONDS, twice if it has to be started).
LEASE = timedelta(minutes=5)


def doubled(first: timedelta, attempts: int, longest: timedelta) -> timedelta:
    """``first`` after one attempt, then twice as long after each further one, up to ``longest``."""
    return min(first * (1 << min(attempts - 1, 20)), longest)


def wait_after(error: Exception, attempts: int) -> timedelta:
    """Return how long to wait after a failed attempt: 10 seconds after the first, doubled up to 5 minutes.

    If the mail may have arrived, wait an hour, doubled up to a day, so that its readers are not flooded.
    """
    if isinstance(error, Unanswered):
        return doubled(timedelta(hours=1), attempts, timedelta(days=1))
    return doubled(timedelta(seconds=10), attempts, timedelta(minutes=5))


def check_connection() -> None:
    """Have Django open a new database connection if this one was lost while a mail was sent."""
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()
