"""Whether the database has all tables and columns that this code needs."""

from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from .time_limits import within

BEHIND = (
    "The database is older than this code: {count} of its migrations, from {first} on, were not run. "
    "Run manage.py migrate, then start again."
)


def behind() -> str | None:
    """Return what to do if the database lacks migrations of this code, or None if it has them all, or is ahead.

    During a rolling upgrade it is ahead of the older code, which runs on. Raises OperationalError if the database
    does not answer within 5 seconds. Leaves no connection, because a process that forks would share it.
    """
    try:
        with within(5):
            executor = MigrationExecutor(connection)
            plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    finally:
        connection.close()
    if not plan:
        return None
    first, _ = plan[0]
    return BEHIND.format(count=len(plan), first=f"{first.app_label}.{first.name}")
