"""The programs on the machine that some tests drive: a browser, a connection pooler, a proxy, a cache.

path = find("Chromium")     # None if it is not there
"""

import os
import shutil
from typing import NamedTuple


class Program(NamedTuple):
    """The names that a program's file can have, or its paths, and the Debian package that has it."""

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
    "Redis": Program(("redis-server",), "redis-server"),
}

# Debian keeps what administrators start where the PATH of other accounts does not lead, Homebrew in its own place.
MORE_PLACES = "/usr/local/sbin:/usr/sbin:/opt/homebrew/bin"


def find(program: str) -> str | None:
    """Return the path of one of PROGRAMS: what a variable such as CHROMIUM names, or the first one found."""
    named = os.environ.get(program.upper())
    path = f"{os.environ.get('PATH', os.defpath)}:{MORE_PLACES}"
    names = (named,) if named else PROGRAMS[program].names
    return next(filter(None, (shutil.which(name, path=path) for name in names)), None)


def missing(program: str) -> str:
    """Return what to say if there is none."""
    return f"There is no {program}. On Debian, apt-get install {PROGRAMS[program].package} installs it."
