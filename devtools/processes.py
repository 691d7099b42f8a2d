"""The processes of a task. They run the task's own Python in the root of the checkout, and end with the task."""

import atexit
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from typing import IO, NoReturn

from devtools import ROOT, TaskError

GUNICORN = (
    # The rest is in gunicorn.conf.py.
    *"-m gunicorn perma_payments.wsgi --workers 1 --threads 8 --graceful-timeout 1".split(),
)

SECONDS_TO_FINISH = 10


def run(*arguments: str, env: Mapping[str, str] | None = None) -> int:
    """Run Python with these arguments in the terminal, and return the exit code.

    Ctrl-C reaches both it and the task; it gets the time to finish in its own way.
    """
    process = subprocess.Popen(python(arguments), cwd=ROOT, env=environment(env))
    try:
        return exit_code(process.wait())
    except BaseException as reason:
        try:
            if not isinstance(reason, KeyboardInterrupt):
                process.terminate()
            process.wait(SECONDS_TO_FINISH)
        finally:
            process.kill()
        raise


def run_quietly(*arguments: str, env: Mapping[str, str] | None = None, failure: str) -> None:
    """Run Python with these arguments. Raises TaskError with a sentence, and what was printed, if that fails."""
    finished = subprocess.run(
        python(arguments),
        cwd=ROOT,
        env=environment(env),
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if finished.returncode != 0:
        raise TaskError("\n".join([failure, *finished.stdout.splitlines()[-30:]]))


class Leashed:
    """A process that ends with this one, however this one ends: see `devtools.leash`."""

    def __init__(
        self, name: str, *arguments: str, env: Mapping[str, str] | None = None, to_terminal: bool
    ) -> None:
        self.name = name
        # Its output goes to a file without a name, which cannot be left behind.
        self.output: IO[bytes] | None = None if to_terminal else tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            python(["-m", "devtools.leash", *python(arguments)]),
            cwd=ROOT,
            env=environment({"PYTHONUNBUFFERED": "1", **(env or {})}),
            stdin=subprocess.PIPE,  # The leash.
            stdout=self.output,
            stderr=self.output,
            start_new_session=True,  # Ctrl-C is for the task, which ends its processes in order.
        )

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def wait(self) -> int:
        return exit_code(self.process.wait())

    def end(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()
        if self.output:
            self.output.close()

    def printed(self) -> str:
        """Return everything that it has printed so far, unless that went to the terminal."""
        if not self.output:
            return ""
        descriptor = self.output.fileno()
        # Not read(), which would move the position at which the process writes.
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")

    def last_words(self) -> str:
        if not self.output:
            return "Its last lines are above."
        lines = self.printed().splitlines()[-30:]
        return "\n".join(["Its last lines:", *lines] if lines else ["It printed nothing."])


@contextmanager
def leashed(
    name: str, *arguments: str, env: Mapping[str, str] | None = None, to_terminal: bool = False
) -> Iterator[Leashed]:
    """Run Python with these arguments beside the task, no longer than this context."""
    process = Leashed(name, *arguments, env=env, to_terminal=to_terminal)
    try:
        yield process
    finally:
        process.end()


def require_running(processes: Iterable[Leashed]) -> None:
    """Raise TaskError if one of these processes has ended."""
    for process in processes:
        if process.has_ended():
            raise TaskError(
                f"{process.name} ended by itself, with exit code {process.wait()}. {process.last_words()}"
            )


def watch(processes: Sequence[Leashed]) -> NoReturn:
    """Wait until one of these processes ends, and raise TaskError."""
    while True:
        require_running(processes)
        time.sleep(0.5)


def wait_until_it_answers(process: Leashed, address: str, path: str, seconds: float = 60) -> None:
    """Wait until a GET of that path is answered with 200. Raises TaskError if that takes too long."""
    end = time.monotonic() + seconds
    while (said := status_of_get(address, path)) != "200":
        require_running([process])
        if time.monotonic() > end:
            raise TaskError(
                f"{process.name} should have answered http://{address}{path} with 200 "
                f"within {seconds:.0f} seconds. What came: {said}. "
                f"{process.last_words()}"
            )
        time.sleep(0.1)
    require_running([process])  # Otherwise another process has answered.


def status_of_get(address: str, path: str) -> str:
    """Return the status that answers a GET, or why there is none. Uses no proxy."""
    connection = HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", path)
        return str(connection.getresponse().status)
    except (OSError, HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()


def eventually(condition: Callable[[], object], seconds: float) -> bool:
    """Wait until the condition holds, and return whether it did in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def free_port(host: str, first: int | None = None) -> int:
    """Return a port that nobody listens on: the first one from that number on, or any.

    If it may be any, no other program gets it by asking for any before a server listens on it.
    """
    if first is None:
        return held_port(host)
    for port in range(first, first + 100):
        # On another address, another program may have the port, and `localhost` may lead there.
        if not is_listened_on("localhost", port):
            try:
                return bound_port(host, port)
            except OSError:
                pass
    raise TaskError(f"None of the 100 ports from {first} on is free on {host}.")


def held_port(host: str) -> int:
    """Return a port that stays bound until this process ends, though servers can listen on it."""
    held = socket.socket()
    # With this on both sides, as all servers have it, Linux allows that.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind((host, 0))
    port = int(held.getsockname()[1])
    if sys.platform == "linux":
        atexit.register(held.close)
    else:
        held.close()
    return port


def bound_port(host: str, port: int) -> int:
    with socket.create_server((host, port)) as server:
        return int(server.getsockname()[1])


def is_listened_on(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2).close()
        return True
    except OSError:
        return False


def end_in_order_when_told() -> None:
    """Let SIGTERM, and the end of the terminal, run every `finally`, as Ctrl-C does."""
    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, lambda number, _: sys.exit(128 + number))


def python(arguments: Iterable[str]) -> list[str]:
    return [sys.executable, *arguments]


def environment(changes: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, **(changes or {})}


def exit_code(code: int) -> int:
    """Return the exit code as a shell does: 128 plus the signal's number for a process ended by a signal."""
    return code if code >= 0 else 128 - code
