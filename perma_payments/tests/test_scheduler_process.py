"""The scheduler as a process of its own, beside a web server, and mail servers that take and that hang."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import requests
from django.db import connection
from django.utils import timezone

from devtools.processes import Leashed, eventually as wait_until, leashed
from perma_payments.billing.transactions import Kind
from perma_payments.models import JobHeartbeat, Response, StaffTask
from perma_payments.services.callbacks.receive import receive_callback

from . import cyber_source, perma_cc, records
from .mail_server import hanging_mail_server
from .services.test_ping import monitor  # noqa: F401 (a fixture)
from .test_database import pooled  # noqa: F401 (a fixture)
from .test_faults import Service, serve, service, url_of_test_database  # noqa: F401 (fixtures)


def eventually(condition: Callable[[], object]) -> None:
    """Wait for a condition, much longer than it should take: a busy machine starts processes slowly."""
    assert wait_until(condition, 60)


@contextmanager
def scheduler(settings: Any, database_url: str = "", **env: str) -> Iterator[Leashed]:
    """A running scheduler that mails to the server of the settings."""
    with leashed(
        "The scheduler",
        "manage.py",
        "run_scheduler",
        env={
            "DATABASE_URL": database_url or url_of_test_database(),
            "DAILY_REPORT_TIME": "00:00",
            "EMAIL_HOST": settings.EMAIL_HOST,
            "EMAIL_PORT": str(settings.EMAIL_PORT),
            **env,
        },
    ) as process:
        eventually(lambda: "The scheduler is running." in process.printed())
        yield process


@contextmanager
def without_notifications() -> Iterator[None]:
    """The scheduler is not woken."""

    def alter(verb: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT tgname FROM pg_trigger WHERE tgrelid = 'perma_payments_stafftask'::regclass"
                " AND tgname LIKE 'pgtrigger_wake_scheduler%'"
            )
            (name,) = cursor.fetchone()
            cursor.execute(f"ALTER TABLE perma_payments_stafftask {verb} TRIGGER {name}")

    alter("DISABLE")
    try:
        yield
    finally:
        alter("ENABLE")


def test_cancellations_are_mailed_with_notifications_and_without(service: Service, mailbox, settings, monitor):
    def mailed() -> list[str]:
        """The subjects of the mails about tasks: a report comes with each day that begins."""
        return [subject for subject in mailbox.subjects if subject.startswith("Cancel")]

    with scheduler(settings, SCHEDULER_PING_URL=monitor.url) as process:
        eventually(lambda: mailbox.subjects[:1] == ["Nothing pending"])
        first, second = (records.standing_agreement(records.Customer(records.REGISTRAR.type, pk)) for pk in (1, 2))
        service.post("cancel-request", perma_cc.form("cancel-request", customer_pk=1))
        eventually(lambda: len(mailed()) == 1)
        assert mailed()[-1].endswith(first.reference_number)

        with without_notifications():
            service.post("cancel-request", perma_cc.form("cancel-request", customer_pk=2))
            eventually(lambda: len(mailed()) == 2)
        assert mailed()[-1].endswith(second.reference_number)
        eventually(lambda: not StaffTask.objects.filter(notified_at=None).exists())

        # Monitoring hears of it.
        eventually(lambda: monitor.heard)
        assert set(monitor.heard) == {"GET /a-secret-id"}
        eventually(lambda: JobHeartbeat.objects.filter(succeeded_at__isnull=False).count() == 3)
        assert requests.get(f"{service.url}/health/ready/", timeout=60).status_code == 200

        process.process.send_signal(signal.SIGTERM)
        assert process.wait() == 0


def test_a_hanging_mail_server_delays_nothing_else(transactional_db, settings):
    fields = cyber_source.response(records.form(records.outgoing(Kind.SUBSCRIBE)), "REVIEW")
    response = receive_callback(b"body", list(fields.items()), now=timezone.now())
    Response.objects.update(applied_at=None, outcome="")

    with hanging_mail_server(settings) as server, scheduler(settings) as process:
        server.settimeout(60)
        conversation, _ = server.accept()
        with conversation:
            eventually(lambda: Response.objects.filter(pk=response.pk, applied_at__isnull=False).exists())
            assert not StaffTask.objects.filter(notified_at__isnull=False).exists()
            began = monotonic()
            process.process.send_signal(signal.SIGTERM)
            assert process.wait() == 0
            assert monotonic() - began < 15


def test_behind_a_pooler_tasks_are_mailed_and_nobody_listens(mailbox, settings, pooled):
    with scheduler(settings, pooled) as process:
        eventually(lambda: "notifications do not pass through the pooler" in process.printed())
        StaffTask.objects.create(kind="cancellation", agreement=records.standing_agreement())
        eventually(lambda: StaffTask.objects.filter(notified_at__isnull=False).exists())
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%LISTEN%perma_payments%'"
            " AND pid <> pg_backend_pid()"
        )
        assert cursor.fetchone() == (0,)
    # The daily report may come before or after it.
    assert "Cancel a subscription in CyberSource" in [subject.split(":")[0] for subject in mailbox.subjects]
