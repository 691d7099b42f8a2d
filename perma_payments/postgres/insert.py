"""INSERT … ON CONFLICT DO NOTHING: insert a row that somebody else may be inserting at the same moment.

The second INSERT of a ``get_or_create`` fails, and PostgreSQL logs a statement that fails, with all that is in it.
"""

from django.db import connection
from django.db.models import Model
from django.db.models.constants import OnConflict
from django.db.models.sql import InsertQuery


def insert_unless_there(row: Model) -> bool:
    """Insert a row with an automatic id, unless a constraint says that it is there already.

    Return whether it was inserted.

    It waits for a transaction that is inserting the same row.
    """
    meta = row._meta
    query = InsertQuery(type(row), on_conflict=OnConflict.IGNORE)
    query.insert_values([field for field in meta.concrete_fields if field is not meta.pk], [row])
    [(statement, parameters)] = query.get_compiler(connection=connection).as_sql()
    with connection.cursor() as cursor:
        cursor.execute(f"{statement} RETURNING {meta.pk.column}", parameters)
        returned = cursor.fetchone()
    if returned is None:
        return False
    (row.pk,) = returned
    row._state.adding = False
    return True
