"""Staff record a payment whose response never came."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from perma_payments.billing.transactions import Kind
from perma_payments.models import OutgoingTransaction, Response, StaffTask, SubscriptionAgreement
from perma_payments.services.callbacks.receive import receive_callback
from perma_payments.services.checkouts.abandon import abandon_checkouts
from perma_payments.services.corrections import CannotCorrect
from perma_payments.services.perma_queries import standing_subscription, unacknowledged_purchases
from perma_payments.services.portal import payments_of
from perma_payments.services.recovery import candidates_for, record_payment, without_payment

from .. import cyber_source, records
from ..records import REGISTRAR

pytestmark = pytest.mark.django_db

BEGUN = datetime(2026, 11, 21, 15, tzinfo=UTC)
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
ID = "7408214003316000001234"


@pytest.fixture
def staff() -> User:
    return User.objects.create_user("anne")


@pytest.fixture
def outgoing() -> OutgoingTransaction:
    """A purchase of ten links for 15.00."""
    return records.outgoing(Kind.PURCHASE, created_at=BEGUN)


def record(outgoing: OutgoingTransaction, **changes: Any) -> Response:
    return record_payment(
        outgoing.pk,
        **{
            "transaction_id": ID,
            "amount": outgoing.amount,
            "paid_on": BEGUN.date(),
            "reference_number": "",
            "by": User.objects.get_or_create(username="anne")[0],
            "reason": "The Business Center shows it.",
            "now": NOW,
            **changes,
        },
    )


def respond(outgoing: OutgoingTransaction, decision: str = "ACCEPT", **changes: Any) -> Response:
    fields = cyber_source.response(records.form(outgoing), decision, **{"transaction_id": ID, **changes})
    return receive_callback(b"body", list(fields.items()), now=NOW)


def open_tasks() -> list[str]:
    return list(StaffTask.objects.filter(done_at=None).values_list("kind", flat=True))


# --- What it does -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["Pending", "Abandoned", "Refused", "Aborted"])
def test_a_recorded_purchase_is_paid_and_offered_to_perma(status):
    outgoing = records.outgoing(Kind.PURCHASE, records.purchase(status=status), created_at=BEGUN)
    record(outgoing)

    outgoing.purchase.refresh_from_db()
    assert (outgoing.purchase.status, outgoing.purchase.paid_at) == ("Paid", BEGUN)
    assert [purchase.id for purchase in unacknowledged_purchases(REGISTRAR)] == [outgoing.purchase.pk]
    assert [payment.transaction_id for payment in payments_of(REGISTRAR)] == [ID]


def test_a_recorded_change_takes_its_terms():
    outgoing = records.outgoing(Kind.CHANGE, created_at=BEGUN)
    record(outgoing)

    told = standing_subscription(REGISTRAR, now=NOW)
    assert (told.link_limit, told.rate) == ("500", Decimal("90.00"))


def test_a_recorded_subscription_stands_and_lacks_its_token():
    outgoing = records.outgoing(Kind.SUBSCRIBE, created_at=BEGUN)
    record(outgoing)

    assert standing_subscription(REGISTRAR, now=NOW).status == "Current"
    assert open_tasks() == ["token missing"]


def test_the_record_and_the_history_say_who_and_why(outgoing, staff):
    response = record(outgoing)

    assert (response.recorded_by, bytes(response.sealed), response.message) == (staff, b"", "Recorded by staff.")
    context = outgoing.purchase.events.last().pgh_context
    assert (context["user"], context["reason"]) == (staff.pk, "The Business Center shows it.")
    assert context["response"] == response.pk


@pytest.mark.parametrize(
    ("paid_on", "paid_at"),
    [
        (date(2026, 11, 20), BEGUN),  # the Business Center's day may be another
        (date(2026, 11, 21), BEGUN),
        (date(2026, 11, 22), datetime(2026, 11, 22, tzinfo=UTC)),
        (date(2026, 11, 28), datetime(2026, 11, 28, tzinfo=UTC)),
        (date(2026, 11, 29), NOW),
    ],
)
def test_the_day_is_kept_between_the_checkout_and_now(outgoing, paid_on, paid_at):
    record(outgoing, paid_on=paid_on)

    outgoing.purchase.refresh_from_db()
    assert outgoing.purchase.paid_at == paid_at


# --- CyberSource's response comes after all ---------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.PURCHASE, Kind.CHANGE, Kind.SUBSCRIBE])
def test_its_own_response_is_kept_and_changes_nothing_more(kind):
    outgoing = records.outgoing(kind, created_at=BEGUN)
    record(outgoing)
    StaffTask.objects.all().update(done_at=NOW, resolution="done")
    before = standing_subscription(REGISTRAR, now=NOW), unacknowledged_purchases(REGISTRAR)
    response = respond(outgoing)

    response.refresh_from_db()
    assert response.recorded_by is None and response.sealed
    assert response.applied_at is not None
    assert (standing_subscription(REGISTRAR, now=NOW), unacknowledged_purchases(REGISTRAR)) == before
    assert open_tasks() == []
    assert len(payments_of(REGISTRAR)) == 1


def test_a_late_response_brings_the_token():
    outgoing = records.outgoing(Kind.SUBSCRIBE, created_at=BEGUN)
    record(outgoing)
    respond(outgoing, payment_token=records.TOKEN)

    outgoing.agreement.refresh_from_db()
    assert outgoing.agreement.payment_token == records.TOKEN
    assert open_tasks() == []


def test_another_charge_of_the_same_checkout_opens_a_task(outgoing):
    record(outgoing)
    respond(outgoing, transaction_id="7408214003316000009999")

    assert open_tasks() == ["duplicate charge"]
    assert len(unacknowledged_purchases(REGISTRAR)) == 1


def test_a_late_decline_takes_nothing_away(outgoing):
    record(outgoing)
    respond(outgoing, "DECLINE", transaction_id="7408214003316000009999")

    outgoing.purchase.refresh_from_db()
    assert outgoing.purchase.status == "Paid"


# --- What is refused --------------------------------------------------------------------------------


def assert_refused(outgoing: OutgoingTransaction, why: str, **changes: Any) -> None:
    before = list(Response.objects.values("id", "outcome"))
    with pytest.raises(CannotCorrect, match=why), transaction.atomic():
        record(outgoing, **changes)
    assert list(Response.objects.values("id", "outcome")) == before


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"amount": Decimal("15.01")}, r"asked to pay \$15\.00, not \$15\.01"),
        ({"amount": Decimal("0.00")}, r"asked to pay \$15\.00, not \$0\.00"),
        ({"paid_on": date(2026, 11, 19)}, "went to CyberSource on 2026-11-21"),
        ({"paid_on": date(2026, 11, 30)}, "was not paid on 2026-11-30"),
        ({"reference_number": "PERMA-0000-0000"}, "is not about"),
    ],
)
def test_what_was_not_signed_is_refused(outgoing, changes, why):
    assert_refused(outgoing, why, **changes)


def test_what_is_on_record_is_refused(outgoing):
    record(outgoing)

    assert_refused(outgoing, "on record already", transaction_id="7408214003316000009999")


def test_a_transaction_of_something_else_is_refused(outgoing):
    other = records.outgoing(Kind.PURCHASE, created_at=BEGUN)
    respond(other)

    assert_refused(outgoing, f"on record already, for {other.reference_number}")


@pytest.mark.parametrize(
    ("decision", "changes"),
    [("ERROR", {"reason_code": "150"}), ("ERROR", {"reason_code": "104"}), ("ACCEPT", {"auth_amount": "1,5.00"})],
)
def test_what_cybersource_left_open_can_be_recorded_with_its_transaction_id(outgoing, decision, changes):
    respond(outgoing, decision, transaction_id="7408214003316000001234", **changes)
    record(outgoing, transaction_id="7408214003316000001234")

    outgoing.purchase.refresh_from_db()
    assert outgoing.purchase.status == "Paid"


@pytest.mark.parametrize(
    ("decision", "changes"),
    [("ACCEPT", {"auth_amount": "5.00"}), ("DECLINE", {"reason_code": "203"}), ("ACCEPT", {"req_amount": "5.00"})],
)
def test_what_cybersource_answered_cannot_be_recorded_otherwise(outgoing, decision, changes):
    respond(outgoing, decision, transaction_id="7408214003316000001234", **changes)
    with pytest.raises(CannotCorrect, match="on record already"):
        record(outgoing, transaction_id="7408214003316000001234")


def test_a_response_that_waits_to_be_applied_is_waited_for(outgoing):
    response = respond(outgoing)
    Response.objects.filter(pk=response.pk).update(applied_at=None, outcome="")

    assert_refused(outgoing, "about to be applied", transaction_id="7408214003316000009999")


def test_a_card_update_has_no_payment():
    outgoing = records.outgoing(Kind.UPDATE, created_at=BEGUN)

    assert_refused(outgoing, "Nothing is paid", amount=Decimal("0.00"))


@pytest.mark.parametrize("columns", [{"sealed": b"x"}, {"archive_key_id": "k"}])
def test_what_is_recorded_is_not_sealed_by_constraint(outgoing, columns):
    response = record(outgoing)
    with pytest.raises(IntegrityError):
        Response.objects.create(
            fingerprint=b"y", transaction_uuid="x", decision="ACCEPT", recorded_by=response.recorded_by, **columns
        )


# --- What is not known to be paid -------------------------------------------------------------------


def test_what_could_have_been_paid_is_not_known_to_be_paid(outgoing):
    paid, declined = records.outgoing(Kind.PURCHASE), records.outgoing(Kind.PURCHASE)
    records.outgoing(Kind.UPDATE)
    respond(paid)
    respond(declined, "DECLINE", transaction_id="7408214003316000009999")
    abandon_checkouts(now=BEGUN + timedelta(days=2))

    assert set(without_payment()) == {outgoing, declined}


# --- Unmatched responses ----------------------------------------------------------------------------


def test_an_unmatched_response_has_the_checkouts_that_it_could_belong_to():
    agreement = records.standing_agreement()
    same = records.outgoing(Kind.CHANGE, agreement)
    records.outgoing(Kind.CHANGE, agreement, amount=Decimal("21.00"))
    records.outgoing(Kind.UPDATE, agreement)
    records.outgoing(Kind.CHANGE, records.standing_agreement(records.INDIVIDUAL))
    fields = cyber_source.response(records.form(same), req_transaction_uuid="?")
    response = receive_callback(b"body", list(fields.items()), now=NOW)

    assert list(candidates_for(response)) == [same]
    assert SubscriptionAgreement.objects.count() == 2


def test_an_unmatched_response_can_belong_to_a_purchase():
    same, _ = records.outgoing(Kind.PURCHASE), records.outgoing(Kind.PURCHASE)
    fields = cyber_source.response(records.form(same), req_transaction_uuid="?")
    response = receive_callback(b"body", list(fields.items()), now=NOW)

    assert list(candidates_for(response)) == [same]
