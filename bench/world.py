"""What the measurements share: databases, the service on them, and a client that measures times."""

import http.client
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from dotenv import dotenv_values

from devtools import ROOT
from devtools.postgres import create_database, server
from devtools.processes import GUNICORN, free_port, leashed, run_quietly, wait_until_it_answers

HOST = "127.0.0.1"
FORM = "application/x-www-form-urlencoded"


@contextmanager
def databases(*names: str) -> Iterator[list[str]]:
    """The URLs of new databases with our tables, on one temporary server."""
    with server() as url:
        urls = [f"{url.rpartition('/')[0]}/{name}" for name in names]
        for each in urls:
            create_database(each)
            run_quietly("manage.py", "migrate", env=environment(each), failure="The migrations failed.")
        yield urls


def environment(database_url: str) -> dict[str, str]:
    """The service's environment: development's settings and a quiet log."""
    return {
        **dict.fromkeys(dotenv_values(ROOT / ".env"), ""),  # Empty counts as not set.
        "DATABASE_URL": database_url,
        "PERMA_PAYMENTS_ENV": "development",
        "LOG_LEVEL": "WARNING",
    }


@contextmanager
def web_server(env: Mapping[str, str], *, workers: int, threads: int) -> Iterator[int]:
    """The port of the service in that environment."""
    port = free_port(HOST)
    options = f"--workers {workers} --threads {threads} --bind {HOST}:{port}".split()
    with leashed("Perma Payments", *GUNICORN, *options, env=env) as process:
        wait_until_it_answers(process, f"{HOST}:{port}", "/subscribe/")
        yield port


@contextmanager
def services(*database_urls: str, threads: int) -> Iterator[list[int]]:
    """The ports of services with one worker each, one per database."""
    with ExitStack() as running:
        servers = [web_server(environment(url), workers=1, threads=threads) for url in database_urls]
        yield [running.enter_context(server) for server in servers]


def use_django(database_url: str) -> None:
    """Make the models usable in this process, on one database."""
    os.environ |= {**environment(database_url), "DJANGO_SETTINGS_MODULE": "perma_payments.settings"}
    import django

    django.setup()


def seconds(port: int, method: str, path: str, body: str | None = None) -> float:
    """How long an answer takes, on a connection of its own, as Perma.cc's client makes one.

    Raises SystemExit if it is neither a 200 nor a redirect.
    """
    start = time.perf_counter()
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    connection.request(method, path, body, {"Content-Type": FORM} if body else {})
    response = connection.getresponse()
    response.read()
    connection.close()
    end = time.perf_counter()
    if response.status not in (200, 302):
        raise SystemExit(f"{method} {path} was answered with {response.status}.")
    return end - start


def median_and_99th(values: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile."""
    return statistics.median(values), statistics.quantiles(values, n=100)[98]
