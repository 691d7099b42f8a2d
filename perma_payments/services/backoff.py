"""When what has failed is tried again: a mail, or a daily job.

Each process takes what it tries for LEASE, and commits that before it speaks to a mail server. So no other tries
meanwhile, no transaction waits for a mail server, and what a killed process has left behind is tried again.
"""

from datetime import timedelta

from django.db import connection

# Longer than a conversation takes at most (emails.LIMIT, twice if it had to be begun).
LEASE = timedelta(minutes=5)


def wait_after_failure(failures: int) -> timedelta:
    """10 seconds, then twice as long each time, up to 5 minutes: a mail server that is back gets the mail soon."""
    return _doubled(timedelta(seconds=10), failures, timedelta(minutes=5))


def wait_after_silence(failures: int) -> timedelta:
    """An hour, then twice as long each time, up to a day: the mail may have arrived, and should not be a flood."""
    return _doubled(timedelta(hours=1), failures, timedelta(days=1))


def wait_for_the_rest(failures: int) -> timedelta:
    """A minute, then twice as long each time, up to a day: others were told already."""
    return _doubled(timedelta(minutes=1), failures, timedelta(days=1))


def check_connection() -> None:
    """Have Django make a new database connection if this one was lost while the mail server was spoken to."""
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


def _doubled(first: timedelta, failures: int, most: timedelta) -> timedelta:
    factor: int = 2 ** min(failures - 1, 20)
    return min(first * factor, most)
