"""All measurements, as a table and as JSON: ``fab bench``. docs/performance.md explains the figures."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2

from devtools import ROOT

from . import admin, calls, status_reports
from .fill import fill
from .load import Load
from .world import databases

SMALL = 1_000
PARTS = ("load", "size", "admin", "reports")


def bench(*, agreements: int, file: Path, parts: tuple[str, ...] = PARTS) -> None:
    """Measure, print tables, and write the figures to a file of JSON."""
    found: dict[str, Any] = {}

    def keep(part: str, figures: Any) -> Any:
        found[part] = figures
        file.write_text(json.dumps(found, indent=1, default=asdict) + "\n")
        return figures

    for name, value in keep("machine", machine()).items():
        print(f"{name}: {value}", flush=True)
    if "load" in parts:
        print_load(keep("load", calls.throughput(rounds=3, seconds=2)))
    if "size" in parts or "admin" in parts:
        with databases("few", "many") as (few, many):
            urls = {SMALL: few, agreements: many}
            for size, url in urls.items():
                print(f"\nFilling a database with {size:,} agreements …", flush=True)
                fill(url, agreements=size)
            if "size" in parts:
                print_sizes(keep("size", calls.by_size(urls, calls=200)))
            if "admin" in parts:
                admin.print_pages(keep("admin", admin.measure(many)))
    if "reports" in parts:
        keep("reports", status_reports.main())
    print(f"\nThe figures are in {file}.")


def machine() -> dict[str, str]:
    """What the figures were measured on. Other machines, and other hours, have other figures."""
    model = next(
        (line.partition(": ")[2] for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    memory = next((line.split()[1] for line in _lines("/proc/meminfo")), "0")
    with databases("empty") as (url,), psycopg2.connect(url) as connection:
        postgres = connection.info.parameter_status("server_version") or "unknown"
    connection.close()
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "measured": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": commit.stdout.strip() or "unknown",
        "processors": f"{os.cpu_count()} x {model or platform.machine()}",
        "memory": f"{int(memory) / 2**20:.0f} GB",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "versions": f"Python {platform.python_version()}, PostgreSQL {postgres}, Linux {platform.release()}",
    }


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text().splitlines()
    except OSError:
        return []


def print_load(found: Mapping[str, Mapping[int, Load]]) -> None:
    """Print what was carried, and its share of the bare function's."""
    print(f"\n{'':28}{'clients':>8}{'per second':>12}{'of bare':>9}{'median':>12}{'99th':>12}")
    for name, by_clients in found.items():
        for clients, load in by_clients.items():
            share = load.per_second / found[calls.BARE][clients].per_second
            print(
                f"{name:28}{clients:8}{load.per_second:12.0f}{share:9.0%}{load.median:9.1f} ms{load.p99:9.1f} ms"
            )


def print_sizes(found: Mapping[str, Mapping[int, Load]]) -> None:
    """Print what a call takes with few and with many agreements."""
    print(
        f"\n{'one client, median':28}" + "".join(f"{size:>16,}" for size in found[calls.STATUS]) + f"{'ratio':>8}"
    )
    for path, by_size in found.items():
        medians = [load.median for load in by_size.values()]
        print(f"{path:28}" + "".join(f"{each:13.1f} ms" for each in medians) + f"{medians[-1] / medians[0]:8.2f}")
