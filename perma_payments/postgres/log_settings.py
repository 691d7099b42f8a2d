"""What PostgreSQL's log may show. Statements hold values, because psycopg2 writes them into the text."""

from collections.abc import Mapping

from django.db import connection

# The values with which it shows no statement and no row. A superuser of PostgreSQL sets them (docs/operations.md).
DISCREET: Mapping[str, tuple[str, ...]] = {
    "log_min_error_statement": ("panic",),
    "log_error_verbosity": ("terse",),
    "log_statement": ("none", "ddl"),
    "log_min_duration_statement": ("-1",),
}


def indiscreet() -> list[str]:
    """The names of the settings with which PostgreSQL may log values."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(DISCREET)])
        return sorted(name for name, setting in cursor.fetchall() if setting not in DISCREET[name])
