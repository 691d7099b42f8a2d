"""The scheduler tells a monitor that its jobs succeed, and falls silent when one does not."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.utils import timezone

from devtools.processes import eventually as wait_until
from perma_payments.services import heartbeats, ping
from perma_payments.services.heartbeats import Run


def eventually(condition: Callable[[], object]) -> None:
    assert wait_until(condition, 30)


class Monitor:
    """A monitor that listens, and what it has heard."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/a-secret-id"
        self.status = 200
        self.heard: list[str] = []


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            monitor.heard.append(f"{self.command} {self.path}")
            self.send_response(monitor.status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        monitor = Monitor(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield monitor
        server.shutdown()
        thread.join()


@contextmanager
def pinging(url: str) -> Iterator[None]:
    stopping = threading.Event()
    thread = threading.Thread(target=ping.keep_pinging, args=[url], kwargs={"stopping": stopping, "every": 0.01})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ping, "LOG_EVERY", 10**6)  # a test may fail to ping for a while before it looks
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()


def all_succeed(**changes: Run) -> None:
    now = timezone.now()
    heartbeats._last.update({job: Run(now, succeeded=True) for job in ping.JOBS} | changes)


def test_it_pings_while_all_jobs_succeed_and_no_longer(monitor):
    def is_silent() -> bool:
        before = len(monitor.heard)
        time.sleep(0.2)
        return len(monitor.heard) == before

    with pinging(monitor.url):
        all_succeed()
        eventually(lambda: len(monitor.heard) > 2)
        all_succeed(purge_expired=Run(timezone.now(), succeeded=False))
        # It sees that soon, or only after a last ping.
        eventually(is_silent)
        monitor.heard.clear()
        all_succeed()
        eventually(lambda: monitor.heard)
    assert set(monitor.heard) == {"GET /a-secret-id"}


@pytest.mark.parametrize("job", ping.JOBS)
@pytest.mark.parametrize("how", ["it has never run", "it failed", "it hangs"])
def test_it_is_silent_while_a_job_does_not_succeed(job, how):
    all_succeed()
    now = timezone.now()
    assert heartbeats.all_succeed(ping.JOBS, now=now)
    match how:
        case "it has never run":
            del heartbeats._last[job]
        case "it failed":
            all_succeed(**{job: Run(now, succeeded=False)})
        case "it hangs":
            all_succeed(**{job: Run(now - timedelta(hours=1), succeeded=True)})
    assert not heartbeats.all_succeed(ping.JOBS, now=now)


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_monitor_that_does_not_take_it_is_one_line_in_the_log(monitor, caplog, status):
    all_succeed()
    monitor.status = status
    with pinging(monitor.url):
        eventually(lambda: len(monitor.heard) > 3)

    # A redirect is not followed.
    assert set(monitor.heard) == {"GET /a-secret-id"}
    assert [record.getMessage() for record in caplog.records] == [
        f"SCHEDULER_PING_URL could not be told that the scheduler works: answered with {status}"
    ]
    assert "a-secret-id" not in caplog.text


def test_a_monitor_that_is_away_harms_nothing(monitor, caplog):
    all_succeed()
    with pinging("http://127.0.0.1:1/a-secret-id"):
        eventually(lambda: caplog.records)

    assert caplog.messages == [
        "SCHEDULER_PING_URL could not be told that the scheduler works: ConnectionRefusedError"
    ]
