"""Limits in a Redis that several processes share; and one that hangs, dies or lies costs no request anything."""

import os
import pickle
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from django.core.cache import caches

from devtools.processes import free_port
from perma_payments.cache import Numbers, cache
from perma_payments.views import limits

from .conftest import FORM
from .programs import need
from .test_faults import HOST, serve, url_of_test_database  # noqa: F401 (a fixture)
from .test_http import PATIENCE, exchange

PASSWORD = "se,cr;et#/?@%"
FLOODER = "203.0.113.7"


class Redis:
    """A real server, which can be stopped, killed and started again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port(HOST)
        self.url = f"redis://:{quote(PASSWORD, safe='')}@{HOST}:{self.port}/1"
        self.start()

    def start(self) -> None:
        """Start it, empty."""
        options = f"--bind {HOST} --port {self.port} --dir {self.directory} --logfile {self.directory}/log".split()
        self.process = subprocess.Popen(
            [need("Redis"), *options, "--save", "", "--requirepass", PASSWORD], stdout=subprocess.DEVNULL
        )
        end = monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection((HOST, self.port)).close()
                return
            except OSError:
                assert monotonic() < end
                sleep(0.02)

    def hang(self) -> None:
        """Make it accept connections, and say nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path)
    yield server
    server.kill()


@pytest.fixture
def bad_message(client, redis, settings, monkeypatch, db):
    """POST something that is not a message, and return the status. The limits are small, and in that Redis."""
    # On a busy machine, Redis may be slow to answer.
    with monkeypatch.context() as patient:
        patient.setattr("perma_payments.cache.TIMEOUT", 10)
        settings.CACHES = {"default": cache(redis.url)}
    monkeypatch.setattr(limits, "_cache", limits._Cache())
    monkeypatch.setattr(limits, "REFUSALS", 3)
    # All in the same minute.
    monkeypatch.setattr("django_ratelimit.core.time", SimpleNamespace(time=lambda: 1_800_000_000))
    return lambda: client.generic("POST", "/subscribe/", b"x=y", FORM, REMOTE_ADDR=FLOODER).status_code


def told(caplog) -> list[str]:
    """What the log says of the limits."""
    return [record.getMessage() for record in caplog.records if record.name == limits.__name__]


def test_limits_count_in_redis(bad_message, redis):
    assert [bad_message() for _ in range(5)] == [400, 400, 400, 429, 429]
    client = caches["default"]._cache.get_client()
    (key,) = client.keys("*")
    assert key.startswith(b"perma-payments:")
    assert FLOODER.encode() not in key
    assert client.get(key) == b"5"
    assert 0 < client.ttl(key) <= 65


@pytest.mark.parametrize("away", ["hang", "kill"])
def test_without_the_cache_nobody_is_refused_and_the_log_says_so_once(bad_message, redis, settings, caplog, away):
    for _ in range(5):
        bad_message()
    getattr(redis, away)()
    settings.CACHES = {"default": cache(redis.url)}
    assert [bad_message() for _ in range(20)] == [400] * 20
    reason = {"hang": "it did not answer in time", "kill": "ConnectionError"}[away]
    assert told(caplog) == [f"limits are off, because the cache cannot serve (CACHE_URL): {reason}"]
    assert PASSWORD not in caplog.text


def test_a_cache_that_is_away_is_asked_once_in_a_while(bad_message, redis, caplog, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(limits, "monotonic", lambda: now)
    redis.kill()
    for now in (1000.0, 1000.1, 1059.9, 1060.0, 1060.1, 1119.9):  # noqa: B007 (the clock reads it)
        assert bad_message() == 400
    assert len(told(caplog)) == 2
    redis.start()
    assert [bad_message() for _ in range(5)] == [400] * 5
    now = 1120.0
    assert [bad_message() for _ in range(4)] == [400, 400, 400, 429]
    assert told(caplog)[2:] == ["limits are on again: the cache answers (CACHE_URL)"]


def test_of_many_requests_at_once_one_reports_a_cache_that_is_away(caplog, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(limits, "monotonic", lambda: now)
    state = limits._Cache()
    for _ in range(8):
        assert state.may_be_asked()
    for _ in range(8):
        state.has_failed(OSError())
    assert len(told(caplog)) == 1
    assert not state.may_be_asked()
    # At the end of the pause, one of them asks, and the others do not wait for its answer.
    now += limits.PAUSE
    assert [state.may_be_asked() for _ in range(3)] == [True, False, False]


def test_a_wrong_password_is_said_and_not_shown(bad_message, redis, settings, caplog):
    settings.CACHES = {"default": cache(redis.url.replace("se", "xy"))}
    assert bad_message() == 400
    assert told(caplog) == [
        "limits are off, because the cache cannot serve (CACHE_URL): the user name or the password is wrong"
    ]
    assert "xy" not in caplog.text


def test_what_is_in_the_cache_is_never_run(bad_message, redis, tmp_path, caplog):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "run"),)

    bad_message()
    client = caches["default"]._cache.get_client()
    (key,) = client.keys("*")
    client.set(key, pickle.dumps(Evil()))
    assert bad_message() == 400
    assert not (tmp_path / "run").exists()
    assert len(told(caplog)) == 1
    with pytest.raises(ValueError, match="invalid literal"):
        Numbers().loads(pickle.dumps(Evil()))


def test_two_servers_share_their_counts_and_outlive_the_cache(serve, transactional_db, redis, monkeypatch):
    monkeypatch.setenv("CACHE_URL", redis.url)
    monkeypatch.setenv("TRUSTED_PROXIES", "1")
    services = [serve(url_of_test_database()) for _ in range(2)]

    def bad(number: int) -> int:
        headers = (f"Content-Type: {FORM}", "Content-Length: 3", f"X-Forwarded-For: {FLOODER}")
        return exchange(services[number % 2].url, "/subscribe/", [b"x=y"], *headers)[0]

    # They may fall into two minutes, but not into three.
    statuses = [bad(number) for number in range(130)]
    assert statuses[:60] == [400] * 60
    assert 429 in statuses
    redis.hang()
    with ExitStack() as all_at_once:
        connections = []
        for number in range(16):
            address = services[number % 2].url.removeprefix(f"http://{HOST}:")
            connection = all_at_once.enter_context(socket.create_connection((HOST, int(address)), PATIENCE))
            connection.sendall(
                b"POST /subscribe/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 3\r\n"
                + f"Content-Type: {FORM}\r\nX-Forwarded-For: {FLOODER}\r\n\r\nx=y".encode()
            )
            connections.append(connection)
        for connection in connections:
            assert connection.makefile("rb").readline().split()[1] == b"400"
    assert [bad(number) for number in range(40)] == [400] * 40
    for service in services:
        log = service.log()
        assert log.count("limits are off") == 1
        assert log.count("/subscribe/: refused") < 60
        assert "Traceback" not in log
        assert PASSWORD not in log
        assert quote(PASSWORD, safe="") not in log
