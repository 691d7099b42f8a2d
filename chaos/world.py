"""The world that is disturbed: PostgreSQL, two web servers, two schedulers, and a mail server.

PostgreSQL waits for its disk. The web servers run as docs/deployment.md says, each as if on a machine of its own,
with a scheduler beside it. What ends is started again, as systemd would do. All of it ends with the task, however
the task ends (devtools/leash.py).
"""

import os
import random
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from dotenv import dotenv_values

from devtools import ROOT, TaskError
from devtools.postgres import create_database, server
from devtools.postgres_supervisor import Server
from devtools.processes import Leashed, eventually, free_port, run_quietly, status_of_get
from sandbox.config import DEFAULT_CS_ACCESS_KEY, DEFAULT_CS_SECRET
from sandbox.mail.mailbox import Mailbox
from sandbox.mail.smtp import receiving

HOST = "127.0.0.1"
WORKERS = 2
GUNICORN = f"-m gunicorn perma_payments.wsgi --workers {WORKERS}".split()
# Prints its process id, and becomes the program that it is given.
AND_SAY_WHO = (
    "import os, sys; print(os.getpid(), flush=True); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)

# Security keys of CyberSource's, by access key: one that is in use, and the one that takes its place.
OLD_KEY, NEW_KEY = DEFAULT_CS_ACCESS_KEY, "sandboxsandboxsandboxsandbox0002"
SECRETS = {OLD_KEY: DEFAULT_CS_SECRET, NEW_KEY: "decade00" * 32}

# Generous: on a busy machine, Django alone takes several seconds to start.
SECONDS_TO_START = 120.0
SECONDS_TO_STOP = 60.0
MAX_MAILS = 1_000_000


class Kept:
    """A process that is started again when it ends, as systemd would do. `settings` hold from its next start."""

    def __init__(self, name: str, command: list[str], settings: dict[str, str]) -> None:
        self.name = name
        self.settings = settings
        self._command = command
        self._lock = threading.Lock()
        self._earlier = ""  # what those printed that have ended
        self._process: Leashed | None = None

    def keep_running(self) -> None:
        """Start it unless it runs."""
        with self._lock:
            if self._process and self._process.has_ended():
                self._end()
            if not self._process:
                self._process = Leashed(
                    self.name, "-c", AND_SAY_WHO, *self._command, env=self.settings, to_terminal=False
                )

    @property
    def pid(self) -> int | None:
        """Its process id, or None while it starts and after it has ended. Gunicorn's is that of the master."""
        with self._lock:
            if not self._process or self._process.has_ended():
                return None
            first = self._process.printed().partition("\n")[0]
        return int(first) if first.isdigit() else None

    def send(self, sign: signal.Signals) -> bool:
        """Send it a signal; return False if it does not run."""
        with suppress(ProcessLookupError):
            if pid := self.pid:
                os.kill(pid, sign)
                return True
        return False

    def restart(self) -> None:
        """End it in its own time, and start it with its present settings."""
        old = self._process
        if old and self.send(signal.SIGTERM):
            eventually(lambda: self._process is not old or old.has_ended(), SECONDS_TO_STOP)
        with self._lock:
            if self._process is old:
                self._end()
        self.keep_running()

    def printed(self) -> str:
        """Everything that it has printed so far, before and after restarts."""
        with self._lock:
            return self._earlier + (self._process.printed() if self._process else "")

    def printed_last(self) -> str:
        """What it has printed since its last start."""
        with self._lock:
            return self._process.printed() if self._process else ""

    def end(self) -> None:
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._process:
            self._earlier += self._process.printed()
            self._process.end()
            self._process = None


class WebServer(Kept):
    """Gunicorn on a port of its own."""

    def __init__(self, name: str, port: int, settings: dict[str, str]) -> None:
        self.port = port
        self.url = f"http://{HOST}:{port}"
        super().__init__(name, [*GUNICORN, f"--bind={HOST}:{port}"], settings)

    def workers(self) -> list[int]:
        """The process ids of its workers."""
        pids = re.findall(r"Booting worker with pid: (\d+)", self.printed_last())[-WORKERS:]
        return [int(pid) for pid in pids if _runs(int(pid))]

    def answers(self) -> bool:
        return status_of_get(f"{HOST}:{self.port}", "/subscribe/") == "200"

    def wait_until_it_answers(self) -> None:
        """Raises TaskError if that takes too long."""
        if not eventually(self.answers, SECONDS_TO_START):
            raise TaskError(f"{self.name} does not answer. It said: {self.printed_last()[-3000:]}")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


class Database:
    """PostgreSQL, which can be stopped hard and started again on the same data and the same socket."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._server = Server(Path(str(self.ask("SHOW data_directory"))).parent, durable=True)

    def connect(self) -> "psycopg2.extensions.connection":
        """A connection in autocommit mode, as soon as PostgreSQL gives one. Raises TaskError if it never does."""
        end = time.monotonic() + SECONDS_TO_START
        while True:
            try:
                connection = psycopg2.connect(
                    self.url,
                    connect_timeout=10,
                    application_name="chaos",
                    options="-c client_min_messages=error",  # psycopg2 prints those of a crash
                )
                connection.autocommit = True
                return connection
            except psycopg2.OperationalError as error:
                if time.monotonic() > end:
                    raise TaskError(f"PostgreSQL gives no connection: {error}") from None
                time.sleep(0.1)

    def ask(self, sql: str, *values: object) -> object:
        """The first value that a statement returns. Raises psycopg2.Error."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, values or None)
                row = cursor.fetchone()
                return row and row[0]
        finally:
            connection.close()

    def rows(self, sql: str) -> list[dict[str, object]]:
        """All rows of a query, by column."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                names = [column.name for column in cursor.description or ()]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        finally:
            connection.close()

    def backends(self) -> list[int]:
        """The process ids of the sessions of the service."""
        sql = (
            "SELECT coalesce(array_agg(pid), '{}') FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND application_name <> 'chaos'"
        )
        pids = self.ask(sql)
        assert isinstance(pids, list)
        return pids

    def stop_hard(self, sign: signal.Signals) -> None:
        """Stop it without a checkpoint: SIGQUIT is PostgreSQL's "immediate", SIGKILL gives it no say."""
        os.kill(int((self._server.data / "postmaster.pid").read_text().split()[0]), sign)
        eventually(lambda: not self._server.answers(), SECONDS_TO_STOP)

    def start_again(self) -> None:
        """Start it on its data. Raises TaskError if that does not succeed."""
        scratch = self._server.scratch()
        if scratch is None:  # SIGQUIT lets it clean up; its socket was there
            scratch = Path(str(psycopg2.extensions.parse_dsn(self.url)["host"])).parent
        # After a SIGKILL, the last backends must have noticed first.
        if not eventually(lambda: self._server.run_server(scratch), SECONDS_TO_START):
            raise self._server.failure("PostgreSQL did not start again.")


@dataclass
class World:
    """What runs, and how to reach it."""

    database: Database
    web_servers: list[WebServer]
    schedulers: list[Kept]
    mailbox: Mailbox
    ring: tuple[str, ...] = (OLD_KEY,)  # the access keys in CS_KEYS

    @property
    def processes(self) -> list[Kept]:
        return [*self.web_servers, *self.schedulers]

    def url(self, rng: random.Random) -> str:
        """Where a proxy in front would send the next request: to one of the web servers that listen."""
        first, second = rng.sample(self.web_servers, 2)
        return first.url if _listens(first.port) or not _listens(second.port) else second.url

    def restart_one_after_the_other(self, ring: tuple[str, ...]) -> None:
        """Restart all processes with these security keys; while one web server restarts, the other serves."""
        self.ring = ring
        for process in self.processes:
            process.settings = {**process.settings, "CS_KEYS": keys(ring)}
            process.restart()
            if isinstance(process, WebServer):
                process.wait_until_it_answers()

    def wait_until_it_answers(self) -> None:
        """Raises TaskError if that takes too long."""
        for web_server in self.web_servers:
            web_server.wait_until_it_answers()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


def keys(access_keys: tuple[str, ...]) -> str:
    """CS_KEYS with these security keys, of which the first one signs."""
    return ",".join(f"{key}:{SECRETS[key]}:2026-01-01" for key in access_keys)


@contextmanager
def running_world() -> Iterator[World]:
    """Start everything. Raises TaskError."""
    with ExitStack() as stack:
        url = stack.enter_context(server(durable=True))
        create_database(url)
        mailbox = Mailbox(limit=MAX_MAILS)
        mail_listener = socket.create_server((HOST, 0))
        stack.enter_context(receiving(mailbox, mail_listener))
        settings = {
            **dict.fromkeys(dotenv_values(ROOT / ".env"), ""),  # Empty counts as not set.
            "DATABASE_URL": url,
            "PERMA_PAYMENTS_ENV": "development",
            "UPDATE_LEADS_TO": "page",
            "EMAIL_HOST": HOST,
            "EMAIL_PORT": str(mail_listener.getsockname()[1]),
            # No daily report, usually: only the mails about tasks are counted.
            "DAILY_REPORT_TIME": "23:59",
            # So that one recipient can be refused, and the other not.
            "STAFF_EMAILS": "first@perma.example,second@perma.example",
            "CS_KEYS": keys((OLD_KEY,)),
        }
        run_quietly("manage.py", "migrate", env=settings, failure="The migrations failed.")
        # Below the ports of outgoing connections, one of which could take a port during a restart.
        ports = [free_port(HOST, first) for first in random.sample(range(10_000, 30_000, 100), 2)]
        web_servers = [WebServer(f"Web server {number}", port, settings) for number, port in enumerate(ports, 1)]
        schedulers = [Kept(f"Scheduler {number}", ["manage.py", "run_scheduler"], settings) for number in (1, 2)]
        world = World(Database(url), web_servers, schedulers, mailbox)
        for process in world.processes:
            stack.callback(process.end)
        stack.enter_context(_keeping_up(world))
        world.wait_until_it_answers()
        yield world


@contextmanager
def _keeping_up(world: World) -> Iterator[None]:
    """Start what has ended, again and again."""
    stopping = threading.Event()

    def keep_up() -> None:
        while not stopping.wait(0.2):
            for process in world.processes:
                process.keep_running()

    thread = threading.Thread(target=keep_up, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
