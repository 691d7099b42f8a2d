"""The programs of the machine that some tests drive: a real browser, a real connection pooler, a real proxy.

path = find("Chromium")     # None if it is not there
"""

import os
import shutil
from typing import NamedTuple


class Program(NamedTuple):
    """What a program's file may be called, or where it may be, and the package that Debian has it in."""

    names: tuple[str, ...]
    package: str


PROGRAMS = {
    "Chromium": Program(
        (
            "chromium",
            "chromium-browser",
            "google-chrome",
            "google-chrome-stable",
            "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
            "/Applications/Chromium.app/Contents/MacOS/Chromium",
        ),
        "chromium",
    ),
    "PgBouncer": Program(("pgbouncer",), "pgbouncer"),
    "nginx": Program(("nginx",), "nginx"),
}

# Debian keeps what only administrators start where other accounts don't look; Homebrew has a place of its own.
MORE_PLACES = "/usr/local/sbin:/usr/sbin:/opt/homebrew/bin"


def find(program: str) -> str | None:
    """The path of one of PROGRAMS: the one that a variable such as CHROMIUM names, or the first that is found."""
    named = os.environ.get(program.upper())
    path = f"{os.environ.get('PATH', os.defpath)}:{MORE_PLACES}"
    names = (named,) if named else PROGRAMS[program].names
    return next(filter(None, (shutil.which(name, path=path) for name in names)), None)


def missing(program: str) -> str:
    """What to say where it is not there."""
    return f"There is no {program}. On Debian, apt-get install {PROGRAMS[program].package} installs it."
