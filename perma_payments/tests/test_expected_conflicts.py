"""What is inserted twice at once leaves nothing in PostgreSQL's log, which shows what fails, with its values."""

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, Event

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from perma_payments.billing.transactions import Kind
from perma_payments.cybersource.callback import verify
from perma_payments.models import CheckoutFreeze, JobRun, Response, StaffTask, TaskKind
from perma_payments.postgres import base
from perma_payments.postgres.write import columns_of, insert_unless_there, update_changed
from perma_payments.services import freeze, once_a_day
from perma_payments.services.callbacks import receive
from perma_payments.services.locks import lock_callback

from . import cyber_source, postgres_log, records
from .test_faults import Service, serve, service  # noqa: F401 (fixtures)

pytestmark = pytest.mark.django_db(transaction=True)

AT_ONCE = 8


def at_once(do: Callable[[], object]) -> None:
    """Do it in several threads at the same moment, each with a connection of its own."""
    ready = Barrier(AT_ONCE)

    def in_a_thread() -> None:
        try:
            connection.ensure_connection()
            ready.wait(30)
            do()
        finally:
            connection.close()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for future in [pool.submit(in_a_thread) for _ in range(AT_ONCE)]:
            future.result()


def test_deliveries_at_once_leave_nothing_of_a_response_in_postgresqls_log(service: Service):
    log = postgres_log.reading_from_now()
    for _ in range(5):
        outgoing = records.outgoing(Kind.SUBSCRIBE, records.agreement())
        token = cyber_source.transaction_id()
        callback = cyber_source.response(records.form(outgoing), payment_token=token)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(service.post, ["cybersource-callback"] * AT_ONCE, [callback] * AT_ONCE))
        assert {answer.status_code for answer in answers} == {200}
        assert Response.objects.get(outgoing=outgoing).outcome == "took effect"
        said = log()
        assert token not in said
        assert str(outgoing.transaction_uuid) not in said


def test_a_delivery_that_waits_in_vain_leaves_no_token_in_postgresqls_log(monkeypatch, settings):
    log = postgres_log.reading_from_now()
    monkeypatch.setattr(base, "LOCK_SECONDS", 0.2)
    token = cyber_source.transaction_id()
    form = records.form(records.outgoing(Kind.SUBSCRIBE))
    pairs = list(cyber_source.response(form, payment_token=token).items())
    callback = verify(pairs, keys=settings.CS_KEYS, profile_id=settings.CS_PROFILE_ID)
    is_held, is_over = Event(), Event()

    def another_delivery() -> None:
        with transaction.atomic():
            lock_callback(receive.fingerprint_of(callback))
            is_held.set()
            is_over.wait(30)
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(another_delivery)
        is_held.wait(30)
        with pytest.raises(OperationalError):
            receive.receive_callback(b"body", pairs, now=timezone.now())
        is_over.set()
        other.result()

    assert "canceling statement due to lock timeout" in log()
    assert token not in log()


@pytest.fixture
def mark() -> str:
    """What is looked for in the log."""
    return f"mark-{secrets.token_hex(8)}"


def freeze_checkouts(mark: str) -> None:
    with suppress(freeze.AlreadyFrozen):
        freeze.begin_freeze(by=User.objects.get(), reason=mark, now=timezone.now())


def do_a_job(mark: str) -> None:
    with suppress(once_a_day.NotYet):
        once_a_day.do_once_a_day(mark, lambda: None, now=timezone.now())


@pytest.mark.parametrize(("do", "model"), [(freeze_checkouts, CheckoutFreeze), (do_a_job, JobRun)])
def test_what_is_begun_at_once_is_begun_once_and_not_logged(mark, do, model):
    User.objects.create_user("someone")
    log = postgres_log.reading_from_now()
    at_once(lambda: do(mark))

    assert model.objects.count() == 1
    assert mark not in log()


def test_a_row_is_inserted_once_and_knows_its_id():
    response = Response(fingerprint=secrets.token_bytes(32), sealed=b"x", archive_key_id="k")
    assert insert_unless_there(response)
    first = StaffTask(kind=TaskKind.UNMATCHED, response=response)
    assert insert_unless_there(first)

    assert not insert_unless_there(StaffTask(kind=TaskKind.UNMATCHED, response=response))
    assert StaffTask.objects.get() == first
    first.note = "It can be saved."
    first.save()
    assert StaffTask.objects.get().note == first.note


def test_only_the_columns_that_have_changed_are_updated():
    row = records.standing_agreement()
    before = columns_of(row)
    # Another process changes it, too.
    type(row).objects.filter(pk=row.pk).update(status="Hold")
    row.payment_token = "0A1B"
    update_changed(row, before)

    now = type(row).objects.get()
    assert (now.status, now.payment_token) == ("Hold", "0A1B")
    assert now.updated_at > before["updated_at"]
