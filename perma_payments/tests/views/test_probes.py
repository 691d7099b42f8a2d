"""What load balancers, monitors and Prometheus ask."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from perma_payments.models import JobHeartbeat
from perma_payments.services import health
from perma_payments.views import probes

TOKEN = "0123456789abcdef" * 2
ROUTES = ["/health/", "/health/ready/", "/metrics/"]


@pytest.fixture
def client() -> Client:
    """With a handler of its own, because that remembers answers."""
    return Client(raise_request_exception=False)


@pytest.fixture
def metrics(settings, tmp_path):
    settings.METRICS_TOKEN, settings.METRICS_DIR = TOKEN, str(tmp_path)


def jobs_ran(ago: timedelta = timedelta()) -> None:
    now = timezone.now() - ago
    for job in health.FAILING_LIMITS:
        JobHeartbeat.objects.update_or_create(job=job, defaults={"ran_at": now, "succeeded_at": now})


def test_the_process_answers_without_a_database(client):
    answer = client.get("/health/")
    assert (answer.status_code, answer.content) == (200, b"ok\n")


def test_it_is_ready_while_the_scheduler_runs(client, db):
    jobs_ran()
    answer = client.get("/health/ready/")

    assert answer.status_code == 200
    assert answer.content.decode().startswith("ok: database: answers")
    assert "\nok: scheduler: last ran " in answer.content.decode()


def test_it_is_not_ready_without_a_scheduler(client, db, caplog):
    jobs_ran(timedelta(minutes=12, seconds=1))
    answer = client.get("/health/ready/")

    assert answer.status_code == 503
    assert "NOT OK: scheduler: last ran 12 minutes ago (limit 10 minutes)\n" in answer.content.decode()
    # A monitor asks twice a minute: that is no error each time.
    assert caplog.records == []


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("host", ["10.1.2.3", "elsewhere.example", "[::1]:8000", "two words", ""])
def test_any_host_is_answered(client, db, metrics, path, host):
    jobs_ran()
    answer = client.get(path, headers={"Host": host, "Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ROUTES)
def test_only_get_and_head_are_answered(client, db, metrics, caplog, path):
    jobs_ran()
    authorized = {"Authorization": f"Bearer {TOKEN}"}
    assert client.head(path, headers=authorized).status_code == 200
    for method in ("POST", "PUT", "OPTIONS", "DELETE"):
        answer = client.generic(method, path, headers=authorized)
        assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD")
    assert caplog.records == []


@pytest.mark.parametrize("path", ROUTES)
def test_nothing_is_redirected_or_set(client, db, settings, metrics, path):
    settings.SECURE_SSL_REDIRECT = True
    answer = client.get(path, headers={"Authorization": f"Bearer {TOKEN}"})

    assert answer.status_code != 301
    assert not answer.cookies
    assert answer["Cache-Control"] == "no-store"


def test_many_who_ask_at_once_ask_the_database_once(client, db, monkeypatch, django_assert_num_queries):
    assert probes.REMEMBERED > 0
    monkeypatch.setattr(probes, "REMEMBERED", 60.0)
    jobs_ran()
    client.get("/health/ready/")
    with django_assert_num_queries(0):
        assert [client.get("/health/ready/").status_code for _ in range(5)] == [200] * 5

    monkeypatch.setattr(probes, "REMEMBERED", 0.0)
    JobHeartbeat.objects.all().delete()
    assert client.get("/health/ready/").status_code == 503


def test_while_one_finds_out_others_get_the_last_answer(rf, db, monkeypatch):
    monkeypatch.setattr(probes, "REMEMBERED", 0.0)
    jobs_ran()
    ready = probes._Ready()
    assert ready(rf.get("/")).status_code == 200
    JobHeartbeat.objects.all().delete()
    with ready._lock:
        assert ready(rf.get("/")).status_code == 200
    assert ready(rf.get("/")).status_code == 503


# --- Metrics ----------------------------------------------------------------------------------------


def test_without_a_token_of_ours_there_are_no_metrics(client, db):
    assert client.get("/metrics/").status_code == 404
    assert client.get("/metrics/", headers={"Authorization": "Bearer "}).status_code == 404


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", TOKEN, f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", "Bearer é"]
)
def test_metrics_are_for_those_who_have_the_token(client, db, metrics, authorization):
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = client.get("/metrics/", headers=headers)

    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")
    assert b"perma_payments" not in answer.content


def test_metrics_say_what_is_measured(client, db, metrics):
    jobs_ran()
    answer = client.get("/metrics/", headers={"Authorization": f"Bearer {TOKEN}"})

    assert answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    said = answer.content.decode()
    assert "\nperma_payments_database_up 1.0\n" in said
    assert '\nperma_payments_open_tasks{kind="cancellation"} 0.0\n' in said
    assert '\nperma_payments_job_last_run_seconds{name="apply_responses"} ' in said
