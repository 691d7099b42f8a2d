"""What PostgreSQL writes into its own log."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection


def reading_from_now() -> Callable[[], str]:
    """A function that reads what PostgreSQL has logged since this call.

    Where devtools.postgres has not started the server, the log cannot be found, and the test is skipped.
    """
    with connection.cursor() as cursor:
        cursor.execute("SHOW data_directory")
        (data,) = cursor.fetchone()
    log = Path(data).parent / "log"
    if not os.access(log, os.R_OK):
        pytest.skip("PostgreSQL's log is only found if these tests start the server: without DATABASE_URL")
    start = log.stat().st_size

    def read() -> str:
        with log.open("rb") as file:
            file.seek(start)
            return file.read().decode(errors="replace")

    return read
