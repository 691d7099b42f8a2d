"""What `fab` offers. `fab demo --check` and everyday use try what the tasks do."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from devtools import ROOT, TaskError, demo, postgres, processes

TASKS = [
    "apply_responses",
    "chaos",
    "demo",
    "init_db",
    "lint",
    "manage",
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


def test_any_command_of_manage_can_be_run_on_the_database_of_fab_run() -> None:
    done = fab("manage", "shell --no-imports --command 'print(6 * 7)'")
    assert done.stdout.strip() == "42", done.stderr
    assert fab("manage", "no_such_command").returncode == 1


class TestWhereToListen:
    @pytest.fixture(autouse=True)
    def nothing_is_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("BIND", raising=False)

    def test_is_a_port_of_this_machine_that_is_free(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server, pytest.MonkeyPatch.context() as patch:
            taken = server.getsockname()[1]
            patch.setattr(demo, "APP_PORT", taken)
            host, port = demo.address_to_listen_on()
        assert host == "127.0.0.1"
        assert taken < port < taken + 100

    def test_can_be_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        port = processes.free_port("127.0.0.1")
        monkeypatch.setenv("BIND", f"0.0.0.0:{port}")
        assert demo.address_to_listen_on() == ("0.0.0.0", port)

    def test_is_free_or_the_task_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            monkeypatch.setenv("BIND", f"127.0.0.1:{port}")
            with pytest.raises(TaskError, match=f"Something listens on port {port} already"):
                demo.address_to_listen_on()

    @pytest.mark.parametrize("address", ["8000", "localhost", ":8000", "localhost:", "localhost:0", "localhost:x"])
    def test_must_have_both_parts(self, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
        monkeypatch.setenv("BIND", address)
        with pytest.raises(TaskError, match=r"as in 127.0.0.1:8000; it is"):
            demo.address_to_listen_on()


class TestTheSettings:
    @pytest.fixture(autouse=True)
    def checkout(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        monkeypatch.setattr(demo, "ROOT", tmp_path)
        monkeypatch.setattr(postgres, "ROOT", tmp_path)
        for name in ("PERMA_URL", "UPDATE_LEADS_TO", "PAYMENTS_URL"):
            monkeypatch.delenv(name, raising=False)
        (tmp_path / ".env").write_text("PERMA_URL=https://perma.test:8000\nUPDATE_LEADS_TO=card\nOVERDUE_DAYS=9\n")
        return tmp_path

    def test_of_a_checkout_count_when_it_is_worked_on(self) -> None:
        settings = demo.settings_of("2024", True, 80, 8001, 8025)
        assert not {"PERMA_URL", "UPDATE_LEADS_TO", "OVERDUE_DAYS"} & settings.keys()
        assert settings["PAYMENTS_URL"] == "http://localhost"
        assert settings["CS_SANDBOX_URL"] == "http://localhost:8001"
        assert demo.client_of_settings() == "2024"

    def test_of_a_checkout_do_not_count_in_a_demo(self) -> None:
        settings = demo.settings_of("2026", False, 8000, 8001, 8025)
        assert settings["PERMA_URL"] == "http://localhost:8001"
        assert settings["UPDATE_LEADS_TO"] == "page"
        assert settings["OVERDUE_DAYS"] == ""

    def test_are_for_todays_client_if_nothing_is_said(self, checkout: Path) -> None:
        (checkout / ".env").unlink()
        assert demo.client_of_settings() == "2026"


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
