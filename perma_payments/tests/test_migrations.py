"""Migrations of a database in use."""

from django.core.management import call_command
from django.db import connection


def indexes() -> set[tuple[str, bool]]:
    """The names of all our indexes, and whether each was built to its end."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
            "WHERE indrelid::regclass::text LIKE 'perma_payments_%'"
        )
        return set(cursor.fetchall())


def test_a_migration_that_was_ended_while_it_built_indexes_can_be_run_again(transactional_db):
    before = indexes()
    call_command("migrate", "perma_payments", "0002", fake=True, verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX agreement_last_digits")
        cursor.execute("UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = 'agreement_alive'::regclass")
    assert indexes() != before

    call_command("migrate", verbosity=0)

    assert indexes() == before
