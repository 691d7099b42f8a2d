"""A day in the life of staff: customers in every state, tasks open and ended, reports confirmed and undone."""

import secrets
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User

from perma_payments.billing.customers import Customer, CustomerType
from perma_payments.billing.transactions import Kind
from perma_payments.models import (
    JobHeartbeat,
    OutgoingTransaction,
    Response,
    StaffTask,
    StatusReport,
    SubscriptionAgreement,
)
from perma_payments.services import health, staff_tasks
from perma_payments.services.freeze import begin_freeze, end_freeze
from perma_payments.services.status_reports.apply import apply_report
from perma_payments.services.status_reports.plan import plan_report
from perma_payments.services.status_reports.revert import revert_report
from perma_payments.services.status_reports.warnings import required_checks

from .. import records
from ..business_center import report

# Open for how many days.
TASKS = {
    "held for review": 0,
    "second subscription": 1,
    "unproven charge": 2,
    "duplicate charge": 5,
    "token missing": 0,
}


def working_day(user: User, *, now: datetime) -> SubscriptionAgreement:
    """Fill the tables, and return a subscription to which much has happened."""
    JobHeartbeat.objects.bulk_create(
        JobHeartbeat(job=job, ran_at=now, succeeded_at=now) for job in health.FREQUENT
    )
    agreements = [
        records.standing_agreement(
            Customer(CustomerType.INDIVIDUAL if pk % 3 else CustomerType.REGISTRAR, 48210 + pk),
            status=["Current", "Current", "Hold", "Canceled"][pk % 4],
            current_frequency=["monthly", "annually"][pk % 2],
            current_rate=[Decimal("25.00"), Decimal("1200.00")][pk % 2],
            created_at=now - timedelta(days=40 + pk),
        )
        for pk in range(30)
    ]
    records.agreement(Customer(CustomerType.REGISTRAR, 9), created_at=now - timedelta(days=3))
    for pk, (kind, days) in enumerate(TASKS.items()):
        opened_at = now - timedelta(days=days, hours=2)
        StaffTask.objects.create(kind=kind, agreement=agreements[pk], opened_at=opened_at, notified_at=opened_at)
    unmatched = _response(None)
    StaffTask.objects.create(kind="unmatched", response=unmatched, opened_at=now - timedelta(days=4))
    for acknowledged_at in (None, now):
        bought = records.paid_purchase(
            Customer(CustomerType.INDIVIDUAL, 48219),
            paid_at=now - timedelta(days=2),
            acknowledged_at=acknowledged_at,
        )
        _response(records.outgoing(Kind.PURCHASE, bought), applied_at=now, outcome="took effect")
    frozen = begin_freeze(by=user, reason="CyberSource's maintenance", now=now - timedelta(days=9))
    end_freeze(frozen.pk, by=user, reason="It is over.", now=now - timedelta(days=8))
    _much_has_happened(user, agreements[0], now=now)
    for is_undone in (True, False):
        uploaded = _upload(user, agreements, dict.fromkeys(agreements[:1], "HOLD"), now=now)
        apply_report(uploaded.pk, revision=uploaded.revision, by=user, checks=required_checks(uploaded), now=now)
        if is_undone:
            revert_report(uploaded.pk, by=user, now=now)
    _upload(
        user, agreements, {agreements[0]: "CURRENT", agreements[1]: "HOLD", agreements[4]: "CANCELED"}, now=now
    )
    return agreements[0]


def _much_has_happened(user: User, agreement: SubscriptionAgreement, *, now: datetime) -> None:
    for kind, decision in [(Kind.SUBSCRIBE, "ACCEPT"), (Kind.CHANGE, "DECLINE"), (Kind.UPDATE, "ACCEPT")]:
        checkout = records.outgoing(kind, agreement)
        _response(checkout, decision=decision, applied_at=now, outcome="took effect")
    task = StaffTask.objects.create(kind="cancellation", agreement=agreement, opened_at=now - timedelta(days=20))
    staff_tasks.withdraw(task.pk, by=user, note="They called: they want to keep it.", now=now)


def _upload(
    user: User, agreements: list[SubscriptionAgreement], news: dict[SubscriptionAgreement, str], *, now: datetime
) -> StatusReport:
    """Today's report: everything is as on record, except for the news."""
    rows = [(agreement, news.get(agreement, agreement.status.upper())) for agreement in agreements]
    file = report(*rows, ("PERMA-0000-0000", "CURRENT"))
    return plan_report(file.replace(b"Dec 02 2026", f"{now:%b %d %Y}".encode()), by=user, now=now)


def _response(outgoing: OutgoingTransaction | None, **changes: Any) -> Response:
    return Response.objects.create(
        **{
            "outgoing": outgoing,
            "fingerprint": secrets.token_bytes(32),
            "transaction_uuid": str(outgoing.transaction_uuid) if outgoing else secrets.token_hex(16),
            "transaction_id": f"{secrets.randbelow(10**22):022}",
            "decision": "ACCEPT",
            "reason_code": "203" if changes.get("decision") == "DECLINE" else "100",
            "transaction_type": outgoing.transaction_type if outgoing else "sale",
            "reference_number": outgoing.reference_number if outgoing else "PERMA-9999-0000",
            "amount": "25.00",
            "currency": "USD",
            "sealed": b"x",
            "archive_key_id": "k",
            **changes,
        }
    )
