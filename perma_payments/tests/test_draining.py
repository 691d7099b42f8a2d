"""A web server that is told to stop answers everyone who has connected: gunicorn.conf.py."""

import os
import re
import signal
import socket

from devtools.processes import GUNICORN, eventually, free_port, leashed, wait_until_it_answers

from .test_faults import HOST, url_of_test_database

PATIENCE = 30


def test_those_who_wait_to_be_accepted_when_a_web_server_is_told_to_stop_are_answered(transactional_db):
    address = (HOST, free_port(HOST))
    options = f"--graceful-timeout {PATIENCE} --bind {address[0]}:{address[1]}".split()
    with leashed("Gunicorn", *GUNICORN, *options, env={"DATABASE_URL": url_of_test_database()}) as server:
        wait_until_it_answers(server, f"{HOST}:{address[1]}", "/subscribe/")
        (main,) = re.findall(r"Listening at: .* \((\d+)\)", server.printed())
        (worker,) = re.findall(r"Booting worker with pid: (\d+)", server.printed())

        # The worker is busy with something else, and the kernel takes their connections for it.
        os.kill(int(worker), signal.SIGSTOP)
        waiting = [socket.create_connection(address, timeout=PATIENCE) for _ in range(5)]
        for each in waiting:
            each.sendall(b"GET /subscribe/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        os.kill(int(main), signal.SIGTERM)
        assert eventually(lambda: "Handling signal: term" in server.printed(), PATIENCE)
        os.kill(int(worker), signal.SIGCONT)

        for each in waiting:
            with each, each.makefile("rb") as answer:
                assert answer.readline().startswith(b"HTTP/1.1 200")
        assert server.wait() == 0
