"""Migrations run while others work: the old code, and the new one right after."""

import re

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

# What is done concurrently is done in no transaction.
pytestmark = pytest.mark.django_db(transaction=True)


def test_no_migration_locks_a_table_in_use_while_it_builds_an_index():
    """Others could not even read it, and locks on several tables meet those of requests in a deadlock."""
    loader = MigrationLoader(connection)
    for (app, name), migration in loader.disk_migrations.items():
        # The first one expects an empty database.
        if app != "perma_payments" or name == "0001_initial":
            continue
        statements = loader.collect_sql([(migration, False)])
        new = re.findall(r'^CREATE TABLE "(\w+)"', "\n".join(statements), re.MULTILINE)
        in_use = [each for each in statements if not any(f'"{table}"' in each for table in new)]
        assert not [
            each for each in in_use if re.match("(CREATE|DROP) INDEX (?!CONCURRENTLY)|ALTER TABLE", each)
        ], name


def test_a_migration_that_was_ended_while_it_built_indexes_can_be_run_again():
    before = indexes()
    call_command("migrate", "perma_payments", "0002", fake=True, verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX agreement_last_digits")
        cursor.execute("UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = 'agreement_alive'::regclass")
    assert indexes() != before

    call_command("migrate", verbosity=0)

    assert indexes() == before


def indexes() -> set[tuple[str, bool]]:
    """The names of all our indexes, and whether each was built to its end."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
            "WHERE indrelid::regclass::text LIKE 'perma_payments_%'"
        )
        return set(cursor.fetchall())
