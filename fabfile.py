"""The tasks of a developer: `fab --list` names them, `fab --help TASK` tells more.

They need nothing but what requirements-dev.txt installs: without DATABASE_URL (in the environment,
or in .env) each has a PostgreSQL of its own, which ends with it. fabric.yaml keeps their names as
they are written here: init_db, not init-db.
"""

import functools
import os
import shlex
import sys
from collections.abc import Callable
from typing import Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task as invoke_task

from devtools import TaskError, demo as demonstration, postgres, processes, programs

# Percent of lines and branches: a point below what all tests cover.
COVERAGE_FLOOR = 95


def task(function: Callable[..., None]) -> Any:
    """A task that tells its problems in sentences, and ends what it has started."""

    @functools.wraps(function)
    def told(*args: Any, **kwargs: Any) -> None:
        processes.end_in_order_when_told()
        try:
            function(*args, **kwargs)
        except TaskError as error:
            raise Exit(str(error), code=1) from None

    return invoke_task(told)


@task
def demo(context: Context, check: bool = False) -> None:
    """Run Perma Payments beside stand-ins of Perma.cc and CyberSource; Ctrl-C ends it.

    With --check, run the end-to-end tests against it instead; the exit code is 0 if they passed.
    DEMO_HOST is the address that both listen on: 127.0.0.1 unless set.
    """
    if check:
        sys.exit(demonstration.check())
    until_interrupted(demonstration.demo)


@task
def run(context: Context) -> None:
    """Run Perma Payments and its scheduler on http://localhost:8000, on a database that is kept; Ctrl-C ends both.

    The web server's code is loaded again when it changes, the scheduler's when this is started again. BIND lists
    where to listen, as host:port separated by spaces or commas: 127.0.0.1:8000 unless set.
    """
    addresses = processes.words(os.environ.get("BIND", "")) or ["127.0.0.1:8000"]

    def serve() -> None:
        with postgres.database_url(kept=True) as url:
            prepare_database(url)
            with (
                processes.leashed(
                    "Perma Payments",
                    *processes.GUNICORN,
                    "--reload",
                    *[f"--bind={address}" for address in addresses],
                    env={"DATABASE_URL": url},
                    to_terminal=True,
                ) as app,
                processes.leashed(
                    "The scheduler", "manage.py", "run_scheduler", env={"DATABASE_URL": url}, to_terminal=True
                ) as scheduler,
            ):
                print("Starting Perma Payments at", *map(address_in_browser, addresses), flush=True)
                processes.watch([app, scheduler])

    until_interrupted(serve)


@task
def init_db(context: Context) -> None:
    """Create the database if it is missing, and bring it up to date."""
    with postgres.database_url(kept=True) as url:
        prepare_database(url)


@task
def test(context: Context, args: str = "") -> None:
    """Run the tests, on several cores, and say what they cover; --args "-k word" are arguments for pytest.

    If all of them run, they fail if they cover less than they should.
    """
    not_found = [program for program in programs.PROGRAMS if not programs.find(program)]
    floor = [] if args or not_found else [f"--cov-fail-under={COVERAGE_FLOOR}"]
    # All share one PostgreSQL, which takes a hundred connections.
    cores = ["--numprocesses", "auto", "--maxprocesses", "4", "--dist", "loadfile"]
    tested = processes.run("-m", "pytest", *cores, "--cov", *floor, *shlex.split(args))
    for program in not_found:
        print(f"Its tests did not run: {programs.missing(program)}")
    sys.exit(tested)


@task
def lint(context: Context) -> None:
    """Check format, style, types, imports, missing migrations and Django's settings."""
    checks = {
        "ruff format": ["-m", "ruff", "format", "--check", "."],
        "ruff": ["-m", "ruff", "check", "."],
        "flake8": ["-m", "flake8"],
        "mypy": ["-m", "mypy"],
        "lint-imports": ["-c", "from importlinter.cli import lint_imports_command as lint; lint()"],
        "makemigrations --check": ["manage.py", "makemigrations", "--check", "--dry-run"],
        "check": ["manage.py", "check"],
    }
    failed = []
    with postgres.database_url() as url:
        for name, command in checks.items():
            print(f"--- {name}", flush=True)
            if processes.run(*command, env={"DATABASE_URL": url}) != 0:
                failed.append(name)
    if failed:
        raise TaskError(f"Failed: {', '.join(failed)}.")
    print("All checks passed.")


@task
def requirements(context: Context) -> None:
    """Compile requirements.txt and requirements-dev.txt, with hashes, from their .in files."""
    for name in ("requirements", "requirements-dev"):
        code = processes.run(
            "-m",
            "uv",
            "pip",
            "compile",
            "--universal",
            "--python-version",
            "3.11",
            # Without its extras in the pin, pip before 23.3 takes coverage[toml] for a package that is not pinned.
            "--no-strip-extras",
            "--generate-hashes",
            "--no-emit-index-url",
            "--no-emit-find-links",
            "--no-header",
            "--quiet",
            f"{name}.in",
            "--output-file",
            f"{name}.txt",
        )
        if code != 0:
            raise TaskError(f"{name}.in could not be compiled.")


@task
def run_scheduler(context: Context) -> None:
    """Run the scheduler alone: mails to staff, and what failed tried again; Ctrl-C ends it."""
    until_interrupted(lambda: manage("run_scheduler"))


@task
def send_daily_report(context: Context) -> None:
    """Mail staff what is still to do, once a day. For those who prefer cron to the scheduler."""
    manage("send_daily_report")


@task
def remind_of_overdue(context: Context) -> None:
    """Mail staff and developers what has waited for too long, once a day. For cron."""
    manage("remind_of_overdue")


@task
def send_task_mails(context: Context) -> None:
    """Mail the staff tasks that nobody was told of yet. For cron."""
    manage("send_task_mails")


@task
def apply_responses(context: Context) -> None:
    """Apply CyberSource's responses that are kept but not applied yet. For cron."""
    manage("apply_responses")


@task
def purge_expired(context: Context) -> None:
    """Purge what is kept for a while only: ids in old previews, login attempts. For cron."""
    manage("purge_expired")


def manage(command: str) -> None:
    """Run a command of manage.py on the database of DATABASE_URL, or on the one that is kept."""
    with postgres.database_url(kept=True) as url:
        sys.exit(processes.run("manage.py", command, env={"DATABASE_URL": url}))


def prepare_database(url: str) -> None:
    """Create the database if it is missing, and migrate it."""
    if postgres.given_url():
        print("Using the database of DATABASE_URL.", flush=True)
    else:
        print(f"Using a PostgreSQL that keeps its data in {postgres.kept_directory()}", flush=True)
    if postgres.create_database(url):
        print("The database is new.", flush=True)
    if processes.run("manage.py", "migrate", env={"DATABASE_URL": url}) != 0:
        raise TaskError("The migrations failed.")


def until_interrupted(function: Callable[[], None]) -> None:
    """Call what only ends by Ctrl-C; that is its good end."""
    try:
        function()
    except KeyboardInterrupt:
        print("\nStopped.")


def address_in_browser(address: str) -> str:
    """The address of a host:port, as a browser on this machine reaches it."""
    host, _, port = address.rpartition(":")
    host = "localhost" if host in ("", "0.0.0.0", "127.0.0.1", "[::]", "[::1]") else host
    return f"http://{host}" + ("" if port == "80" else f":{port}")
