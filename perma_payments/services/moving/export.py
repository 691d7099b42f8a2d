"""Move out: everything that a next processor or service needs to take over (docs/moving.md has the format).

It holds payment tokens, which charge cards.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet

from ...billing.coverage import paid_through_for_perma
from ...billing.money import format_amount
from ...billing.statuses import ALIVE, Status
from ...billing.terms import Terms
from ...models import Purchase, StaffTask, SubscriptionAgreement, TaskKind
from ...perma.replies import format_datetime

FORMAT, VERSION = "perma-payments agreements", 1

# Rows that are read at once.
PAGE = 1_000

Json = dict[str, Any]


@contextmanager
def snapshot() -> Iterator[None]:
    """Read everything as it was at one moment."""
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def agreements(*, now: datetime) -> Iterator[Json]:
    for agreement in _paged(SubscriptionAgreement.objects.all()):
        yield _agreement(agreement, now)


def purchases() -> Iterator[Json]:
    doubts = StaffTask.objects.filter(
        kind=TaskKind.ACKNOWLEDGEMENT_IN_DOUBT, purchase=OuterRef("pk"), done_at=None
    )
    for purchase in _paged(Purchase.objects.annotate(is_in_doubt=Exists(doubts))):
        yield {
            "id": purchase.pk,
            "customer": _customer(purchase),
            "reference_number": purchase.reference_number,
            "status": purchase.status,
            "amount": format_amount(purchase.amount),
            "link_quantity": purchase.link_quantity,
            "created_at": utc(purchase.created_at),
            "paid_at": utc(purchase.paid_at),
            "acknowledged_at": utc(purchase.acknowledged_at),
            "is_in_doubt": purchase.is_in_doubt,
        }


def utc(moment: datetime | None) -> str | None:
    """Return a time as in ``2026-11-28T12:00:00.000000Z``."""
    return None if moment is None else format_datetime(moment)


def _agreement(agreement: SubscriptionAgreement, now: datetime) -> Json:
    terms = agreement.agreed_terms.as_of(now) if agreement.current_rate is not None else None
    return {
        "id": agreement.pk,
        "customer": _customer(agreement),
        "reference_number": agreement.reference_number,
        "status": agreement.status,
        "created_at": utc(agreement.created_at),
        "terms": terms and _terms(terms.in_force),
        "scheduled_terms": terms and terms.scheduled and _terms(terms.scheduled),
        "schedule": _schedule(agreement, now),
        "covered_until": utc(agreement.covered_until),
        "coverage_proof": agreement.coverage_proof or None,
        "cancellation_requested_at": utc(agreement.cancellation_requested_at),
        "payment_token": agreement.payment_token or None,
    }


def _schedule(agreement: SubscriptionAgreement, now: datetime) -> Json | None:
    if agreement.current_frequency is None or agreement.schedule_start is None or agreement.covered_until is None:
        return None
    next_due = None
    if agreement.status in ALIVE:
        moment = paid_through_for_perma(
            Status.CURRENT, agreement.schedule, agreement.covered_until, agreement.next_charge_on, now
        )
        next_due = moment.date().isoformat()
    return {
        "start": agreement.schedule_start.isoformat(),
        "frequency": agreement.current_frequency,
        "next_due": next_due,
    }


def _customer(row: SubscriptionAgreement | Purchase) -> Json:
    return {"type": row.customer_type, "pk": row.customer_pk}


def _terms(terms: Terms) -> Json:
    return {"rate": format_amount(terms.rate), "link_limit": terms.link_limit, "effective": utc(terms.effective)}


def _paged(rows: QuerySet[Any]) -> Iterator[Any]:
    page = list(rows.order_by("pk")[:PAGE])
    while page:
        yield from page
        page = list(rows.filter(pk__gt=page[-1].pk).order_by("pk")[:PAGE])
