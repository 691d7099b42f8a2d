"""A web server that is told to stop answers everyone who has connected: gunicorn.conf.py."""

import os
import re
import runpy
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from gunicorn import glogging
from gunicorn.config import Config

from devtools.processes import GUNICORN, Leashed, eventually, free_port, leashed, wait_until_it_answers
from perma_payments.development import NOTICE

from .test_faults import HOST, url_of_test_database

PATIENCE = 30


@contextmanager
def gunicorn(*more: str) -> Iterator[tuple[Leashed, int]]:
    """A web server with one worker, and its port."""
    port = free_port(HOST)
    options = [*f"--graceful-timeout {PATIENCE} --bind {HOST}:{port}".split(), *more]
    with leashed("Gunicorn", *GUNICORN, *options, env={"DATABASE_URL": url_of_test_database()}) as server:
        yield server, port


def pid_of(process: str, server: Leashed) -> int:
    """The id of a process, which these words announce."""
    (pid,) = re.findall(rf"{process}\D+(\d+)\)?\n", re.sub(r"http\S+", "", server.printed()))
    return int(pid)


def test_those_who_wait_to_be_accepted_when_a_web_server_is_told_to_stop_are_answered(transactional_db):
    with gunicorn() as (server, port):
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


def test_those_who_hang_up_leave_room_for_others(transactional_db):
    # Two more connections than threads, so that a client may stay connected.
    with gunicorn("--worker-connections", "10") as (server, port):
        wait_until_it_answers(server, f"{HOST}:{port}", "/subscribe/")
        for _ in range(15):
            with socket.create_connection((HOST, port), timeout=PATIENCE) as client:
                client.sendall(b"GET /subscribe/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")


def test_a_worker_that_is_told_to_stop_while_it_starts_ends_in_order(transactional_db):
    with gunicorn() as (server, _):
        assert eventually(lambda: NOTICE in server.printed(), PATIENCE)
        os.kill(pid_of("Listening at", server), signal.SIGTERM)
        assert server.wait() == 0
        assert "Traceback" not in server.printed()


def test_a_worker_that_stops_takes_no_more_connections_than_it_ever_has():
    """Otherwise, those who go on to connect could keep it from ending, until it is killed with what it serves."""
    with socket.create_server((HOST, 0)) as listener:
        clients = [socket.create_connection(listener.getsockname(), timeout=PATIENCE) for _ in range(5)]
        listener.setblocking(False)
        worker = runpy.run_path("gunicorn.conf.py")["Worker"](
            0, os.getpid(), [listener], None, PATIENCE, config := Config(), glogging.Logger(config)
        )
        worker.worker_connections = 3
        worker.alive = False
        worker.tpool = worker.get_thread_pool()
        worker.method_queue.init()
        worker.set_accept_enabled(False)

        assert (worker.nr_conns, worker.sockets) == (3, [])
        for each in clients:
            each.close()
        worker.tpool.shutdown()
        worker.method_queue.run_callbacks(None)
        worker.method_queue.close()
        worker.tmp.close()
