"""A plugin that gives pytest a PostgreSQL: `-p devtools.pytest_postgres`.

Without a DATABASE_URL, it starts a temporary server that stops with the tests.
"""

import os
from collections.abc import Generator
from contextlib import ExitStack

import pytest

from devtools import TaskError
from devtools.postgres import database_url

_in_use = ExitStack()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests() -> Generator[None, object, object]:
    """Set DATABASE_URL before pytest-django loads the settings: a wrapper comes before the others.

    Workers of pytest-xdist inherit it, and so share the server of the process that started them.
    """
    try:
        os.environ["DATABASE_URL"] = _in_use.enter_context(database_url())
    except TaskError as error:
        raise pytest.UsageError(str(error)) from None
    return (yield)


def pytest_unconfigure() -> None:
    """Stop the server. It also stops if pytest never gets here: see `devtools.postgres`."""
    _in_use.close()
