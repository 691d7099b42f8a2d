"""CyberSource's callbacks: the evidence first, then its effect, once."""

import base64
import logging
import os
import signal
from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError, close_old_connections, connection
from django.test.utils import CaptureQueriesContext

from perma_payments.billing.transactions import Kind
from perma_payments.cybersource.callback import CallbackRefused
from perma_payments.models import Outcome, Response, StaffTask
from perma_payments.sealed_archive import open_sealed
from perma_payments.services.callbacks import apply as module, receive as receiving
from perma_payments.services.callbacks.receive import receive_callback
from perma_payments.services.callbacks.retry import retry_responses

from ... import cyber_source, records

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ARCHIVE_SECRET = base64.b64decode("txmKQuPWYukMWn/wdZaMah47r4A86ojNThvBSmc2I2Q=")


def receive(fields: dict[str, str], body: bytes = b"body", *, now: datetime = NOW) -> Response:
    return receive_callback(body, list(fields.items()), now=now)


def make_application_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(response_id: int, *, now: datetime) -> None:
        raise DatabaseError("Failing row contains (Erin)")

    monkeypatch.setattr(module, "apply_response", fail)


def test_what_came_is_kept_with_ids_only_and_sealed_in_full():
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    fields = cyber_source.response(records.form(outgoing))
    body = b"the body, byte for byte, Erin included"
    response = receive(fields, body)

    response.refresh_from_db()
    assert response.outgoing == outgoing
    assert response.transaction_uuid == str(outgoing.transaction_uuid)
    assert response.transaction_id == fields["transaction_id"]
    assert (response.decision, response.reason_code) == ("ACCEPT", "100")
    assert response.message == "Request was processed successfully."
    assert (response.amount, response.currency, response.auth_amount) == ("12.50", "USD", "12.50")
    assert response.received_at == NOW
    assert response.archive_key_id == "development"
    assert open_sealed(bytes(response.sealed), ARCHIVE_SECRET) == body


def test_a_callback_that_is_not_ours_leaves_nothing():
    outgoing = records.outgoing(Kind.SUBSCRIBE)

    with pytest.raises(CallbackRefused):
        receive(cyber_source.response(records.form(outgoing), secret="wrong"))
    assert not Response.objects.exists()


def test_our_own_form_sent_back_is_not_ours():
    form = records.form(records.outgoing(Kind.SUBSCRIBE))
    answered = {**form, **{f"req_{name}": value for name, value in form.items()}}

    with pytest.raises(CallbackRefused):
        receive({**answered, "decision": "ACCEPT", "reason_code": "100", "message": "", "transaction_id": "1"})
    assert not Response.objects.exists()


def test_the_same_callback_is_kept_and_applied_once():
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    fields = cyber_source.response(records.form(outgoing))
    first = receive(fields)
    # The browser's copy has a signature of its own and lacks a field of the server's.
    again = cyber_source.response(
        records.form(outgoing),
        transaction_id=fields["transaction_id"],
        signed_date_time="2026-11-21T12:00:09Z",
        req_card_type=...,
    )
    changed_at = records.SubscriptionAgreement.objects.get().updated_at

    assert receive(again).pk == first.pk
    assert Response.objects.count() == 1
    assert records.SubscriptionAgreement.objects.get().updated_at == changed_at


def test_each_attempt_within_a_checkout_is_a_response():
    form = records.form(records.outgoing(Kind.SUBSCRIBE))
    for decision in ("DECLINE", "DECLINE", "ACCEPT", "CANCEL"):
        receive(cyber_source.response(form, decision))

    assert Response.objects.count() == 4


@pytest.mark.parametrize("uuid", ["0b8e6d3a-5c4e-4f0d-9a51-6f1f0c3e7d21", "no uuid", "", "\x00", "x" * 10_000])
def test_an_unmatched_callback_is_kept_and_opens_a_task(uuid):
    form = records.form(records.outgoing(Kind.SUBSCRIBE))
    response = receive(cyber_source.response(form, req_transaction_uuid=uuid))

    response.refresh_from_db()
    assert (response.outgoing, response.outcome) == (None, Outcome.UNMATCHED)
    (task,) = StaffTask.objects.all()
    assert (task.kind, task.response) == ("unmatched", response)
    assert task.events.get().pgh_context == {"source": "CyberSource response", "response": response.pk}
    assert records.SubscriptionAgreement.objects.get().status == "Pending"


def test_two_long_uuids_that_begin_alike_are_two_responses():
    form = records.form(records.outgoing(Kind.SUBSCRIBE))
    for end in "ab":
        receive(cyber_source.response(form, req_transaction_uuid="x" * 300 + end, transaction_id="1"))

    assert Response.objects.count() == 2


def test_a_response_that_cannot_be_applied_opens_a_task(monkeypatch, caplog):
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    make_application_fail(monkeypatch)
    response = receive(cyber_source.response(records.form(outgoing)))

    response.refresh_from_db()
    assert (response.applied_at, response.failed_at, response.failure) == (None, NOW, "DatabaseError")
    (task,) = StaffTask.objects.all()
    assert (task.kind, task.response, task.agreement) == ("not applied", response, outgoing.agreement)
    assert task.events.get().pgh_context == {"source": "CyberSource response", "response": response.pk}
    assert f"response {response.pk} could not be applied: DatabaseError" in caplog.text
    assert "Erin" not in caplog.text


def test_a_retry_applies_it_and_ends_the_task(monkeypatch):
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    with monkeypatch.context() as broken:
        make_application_fail(broken)
        receive(cyber_source.response(records.form(outgoing)))
        assert retry_responses(now=NOW) == (0, 1)
    assert retry_responses(now=NOW + timedelta(hours=1)) == (1, 0)

    outgoing.agreement.refresh_from_db()
    assert outgoing.agreement.status == "Current"
    (task,) = StaffTask.objects.all()
    assert (task.resolution, task.done_at) == ("withdrawn", NOW + timedelta(hours=1))
    assert retry_responses(now=NOW) == (0, 0)


def test_responses_are_retried_oldest_first(monkeypatch, django_capture_on_commit_callbacks, caplog):
    caplog.set_level(logging.INFO)
    received = [NOW, NOW - timedelta(hours=1), NOW]
    with monkeypatch.context() as broken:
        make_application_fail(broken)
        kept = [
            receive(cyber_source.response(records.form(records.outgoing(Kind.PURCHASE))), now=now)
            for now in received
        ]
    caplog.clear()
    with django_capture_on_commit_callbacks(execute=True):
        assert retry_responses(now=NOW) == (3, 0)
    expected = [f"response {kept[position].pk} applied: took effect" for position in (1, 0, 2)]
    assert [text.partition(": ACCEPT 100 for")[0] for text in caplog.messages if "applied" in text] == expected


def test_a_failure_is_recorded_on_its_own_response_only(monkeypatch):
    make_application_fail(monkeypatch)
    first, second = (
        receive(cyber_source.response(records.form(records.outgoing(Kind.SUBSCRIBE)))) for _ in range(2)
    )
    Response.objects.filter(pk=first.pk).update(failed_at=None)
    receive(cyber_source.response(records.form(records.outgoing(Kind.SUBSCRIBE))))

    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.failed_at, second.failed_at) == (None, NOW)


def test_a_repeated_callback_applies_what_could_not_be_applied(monkeypatch):
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    fields = cyber_source.response(records.form(outgoing))
    with monkeypatch.context() as broken:
        make_application_fail(broken)
        receive(fields)
    receive(fields)

    outgoing.agreement.refresh_from_db()
    assert (outgoing.agreement.status, Response.objects.count()) == ("Current", 1)


def test_an_application_that_breaks_half_way_changes_nothing(monkeypatch):
    outgoing = records.outgoing(Kind.SUBSCRIBE, records.agreement())
    records.standing_agreement()  # so that a task is opened, after the agreement was saved
    monkeypatch.setattr(
        "perma_payments.services.callbacks.apply.staff_tasks.open_for_response", lambda *a, **k: 1 / 0
    )
    response = receive(cyber_source.response(records.form(outgoing)))

    outgoing.agreement.refresh_from_db()
    response.refresh_from_db()
    assert (outgoing.agreement.status, outgoing.agreement.payment_token) == ("Pending", "")
    assert (response.applied_at, response.outcome) == (None, "")
    assert response.payment_token


def test_only_ids_are_logged(caplog, django_capture_on_commit_callbacks):
    caplog.set_level(logging.DEBUG)
    fields = cyber_source.response(
        records.form(records.outgoing(Kind.SUBSCRIBE)), "DECLINE", reason_code="Erin Exámple", message="Dear Erin,"
    )
    with django_capture_on_commit_callbacks(execute=True):
        receive(fields)

    assert fields["transaction_id"] in caplog.text
    assert cyber_source.personal_data_in([caplog.text]) == []
    for name in ("Erin", "Exámple", "example"):
        assert name not in caplog.text


def test_no_personal_value_is_stored_in_clear():
    message = "Declined: Erin Exámple, Jr. of 1 main street, card xxxxxxxxxxxx1111, mail to erin@customer.example"
    receive(cyber_source.response(records.form(records.outgoing(Kind.SUBSCRIBE)), message=message))

    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(r) FROM perma_payments_response r")
        (row,) = cursor.fetchone()
    assert cyber_source.personal_data_in(str(value) for name, value in row.items() if name != "sealed") == []


@pytest.mark.parametrize(
    ("column", "field"),
    [
        ("transaction_id", "transaction_id"),
        ("decision", "decision"),
        ("reason_code", "reason_code"),
        ("reference_number", "req_reference_number"),
        ("auth_amount", "auth_amount"),
    ],
)
def test_a_value_that_is_longer_than_its_column_is_withheld(column, field):
    form = records.form(records.outgoing(Kind.SUBSCRIBE))
    longest = "1" * Response._meta.get_field(column).max_length
    kept = [receive(cyber_source.response(form, **{field: text})) for text in (longest, longest + "1")]
    assert [getattr(response, column) for response in kept] == [longest, "(withheld)"]


@pytest.mark.parametrize("text", ["Dear Erin,", "x" * 256, "a\x00b"])
def test_a_message_that_cybersource_is_not_known_to_send_is_withheld(text):
    response = receive(cyber_source.response(records.form(records.outgoing(Kind.SUBSCRIBE)), message=text))
    response.refresh_from_db()
    assert response.message == "(withheld)"


def test_the_time_of_signing_is_kept_or_else_that_of_receiving():
    form = records.form(records.outgoing(Kind.SUBSCRIBE))
    signed = receive(cyber_source.response(form, signed_date_time="2026-11-21T11:50:00Z"))
    unclear = receive(cyber_source.response(form, signed_date_time="yesterday", transaction_id="1"))
    assert (signed.signed_at, unclear.signed_at) == (NOW - timedelta(minutes=10), NOW)


@pytest.mark.parametrize(
    ("token", "kept", "is_unusable"), [("a1", "a1", False), ("a 1", "", True), (..., "", False)]
)
def test_only_a_usable_token_is_kept(token, kept, is_unusable):
    fields = cyber_source.response(records.form(records.outgoing(Kind.UPDATE)), "DECLINE", payment_token=token)
    response = receive(fields)
    assert (response.payment_token, response.token_is_unusable) == (kept, is_unusable)


def test_a_response_that_cannot_be_kept_leaves_its_ids_in_the_log(monkeypatch, caplog):
    fields = cyber_source.response(records.form(records.outgoing(Kind.SUBSCRIBE)))

    def fail(*args: object, **kwargs: object) -> None:
        raise DatabaseError("Failing row contains (Erin)")

    monkeypatch.setattr(receiving, "insert_unless_there", fail)
    with pytest.raises(DatabaseError):
        receive(fields)

    (record,) = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert fields["transaction_id"] in record.getMessage()
    assert fields["req_transaction_uuid"] in record.getMessage()
    assert "Erin" not in caplog.text


@pytest.mark.django_db(transaction=True)
def test_a_callback_is_kept_although_the_connection_has_died_without_a_word(monkeypatch, caplog):
    """As when a firewall has forgotten it. It was in use a moment ago, so it is not asked whether it works."""
    monkeypatch.setattr(receiving, "FIRST_ATTEMPT", 0.3)
    fields = cyber_source.response(records.form(records.outgoing(Kind.SUBSCRIBE)))
    close_old_connections()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    close_old_connections()
    os.kill(pid, signal.SIGSTOP)
    try:
        response = receive(fields)
    finally:
        os.kill(pid, signal.SIGCONT)

    assert "could not be kept at the first attempt: it did not answer in time" in caplog.text
    assert Response.objects.get() == response
    response.refresh_from_db()
    assert response.outcome == Outcome.TOOK_EFFECT


def test_errors_without_an_id_differ_by_their_reasons():
    form = records.form(records.outgoing(Kind.SUBSCRIBE))
    for reason in ("102", "150", "150"):
        receive(cyber_source.response(form, "ERROR", reason_code=reason, transaction_id=...))

    assert Response.objects.count() == 2
    assert StaffTask.objects.filter(kind="indeterminate").count() == 1


def test_an_ambiguous_callback_does_not_replace_a_genuine_one():
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    same = {"transaction_id": "7408214003316000001234"}
    receive(cyber_source.response(records.form(outgoing), req_bill_to_surname="x,decision=y", **same))
    receive(cyber_source.response(records.form(outgoing), **same))

    outgoing.agreement.refresh_from_db()
    assert outgoing.agreement.status == "Current"


@pytest.mark.parametrize(
    "field",
    [
        "req_reference_number",
        "req_transaction_uuid",
        "transaction_id",
        "reason_code",
        "req_amount",
        "req_currency",
    ],
)
def test_a_malformed_id_is_kept_only_in_the_sealed_post(field):
    form = records.form(records.outgoing(Kind.SUBSCRIBE))
    response = receive(cyber_source.response(form, **{field: "John.Doe@mail.example"}))

    row = Response.objects.filter(pk=response.pk).values().get()
    # Some of them are random bytes.
    assert "John.Doe" not in str({name: value for name, value in row.items() if name != "sealed"})


# --- What it costs ----------------------------------------------------------------------------------

# Statements besides BEGIN and COMMIT. The goal is nine at most.
STATEMENTS = {
    (Kind.SUBSCRIBE, "ACCEPT"): 9,
    (Kind.SUBSCRIBE, "DECLINE"): 7,
    (Kind.CHANGE, "ACCEPT"): 9,
    (Kind.CHANGE, "DECLINE"): 6,
    (Kind.UPDATE, "ACCEPT"): 9,
    (Kind.UPDATE, "DECLINE"): 6,
    (Kind.PURCHASE, "ACCEPT"): 9,
    (Kind.PURCHASE, "DECLINE"): 7,
}


@pytest.mark.django_db(transaction=True)
def test_a_callback_takes_few_statements_in_two_transactions():
    taken = {}
    for kind, decision in STATEMENTS:
        token = {"payment_token": "0A1B"} if decision == "ACCEPT" and kind != Kind.PURCHASE else {}
        fields = cyber_source.response(records.form(records.outgoing(kind)), decision, **token)
        with CaptureQueriesContext(connection) as first:
            assert receive(fields).applied_at is None
        with CaptureQueriesContext(connection) as second:
            assert receive(fields).applied_at == NOW
        said = [query["sql"] for query in first]
        assert (said.count("BEGIN"), said.count("COMMIT")) == (2, 2)
        assert sum("pghistory.context_metadata" in statement for statement in said) == 1
        taken[kind, decision] = len(said) - 4
        assert len(second) - 2 == 4

    assert taken == STATEMENTS
    agreement = records.SubscriptionAgreement.objects.earliest("pk")
    (response,) = Response.objects.filter(outgoing__agreement=agreement)
    told = {"source": "CyberSource response", "response": response.pk}
    assert agreement.events.latest("pgh_id").pgh_context == told
    # It was told for that transaction only.
    agreement.save()
    assert agreement.events.latest("pgh_id").pgh_context is None
