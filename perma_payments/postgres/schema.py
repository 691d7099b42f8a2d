"""Whether the database has all tables and columns that this code needs."""

from django.db import connection
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor

from .time_limits import within

BEHIND = (
    "The database is older than this code: {count} of its migrations, from {first} on, were not run. "
    "Run manage.py migrate, then start again."
)


def missing() -> list[Migration]:
    """Return the migrations of this code that the database lacks, in their order; none if it is ahead.

    During a rolling upgrade it is ahead of the older code, which runs on.
    """
    executor = MigrationExecutor(connection)
    return [migration for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]


def behind() -> str | None:
    """Return what to do if the database lacks migrations of this code, or None.

    Raises OperationalError if the database does not answer within 5 seconds. Leaves no
    connection, because a process that forks would share it.
    """
    try:
        with within(5):
            lacking = missing()
    finally:
        connection.close()
    if not lacking:
        return None
    return BEHIND.format(count=len(lacking), first=f"{lacking[0].app_label}.{lacking[0].name}")
