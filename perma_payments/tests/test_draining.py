"""A web server that is told to stop answers everyone who has connected: gunicorn.conf.py."""

import os
import re
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from devtools.processes import GUNICORN, Leashed, eventually, free_port, leashed, wait_until_it_answers
from perma_payments.development import NOTICE

from .test_faults import HOST, url_of_test_database

PATIENCE = 30
OURS = Path("gunicorn.conf.py")


@contextmanager
def gunicorn(*more: str) -> Iterator[tuple[Leashed, int]]:
    """A web server with one worker, and its port."""
    port = free_port(HOST)
    options = [*f"--graceful-timeout {PATIENCE} --bind {HOST}:{port}".split(), *more]
    with leashed("Gunicorn", *GUNICORN, *options, env={"DATABASE_URL": url_of_test_database()}) as server:
        yield server, port


def with_limits(directory: Path, **seconds: float) -> list[str]:
    """The options for gunicorn.conf.py with other limits."""
    file = directory / "gunicorn.conf.py"
    assert all(f"\n{name} = " in OURS.read_text() for name in seconds)
    lines = [f"exec({OURS.read_text()!r})", *(f"{name} = {value}" for name, value in seconds.items())]
    file.write_text("\n".join(lines))
    return ["--config", str(file)]


def pid_of(process: str, server: Leashed) -> int:
    """The id of a process, which these words announce."""
    (pid,) = re.findall(rf"{process}\D+(\d+)\)?\n", re.sub(r"http\S+", "", server.printed()))
    return int(pid)


def test_those_who_wait_to_be_accepted_when_a_web_server_is_told_to_stop_are_answered(transactional_db):
    with gunicorn("--threads", "1") as (server, port):
        wait_until_it_answers(server, f"{HOST}:{port}", "/subscribe/")
        worker = pid_of("Booting worker", server)

        # The worker is busy with something else, and the kernel takes their connections for it.
        os.kill(worker, signal.SIGSTOP)
        waiting = [socket.create_connection((HOST, port), timeout=PATIENCE) for _ in range(5)]
        for each in waiting:
            each.sendall(b"GET /subscribe/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        os.kill(pid_of("Listening at", server), signal.SIGTERM)
        assert eventually(lambda: "Handling signal: term" in server.printed(), PATIENCE)
        os.kill(worker, signal.SIGCONT)

        for each in waiting:
            with each, each.makefile("rb") as answer:
                assert answer.readline().startswith(b"HTTP/1.1 200")
        assert server.wait() == 0


def test_nobody_waits_for_a_client_that_does_not_hang_up(transactional_db):
    with gunicorn() as (server, port):
        wait_until_it_answers(server, f"{HOST}:{port}", "/subscribe/")
        staying = socket.create_connection((HOST, port), timeout=PATIENCE)
        with staying, staying.makefile("rb") as answer:
            staying.sendall(b"GET /subscribe/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert answer.read().startswith(b"HTTP/1.1 200")
            wait_until_it_answers(server, f"{HOST}:{port}", "/subscribe/")

            # The web server has not given up on the first one yet: it would refuse what that goes on to send.
            staying.sendall(b"x")
            staying.sendall(b"x")


def test_a_worker_that_is_told_to_stop_while_it_starts_ends_in_order(transactional_db):
    with gunicorn() as (server, _):
        assert eventually(lambda: NOTICE in server.printed(), PATIENCE)
        os.kill(pid_of("Listening at", server), signal.SIGTERM)
        assert server.wait() == 0
        assert "Traceback" not in server.printed()


HEAD = (
    b"POST /subscription/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
)


@pytest.mark.parametrize("begun", [b"", HEAD[:40], HEAD + b"a"], ids=["nothing", "half a head", "half a body"])
def test_a_client_that_stops_in_the_middle_lets_the_next_one_in(transactional_db, tmp_path, begun):
    with gunicorn("--threads", "1", *with_limits(tmp_path, CLIENT_TIMEOUT=0.5)) as (server, port):
        wait_until_it_answers(server, f"{HOST}:{port}", "/subscribe/")
        with socket.create_connection((HOST, port), timeout=PATIENCE) as silent:
            silent.sendall(begun)
            wait_until_it_answers(server, f"{HOST}:{port}", "/subscribe/")
        assert re.findall("refused: .* broke off|refused by Gunicorn: waited too long", server.printed())
        assert not re.findall("ERROR|Traceback", server.printed())


def test_a_worker_that_can_accept_no_client_is_replaced(transactional_db):
    with gunicorn() as (server, port):
        wait_until_it_answers(server, f"{HOST}:{port}", "/subscribe/")
        # No more files than it has open.
        resource.prlimit(pid_of("Booting worker", server), resource.RLIMIT_NOFILE, (3, 3))
        with suppress(OSError), socket.create_connection((HOST, port), timeout=PATIENCE) as unlucky:
            unlucky.sendall(b"GET /subscribe/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
            unlucky.recv(1)
        wait_until_it_answers(server, f"{HOST}:{port}", "/subscribe/")
        assert "ERROR gunicorn.error: no client can be accepted" in server.printed()
        assert server.printed().count("Booting worker") == 2
