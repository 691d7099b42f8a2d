"""Databases that are in use are brought up to date, and lose nothing."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from perma_payments.billing.transactions import Kind
from perma_payments.models import StatusUpload, SubscriptionAgreement
from perma_payments.services.upload_statuses import undo

from .. import ledger

NOW = datetime(2026, 12, 2, 12, tzinfo=UTC)


def migrate(name: str = "") -> Any:
    """Bring the database to a migration, forwards or backwards, or to the last one; return the models of then."""
    executor = MigrationExecutor(connection)
    targets = [("perma_payments", name)] if name else executor.loader.graph.leaf_nodes("perma_payments")
    return executor.migrate(targets).apps


@pytest.mark.django_db(transaction=True)
def test_a_report_that_was_confirmed_before_reported_statuses_had_a_table_can_still_be_undone(django_user_model):
    staff = django_user_model.objects.create_user("staff")
    agreement = ledger.standing_agreement(status="Hold")
    change = {
        "agreement": agreement.pk,
        "reference_number": agreement.reference_number,
        "takes_token": False,
        "before": {"status": "Current"},
        "after": {"status": "Hold"},
    }
    try:
        Upload = migrate("0001_ledger").get_model("perma_payments", "StatusUpload")
        pk = Upload.objects.create(
            digest="0" * 64,
            row_count=1,
            matched_count=1,
            state="confirmed",
            changes=[change],
            uploaded_by_id=staff.pk,
            uploaded_at=NOW,
            confirmed_by_id=staff.pk,
            confirmed_at=NOW,
            unknown_references=["ORDER-1", "Erin Example", "erin@example.com"],
            duplicates=[[agreement.reference_number, [6, 7], ["Hold"], "Hold"], ["Erin Example", [8, 9], [], ""]],
        ).pk
    finally:
        migrate()
    with connection.cursor() as cursor:
        cursor.execute("SET pghistory.context_metadata = %s", [f'{{"source": "status report", "upload": {pk}}}'])
        SubscriptionAgreement.objects.update(updated_at=NOW)
        cursor.execute("RESET pghistory.context_metadata")

    upload = StatusUpload.objects.get(pk=pk)
    assert (upload.change_count, upload.duplicate_count, len(upload.duplicates)) == (1, 2, 1)
    assert upload.unknown_references == ["ORDER-1"]
    undo(pk, by=staff, now=NOW)
    agreement.refresh_from_db()
    assert agreement.status == "Current"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "paid_through, covered_until, proof",
    [
        # Counted from the 1st of the month, although the checkout paid until the 13th of the next.
        (datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC), datetime(2026, 12, 13, tzinfo=UTC), "report"),
        (datetime(2027, 1, 31, 23, 59, 59, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC), "report"),
        (None, datetime(2026, 12, 13, tzinfo=UTC), "checkout"),
    ],
)
def test_what_was_paid_through_becomes_what_is_covered(paid_through, covered_until, proof):
    agreement = ledger.standing_agreement(status="Hold")
    ledger.outgoing(Kind.SUBSCRIBE, agreement, recurring_start_date=date(2026, 12, 13))
    try:
        Agreement = migrate("0002_reported_statuses").get_model("perma_payments", "SubscriptionAgreement")
        Agreement.objects.update(paid_through=paid_through)
    finally:
        migrate()

    agreement.refresh_from_db()
    assert agreement.schedule_start == date(2026, 12, 13)
    assert (agreement.covered_until, agreement.coverage_proof) == (covered_until, proof)
