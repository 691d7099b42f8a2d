"""The developer's tasks: `fab --list` lists them, and `fab --help TASK` says more about one.

They need nothing but what requirements-dev.txt installs. Without DATABASE_URL, in the environment or in .env, each
starts a PostgreSQL of its own, which ends with it. fabric.yaml keeps their names as they are written here: init_db
and not init-db.
"""

import functools
import random
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task as invoke_task

from bench.run import PARTS, bench as run_bench
from chaos.run import chaos as run_chaos
from devtools import TaskError, demo as demonstration, postgres, processes, programs

# Percent of lines and branches: a point below what all tests cover.
COVERAGE_FLOOR = 96


def task(function: Callable[..., None]) -> Any:
    """Make a task that says in a sentence why it cannot go on, and ends everything that it started."""

    @functools.wraps(function)
    def run_task(*args: Any, **kwargs: Any) -> None:
        processes.end_in_order_when_told()
        try:
            function(*args, **kwargs)
        except TaskError as error:
            raise Exit(str(error), code=1) from None

    return invoke_task(run_task)


@task
def demo(context: Context, check: bool = False, client: str = "") -> None:
    """Run Perma Payments beside stand-ins for Perma.cc and CyberSource; Ctrl-C ends them.

    --client is the year of Perma.cc's client to play: 2026 (the default) or 2024. With --check, run the end-to-end
    tests for that client instead, or for one after the other if none is given; the exit code is 0 if they pass.
    BIND is the host:port to listen on, 127.0.0.1:8000 or the next free port by default.
    """
    clients = [demonstration.chosen_client(client)] if client else list(demonstration.UPDATE_LEADS_TO)
    if check:
        sys.exit(demonstration.check(clients))
    until_interrupted(lambda: demonstration.demo(client or demonstration.DEFAULT_CLIENT))


@task
def run(context: Context, client: str = "") -> None:
    """Run the same to work on it: on a database that is kept, with the settings of .env; reloads changed code.

    For the scheduler's and the sandbox's code, restart this.
    """
    chosen = demonstration.chosen_client(client or demonstration.client_of_settings())
    until_interrupted(lambda: demonstration.demo(chosen, kept=True))


@task
def manage(context: Context, command: str) -> None:
    """Run a command of manage.py on the database that `fab run` uses, as in: fab manage "check --deploy"."""
    run_manage(*shlex.split(command))


@task
def init_db(context: Context) -> None:
    """Create the database that `fab run` uses if it does not exist, and bring it up to date."""
    with postgres.database_url(kept=True) as url:
        demonstration.prepare_database(url, {}, kept=True)
    print("It is up to date.")


@task
def test(context: Context, args: str = "") -> None:
    """Run the tests on several cores, with coverage; --args "-k word" passes arguments to pytest.

    If all of them run, they also fail if they cover too little.
    """
    not_found = [program for program in programs.PROGRAMS if not programs.find(program)]
    floor = [] if args or not_found else [f"--cov-fail-under={COVERAGE_FLOOR}"]
    # All of them share one PostgreSQL, which accepts a hundred connections.
    workers = ["--numprocesses", "auto", "--maxprocesses", "4", "--dist", "loadfile"]
    tested = processes.run("-m", "pytest", *workers, "--cov", *floor, *shlex.split(args))
    for program in not_found:
        print(f"Its tests did not run: {programs.missing(program)}")
    sys.exit(tested)


@task
def chaos(context: Context, minutes: str = "10", seed: str = "") -> None:
    """Disturb a running service while customers pay, then say what was lost or doubled.

    --minutes is how long the disturbance takes, 10 by default. --seed repeats the plans of an earlier run. The
    exit code is 0 if nothing was lost or doubled.
    """
    try:
        number, length = int(seed or random.randrange(1_000_000)), float(minutes)
    except ValueError:
        number, length = 0, 0.0
    if not 0 < length <= 60:
        raise TaskError(
            "--minutes must be a number from 0.1 to 60, and --seed a whole number, as in --minutes 2.5."
        )
    until_interrupted(lambda: sys.exit(0 if run_chaos(minutes=length, seed=number) else 1))


@task
def fuzz(context: Context, cases: int = 2000, seed: int = -1, first: int = 0) -> None:
    """Send damaged requests of every kind, and check that none does harm. See docs/development.md.

    --cases is how many. --seed repeats a run, and --first begins with a later case of it.
    """
    seed = random.randrange(10**6) if seed < 0 else seed
    env = {"FUZZ_CASES": str(cases), "FUZZ_SEED": str(seed), "FUZZ_FIRST": str(first)}
    folder = "perma_payments/tests/fuzz"
    sys.exit(processes.run("-m", "pytest", "-q", "--numprocesses", "0", "--show-capture", "no", folder, env=env))


@task
def bench(
    context: Context, agreements: int = 100_000, parts: str = ",".join(PARTS), json: str = "bench.json"
) -> None:
    """Measure how fast the service is, and stays as it grows. See docs/performance.md.

    --agreements is how large the larger database is. --parts are those to measure: load, size, admin, reports.
    --json is the file for the figures, which are also printed.
    """
    chosen = tuple(parts.split(","))
    if not set(chosen) <= set(PARTS) or agreements < 1_000:
        raise TaskError(f"--parts must be some of {','.join(PARTS)}, and --agreements at least 1000.")
    until_interrupted(lambda: run_bench(agreements=agreements, file=Path(json), parts=chosen))


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
    # Without its extras in the pin, pip before 23.3 takes coverage[toml] for a package that is not pinned.
    options = "--universal --python-version 3.11 --no-strip-extras --generate-hashes --no-emit-index-url"
    options += " --no-emit-find-links --no-header --quiet"
    for name in ("requirements", "requirements-dev"):
        files = [f"{name}.in", "--output-file", f"{name}.txt"]
        if processes.run("-m", "uv", "pip", "compile", *options.split(), *files) != 0:
            raise TaskError(f"{name}.in could not be compiled.")


def job(command: str, what_it_does: str) -> Any:
    """Return the task that runs a command of manage.py, with DATABASE_URL or the database that is kept."""

    def run_command(context: Context) -> None:
        run_manage(command)

    run_command.__name__, run_command.__doc__ = command, what_it_does
    return task(run_command)


run_scheduler = job("run_scheduler", "Run the scheduler alone, which runs all jobs on time; Ctrl-C ends it.")
send_daily_report = job("send_daily_report", "Mail staff what is still to do, once a day. For cron.")
remind_of_overdue = job("remind_of_overdue", "Mail staff and developers what is overdue, once a day. For cron.")
send_task_mails = job("send_task_mails", "Mail staff the tasks that they have not been told of. For cron.")
apply_responses = job("apply_responses", "Apply CyberSource's responses that are kept but not applied. For cron.")
purge_expired = job("purge_expired", "Delete what is kept only for a while. For cron.")


def run_manage(*arguments: str) -> None:
    """Run manage.py with DATABASE_URL or the database that is kept, and end with its exit code."""
    with postgres.database_url(kept=True) as url:
        until_interrupted(lambda: sys.exit(processes.run("manage.py", *arguments, env={"DATABASE_URL": url})))


def until_interrupted(function: Callable[[], None]) -> None:
    """Call a function that ends with Ctrl-C, which is not an error."""
    try:
        function()
    except KeyboardInterrupt:
        print("\nStopped.")
