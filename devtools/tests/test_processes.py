"""Processes that never outlive their task."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from devtools import ROOT, TaskError, processes
from devtools.processes import eventually

# It starts another, and tells both process ids. Told to end, it does not.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(os.getpid(), child.pid, flush=True)
time.sleep(60)
"""
ENDS_WHEN_TOLD = STUBBORN.replace("signal.SIG_IGN", "signal.SIG_DFL")


def is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
        return True
    except ProcessLookupError:
        return False


def process_ids(printed: str) -> list[int]:
    return [int(word) for word in printed.split()]


class TestALeashedProcess:
    def test_ends_with_its_context_and_so_do_its_children(self) -> None:
        with processes.leashed("It", "-c", ENDS_WHEN_TOLD) as it:
            assert eventually(it.printed, 30)
            started = process_ids(it.printed())
            assert all(map(is_alive, started))
        assert eventually(lambda: not any(map(is_alive, started)), 10)

    def test_is_made_to_end_if_it_does_not_when_told(self) -> None:
        with processes.leashed("It", "-c", STUBBORN) as it:
            assert eventually(it.printed, 30)
            started = process_ids(it.printed())
        assert eventually(lambda: not any(map(is_alive, started)), 10)

    def test_ends_when_its_task_is_killed(self) -> None:
        task = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import sys; from devtools import processes\n"
                "with processes.leashed('It', '-c', sys.argv[1], to_terminal=True) as it: it.wait()",
                ENDS_WHEN_TOLD,
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert task.stdout
        started = process_ids(task.stdout.readline())
        task.kill()
        task.communicate()
        assert eventually(lambda: not any(map(is_alive, started)), 10)

    def test_that_ends_while_it_is_watched_is_reported(self) -> None:
        with processes.leashed("One", "-c", ENDS_WHEN_TOLD) as one:
            with pytest.raises(
                TaskError, match=r"Two ended by itself, with exit code 3. Its last lines are above."
            ):
                with processes.leashed("Two", "-c", "raise SystemExit(3)", to_terminal=True) as two:
                    processes.watch([one, two])
            assert not one.has_ended()

    def test_that_ends_by_itself_is_reported_with_its_last_lines(self) -> None:
        with processes.leashed("It", "-c", "print('Farewell'); raise SystemExit(3)") as it:
            assert it.wait() == 3
            with pytest.raises(TaskError, match=r"(?s)It ended by itself, with exit code 3.*Farewell"):
                processes.require_running([it])

    def test_ended_by_a_signal_has_the_exit_code_that_a_shell_gives(self) -> None:
        suicide = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
        with processes.leashed("It", "-c", suicide) as it:
            assert it.wait() == 128 + signal.SIGKILL

    def test_is_waited_for_until_it_answers(self) -> None:
        port = processes.free_port("127.0.0.1")
        with processes.leashed("It", "-m", "http.server", "--bind", "127.0.0.1", str(port)) as it:
            processes.wait_until_it_answers(it, f"127.0.0.1:{port}", "/")
            with pytest.raises(TaskError, match=r"(?s)It should have answered .*/nothing .* 404"):
                processes.wait_until_it_answers(it, f"127.0.0.1:{port}", "/nothing", seconds=0)


class TestACommand:
    def test_runs_in_the_root_of_the_checkout(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        assert processes.run("-c", f"import os; assert os.getcwd() == {str(ROOT)!r}") == 0

    def test_passes_its_exit_code_on(self) -> None:
        assert processes.run("-c", "raise SystemExit(7)") == 7
        assert processes.run("-c", "import os; os.abort()") == 128 + signal.SIGABRT

    def test_has_the_variables_it_is_given(self) -> None:
        command = "import os; assert os.environ['ONE'] == '1' and 'PATH' in os.environ"
        assert processes.run("-c", command, env={"ONE": "1"}) == 0

    def test_run_quietly_prints_only_if_it_fails(self, capfd: pytest.CaptureFixture[str]) -> None:
        processes.run_quietly("-c", "print('All is well.')", failure="It failed.")
        assert capfd.readouterr() == ("", "")
        with pytest.raises(TaskError, match=r"It failed\.\nBecause\."):
            processes.run_quietly("-c", "raise SystemExit('Because.')", failure="It failed.")


class TestAFreePort:
    def test_is_the_one_asked_for_or_the_next(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            first = taken.getsockname()[1]
            assert processes.free_port("127.0.0.1", first) > first

    @pytest.mark.skipif(sys.platform != "linux", reason="Elsewhere, a port can't be held and listened on.")
    def test_can_be_any_and_is_left_to_a_server_of_ours(self) -> None:
        port = processes.free_port("127.0.0.1")
        with socket.socket() as other, pytest.raises(OSError):
            other.bind(("127.0.0.1", port))
        socket.create_server(("127.0.0.1", port)).close()


def test_nothing_of_a_task_is_inherited_by_its_children() -> None:
    """Otherwise, a child of the task could hold a leash that the task has let go."""
    with processes.leashed("It", "-c", "import time; time.sleep(60)") as it:
        assert it.process.stdin
        assert not os.get_inheritable(it.process.stdin.fileno())
