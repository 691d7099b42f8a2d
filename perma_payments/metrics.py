"""Counts for Prometheus: what becomes of requests, in all of a web server's processes together.

Each process counts in a file of its own in METRICS_DIR, and whichever is asked adds them up. A process takes the
first file that no other one holds, and goes on where its predecessor ended, so there are never more files than
processes, and no count goes back when one is replaced. Until ``start``, nothing is counted and nothing is loaded.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from django.http import HttpRequest

PREFIX = "perma_payments_"
# Seconds. Perma.cc gives up after two (2024) or three (2026), and CyberSource after ten.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 10.0)
METHODS = frozenset({"GET", "HEAD", "POST"})
DECISIONS = frozenset({"ACCEPT", "REVIEW", "DECLINE", "ERROR", "CANCEL"})
# Bytes of a file, several times what all labels take. They are taken from the disk at the start, because a
# process that writes to a mapped file on a full disk is killed.
FILE_SIZE = 512 * 1024


CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Gauge(NamedTuple):
    """A number that is read when Prometheus asks; with a label, one for each of its values."""

    name: str
    help: str
    values: Mapping[str, float]
    label: str = ""


class _Counters:
    """The counters of this process."""

    def __init__(self, directory: Path) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram, values

        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
        values.ValueClass = values.MultiProcessValue(_Place(directory).number)  # type: ignore[no-untyped-call]
        # Nothing collects from it: the files are what is shown.
        registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Callable[..., Any]:
            made = Counter(PREFIX + name, text, labels, registry=registry)
            return lru_cache(maxsize=None)(made.labels)

        self.requests = counter("requests", "Requests, by the status of the answer.", "route", "method", "status")
        self.refusals = counter("refusals", "Messages and callbacks that were refused.", "route", "reason")
        self.callbacks = counter(
            "callbacks", "Responses from CyberSource, each counted when it is tried.", "kind", "decision", "effect"
        )
        seconds = Histogram(
            f"{PREFIX}request_seconds",
            "Time from a request to its answer.",
            ["route", "method"],
            buckets=BUCKETS,
            registry=registry,
        )
        self.seconds: Callable[..., Any] = lru_cache(maxsize=None)(seconds.labels)


class _Place:
    """The number of this process among those that count in a directory. It is free again when the process ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._pid = 0
        self._number = 0
        # A lock is the process's as long as the file is open.
        self._lock = -1

    def number(self) -> int:
        """Return the number. A process that was forked takes another one than its parent."""
        if self._pid != os.getpid():
            self._take()
        return self._number

    def _take(self) -> None:
        for number in count():
            lock = os.open(self._directory / f"{number}.lock", os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            for kind in ("counter", "histogram"):
                with (self._directory / f"{kind}_{number}.db").open("ab") as file:
                    os.posix_fallocate(file.fileno(), 0, FILE_SIZE)
            self._pid, self._number, self._lock = os.getpid(), number, lock
            return


_counters: _Counters | None = None


def start(directory: Path) -> None:
    """Count from now on, in a directory that exists. Raises OSError if this process cannot write there."""
    global _counters  # noqa: PLW0603
    _counters = _Counters(directory)


def count_request(*, route: str, method: str, status: int, seconds: float) -> None:
    """Count an answer, and the seconds that it took."""
    if _counters is not None:
        method = method if method in METHODS else "other"
        _counters.requests(route, method, status).inc()
        _counters.seconds(route, method).observe(seconds)


def count_refusal(*, route: str, reason: str) -> None:
    """Count a message that was refused. There must be few reasons: they are words of ours, never input."""
    if _counters is not None:
        _counters.refusals(route, reason).inc()


def count_callback(*, kind: str, decision: str, effect: str) -> None:
    """Count a response from CyberSource that was applied, or could not be."""
    if _counters is not None:
        _counters.callbacks(kind, decision if decision in DECISIONS else "other", effect).inc()


def route_name(request: HttpRequest) -> str:
    """Return the name of a request's route; "admin" for all of its pages, and "other" for what is no route."""
    match = request.resolver_match
    if match is None:
        return "other"
    return "admin" if match.namespaces else match.view_name


def exposition(gauges: Iterable[Gauge], directory: Path) -> bytes:
    """Return what Prometheus reads: the counts of all processes, and these gauges."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.multiprocess import MultiProcessCollector

    class Gauges:
        def collect(self) -> Iterable[GaugeMetricFamily]:
            for gauge in gauges:
                family = GaugeMetricFamily(
                    PREFIX + gauge.name, gauge.help, labels=[gauge.label] if gauge.label else None
                )
                for value, number in gauge.values.items():
                    family.add_metric([value] if gauge.label else [], number)
                yield family

    registry = CollectorRegistry(auto_describe=False)
    with contextlib.suppress(ValueError):  # the directory is gone
        MultiProcessCollector(registry, path=str(directory))  # type: ignore[no-untyped-call]
    registry.register(Gauges())
    return generate_latest(registry)
