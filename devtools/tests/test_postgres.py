"""A PostgreSQL on demand: real servers, ended in every way in which a task can end."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import psycopg2
import pytest

from devtools import ROOT, TaskError, postgres, postgres_supervisor, processes
from devtools.tests.test_processes import is_alive

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="is about running as root")


@pytest.fixture(autouse=True)
def without_a_database_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run with one."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("DATABASE_URL_FILE", raising=False)


@pytest.fixture
def kept_elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Kept data in a directory of the test's own that the server's account can reach."""
    top = postgres_supervisor.temporary_directory(for_other_account=os.geteuid() == 0)
    monkeypatch.setattr(postgres, "kept_directory", lambda: top / "kept" / "checkout")
    yield top / "kept" / "checkout"
    shutil.rmtree(top)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A temporary server for all tests that do not change it."""
    with postgres.server() as url:
        yield url


def ask(url: str, sql: str) -> Any:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0] if cursor.description else None
    finally:
        connection.close()


def answers(url: str) -> bool:
    try:
        psycopg2.connect(url).close()
        return True
    except psycopg2.OperationalError:
        return False


def data_directory(url: str) -> Path:
    return Path(ask(url, "SHOW data_directory"))


def socket_directory(url: str) -> Path:
    return Path(unquote(url.split("@")[1].split(":")[0]))


def supervise(*directory: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "devtools.postgres_supervisor", *directory],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def url_of(supervisor: subprocess.Popen[bytes]) -> str:
    assert supervisor.stdout
    return str(json.loads(supervisor.stdout.readline())["url"])


def soon(condition: Callable[[], object]) -> bool:
    return processes.eventually(condition, 30)


class TestATemporaryServer:
    def test_serves_an_empty_database_in_utf_8_and_utc(self, url: str) -> None:
        assert ask(url, "SELECT current_database()") == "perma_payments"
        assert ask(url, "SHOW server_encoding") == "UTF8"
        assert ask(url, "SHOW timezone") == "UTC"
        assert ask(url, "SELECT count(*) FROM pg_stat_user_tables") == 0

    def test_is_not_on_the_network_and_its_socket_is_private(self, url: str) -> None:
        assert ask(url, "SHOW listen_addresses") == ""
        assert stat.S_IMODE(socket_directory(url).stat().st_mode) == 0o700

    def test_leaves_nothing_behind_even_after_an_exception(self) -> None:
        with pytest.raises(ZeroDivisionError):
            with postgres.server() as url:
                data, socket = data_directory(url), socket_directory(url)
                raise ZeroDivisionError
        assert not answers(url)
        assert not data.parent.exists()
        assert not socket.parent.exists()

    def test_is_its_users_own_whatever_variables_say(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PGPORT", "5999")
        monkeypatch.setenv("PGDATA", "/nowhere")
        with postgres.server() as another:
            ask(another, "CREATE TABLE here ()")
            assert ask(url, "SELECT to_regclass('here')") is None

    def test_avoids_a_temporary_directory_with_a_long_path(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        long = tmp_path / ("long" * 25)
        long.mkdir()
        monkeypatch.setattr(tempfile, "gettempdir", lambda: str(long))
        found = postgres_supervisor.temporary_directory(for_other_account=False)
        found.rmdir()
        assert long not in found.parents


class TestADurableServer:
    def test_waits_for_its_disk_and_leaves_nothing_behind(self) -> None:
        with postgres.server(durable=True) as url:
            assert [ask(url, f"SHOW {name}") for name in postgres_supervisor.TEMPORARY_SETTINGS] == ["on"] * 3
            directory = Path(ask(url, "SHOW data_directory"))
        assert not answers(url)
        assert not directory.parent.exists()
        assert not socket_directory(url).parent.exists()


class TestATaskThatIsKilled:
    TASK = """
import os, subprocess, sys, time
from devtools.postgres import server
with server() as url:
    child = subprocess.Popen(["sleep", "30"])
    print(url, child.pid, flush=True)
    time.sleep(60)
"""

    @pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
    def test_ends_its_server_even_if_a_child_runs_on(self, sign: signal.Signals) -> None:
        task = subprocess.Popen(
            [sys.executable, "-c", self.TASK],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert task.stdout
        url, child = task.stdout.readline().split()
        try:
            data, socket = data_directory(url), socket_directory(url)
            task.send_signal(sign)
            task.wait()
            assert soon(lambda: not answers(url))
            assert soon(lambda: not data.parent.exists() and not socket.parent.exists())
            os.kill(int(child), 0)
        finally:
            os.kill(int(child), signal.SIGKILL)
            task.stdout.close()

    def test_may_be_killed_while_the_server_starts(self) -> None:
        with supervise() as supervisor:
            assert supervisor.stdin
            time.sleep(0.3)
            supervisor.stdin.close()
            url = url_of(supervisor)
            assert supervisor.wait(60) == 0
        assert not answers(url)
        assert not socket_directory(url).parent.exists()


class TestAKeptServer:
    def test_keeps_its_data(self, kept_elsewhere: Path) -> None:
        with postgres.server(kept=True) as url:
            ask(url, "CREATE TABLE here ()")
        assert not answers(url)
        with postgres.server(kept=True) as url:
            assert ask(url, "SELECT to_regclass('here')") == "here"
        assert (kept_elsewhere / "data").is_dir()
        assert not socket_directory(url).parent.exists()

    def test_is_shared_and_stops_with_its_last_user(self, kept_elsewhere: Path) -> None:
        supervisors = [supervise(kept_elsewhere) for _ in range(3)]
        url, *others = [url_of(supervisor) for supervisor in supervisors]
        assert others == [url, url]
        # The first has started it.
        for supervisor in supervisors:
            assert answers(url)
            supervisor.communicate()
        assert not answers(url)
        assert not socket_directory(url).parent.exists()

    def test_recovers_when_it_and_its_supervisor_were_killed(self, kept_elsewhere: Path) -> None:
        supervisor = supervise(kept_elsewhere)
        url = url_of(supervisor)
        ask(url, "CREATE TABLE here ()")
        process_id = int((kept_elsewhere / "data" / "postmaster.pid").read_text().splitlines()[0])
        supervisor.kill()
        os.kill(process_id, signal.SIGKILL)
        supervisor.communicate()
        assert soon(lambda: not is_alive(process_id))

        with postgres.server(kept=True) as again:
            assert ask(again, "SELECT to_regclass('here')") == "here"
        assert not socket_directory(url).parent.exists()

    def test_is_outside_of_its_checkout(self, monkeypatch: pytest.MonkeyPatch) -> None:
        here = postgres.kept_directory()
        assert ROOT not in here.parents
        monkeypatch.setattr(postgres, "ROOT", Path("/another/checkout"))
        assert postgres.kept_directory() != here


@as_root
class TestAsRoot:
    def test_the_server_runs_under_another_account(self, url: str) -> None:
        assert data_directory(url).stat().st_uid != 0

    def test_programs_in_a_private_home_are_used_as_they_are(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        home = tmp_path / "a private home"
        packages = home / "site packages"
        package = postgres_supervisor.package_directory()
        shutil.copytree(package, packages / package.name)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, packages / libraries.name)
        for path in (home, packages):
            path.chmod(0o700)
        before = permissions(home)
        monkeypatch.setenv("PYTHONPATH", str(packages))

        with postgres.server() as url:
            assert answers(url)
            assert permissions(home) == before
        assert permissions(home) == before

    def test_a_private_temporary_directory_is_left_alone(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        tmp_path.chmod(0o700)
        monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
        found = postgres_supervisor.temporary_directory(for_other_account=True)
        found.rmdir()
        assert tmp_path not in found.parents
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def permissions(top: Path) -> dict[Path, tuple[int, int]]:
    paths = [*top.parents, top, *top.rglob("*")]
    return {path: (path.lstat().st_mode, path.lstat().st_uid) for path in paths}


class TestADatabaseUrlThatWasGiven:
    def test_wins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgres://somebody@elsewhere/theirs")
        with postgres.database_url() as url:
            assert url == "postgres://somebody@elsewhere/theirs"

    def test_may_be_in_the_checkouts_env_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(postgres, "ROOT", tmp_path)
        (tmp_path / ".env").write_text("DATABASE_URL=postgres://somebody@elsewhere/theirs\n")
        assert postgres.given_url() == "postgres://somebody@elsewhere/theirs"

        monkeypatch.setenv("DATABASE_URL", "postgres://the/environment")
        assert postgres.given_url() == "postgres://the/environment"

    def test_may_be_in_a_file_of_its_own(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "url"))
        with pytest.raises(TaskError, match="DATABASE_URL_FILE names a file that cannot be read"):
            postgres.given_url()
        (tmp_path / "url").write_text("postgres://somebody@elsewhere/theirs\n")
        assert postgres.given_url() == "postgres://somebody@elsewhere/theirs"

    def test_counts_as_not_given_if_empty(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", "")
        assert postgres.given_url() is None


class TestCreatingADatabase:
    def test_happens_once(self, url: str) -> None:
        assert postgres.create_database(url) is False
        another = url.replace("perma_payments", "An%20other")
        assert postgres.create_database(another) is True
        assert postgres.create_database(another) is False
        assert ask(another, "SELECT current_database()") == "An other"

    @pytest.mark.parametrize(
        "url, told",
        [("postgres://nobody@127.0.0.1:1/none", "cannot be reached"), ("surely no URL", "cannot be read")],
    )
    def test_fails_with_a_sentence(self, url: str, told: str) -> None:
        with pytest.raises(TaskError, match=told):
            postgres.create_database(url)


class TestWithoutPostgresql:
    def test_a_sentence_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(postgres_supervisor, "PACKAGE", "no_such_package")
        with pytest.raises(TaskError, match=r"pip install -r requirements-dev.txt"):
            postgres_supervisor.package_directory()

    def test_a_server_that_does_not_start_says_why(
        self, monkeypatch: pytest.MonkeyPatch, kept_elsewhere: Path
    ) -> None:
        with postgres.server(kept=True):
            pass
        (kept_elsewhere / "data" / "PG_VERSION").write_text("1\n")
        with pytest.raises(TaskError, match=r"(?s)did not start.*initialized by PostgreSQL version 1"):
            postgres.server(kept=True).__enter__()
