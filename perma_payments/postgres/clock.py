"""The time by PostgreSQL's clock, which may differ from this machine's."""

from datetime import datetime

from django.db import connection


def time_there() -> datetime:
    """Return what PostgreSQL's clock shows."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchall()[0][0]
    return moment
