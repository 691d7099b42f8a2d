"""What callers see when something breaks: real processes, over HTTP."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import quote

import pytest
import requests
from bs4 import BeautifulSoup
from django.db import connection, transaction

from devtools.processes import (
    GUNICORN,
    Leashed,
    eventually as wait_until,
    free_port,
    leashed,
    run_quietly,
    wait_until_it_answers,
)
from perma_payments.billing.transactions import Kind
from perma_payments.models import Response, StaffTask, SubscriptionAgreement
from perma_payments.services.locks import lock_customer

from . import cyber_source, perma_cc, records

HOST = "127.0.0.1"
# How long CyberSource waits for an answer, in seconds (cybersource.md §5.2).
CYBERSOURCES_PATIENCE = 10

# A checkout that is in no database: enough to make a signed response.
FORM = {
    "access_key": cyber_source.ACCESS_KEY,
    "profile_id": cyber_source.PROFILE_ID,
    "transaction_type": "sale",
    "transaction_uuid": "6f9619ff-8b86-4d11-b42d-00cf4fc964ff",
    "reference_number": "PERMA-0000-0001",
    "amount": "15.00",
    "currency": "USD",
}


@dataclass
class Service:
    """The service, running in Gunicorn."""

    process: Leashed
    url: str

    def post(self, route: str, fields: dict[str, str]) -> requests.Response:
        """POST a form, waiting as long as CyberSource would."""
        with requests.Session() as session:
            session.trust_env = False  # No proxy.
            return session.post(
                f"{self.url}/{route}/", data=fields, timeout=CYBERSOURCES_PATIENCE, allow_redirects=False
            )

    def log(self) -> str:
        """Everything that it has printed."""
        return self.process.printed()

    def kill_worker(self) -> None:
        """Kill the worker process without warning."""
        os.kill(int(re.findall(r"Booting worker with pid: (\d+)", self.log())[-1]), signal.SIGKILL)


Serve = Callable[..., Service]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start the service on the database of a URL; ``prefix`` is what its paths begin with."""
    with ExitStack() as running:

        def serve(database_url: str, prefix: str = "") -> Service:
            port = free_port(HOST)
            process = running.enter_context(
                leashed(
                    "Perma Payments", *GUNICORN, "--bind", f"{HOST}:{port}", env={"DATABASE_URL": database_url}
                )
            )
            wait_until_it_answers(process, f"{HOST}:{port}", f"{prefix}/subscribe/")
            return Service(process, f"http://{HOST}:{port}")

        yield serve


def url_of_test_database() -> str:
    """The DATABASE_URL of the test database."""
    config = connection.settings_dict
    user = ":".join(quote(config[name], safe="") for name in ("USER", "PASSWORD") if config[name])
    host = quote(config["HOST"], safe="") + (f":{config['PORT']}" if config["PORT"] else "")
    return f"postgres://{user}{'@' if user else ''}{host}/{quote(config['NAME'], safe='')}"


@pytest.fixture
def service(transactional_db: None, serve: Serve) -> Service:
    """The service on the test database."""
    return serve(url_of_test_database())


def eventually(condition: Callable[[], object]) -> None:
    """Wait until the condition is true."""
    assert wait_until(condition, CYBERSOURCES_PATIENCE)


def assert_log_is_discreet(log: str, *posted: dict[str, str]) -> None:
    """Check that the log contains no stack traces and nothing that was posted."""
    assert "Traceback" not in log
    assert 'File "' not in log
    names = {*cyber_source.PERSONAL, "encrypted_data", "signature", "request_token", "payment_token"}
    values = [value for fields in posted for name, value in fields.items() if name in names and len(value) > 4]
    assert values
    assert [value for value in values if value in log] == []


# --- No database ------------------------------------------------------------------------------------


def test_without_a_database_everyone_is_asked_to_try_again(serve):
    nobody = f"postgres://perma_payments:password@{HOST}:{free_port(HOST)}/perma_payments"
    service = serve(nobody)
    status, subscribe = perma_cc.form("subscription"), perma_cc.form("subscribe")
    callback = cyber_source.response(FORM)
    answers = {
        "subscription": service.post("subscription", status),
        "subscribe": service.post("subscribe", subscribe),
        "cybersource-callback": service.post("cybersource-callback", callback),
    }

    for route, answer in answers.items():
        assert answer.status_code == 503, route
        assert int(answer.headers["Retry-After"]) > 0
        assert f"/{route}/: the database cannot serve this: the connection was refused" in service.log()
        eventually(lambda route=route: f"POST /{route}/ was answered with 503" in service.log())
    page = BeautifulSoup(answers["subscribe"].content, "html.parser")
    assert page.find("h1").get_text() == "Something went wrong on our side"
    assert page.find("main").find("a")["href"].endswith("/settings/usage-plan/")
    assert_log_is_discreet(service.log(), status, subscribe, callback)
    assert "password" not in service.log()
    # Refusing needs no database, and it is still the same process.
    assert service.post("cybersource-callback", {}).status_code == 400
    assert service.log().count("Booting worker") == 1
    assert not service.process.has_ended()


def test_without_a_database_monitoring_hears_why(serve):
    nobody = f"postgres://perma_payments:password@{HOST}:{free_port(HOST)}/perma_payments"
    service = serve(nobody)
    for _ in range(3):
        answer = requests.get(f"{service.url}/health/ready/", timeout=CYBERSOURCES_PATIENCE)
        assert answer.status_code == 503
        assert answer.text == "NOT OK: database: the connection was refused: nobody listens there\n"
    # A load balancer keeps the web server: it still says why it cannot serve.
    assert requests.get(f"{service.url}/health/", timeout=CYBERSOURCES_PATIENCE).status_code == 200

    assert_log_is_discreet(service.log(), perma_cc.form("subscription"))
    assert not [line for line in service.log().splitlines() if " ERROR " in line and "starting, but" not in line]


def test_connections_that_the_database_has_closed_are_replaced(service):
    for _ in range(3):
        assert service.post("subscription", perma_cc.form("subscription")).status_code == 200
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert cursor.fetchone()[0] >= 1
    form = records.form(records.outgoing(Kind.SUBSCRIBE))

    # One for each thread, each of which has its own connection.
    for _ in range(8):
        assert service.post("subscription", perma_cc.form("subscription")).status_code == 200
    assert service.post("cybersource-callback", cyber_source.response(form)).status_code == 200
    assert SubscriptionAgreement.objects.get().status == "Current"
    assert "with 503" not in service.log()


# --- A response that cannot be applied --------------------------------------------------------------


def apply_responses() -> None:
    """Run the command that retries responses."""
    run_quietly("manage.py", "apply_responses", env={"DATABASE_URL": url_of_test_database()}, failure="It failed.")


def assert_paid_and_done() -> None:
    """Check that the one response made the subscription Current, and that nobody has anything to do."""
    response = Response.objects.get()
    assert (response.decision, response.outcome) == ("ACCEPT", "took effect")
    agreement = SubscriptionAgreement.objects.get()
    assert agreement.status == "Current"
    assert agreement.payment_token
    assert not StaffTask.objects.filter(done_at__isnull=True).exists()


def test_a_response_that_finds_something_locked_is_applied_later(service):
    form = records.form(records.outgoing(Kind.SUBSCRIBE))
    # Not the transaction's id, as many tokens are, because ids may be in the log.
    callback = cyber_source.response(form, payment_token="7408214003316000009999")
    with transaction.atomic():
        lock_customer(records.REGISTRAR)
        answer = service.post("cybersource-callback", callback)

    assert (answer.status_code, answer.text) == (200, "received\n")
    response = Response.objects.get()
    assert response.applied_at is None
    assert not StaffTask.objects.exists()
    assert SubscriptionAgreement.objects.get().status == "Pending"
    waits = (
        f"INFO perma_payments.services.callbacks.apply: response {response.pk} waits: a lock could not be acquired"
    )
    assert waits in service.log()
    assert_log_is_discreet(service.log(), callback)

    apply_responses()
    assert_paid_and_done()


@pytest.mark.parametrize("way", ["the command", "another delivery"])
def test_a_worker_that_dies_before_applying_loses_nothing(service, way):
    form = records.form(records.outgoing(Kind.SUBSCRIBE))
    callback = cyber_source.response(form)
    with ThreadPoolExecutor(1) as cybersource, transaction.atomic():
        lock_customer(records.REGISTRAR)
        delivery = cybersource.submit(service.post, "cybersource-callback", callback)
        eventually(Response.objects.exists)
        service.kill_worker()
        with pytest.raises(requests.ConnectionError):
            delivery.result()
    assert Response.objects.get().applied_at is None
    assert SubscriptionAgreement.objects.get().status == "Pending"

    eventually(lambda: service.log().count("Booting worker") == 2)
    if way == "the command":
        apply_responses()
    else:
        assert service.post("cybersource-callback", callback).status_code == 200
    assert_paid_and_done()


def test_a_customer_whose_checkout_is_locked_gets_a_503(service):
    form = perma_cc.form("subscribe")
    with transaction.atomic():
        lock_customer(records.REGISTRAR)
        answer = service.post("subscribe", form)
        # Nobody else waits for that.
        assert service.post("subscribe", perma_cc.form("subscribe", customer_pk=8)).status_code == 200
        assert service.post("subscription", perma_cc.form("subscription")).status_code == 200

    assert answer.status_code == 503
    assert "Something went wrong on our side" in answer.text
    assert_log_is_discreet(service.log(), form)
    assert service.post("subscribe", form).status_code == 200
    assert SubscriptionAgreement.objects.count() == 2
