"""The export holds what Perma.cc is told and CyberSource charges, and only its owner can read it."""

import json
import stat
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg2
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from perma_payments.billing.customers import Customer, CustomerType
from perma_payments.models import StaffTask, SubscriptionAgreement
from perma_payments.services import perma_queries, restore
from perma_payments.services.moving import export
from perma_payments.tests import records
from perma_payments.tests.test_commands import run

# The snapshot is a transaction of its own.
pytestmark = pytest.mark.django_db(transaction=True)

EFFECTIVE = datetime(2026, 11, 1, 12, tzinfo=UTC)


def individual(pk: int) -> Customer:
    return Customer(CustomerType.INDIVIDUAL, pk)


def exported(tmp_path: Any) -> dict[str, Any]:
    run("export_agreements", "--output", str(tmp_path / "agreements.json"))
    contents = json.loads((tmp_path / "agreements.json").read_text())
    assert isinstance(contents, dict)
    return contents


def test_an_agreement_has_all_that_a_successor_needs(tmp_path):
    start = timezone.now().date() + timedelta(days=9)
    agreement = records.standing_agreement(
        current_link_limit_effective_timestamp=EFFECTIVE,
        scheduled_rate=Decimal("10.00"),
        scheduled_link_limit="10",
        scheduled_from=datetime(2999, 1, 1, tzinfo=UTC),
        cancellation_requested_at=EFFECTIVE,
        created_at=EFFECTIVE,
    )

    contents = exported(tmp_path)

    assert (contents["format"], contents["version"]) == ("perma-payments agreements", 1)
    assert datetime.fromisoformat(contents["exported_at"]) <= timezone.now()
    assert contents["agreements"] == [
        {
            "id": agreement.pk,
            "customer": {"type": "Registrar", "pk": 7},
            "reference_number": agreement.reference_number,
            "status": "Current",
            "created_at": "2026-11-01T12:00:00.000000Z",
            "terms": {"rate": "45.00", "link_limit": "100", "effective": "2026-11-01T12:00:00.000000Z"},
            "scheduled_terms": {"rate": "10.00", "link_limit": "10", "effective": "2999-01-01T00:00:00.000000Z"},
            "schedule": {"start": str(start), "frequency": "monthly", "next_due": str(start)},
            "covered_until": f"{start}T00:00:00.000000Z",
            "coverage_proof": "checkout",
            "cancellation_requested_at": "2026-11-01T12:00:00.000000Z",
            "payment_token": records.TOKEN,
        }
    ]


def test_what_was_never_paid_has_no_terms(tmp_path):
    records.agreement()
    records.standing_agreement(records.INDIVIDUAL, status="Canceled")

    pending, canceled = exported(tmp_path)["agreements"]

    empty = ("terms", "scheduled_terms", "schedule", "covered_until", "coverage_proof", "payment_token")
    assert [pending[name] for name in empty] == [None] * 6
    assert canceled["schedule"]["next_due"] is None


def test_a_purchase_has_all_that_a_successor_needs(tmp_path):
    purchase = records.paid_purchase(created_at=EFFECTIVE, paid_at=EFFECTIVE)

    assert exported(tmp_path)["purchases"] == [
        {
            "id": purchase.pk,
            "customer": {"type": "Registrar", "pk": 7},
            "reference_number": purchase.reference_number,
            "status": "Paid",
            "amount": "15.00",
            "link_quantity": 10,
            "created_at": "2026-11-01T12:00:00.000000Z",
            "paid_at": "2026-11-01T12:00:00.000000Z",
            "acknowledged_at": None,
            "is_in_doubt": False,
        }
    ]


def test_a_purchase_that_perma_may_not_have_credited_is_marked(tmp_path):
    records.standing_agreement()
    doubted, credited = records.paid_purchase(), records.paid_purchase(acknowledged_at=EFFECTIVE)
    restore.make_safe(margin=10, now=timezone.now())

    marks = {row["id"]: row["is_in_doubt"] for row in exported(tmp_path)["purchases"]}
    assert marks == {doubted.pk: True, credited.pk: False}
    StaffTask.objects.update(done_at=timezone.now(), resolution="done")
    (tmp_path / "agreements.json").unlink()
    assert not any(row["is_in_doubt"] for row in exported(tmp_path)["purchases"])


def test_a_successor_could_tell_perma_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "PAGE", 3)
    now = timezone.now()
    past, future = now - timedelta(days=3), now + timedelta(days=3)
    for pk, changes in enumerate(
        [
            {},
            {"status": "Hold", "covered_until": past},
            {"status": "Canceled", "covered_until": past},
            {"status": "Canceled", "covered_until": future},
            {"cancellation_requested_at": past},
            {"next_charge_on": date(2999, 2, 3)},
            {"scheduled_rate": 1, "scheduled_link_limit": "5", "scheduled_from": past},
            {"scheduled_rate": 1, "scheduled_link_limit": "5", "scheduled_from": future},
        ],
        start=1,
    ):
        records.standing_agreement(individual(pk), **changes)
        records.paid_purchase(individual(pk), acknowledged_at=now if pk % 2 else None)

    contents = exported(tmp_path)

    assert len(contents["agreements"]) == 8
    for each in contents["agreements"]:
        customer = individual(each["customer"]["pk"])
        told = perma_queries.standing_subscription(customer, now=now)
        json_told = told and told.as_json()
        assert json_told == _told_from(each, now), customer
        unacknowledged = [
            {"id": row["id"], "link_quantity": row["link_quantity"]}
            for row in contents["purchases"]
            if row["customer"] == each["customer"] and row["paid_at"] and not row["acknowledged_at"]
        ]
        assert [row.as_json() for row in perma_queries.unacknowledged_purchases(customer)] == unacknowledged


def _told_from(row: dict[str, Any], now: datetime) -> dict[str, Any] | None:
    """What Perma.cc is told, from the export alone."""
    if row["status"] == "Canceled" and datetime.fromisoformat(row["covered_until"]) < now:
        return None
    told = row["scheduled_terms"] or row["terms"]
    is_current = row["status"] == "Current"
    return {
        "status": "Cancellation Requested" if is_current and row["cancellation_requested_at"] else row["status"],
        "rate": told["rate"],
        "frequency": row["schedule"]["frequency"],
        "link_limit": told["link_limit"],
        "link_limit_effective_timestamp": told["effective"],
        "paid_through": f"{row['schedule']['next_due']}T00:00:00.000000Z" if is_current else row["covered_until"],
        "pending_change": row["scheduled_terms"],
        "reference_number": row["reference_number"],
    }


def test_only_its_owner_can_read_the_file_and_none_is_overwritten(tmp_path):
    exported(tmp_path)

    assert stat.S_IMODE((tmp_path / "agreements.json").stat().st_mode) == 0o600
    with pytest.raises(CommandError, match="exists, and is not overwritten"):
        exported(tmp_path)
    with pytest.raises(CommandError, match="arguments are required: --output"):
        call_command("export_agreements")


def test_everything_is_as_it_was_at_one_moment():
    records.agreement()
    with export.snapshot():
        assert SubscriptionAgreement.objects.count() == 1
        parameters = connection.get_connection_params()
        other = psycopg2.connect(**parameters)
        with other, other.cursor() as cursor:
            cursor.execute("UPDATE perma_payments_subscriptionagreement SET customer_pk = 99")
        other.close()

        assert [row["customer"]["pk"] for row in export.agreements(now=timezone.now())] == [7]
        with pytest.raises(Exception, match="read-only transaction"), transaction.atomic():
            records.agreement()
