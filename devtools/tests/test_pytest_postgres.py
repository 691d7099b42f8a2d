"""The plugin that gives pytest a PostgreSQL, in a pytest of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from devtools import ROOT

TEST = """
import os
import psycopg2

URL = os.environ["DATABASE_URL"]  # Here already when modules of tests are imported.

def test_the_database_answers():
    psycopg2.connect(URL).close()
    print("answered:", URL)
"""


@pytest.fixture
def test_file(tmp_path: Path) -> Path:
    path = tmp_path / "test_it.py"
    path.write_text(TEST)
    return path


def run_pytest(test_file: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if "DATABASE" not in name}
    options = "-s -p no:django -p no:cacheprovider -p devtools.pytest_postgres".split()
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-c", os.devnull, *options, test_file],
        cwd=ROOT,
        env={**env, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_tests_have_a_database_and_nothing_of_it_is_left(test_file: Path) -> None:
    done = run_pytest(test_file)
    assert done.returncode == 0, done.stdout + done.stderr
    socket = done.stdout.partition("answered: postgres://postgres@")[2].partition(":")[0]
    assert socket
    assert not Path(socket.replace("%2F", "/")).exists()


def test_a_database_url_that_is_given_is_left_alone(test_file: Path) -> None:
    done = run_pytest(test_file, DATABASE_URL="postgres://nobody@127.0.0.1:1/theirs")
    assert done.returncode == 1
    assert 'connection to server at "127.0.0.1", port 1 failed' in done.stdout


def test_a_problem_is_reported_in_a_sentence(test_file: Path) -> None:
    done = run_pytest(test_file, DATABASE_URL_FILE="/no/such/file")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert done.stderr.strip() == ("ERROR: DATABASE_URL_FILE names a file that cannot be read: /no/such/file.")
