"""Corrections by hand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User

from perma_payments.billing.statuses import Status
from perma_payments.billing.transactions import Kind
from perma_payments.models import Purchase, Response, StaffTask, SubscriptionAgreement
from perma_payments.models.history import HistorySource
from perma_payments.services import corrections
from perma_payments.services.callbacks.receive import receive_callback
from perma_payments.services.corrections import CannotCorrect, match_response, snapshot_after, snapshot_of
from perma_payments.services.perma_queries import standing_subscription, unacknowledged_purchases

from .. import cyber_source, records
from ..records import REGISTRAR

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.fixture
def staff() -> User:
    return User.objects.create_user("staff")


def correct_agreement(pk: int, **kwargs: Any) -> SubscriptionAgreement:
    """Correct a subscription that was looked at just now."""
    kwargs.setdefault("seen", SubscriptionAgreement.objects.get(pk=pk).updated_at)
    return corrections.correct_agreement(pk, **kwargs)


def correct_purchase(pk: int, **kwargs: Any) -> Purchase:
    """Correct a purchase that was looked at just now."""
    kwargs.setdefault("seen", Purchase.objects.get(pk=pk).updated_at)
    return corrections.correct_purchase(pk, **kwargs)


def test_the_history_says_who_corrected_it_and_why(staff):
    agreement = records.standing_agreement()
    correct_agreement(
        agreement.pk, status=Status.HOLD, covered_until=LATER, by=staff, reason="The bank called.", now=NOW
    )

    agreement.refresh_from_db()
    assert (agreement.status, agreement.covered_until) == ("Hold", LATER)
    assert agreement.events.order_by("pgh_id").last().pgh_context == {
        "source": HistorySource.STAFF,
        "user": staff.pk,
        "reason": "The bank called.",
    }


def test_a_pending_subscription_takes_its_checkouts_terms(staff):
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    correct_agreement(
        outgoing.agreement.pk, status=Status.CURRENT, covered_until=LATER, by=staff, reason="Paid.", now=NOW
    )

    told = standing_subscription(REGISTRAR, now=NOW)
    assert (told.rate, told.link_limit, told.frequency) == (Decimal("45.00"), "100", "monthly")


def test_a_preview_shows_the_effect_and_leaves_no_trace(staff):
    agreement = records.outgoing(Kind.SUBSCRIBE).agreement
    correction = partial(
        correct_agreement, agreement.pk, status=Status.CURRENT, covered_until=LATER, by=staff, reason="x", now=NOW
    )
    outlook = snapshot_after(correction, REGISTRAR, now=NOW)
    assert snapshot_of(REGISTRAR, now=NOW).subscription is None
    assert agreement.events.count() == 1

    correction()
    assert snapshot_of(REGISTRAR, now=NOW) == outlook
    assert outlook.subscription.rate == Decimal("45.00")


@pytest.mark.parametrize(
    ("status", "covered_until"), [(Status.COMPLETED, LATER), (Status.CANCELED, NOW - timedelta(seconds=1))]
)
def test_a_preview_omits_subscriptions_that_would_not_stand(staff, status, covered_until):
    agreement = records.standing_agreement()
    correction = partial(
        correct_agreement, agreement.pk, status=status, covered_until=covered_until, by=staff, reason="x", now=NOW
    )

    assert snapshot_after(correction, REGISTRAR, now=NOW).subscription is None


def test_a_preview_has_the_customers_other_subscription(staff):
    agreement, other = records.standing_agreement(), records.standing_agreement()
    correction = partial(
        correct_agreement,
        agreement.pk,
        status=Status.COMPLETED,
        covered_until=LATER,
        by=staff,
        reason="x",
        now=NOW,
    )

    assert snapshot_after(correction, REGISTRAR, now=NOW).subscription.reference_number == other.reference_number


def test_a_row_that_has_changed_since_is_not_corrected(staff):
    agreement, purchase = records.standing_agreement(), records.paid_purchase()
    seen = NOW - timedelta(days=365)

    with pytest.raises(CannotCorrect, match="has changed since"):
        correct_agreement(
            agreement.pk, status=Status.HOLD, covered_until=LATER, seen=seen, by=staff, reason="x", now=NOW
        )
    with pytest.raises(CannotCorrect, match="has changed since"):
        correct_purchase(purchase.pk, credited=True, seen=seen, by=staff, reason="x", now=NOW)
    assert (agreement.events.count(), purchase.events.count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_a_correction_is_logged_but_a_preview_is_not(staff, caplog):
    agreement = records.standing_agreement()
    correction = partial(
        correct_agreement, agreement.pk, status=Status.HOLD, covered_until=LATER, by=staff, reason="x", now=NOW
    )
    snapshot_after(correction, REGISTRAR, now=NOW)
    assert "corrected" not in caplog.text

    correction()
    assert f"{agreement.reference_number} corrected by user {staff.pk}" in caplog.text


def test_a_subscription_without_terms_cannot_stand(staff):
    agreement = records.agreement()

    with pytest.raises(CannotCorrect, match="has no terms"):
        correct_agreement(agreement.pk, status=Status.CURRENT, covered_until=LATER, by=staff, reason="x", now=NOW)
    assert agreement.events.count() == 1


def test_a_current_subscription_needs_a_date(staff):
    outgoing = records.outgoing(Kind.SUBSCRIBE)

    with pytest.raises(CannotCorrect, match="needs a date"):
        correct_agreement(
            outgoing.agreement.pk, status=Status.CURRENT, covered_until=None, by=staff, reason="x", now=NOW
        )


def test_a_second_subscription_opens_a_task(staff):
    records.standing_agreement()
    second = records.outgoing(Kind.SUBSCRIBE).agreement
    correct_agreement(second.pk, status=Status.CURRENT, covered_until=LATER, by=staff, reason="x", now=NOW)

    tasks = StaffTask.objects.order_by("kind")
    assert [(task.kind, task.agreement) for task in tasks] == [
        ("second subscription", second),
        ("token missing", second),
    ]


def test_a_correction_of_the_date_alone_opens_no_task(staff):
    records.standing_agreement()
    second = records.standing_agreement(payment_token="")
    correct_agreement(second.pk, status=Status.CURRENT, covered_until=LATER, by=staff, reason="x", now=NOW)

    assert not StaffTask.objects.exists()


def test_a_correction_that_changes_nothing_is_refused(staff):
    agreement = records.standing_agreement()

    with pytest.raises(CannotCorrect, match="nothing to correct"):
        correct_agreement(
            agreement.pk,
            status=Status.CURRENT,
            covered_until=agreement.covered_until,
            by=staff,
            reason="x",
            now=NOW,
        )


def test_a_purchase_is_marked_as_credited_and_offered_again(staff):
    purchase = records.paid_purchase()
    correct_purchase(purchase.pk, credited=True, by=staff, reason="Credited by hand.", now=NOW)
    assert unacknowledged_purchases(REGISTRAR) == []
    with pytest.raises(CannotCorrect):
        correct_purchase(purchase.pk, credited=True, by=staff, reason="x", now=NOW)

    correct_purchase(purchase.pk, credited=False, by=staff, reason="It was not.", now=NOW)
    assert [each.id for each in unacknowledged_purchases(REGISTRAR)] == [purchase.pk]
    assert purchase.events.count() == 3


@pytest.mark.parametrize("credited", [True, False])
def test_an_unpaid_purchase_cannot_be_credited_or_offered(staff, credited):
    with pytest.raises(CannotCorrect, match="is not Paid"):
        correct_purchase(records.purchase().pk, credited=credited, by=staff, reason="x", now=NOW)


def unmatched(**changes: object) -> tuple[Response, object]:
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    fields = cyber_source.response(records.form(outgoing), req_transaction_uuid="lost", **changes)
    return receive_callback(b"body", list(fields.items()), now=NOW), outgoing


def test_a_matched_response_is_applied_as_if_it_came_so(staff):
    response, outgoing = unmatched()
    later = NOW + timedelta(days=3)
    match_response(
        response.pk, transaction_uuid=outgoing.transaction_uuid, by=staff, reason="Found it.", now=later
    )

    told = standing_subscription(REGISTRAR, now=later)
    assert (told.status, told.paid_through.day) == ("Current", outgoing.recurring_start_date.day)
    response.refresh_from_db()
    assert (response.outgoing, response.outcome, response.applied_at) == (outgoing, "took effect", later)
    (task,) = StaffTask.objects.all()
    assert (task.kind, task.done_by, task.note) == ("unmatched", staff, "Found it.")


def test_a_matched_response_with_another_amount_opens_a_task(staff):
    response, outgoing = unmatched(req_amount="99.00")
    match_response(response.pk, transaction_uuid=outgoing.transaction_uuid, by=staff, reason="x", now=NOW)

    assert standing_subscription(REGISTRAR, now=NOW) is None
    assert StaffTask.objects.filter(kind="not what was signed", done_at=None).count() == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"req_reference_number": "PERMA-0000-0000"}, "but the response is about PERMA-0000-0000"),
        ({"req_transaction_type": "update_payment_token"}, "the response's type is update_payment_token"),
    ],
)
def test_a_response_about_something_else_is_not_matched(staff, changes, sentence):
    response, outgoing = unmatched(**changes)
    with pytest.raises(CannotCorrect, match=sentence):
        match_response(response.pk, transaction_uuid=outgoing.transaction_uuid, by=staff, reason="x", now=NOW)

    response.refresh_from_db()
    assert (response.outgoing, response.outcome) == (None, "unmatched")


def test_a_response_is_matched_only_once(staff):
    response, outgoing = unmatched()
    with pytest.raises(CannotCorrect, match="None of our transactions"):
        match_response(response.pk, transaction_uuid=uuid4(), by=staff, reason="x", now=NOW)

    match_response(response.pk, transaction_uuid=outgoing.transaction_uuid, by=staff, reason="x", now=NOW)
    with pytest.raises(CannotCorrect, match="already has its transaction"):
        match_response(response.pk, transaction_uuid=outgoing.transaction_uuid, by=staff, reason="x", now=NOW)


def test_a_correction_to_canceled_ends_the_cancellation_task(staff):
    agreement = records.standing_agreement(cancellation_requested_at=NOW)
    task = StaffTask.objects.create(kind="cancellation", agreement=agreement)
    correct_agreement(
        agreement.pk, status=Status.CANCELED, covered_until=LATER, by=staff, reason="Cancelled there.", now=NOW
    )

    agreement.refresh_from_db()
    task.refresh_from_db()
    assert (agreement.cancellation_requested_at, task.resolution) == (None, "done")


def test_correcting_back_and_forth_keeps_the_terms(staff):
    outgoing = records.outgoing(Kind.SUBSCRIBE, records.standing_agreement(current_link_limit="500"))
    for status in (Status.PENDING, Status.CURRENT):
        correct_agreement(outgoing.agreement.pk, status=status, covered_until=LATER, by=staff, reason="x", now=NOW)

    assert standing_subscription(REGISTRAR, now=NOW).link_limit == "500"
