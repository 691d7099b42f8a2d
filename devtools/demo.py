"""Perma Payments and the sandbox, side by side, on a migrated database.

The demo and its check begin with an empty database, and of the checkout's .env they read only DATABASE_URL. What
`fab run` starts is to be worked on: its database is kept, its code is reloaded, and what .env sets counts. The two
sides use the development keys.
"""

import os
import random
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg2
from dotenv import dotenv_values

from devtools import ROOT, TaskError
from devtools.postgres import create_database, database_url, given, given_url, kept_directory
from devtools.processes import (
    GUNICORN,
    Leashed,
    free_port,
    is_listened_on,
    leashed,
    require_running,
    run_quietly,
    wait_until_it_answers,
    watch,
)

APP_PORT = 8000
SANDBOX_PORT = 8001
SMTP_PORT = 8025

# Perma.cc's clients, and what UPDATE_LEADS_TO has to be for each (docs/contracts/perma.md §3.2).
UPDATE_LEADS_TO = {"2024": "card", "2026": "page"}
DEFAULT_CLIENT = "2026"

STAFF = "staff"
# createsuperuser would not give an existing account the new password.
MAKE_STAFF_ACCOUNT = """
import os
from django.contrib.auth import get_user_model

staff, _ = get_user_model().objects.get_or_create(username=os.environ["STAFF"])
staff.is_active = staff.is_staff = staff.is_superuser = True
staff.set_password(os.environ["STAFF_PASSWORD"])
staff.save()
"""

FAILURES = re.compile(r"^Traceback \(most|was answered with 5\d\d\b|^\S+ (?:ERROR|CRITICAL) ", re.MULTILINE)


@dataclass(frozen=True)
class Demo:
    """The processes of a demo, and where they are. `client` is the year of Perma.cc's client that is played."""

    client: str
    app: Leashed
    app_url: str
    sandbox: Leashed
    sandbox_url: str
    scheduler: Leashed
    password: str
    database: str

    @property
    def processes(self) -> list[Leashed]:
        return [self.app, self.sandbox, self.scheduler]

    def description(self) -> str:
        return f"""
Perma Payments and its sandbox are running, on {self.database}.
The sandbox plays Perma.cc's client of {self.client}.

  Perma Payments                           {self.app_url}/
  Perma.cc's settings page of a customer   {self.sandbox_url}/settings/usage-plan/
  CyberSource's Business Center            {self.sandbox_url}/subscriptions/
  The mail that staff receive              {self.sandbox_url}/mailbox/
  All messages and responses               {self.sandbox_url}/traffic/
  The admin of Perma Payments              {self.app_url}/admin/
                                           user: {STAFF}   password: {self.password}

Press Ctrl-C to stop.
"""


def demo(client: str, *, kept: bool = False) -> None:
    """Run the demo until it is interrupted: on an empty database, or to be worked on (`kept`)."""
    host, app_port = address_to_listen_on()
    sandbox_port = free_port(host, max(SANDBOX_PORT, app_port + 1))
    with running_demo(client, host, app_port, sandbox_port, free_port(host, SMTP_PORT), kept=kept) as running:
        print(running.description(), flush=True)
        watch(running.processes)


def address_to_listen_on() -> tuple[str, int]:
    """Return BIND, as host and port, or a port of this machine that is free. Raises TaskError."""
    address = os.environ.get("BIND")
    if not address:
        return "127.0.0.1", free_port("127.0.0.1", APP_PORT)
    host, _, port = address.rpartition(":")
    if not (host and port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise TaskError(f"BIND must be a host and a port, as in 127.0.0.1:8000; it is {address!r}.")
    if is_listened_on("localhost", int(port)):
        raise TaskError(f"Something listens on port {port} already: `fab run`, perhaps, in another terminal.")
    return host, int(port)


def check(clients: Iterable[str]) -> int:
    """Run the end-to-end tests for each of these clients in turn; return 0 if they pass for all."""
    passed = {}
    for client in clients:
        print(f"--- Perma.cc's client of {client}", flush=True)
        try:
            passed[client] = check_client(client) == 0
        except TaskError as error:
            print(error, flush=True)
            passed[client] = False
    for client, has_passed in passed.items():
        print(f"Perma.cc's client of {client}: {'passed' if has_passed else 'FAILED'}.", flush=True)
    return 0 if all(passed.values()) else 1


def check_client(client: str) -> int:
    """Run the end-to-end tests against a demo of their own; return pytest's exit code."""
    host = "127.0.0.1"
    # Below the ports of outgoing connections, of which one could take a port before it is listened on.
    ports = [free_port(host, first) for first in random.sample(range(10_000, 30_000, 100), 3)]
    with running_demo(client, host, *ports) as running:
        env = {
            "E2E_PAYMENTS_URL": running.app_url,
            "E2E_SANDBOX_URL": running.sandbox_url,
            "E2E_PERMA_CLIENT": client,
            "E2E_STAFF": STAFF,
            "E2E_STAFF_PASSWORD": running.password,
        }
        with leashed("The end-to-end tests", "-m", "pytest", "e2e", env=env, to_terminal=True) as tests:
            while not tests.has_ended():
                require_running(running.processes)
                time.sleep(0.1)
        require_running(running.processes)
        for process in (running.app, running.scheduler):
            if FAILURES.search(process.printed()):
                raise TaskError(f"{process.name} failed at something. {process.last_words()}")
        return tests.wait()


@contextmanager
def running_demo(
    client: str, host: str, app_port: int, sandbox_port: int, smtp_port: int, *, kept: bool = False
) -> Iterator[Demo]:
    """Start the database, Perma Payments, the sandbox and the scheduler, one after the other.

    If it is to be worked on (`kept`), its database stays, what .env sets counts, changed code is reloaded, and the
    terminal shows the logs.
    """
    refuse_real_environments()
    password = secrets.token_urlsafe(12)
    with database_url(kept=kept) as url:
        env = {
            **settings_of(client, kept, app_port, sandbox_port, smtp_port),
            "DATABASE_URL": url,
            "SANDBOX_PAYMENTS_URL": address_in_browser(app_port),
            "SANDBOX_PERMA_CLIENT": client,
        }
        database = prepare_database(url, env, kept=kept)
        make_staff_account(password, env)
        if not (kept or given_url()):
            env["DATABASE_URL"] = url_with_limited_role(url, env)
        print("Starting Perma Payments and its sandbox ...", flush=True)
        reload = ["--reload"] if kept else []
        sandbox_options = ["--host", host, "--port", str(sandbox_port), "--smtp-port", str(smtp_port)]
        with (
            leashed(
                "Perma Payments", *(*GUNICORN, *reload, "--bind", f"{host}:{app_port}"), env=env, to_terminal=kept
            ) as app,
            leashed("The sandbox", "-m", "sandbox", *sandbox_options, env=env) as sandbox,
        ):
            wait_until_it_answers(app, f"localhost:{app_port}", "/subscribe/")
            wait_until_it_answers(sandbox, f"localhost:{sandbox_port}", "/")
            with leashed("The scheduler", "manage.py", "run_scheduler", env=env, to_terminal=kept) as scheduler:
                yield Demo(
                    client=client,
                    app=app,
                    app_url=address_in_browser(app_port),
                    sandbox=sandbox,
                    sandbox_url=address_in_browser(sandbox_port),
                    scheduler=scheduler,
                    password=password,
                    database=database,
                )


def settings_of(client: str, kept: bool, app_port: int, sandbox_port: int, smtp_port: int) -> dict[str, str]:
    """Return the settings with which the two sides find each other. Those in .env come first if `kept`."""
    # Each sends browsers to the other, so these are names that a browser can use.
    app_url, sandbox_url = address_in_browser(app_port), address_in_browser(sandbox_port)
    settings = {
        "PERMA_PAYMENTS_ENV": "development",
        "PERMA_URL": sandbox_url,
        "CS_MODE": "sandbox",
        "CS_SANDBOX_URL": sandbox_url,
        "PAYMENTS_URL": app_url,
        "UPDATE_LEADS_TO": UPDATE_LEADS_TO[client],
        "EMAIL_HOST": "localhost",
        "EMAIL_PORT": str(smtp_port),
    }
    if kept:
        return {name: value for name, value in settings.items() if given(name) is None}
    return {**dict.fromkeys(dotenv_values(ROOT / ".env"), ""), **settings}  # Empty counts as not set.


def prepare_database(url: str, env: Mapping[str, str], *, kept: bool) -> str:
    """Create the database if it does not exist, migrate it, and return what to call it."""
    database = "the database of DATABASE_URL"
    if not given_url():
        database = f"a PostgreSQL that keeps its data in {kept_directory()}" if kept else "a temporary database"
    print(f"Preparing {database} ...", flush=True)
    create_database(url)
    run_quietly("manage.py", "migrate", env={**env, "DATABASE_URL": url}, failure="The migrations failed.")
    return database


def address_in_browser(port: int) -> str:
    return "http://localhost" + ("" if port == 80 else f":{port}")


def client_of_settings() -> str:
    """Return the client for which UPDATE_LEADS_TO is set, or today's."""
    leads_to = given("UPDATE_LEADS_TO")
    return next((client for client, page in UPDATE_LEADS_TO.items() if page == leads_to), DEFAULT_CLIENT)


def chosen_client(name: str) -> str:
    """Return the client with that name. Raises TaskError if there is none."""
    if name not in UPDATE_LEADS_TO:
        raise TaskError(f"--client must be {' or '.join(UPDATE_LEADS_TO)}; it is {name!r}.")
    return name


def refuse_real_environments() -> None:
    name = "PERMA_PAYMENTS_ENV"
    environment = given(name)
    if environment not in (None, "development"):
        raise TaskError(f"This does not run where {name} says {environment}.")


def url_with_limited_role(url: str, env: dict[str, str]) -> str:
    """Return the URL with a role that can only do what the service does: the demo shows that this is enough."""
    role = "perma_payments_service"
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {role} LOGIN")
    connection.close()
    run_quietly("manage.py", "grant_access", role, env=env, failure="The role could not be limited.")
    return url.replace("//postgres@", f"//{role}@")


def make_staff_account(password: str, env: dict[str, str]) -> None:
    """Make the staff account, or give the one from an earlier demo the new password."""
    run_quietly(
        "manage.py",
        "shell",
        "--verbosity",
        "0",
        "--command",
        MAKE_STAFF_ACCOUNT,
        env={**env, "STAFF": STAFF, "STAFF_PASSWORD": password},
        failure="The staff account could not be made.",
    )
