"""``manage.py grant_access``: limit the service's role in PostgreSQL to what the service does.

Only the role that owns the tables, which runs ``migrate``, can then change or empty them, or rewrite the history.
"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import ProgrammingError, connection, transaction
from psycopg2 import sql

from ...services.database_role import emptied_by, privileges


class Command(BaseCommand):
    help = (
        "Give a role of PostgreSQL what the web server and the scheduler need on each table, and take everything "
        "else from it. Run this as the role that owns the tables, after each migrate. It can be repeated."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("role", help="the role that the service logs in with, or a group that it belongs to")

    def handle(self, *args: Any, **options: Any) -> None:
        role = options["role"]
        try:
            with transaction.atomic():
                grant_access(role)
        except ProgrammingError:
            raise CommandError(
                "The role in DATABASE_URL may not grant this. Use the role that owns the tables, which is the one "
                "that runs migrate."
            ) from None
        self.stdout.write(f"{role} can do what the service does, and nothing else.")


# pgtrigger's own function asks only whether the session has switched a trigger off, which any role can do.
ONLY_THE_OWNER_SWITCHES_TRIGGERS_OFF = """
    CREATE OR REPLACE FUNCTION public._pgtrigger_should_ignore(trigger_name NAME) RETURNS BOOLEAN AS $$
        BEGIN
            RETURN trigger_name = ANY(NULLIF(current_setting('pgtrigger.ignore', true), '')::text[])
                AND pg_has_role(current_user, proowner, 'MEMBER')
                FROM pg_proc WHERE oid = 'public._pgtrigger_should_ignore(name)'::regprocedure;
        END;
    $$ LANGUAGE plpgsql
"""

# PostgreSQL finds temporary tables first, and any role can create them: one with the name of a table of the
# history would get what the triggers record, and one called pg_proc would say who owns the function above.
FUNCTIONS_OF_TRIGGERS = """
    SELECT DISTINCT tgfoid::regprocedure::text FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
        WHERE relnamespace = %s::regnamespace AND NOT tgisinternal
    UNION SELECT 'public._pgtrigger_should_ignore(name)'
"""
TEMPORARY_TABLES_LAST = "ALTER FUNCTION {function} SET search_path = {schema}, pg_temp"


def grant_access(role: str) -> None:
    """Give a role exactly these privileges. Raises CommandError if it still has more."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema(), EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", [role])
        schema, exists = cursor.fetchone()
        if not exists:
            raise CommandError(f"There is no role {role}. docs/deployment.md says how to create it.")
        names = {"role": sql.Identifier(role), "schema": sql.Identifier(schema)}
        for statement in (
            "REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role}",
            "REVOKE ALL ON ALL SEQUENCES IN SCHEMA {schema} FROM {role}",
            "GRANT USAGE ON SCHEMA {schema} TO {role}",
            "GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}",
        ):
            cursor.execute(sql.SQL(statement).format(**names))
        for table, name, columns in privileges():
            of_columns = sql.SQL(" ({})").format(sql.SQL(", ").join(map(sql.Identifier, columns)))
            cursor.execute(
                sql.SQL("GRANT {}{} ON {} TO {}").format(
                    sql.SQL(name), of_columns if columns else sql.SQL(""), sql.Identifier(table), names["role"]
                )
            )
        cursor.execute(ONLY_THE_OWNER_SWITCHES_TRIGGERS_OFF)
        cursor.execute(FUNCTIONS_OF_TRIGGERS, [sql.Identifier(schema).as_string(cursor.cursor)])
        last = sql.SQL(TEMPORARY_TABLES_LAST)
        for (function,) in cursor.fetchall():
            cursor.execute(last.format(function=sql.SQL(function), schema=names["schema"]))
    # Privileges that come from elsewhere, and those of the owner, who can always grant them to itself again.
    if tables := emptied_by(role):
        raise CommandError(
            f"{role} could still delete what is in {tables[0]}, because it is a superuser, owns the table, or "
            "belongs to a role that may. Use a role of its own for the service."
        )
