"""A PgBouncer in front of a PostgreSQL, for the tests, in transaction mode, the usual one of poolers.

`programs` finds it on the machine.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg2

from devtools import TaskError
from devtools.postgres_supervisor import unprivileged_account
from devtools.processes import free_port, leashed, require_running

HOST = "127.0.0.1"
# Few connections, so that clients must share them. Without ignore_startup_parameters, ours must need none.
SETTINGS = """
[databases]
{name} = host={host} port={port} user={user} dbname={name}
[pgbouncer]
listen_addr = {address}
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 200
{account}
"""


@contextmanager
def pgbouncer(program: str, url: str, *, pool_size: int = 4) -> Iterator[str]:
    """Yield the URL of a PgBouncer, whose path is ``program``, in front of the database of a URL."""
    parts = psycopg2.extensions.parse_dsn(url)
    port = free_port(HOST)
    # It does not run as root.
    account = unprivileged_account()
    with tempfile.TemporaryDirectory(prefix="perma-payments-") as directory:
        settings = Path(directory) / "pgbouncer.ini"
        settings.write_text(
            SETTINGS.format(
                name=parts["dbname"],
                host=parts["host"],
                port=parts.get("port", "5432"),
                user=parts["user"],
                address=HOST,
                listen_port=port,
                pool_size=pool_size,
                account=f"user = {account.pw_name}" if account else "",
            )
        )
        with leashed(
            "PgBouncer", "-c", "import os, sys; os.execv(sys.argv[1], sys.argv[1:])", program, str(settings)
        ) as process:
            behind = f"postgres://{quote(parts['user'], safe='')}@{HOST}:{port}/{quote(parts['dbname'], safe='')}"
            end = time.monotonic() + 20
            while True:
                try:
                    psycopg2.connect(behind, connect_timeout=5).close()
                    break
                except psycopg2.OperationalError as error:
                    require_running([process])
                    if time.monotonic() > end:
                        raise TaskError(f"PgBouncer leads nowhere: {error}{process.last_words()}") from None
                    time.sleep(0.05)
            yield behind
