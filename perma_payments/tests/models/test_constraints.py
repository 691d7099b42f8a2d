"""What PostgreSQL itself refuses, no matter who asks."""

from decimal import Decimal
from typing import Any

import pgtrigger
import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from perma_payments.billing.transactions import Kind
from perma_payments.models import (
    CheckoutFreeze,
    OutgoingTransaction,
    Purchase,
    Response,
    StaffTask,
    SubscriptionAgreement,
    UsedMessage,
)

from .. import records

pytestmark = pytest.mark.django_db


def task(**changes: Any) -> StaffTask:
    return StaffTask.objects.create(**{"kind": "cancellation", **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"customer_type": "Robot"},
        {"customer_pk": 0},
        {"status": "Active"},
        {"reference_number": "PERMA-123-45678"},
        {"payment_token": "with space"},
        {"payment_token": "12-34"},
        {"current_frequency": "hourly"},
        {"current_rate": Decimal("-0.01")},
        {"status": "Current", "current_rate": None},
        {"status": "Current", "current_frequency": None},
        {"status": "Hold", "current_link_limit": None},
        {"status": "Canceled", "current_link_limit_effective_timestamp": None},
    ],
)
def test_an_agreement_that_makes_no_sense_is_refused(changes):
    with pytest.raises(IntegrityError):
        records.standing_agreement(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"customer_type": "Robot"},
        {"customer_pk": -1},
        {"status": "Current"},
        {"reference_number": "perma-1234-5678"},
        {"amount": Decimal("0.00")},
        {"link_quantity": 0},
        {"status": "Paid"},
        {"paid_at": timezone.now()},
        {"acknowledged_at": timezone.now()},
    ],
)
def test_a_purchase_that_makes_no_sense_is_refused(changes):
    with pytest.raises(IntegrityError):
        records.purchase(**changes)


TERMS = (
    "amount",
    "recurring_amount",
    "recurring_frequency",
    "recurring_start_date",
    "link_limit",
    "link_limit_effective_timestamp",
)


@pytest.mark.parametrize("kind, column", [(kind, column) for kind in Kind for column in TERMS])
def test_a_checkout_has_the_terms_of_its_kind_and_no_others(kind, column):
    whole = records.outgoing(Kind.SUBSCRIBE)
    valid = records.outgoing(kind)
    changed = None if getattr(valid, column) is not None else getattr(whole, column)

    with pytest.raises(IntegrityError):
        records.outgoing(kind, **{column: changed})


@pytest.mark.parametrize(
    "kind, changes",
    [
        (Kind.SUBSCRIBE, {"purchase": records.purchase}),
        (Kind.SUBSCRIBE, {"agreement": lambda: None}),
        (Kind.SUBSCRIBE, {"agreement": lambda: None, "purchase": records.purchase}),
        (Kind.PURCHASE, {"agreement": records.agreement}),
    ],
)
def test_a_checkout_is_about_either_an_agreement_or_a_purchase(kind, changes):
    with pytest.raises(IntegrityError):
        records.outgoing(kind, **{name: make() for name, make in changes.items()})


@pytest.mark.parametrize(
    "changes",
    [{"amount": Decimal("-1.00")}, {"recurring_amount": Decimal("-1.00")}, {"recurring_frequency": "hourly"}],
)
def test_a_checkout_that_makes_no_sense_is_refused(changes):
    with pytest.raises(IntegrityError):
        records.outgoing(Kind.SUBSCRIBE, **changes)


@pytest.mark.parametrize(
    "again",
    [
        lambda first: records.outgoing(Kind.SUBSCRIBE, transaction_uuid=first.transaction_uuid),
        lambda first: records.outgoing(Kind.SUBSCRIBE, message_nonce=first.message_nonce),
        lambda first: records.outgoing(Kind.SUBSCRIBE, first.agreement),
        lambda first: records.agreement(reference_number=first.agreement.reference_number),
        lambda first: records.response(fingerprint=records.response().fingerprint),
    ],
)
def test_a_unique_value_cannot_be_used_twice(again):
    first = records.outgoing(Kind.SUBSCRIBE)

    with pytest.raises(IntegrityError):
        again(first)


def test_a_purchase_has_one_checkout():
    first = records.outgoing(Kind.PURCHASE)

    with pytest.raises(IntegrityError):
        records.outgoing(Kind.PURCHASE, first.purchase)


@pytest.mark.parametrize(
    "changes",
    [
        {"payment_token": "with space"},
        {"applied_at": timezone.now()},
        {"outcome": "took effect"},
        {"applied_at": timezone.now(), "outcome": "whatever"},
    ],
)
def test_a_response_that_makes_no_sense_is_refused(changes):
    with pytest.raises(IntegrityError):
        records.response(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "dance"},
        {"agreement": None},
        {"done_at": timezone.now()},
        {"resolution": "done"},
        {"done_at": timezone.now(), "resolution": "whatever"},
    ],
)
def test_a_task_that_makes_no_sense_is_refused(changes):
    with pytest.raises(IntegrityError):
        task(**{"agreement": records.agreement(), **changes})


def test_a_subscription_has_one_open_cancellation():
    agreement = records.agreement()
    done = {"done_at": timezone.now(), "resolution": "done"}
    task(agreement=agreement, **done)
    task(agreement=agreement, **done)
    task(agreement=agreement)

    with pytest.raises(IntegrityError):
        task(agreement=agreement)


def test_a_response_gives_each_kind_of_task_once():
    about = records.response()
    task(kind="duplicate charge", response=about)
    task(kind="unmatched", response=about)

    with pytest.raises(IntegrityError):
        task(kind="duplicate charge", response=about)


def ended() -> dict[str, Any]:
    """What the end of a freeze adds."""
    by = User.objects.get_or_create(username="ender")[0]
    return {"ended_at": timezone.now(), "ended_by": by, "end_reason": "Over."}


@pytest.mark.parametrize(
    "changes", [{"reason": ""}, {"ended_at": None}, {"ended_by": None}, {"end_reason": ""}, {"began_by": None}]
)
def test_a_freeze_that_makes_no_sense_is_refused(changes):
    with pytest.raises(IntegrityError):
        records.freeze(**{**ended(), **changes})


def test_one_freeze_is_in_force_at_a_time():
    for _ in range(2):
        records.freeze(**ended())
    records.freeze()

    with pytest.raises(IntegrityError):
        records.freeze()


@pytest.mark.parametrize(
    "model",
    [SubscriptionAgreement, Purchase, OutgoingTransaction, Response, StaffTask, CheckoutFreeze, UsedMessage],
)
def test_no_record_can_be_deleted(model):
    records.freeze()
    UsedMessage.objects.create(nonce=b"nonce")
    records.outgoing(Kind.PURCHASE)
    task(agreement=records.outgoing(Kind.SUBSCRIBE).agreement)
    records.response()

    with pytest.raises(DatabaseError, match="Cannot delete"), connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {model._meta.db_table}")


def test_what_was_signed_is_final():
    records.outgoing(Kind.SUBSCRIBE)

    with pytest.raises(DatabaseError, match="Cannot update"):
        OutgoingTransaction.objects.update(amount=Decimal("0.01"))


@pytest.mark.parametrize(
    "changes",
    [
        {"decision": "DECLINE"},
        {"sealed": b"other"},
        {"archive_key_id": "other"},
        {"amount": "1.00"},
        {"received_at": timezone.now()},
    ],
)
def test_evidence_is_final(changes):
    records.response()

    with pytest.raises(DatabaseError, match="Cannot update"):
        Response.objects.update(**changes)


def test_nothing_but_what_is_sealed_can_change_while_it_is_resealed():
    records.response()

    with pgtrigger.ignore("perma_payments.Response:sealed_stays"):
        with pytest.raises(DatabaseError, match="Cannot update"), transaction.atomic():
            Response.objects.update(decision="DECLINE")


@pytest.mark.parametrize("changes", [{"sealed": b"other"}, {"archive_key_id": "other"}])
def test_resealing_is_in_the_history_which_is_final(changes):
    about = records.response()
    with pgtrigger.ignore("perma_payments.Response:sealed_stays"):
        Response.objects.update(**changes)

    assert about.events.get().archive_key_id == "development"
    for change in (about.events.all().delete, lambda: about.events.update(archive_key_id="other")):
        with pytest.raises(DatabaseError, match="Cannot"), transaction.atomic():
            change()


def test_how_evidence_was_applied_is_not_part_of_it():
    about = records.response()

    assert Response.objects.update(applied_at=timezone.now(), outcome="no effect", payment_token="") == 1
    assert not about.events.exists()
    assert bytes(Response.objects.get().fingerprint) == about.fingerprint


@pytest.mark.parametrize("table", ["subscriptionagreement", "purchase", "stafftask", "checkoutfreeze"])
def test_sql_changes_are_in_the_history_which_is_final(table):
    agreement = records.agreement()
    about = {
        "subscriptionagreement": agreement,
        "purchase": records.purchase(),
        "stafftask": task(agreement=agreement),
        "checkoutfreeze": records.freeze(),
    }[table]
    change = {"stafftask": "note = 'x'", "checkoutfreeze": "reason = 'x'"}.get(table, "status = 'Aborted'")
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE perma_payments_{table} SET {change}")

    assert about.events.count() == 2
    history = f"perma_payments_{table}event"
    for statement in (f"DELETE FROM {history}", f"UPDATE {history} SET {change}"):
        with pytest.raises(DatabaseError, match="Cannot"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


def test_reference_numbers_are_drawn_again_when_they_are_taken(monkeypatch):
    drawn = iter([12345678, 12345678, 87654321])
    monkeypatch.setattr("perma_payments.models.reference_number.secrets.randbelow", lambda most: next(drawn))

    assert [records.agreement().reference_number, records.purchase().reference_number] == [
        "PERMA-1234-5678",
        "PERMA-8765-4321",
    ]
