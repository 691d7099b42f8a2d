"""A real nginx in front of the service."""

import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from devtools.processes import free_port

from .programs import need

HOST = "127.0.0.1"
PATIENCE = 10

Proxy = Callable[..., str]


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Proxy]:
    """Put an nginx with default settings in front of a service, and return its address.

    ``directives`` are those of the location that it passes on, and ``server`` are more of those around it.
    """
    program = need("nginx")
    running = []

    def nginx(url: str, *directives: str, server: str = "") -> str:
        port = free_port(HOST)
        directory = tmp_path / str(port)
        directory.mkdir()
        uses = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = "".join(f"{use}_temp_path {directory}/{use};" for use in uses)
        location = f"location / {{ proxy_pass {url}; {' '.join(directives)} }}"
        (directory / "nginx.conf").write_text(
            f"daemon off; master_process off; pid {directory}/pid; error_log {directory}/error.log;"
            f"events {{}} http {{ access_log off; {places}"
            f"server {{ listen {HOST}:{port}; {server} {location} }} }}"
        )
        arguments = ["-p", directory, "-e", directory / "error.log", "-c", directory / "nginx.conf"]
        running.append(subprocess.Popen([program, *map(str, arguments)]))
        end = monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection((HOST, port)).close()
                return f"http://{HOST}:{port}"
            except OSError:
                assert monotonic() < end
                sleep(0.02)

    yield nginx
    for process in running:
        process.terminate()
        process.wait(PATIENCE)
