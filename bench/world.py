"""What the measurements share: databases, and the service on them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from dotenv import dotenv_values

from devtools import ROOT
from devtools.postgres import create_database, server
from devtools.processes import free_port, leashed, run_quietly, wait_until_it_answers

HOST = "127.0.0.1"
FORM = "application/x-www-form-urlencoded"


@contextmanager
def databases(*names: str, durable: bool = False) -> Iterator[list[str]]:
    """The URLs of new databases with our tables, on one temporary server, which may wait for its disk."""
    with server(durable=durable) as url:
        urls = [f"{url.rpartition('/')[0]}/{name}" for name in names]
        for each in urls:
            create_database(each)
            run_quietly("manage.py", "migrate", env=environment(each), failure="The migrations failed.")
        yield urls


def environment(database_url: str) -> dict[str, str]:
    """The service's environment: development's keys, and a log as in production."""
    return {
        **dict.fromkeys(dotenv_values(ROOT / ".env"), ""),  # Empty counts as not set.
        "DATABASE_URL": database_url,
        "PERMA_PAYMENTS_ENV": "development",
        "LOG_FORMAT": "json",
    }


@contextmanager
def web_server(database_url: str, *options: str, app: str = "perma_payments.wsgi") -> Iterator[int]:
    """The port of a web server as gunicorn.conf.py describes it, but for these options."""
    port = free_port(HOST)
    arguments = ["-m", "gunicorn", app, "--bind", f"{HOST}:{port}", *options]
    with leashed(app, *arguments, env=environment(database_url)) as process:
        wait_until_it_answers(process, f"{HOST}:{port}", "/health/")
        yield port


def use_django(database_url: str) -> None:
    """Make the models usable in this process, on one database."""
    os.environ |= {
        **environment(database_url),
        "DJANGO_SETTINGS_MODULE": "perma_payments.settings",
        "LOG_LEVEL": "WARNING",
    }
    import django

    django.setup()
