"""Migrations run while others work: the old code, and the new one right after."""

import re

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader

pytestmark = pytest.mark.django_db


def test_a_migration_that_builds_an_index_lets_others_read():
    """It may take seconds. To drop an index, or alter a table, locks readers out until the transaction ends."""
    loader = MigrationLoader(connection)
    ours = {
        name: loader.disk_migrations[app, name] for app, name in loader.disk_migrations if app == "perma_payments"
    }
    del ours["0001_initial"]  # It expects an empty database.
    assert ours
    for name, migration in ours.items():
        statements = loader.collect_sql([(migration, False)])
        new = re.findall(r'^CREATE TABLE "(\w+)"', "\n".join(statements), re.MULTILINE)
        locking = [
            each
            for each in statements
            if re.match(r"DROP INDEX|ALTER TABLE", each) and not any(table in each for table in new)
        ]
        assert not locking or not any(each.startswith("CREATE INDEX") for each in statements), name
