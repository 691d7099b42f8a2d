"""What `fab` offers. `fab demo --check` and everyday use try what the tasks do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from devtools import ROOT, TaskError, demo, postgres

TASKS = [
    "apply_responses",
    "chaos",
    "demo",
    "init_db",
    "lint",
    "purge_expired",
    "remind_of_overdue",
    "requirements",
    "run",
    "run_scheduler",
    "send_daily_report",
    "send_task_mails",
    "test",
]


def fab(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fabric", *arguments],
        cwd=ROOT / "devtools",
        env={**os.environ, **variables},
        check=False,
        capture_output=True,
        text=True,
    )


def test_every_task_is_listed_with_its_name_as_written() -> None:
    listed = fab("--list").stdout
    for name in TASKS:
        assert f"\n  {name}   " in listed


def test_a_task_that_cannot_go_on_says_why_in_a_sentence() -> None:
    done = fab("init_db", DATABASE_URL="no URL")
    assert done.returncode == 1
    assert done.stderr.startswith("DATABASE_URL cannot be read: expected")
    assert "Traceback" not in done.stderr


def test_the_demo_knows_only_the_two_clients() -> None:
    done = fab("demo", "--client", "2025")
    assert done.returncode == 1
    assert done.stderr.strip() == "--client must be 2024 or 2026; it is '2025'."


@pytest.mark.parametrize("option", ["--minutes=soon", "--minutes=0", "--minutes=nan", "--seed=x"])
def test_chaos_has_an_end(option: str) -> None:
    done = fab("chaos", option)
    assert done.returncode == 1
    assert done.stderr.startswith("--minutes must be a number from 0.1 to 60")


@pytest.mark.parametrize(
    "failing, code, said",
    [
        ((), 0, ["passed.", "passed."]),
        (("2024",), 1, ["FAILED.", "passed."]),
        (("2026",), 1, ["passed.", "FAILED."]),
    ],
)
def test_the_check_walks_through_both_clients(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failing: tuple[str, ...],
    code: int,
    said: list[str],
) -> None:
    monkeypatch.setattr(demo, "check_client", lambda client: 1 if client in failing else 0)
    assert demo.check(["2024", "2026"]) == code
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"Perma.cc's client of {client}: {words}" for client, words in zip(("2024", "2026"), said, strict=True)
    ]


def test_the_check_goes_on_after_a_world_that_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(client: str) -> int:
        raise TaskError(f"It did not start for {client}.")

    monkeypatch.setattr(demo, "check_client", fail)
    assert demo.check(["2024", "2026"]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert "It did not start for 2026." in printed
    assert printed[-2:] == ["Perma.cc's client of 2024: FAILED.", "Perma.cc's client of 2026: FAILED."]


@pytest.mark.parametrize(
    "line, environment",
    [
        ("=staging", "staging"),
        ("=production", "production"),
        ("=prod", "prod"),
        ("_FILE=HERE/environment", "production"),
    ],
)
def test_the_demo_refuses_what_is_real(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, environment: str
) -> None:
    monkeypatch.delenv("PERMA_PAYMENTS_ENV", raising=False)
    monkeypatch.setattr(postgres, "ROOT", tmp_path)
    demo.refuse_real_environments()

    (tmp_path / ".env").write_text("PERMA_PAYMENTS_ENV=development\n")
    demo.refuse_real_environments()

    (tmp_path / "environment").write_text(environment)
    (tmp_path / ".env").write_text(f"PERMA_PAYMENTS_ENV{line}\n".replace("HERE", str(tmp_path)))
    with pytest.raises(TaskError, match=f"does not run where PERMA_PAYMENTS_ENV says {environment}"):
        demo.refuse_real_environments()


@pytest.mark.parametrize(
    "line, is_failure",
    [
        ("POST /subscribe/ was answered with 200 in 500.0 ms: checkout", False),
        ("POST /subscribe/ was answered with 500 in 7.1 ms", True),
        ("POST /subscribe/ was answered with 503 in 7.1 ms: unavailable", True),
        ("GET /500/ was answered with 404 in 503.0 ms", False),
        ("Traceback (most recent call last):", True),
        ("2026-11-21T10:00:00.000Z WARNING payments: 500 of them", False),
        ("2026-11-21T10:00:00.000Z ERROR payments: it could not be applied", True),
    ],
)
def test_the_check_of_the_demo_knows_a_failure_in_the_log(line: str, is_failure: bool) -> None:
    assert bool(demo.FAILURES.search(f"one line\n{line}\nanother\n")) is is_failure
