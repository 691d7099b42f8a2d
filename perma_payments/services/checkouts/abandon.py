"""Checkouts that customers have left: without a response for a day, they are Abandoned.

That says nothing about money. If CyberSource's response comes after all, it takes effect as if it had come in
time, and staff can record a payment that the Business Center shows.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

import pghistory
from django.db import transaction
from django.db.models import Exists, OuterRef

from ...billing.statuses import PurchaseStatus, Status
from ...models import OutgoingTransaction, Purchase, Response, StaffTask, SubscriptionAgreement
from ...models.history import HistorySource
from ..locks import lock_rows

logger = logging.getLogger(__name__)

ABANDONED_AFTER = timedelta(days=1)


def abandon_checkouts(*, now: datetime) -> int:
    """Mark what is Pending, without any response, for a day as Abandoned; return how many were."""
    tables: tuple[tuple[type[Any], str, str, str], ...] = (
        (SubscriptionAgreement, "agreement", Status.PENDING, Status.ABANDONED),
        (Purchase, "purchase", PurchaseStatus.PENDING, PurchaseStatus.ABANDONED),
    )
    number = 0
    with transaction.atomic(), pghistory.context(source=HistorySource.SCHEDULER):
        for model, column, pending, abandoned in tables:
            checkouts = OutgoingTransaction.objects.filter(**{column: OuterRef("pk")})
            answered = Response.objects.filter(**{f"outgoing__{column}": OuterRef("pk")})
            # An unmatched response may be about it, and staff may be working on it.
            unmatched = Response.objects.filter(outgoing=None, reference_number=OuterRef("reference_number"))
            tasks = StaffTask.objects.filter(done_at=None, **{column: OuterRef("pk")})
            left = model.objects.filter(status=pending, created_at__lt=now - ABANDONED_AFTER).filter(
                Exists(checkouts), ~Exists(answered), ~Exists(unmatched), ~Exists(tasks)
            )
            # Callbacks lock all agreements of a customer, so here they are locked in the same order.
            rows = [row.pk for row in lock_rows(left.only("pk"))]
            number += model.objects.filter(pk__in=rows).update(status=abandoned, updated_at=now)
    if number:
        logger.info("checkouts abandoned: %s", number)
    return number
