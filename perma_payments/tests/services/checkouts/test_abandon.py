"""Checkouts without a response for a day become Abandoned, and are revived by a late ACCEPT."""

from datetime import UTC, datetime, timedelta

import pytest

from perma_payments.billing.transactions import Kind
from perma_payments.models import Response, StaffTask
from perma_payments.models.history import HistorySource
from perma_payments.services.callbacks.receive import receive_callback
from perma_payments.services.checkouts.abandon import ABANDONED_AFTER, abandon_checkouts
from perma_payments.services.perma_queries import standing_subscription

from ... import cyber_source, records
from ...records import REGISTRAR

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
BOTH = pytest.mark.parametrize("kind", [Kind.SUBSCRIBE, Kind.PURCHASE])


def checkout(kind: Kind, begun: datetime = NOW):
    subject = (records.purchase if kind == Kind.PURCHASE else records.agreement)(created_at=begun)
    return records.outgoing(kind, subject, created_at=begun)


def respond(outgoing, decision: str = "ACCEPT", **changes) -> Response:
    fields = cyber_source.response(records.form(outgoing), decision, **changes)
    return receive_callback(b"body", list(fields.items()), now=NOW + timedelta(days=30))


def status_of(outgoing) -> str:
    outgoing.subject.refresh_from_db()
    return outgoing.subject.status


@BOTH
@pytest.mark.parametrize(
    ("after", "status"), [(ABANDONED_AFTER, "Pending"), (ABANDONED_AFTER + timedelta(seconds=1), "Abandoned")]
)
def test_a_checkout_without_a_response_is_abandoned_after_a_day(kind, after, status):
    outgoing = checkout(kind)

    assert abandon_checkouts(now=NOW + after) == (status == "Abandoned")
    assert status_of(outgoing) == status


@BOTH
def test_the_history_says_that_the_scheduler_did_it(kind):
    outgoing = checkout(kind)
    abandon_checkouts(now=NOW + timedelta(days=2))

    assert outgoing.subject.events.last().pgh_context == {"source": HistorySource.SCHEDULER}


@BOTH
def test_what_has_a_response_or_an_open_task_is_left_alone(kind):
    answered, unmatched, looked_at = checkout(kind), checkout(kind), checkout(kind)
    respond(answered, "ERROR", reason_code="150")
    respond(unmatched, req_transaction_uuid="?")
    column = "purchase" if kind == Kind.PURCHASE else "agreement"
    StaffTask.objects.create(kind="indeterminate", **{column: looked_at.subject})

    assert abandon_checkouts(now=NOW + timedelta(days=2)) == 0
    assert {status_of(outgoing) for outgoing in (answered, unmatched, looked_at)} == {"Pending"}


@BOTH
@pytest.mark.parametrize(
    ("decision", "statuses"),
    [
        ("ACCEPT", {"Current", "Paid"}),
        ("REVIEW", {"Current", "Paid"}),
        ("DECLINE", {"Rejected", "Refused"}),
        ("CANCEL", {"Aborted"}),
    ],
)
def test_a_late_response_takes_effect_all_the_same(kind, decision, statuses):
    outgoing = checkout(kind)
    abandon_checkouts(now=NOW + timedelta(days=2))
    respond(outgoing, decision)

    assert status_of(outgoing) in statuses


def test_perma_is_told_nothing_of_it():
    checkout(Kind.SUBSCRIBE)
    abandon_checkouts(now=NOW + timedelta(days=2))

    assert standing_subscription(REGISTRAR, now=NOW) is None


@pytest.mark.parametrize("status", ["Current", "Rejected", "Aborted", "Canceled"])
def test_what_is_no_longer_pending_is_left_alone(status):
    agreement = records.standing_agreement(status=status, created_at=NOW)
    records.outgoing(Kind.SUBSCRIBE, agreement)

    assert abandon_checkouts(now=NOW + timedelta(days=9)) == 0
