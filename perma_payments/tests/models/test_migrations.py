"""Migrations run while others work: the old code, and the new one right after."""

import re

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader


@pytest.mark.django_db
def test_no_migration_locks_a_table_while_it_waits_for_another():
    """It would meet requests in a deadlock, or keep others from reading one table while another gets an index."""
    loader = MigrationLoader(connection)
    for (app, name), migration in loader.disk_migrations.items():
        # The first one expects an empty database.
        if app != "perma_payments" or name == "0001_initial":
            continue
        statements = loader.collect_sql([(migration, False)])
        new = re.findall(r'^CREATE TABLE "(\w+)"', "\n".join(statements), re.MULTILINE)
        statements = [each for each in statements if not any(table in each for table in new)]
        if migration.atomic:
            assert sum(each.startswith(("CREATE INDEX", "DROP INDEX", "ALTER TABLE")) for each in statements) <= 1
        else:
            assert all(operation.atomic for operation in migration.operations)
            assert not [each for each in statements if "ALTER TABLE" in each]


@pytest.mark.django_db(transaction=True)
def test_a_migration_that_was_stopped_can_be_run_again():
    loader = MigrationLoader(connection)
    for (app, name), migration in loader.disk_migrations.items():
        if app == "perma_payments" and not migration.atomic:
            before = loader.project_state((app, name), at_end=False)
            with connection.schema_editor(atomic=False) as schema_editor:
                migration.apply(before, schema_editor)
