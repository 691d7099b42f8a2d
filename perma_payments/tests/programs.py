"""Programs on the machine that tests drive."""

import os

import pytest

from devtools.programs import find, missing


def need(program: str) -> str:
    """The path of a program. Without it the test is skipped or, with REQUIRE_PROGRAMS=1, fails."""
    path = find(program)
    if path is None:
        (pytest.fail if os.environ.get("REQUIRE_PROGRAMS") == "1" else pytest.skip)(missing(program))
    return path
