"""Starting and stopping the sandbox as a separate process."""

import os
import re
import signal
import smtplib
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from .servers import closed_port

ROOT = Path(__file__).resolve().parents[2]


# A shell lets what it runs in the background ignore SIGINT, and the tests' own children would inherit that.
SANDBOX = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("sandbox", run_name="__main__")
"""


@contextmanager
def started(*arguments, **environ):
    """A sandbox process with its output piped. It receives no mail unless told to."""
    environ = {"SANDBOX_SMTP_PORT": "0", **environ}
    process = subprocess.Popen(
        [sys.executable, "-c", SANDBOX, *arguments],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**{n: v for n, v in os.environ.items() if not n.startswith("SANDBOX_")}, **environ},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_stopped_and_then_ends_cleanly(stop):
    with started("--port", "0") as process:
        url = re.search(r"http://127\.0\.0\.1:[0-9]+/", process.stdout.readline())[0]
        assert process.stdout.readline() == "It plays Perma.cc's client of 2026.\n"
        assert process.stdout.readline() == "It receives no mail.\n"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        assert opener.open(url + "?not=logged", timeout=30).status == 200
        process.send_signal(stop)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert output == "The sandbox has stopped.\n"
    assert re.fullmatch(r".* GET / 200\n", errors)


def test_a_malformed_request_line_is_a_400_without_a_traceback():
    with started("--port", "0") as process:
        port = int(re.search(r":([0-9]+)/", process.stdout.readline())[1])
        for line in (b"GET http://[::1 HTTP/1.1", b"GARBAGE"):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                connection.sendall(line + b"\r\nHost: localhost\r\n\r\n")
                assert b"400" in connection.makefile("rb").read()
        process.terminate()
        _output, errors = process.communicate(timeout=30)
    assert "Traceback" not in errors


def test_a_port_in_use_is_reported_in_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        with started("--port", port) as process:
            output, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert output == ""
    assert errors == (
        f"The sandbox cannot listen at 127.0.0.1, port {port} (Address already in use); "
        "choose another with --host and --port.\n"
    )


def test_it_receives_mail_on_the_given_port():
    port = str(closed_port())
    with started("--port", "0", "--smtp-port", port, SANDBOX_SMTP_PORT="1") as process:
        url = re.search(r"http://127\.0\.0\.1:[0-9]+/", process.stdout.readline())[0]
        process.stdout.readline()
        assert process.stdout.readline() == f"It receives mail at 127.0.0.1:{port}.\n"
        with smtplib.SMTP("127.0.0.1", int(port), timeout=30) as server:
            server.sendmail("a@example.com", ["b@example.com"], "Subject: Hello\r\n\r\nHi")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        assert b"Hello" in opener.open(url + "mailbox.json", timeout=30).read()
        process.terminate()
        _output, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_a_mail_port_in_use_is_reported_in_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        with started("--port", "0", SANDBOX_SMTP_PORT=port) as process:
            output, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert output == ""
    assert errors == (
        f"The sandbox cannot receive mail at 127.0.0.1, port {port} (Address already in use); "
        "choose another port with --smtp-port, or 0 to receive none.\n"
    )


@pytest.mark.parametrize("arguments", [("--port", "70000"), ("--host", "no.such.host.invalid")])
def test_a_malformed_address_is_reported_in_one_sentence(arguments):
    with started(*arguments) as process:
        _output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.startswith("The sandbox cannot listen at ") and errors.count("\n") == 1


def test_a_bad_setting_is_reported_in_one_sentence():
    with started(SANDBOX_SMTP_PORT="smtp") as process:
        _output, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors == (
        "SANDBOX_SMTP_PORT must be the number of a port, or 0 to receive no mail, "
        "for example 8025; it is 'smtp'.\n"
    )
