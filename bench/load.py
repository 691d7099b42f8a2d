"""Clients that call a service at once, each on a new connection, as Perma.cc's and CyberSource's do."""

import select
import socket
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass

from .world import FORM, HOST


@dataclass(frozen=True)
class Load:
    """Answers per second, and how long they took in milliseconds: the median and the 99th percentile."""

    per_second: float
    median: float
    p99: float

    @classmethod
    def of(cls, times: list[float], *, seconds: float) -> "Load":
        """The load of answers that took so many milliseconds each, and so many seconds together."""
        return cls(len(times) / seconds, statistics.median(times), sorted(times)[int(0.99 * len(times))])


def post(path: str, body: str) -> bytes:
    """The HTTP request that posts a form."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n{body}".encode()


def call(
    port: int, requests: Iterable[bytes], *, clients: int = 1, seconds: float = 60.0
) -> tuple[Load, list[bytes]]:
    """Send requests until they or the seconds end; return what was measured, and the answers' bodies.

    Raises SystemExit if an answer is not a 200.
    """
    times, answers = [], []
    waiting: dict[int, tuple[socket.socket, float, bytes]] = {}
    left = iter(requests)
    start = time.perf_counter()
    with select.epoll() as poll:

        def send() -> None:
            request = next(left, None)
            if request is not None and time.perf_counter() < start + seconds:
                began = time.perf_counter()
                connection = socket.socket()
                connection.connect((HOST, port))
                connection.sendall(request)
                poll.register(connection, select.EPOLLIN)
                waiting[connection.fileno()] = connection, began, b""

        for _ in range(clients):
            send()
        while waiting:
            for number, _ in poll.poll():
                connection, began, received = waiting[number]
                received += connection.recv(1 << 16)
                if (answer := _body_of(received)) is None:
                    waiting[number] = connection, began, received
                    continue
                times.append((time.perf_counter() - began) * 1000)
                answers.append(answer)
                del waiting[number]
                connection.close()
                send()
        length = time.perf_counter() - start
    return Load.of(times, seconds=length), answers


def _body_of(received: bytes) -> bytes | None:
    """The body of an answer, or None as long as something of it is missing."""
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return None
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"A request was answered with: {head.splitlines()[0].decode()}")
    length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
    return body if len(body) >= length else None
