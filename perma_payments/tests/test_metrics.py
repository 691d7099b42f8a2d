"""Counts for Prometheus, added up over all processes of a real Gunicorn, and over those that were replaced."""

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from devtools.processes import GUNICORN, eventually, free_port, leashed, wait_until_it_answers
from perma_payments import metrics
from perma_payments.billing.transactions import Kind

from . import cyber_source, perma_cc, records
from .environments import start
from .test_faults import HOST, Service, url_of_test_database

TOKEN = "0123456789abcdef" * 2


@pytest.fixture
def service(transactional_db, tmp_path):
    """The service with two workers, which count in ``tmp_path``."""
    with ExitStack() as running:
        port = free_port(HOST)
        env = {"DATABASE_URL": url_of_test_database(), "METRICS_TOKEN": TOKEN, "METRICS_DIR": str(tmp_path)}
        process = running.enter_context(
            leashed("Perma Payments", *GUNICORN, "--workers", "2", "--bind", f"{HOST}:{port}", env=env)
        )
        wait_until_it_answers(process, f"{HOST}:{port}", "/health/")
        service = Service(process, f"http://{HOST}:{port}")
        assert eventually(lambda: len(workers(service)) == 2 and (tmp_path / "counter_1.db").exists(), 60)
        yield service


def workers(service: Service) -> list[int]:
    return [int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", service.log())]


def counts(service: Service) -> dict[str, float]:
    """What Prometheus reads, by series, without what is zero."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"{service.url}/metrics/", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10)
    assert answer.status_code == 200
    series = (line.rpartition(" ") for line in answer.text.splitlines() if not line.startswith("#"))
    return {name.removeprefix("perma_payments_"): float(value) for name, _, value in series if float(value)}


def get_until_both_have_served(service: Service, path: str, directory: Path) -> int:
    """GET until each worker has counted some; return how many that were."""
    route = f'"route": "{path.strip("/")}"'.encode()
    at_once = 10
    with ThreadPoolExecutor(at_once) as clients:
        for number in range(at_once, 100 * at_once, at_once):
            answers = clients.map(lambda _: requests.get(service.url + path, timeout=10), range(at_once))
            assert {answer.status_code for answer in answers} == {200}
            if all(route in (directory / f"counter_{worker}.db").read_bytes() for worker in (0, 1)):
                return number
    raise AssertionError("One worker has served everything.")


def test_what_two_workers_count_is_added_up_and_kept_when_they_are_replaced(service, tmp_path):
    served = get_until_both_have_served(service, "/subscribe/", tmp_path)
    series = 'requests_total{method="GET",route="subscribe",status="200"}'
    assert counts(service)[series] == served
    assert counts(service)['request_seconds_count{method="GET",route="subscribe"}'] == served
    # Nothing that monitoring asks itself is counted.
    assert not [name for name in counts(service) if "other" in name]

    # One is killed; the one in its place goes on in the same file.
    os.kill(workers(service)[0], signal.SIGKILL)
    assert eventually(lambda: len(workers(service)) == 3, 60)
    files = {path.name for path in tmp_path.glob("*.db")}
    get_until_both_have_served(service, "/purchase/", tmp_path)
    served += sum(requests.get(f"{service.url}/subscribe/", timeout=10).status_code == 200 for _ in range(20))
    assert counts(service)[series] == served
    assert {path.name for path in tmp_path.glob("*.db")} == files


def test_refusals_and_callbacks_are_counted_by_words_of_ours(service):
    form = records.form(records.outgoing(Kind.SUBSCRIBE))
    paid = cyber_source.response(form)
    assert service.post("cybersource-callback", paid).status_code == 200
    assert service.post("cybersource-callback", paid | {"signature": "x"}).status_code == 400
    assert service.post("cybersource-callback", {"x": "1"}).status_code == 400
    declined = cyber_source.response(records.form(records.outgoing(Kind.PURCHASE)), "DECLINE")
    assert service.post("cybersource-callback", declined).status_code == 200
    odd = cyber_source.response(records.form(records.outgoing(Kind.PURCHASE)), "MAYBE")
    assert service.post("cybersource-callback", odd).status_code == 200
    assert service.post("return", {"x": "1"}).status_code == 303
    assert service.post("subscription", {"encrypted_data": "x"}).status_code == 400
    assert service.post("subscribe", perma_cc.form("subscribe", timestamp=0)).status_code == 400
    assert requests.get(f"{service.url}/nowhere/", timeout=10).status_code == 404
    assert requests.get(f"{service.url}/admin/login/", timeout=10).status_code == 200
    assert requests.request("PROPFIND", f"{service.url}/", timeout=10).status_code == 405

    found = counts(service)
    assert {name: number for name, number in found.items() if name.startswith(("refusals", "callbacks"))} == {
        'refusals_total{reason="the signature is wrong",route="cybersource_callback"}': 1,
        'refusals_total{reason="not signed",route="cybersource_callback"}': 1,
        'refusals_total{reason="not signed",route="customer_return"}': 1,
        'refusals_total{reason="Unreadable",route="subscription"}': 1,
        'refusals_total{reason="Stale",route="subscribe"}': 1,
        'callbacks_total{decision="ACCEPT",effect="took effect",kind="subscribe"}': 1,
        'callbacks_total{decision="DECLINE",effect="took effect",kind="purchase"}': 1,
        'callbacks_total{decision="other",effect="no effect",kind="purchase"}': 1,
    }
    assert found['requests_total{method="GET",route="other",status="404"}'] == 1
    assert found['requests_total{method="GET",route="admin",status="200"}'] == 1
    assert found['requests_total{method="other",route="index",status="405"}'] == 1


def test_a_directory_that_cannot_be_written_to_stops_the_start(tmp_path):
    gone = tmp_path / "gone"
    ended = start("-c", "import perma_payments.wsgi", METRICS_TOKEN=TOKEN, METRICS_DIR=str(gone))

    assert ended.returncode == 3
    assert "METRICS_DIR: the web server cannot write there (No such file or directory)." in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_process_that_was_forked_counts_in_a_file_of_its_own(tmp_path):
    """As after gunicorn --preload."""
    place = metrics._Place(tmp_path)
    assert place.number() == place.number() == 0
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, b"%d" % place.number())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 10) == b"1"
    assert metrics._Place(tmp_path).number() == 1
    for end in (reader, writer):
        os.close(end)


def test_nothing_is_counted_before_the_start():
    """Neither by commands nor where there is no token."""
    assert metrics._counters is None
    metrics.count_request(route="x", method="GET", status=200, seconds=1)
    metrics.count_refusal(route="x", reason="x")
    metrics.count_callback(kind="x", decision="x", effect="x")
