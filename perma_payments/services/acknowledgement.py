"""Perma.cc acknowledges that it has credited a purchase. We record that in time, or not at all.

Perma.cc's client waits two seconds for our answer, then takes its credit back (perma.md §3.1): if we recorded the
acknowledgement after that, the customer would never get the links. So PostgreSQL refuses a COMMIT that comes too
late (models/unanswered_acknowledgement.py), and if our answer may not have arrived, staff get a task.
"""

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import pghistory
from django.db import Error, connection, transaction
from django.db.models import DateTimeField, Func

from ..billing.statuses import PurchaseStatus
from ..logs import ids
from ..models import Purchase, StaffTask, TaskKind, UnansweredAcknowledgement
from ..models.history import HistorySource
from ..postgres.problems import describe
from ..postgres.time_limits import seconds_left, within
from .staff_tasks import log_opened

logger = logging.getLogger(__name__)

# Seconds until we ask for COMMIT. PostgreSQL may take as long again to do it, so the client, which waits for two
# seconds, gets its answer within twice this.
ACKNOWLEDGING = 0.8
# No acknowledgement is answered later than this.
IN_DOUBT_AFTER = timedelta(minutes=1)
TRY_AGAIN_AFTER = 5.0  # seconds

_clock_timestamp = partial(Func, function="clock_timestamp", output_field=DateTimeField())


class NotAcknowledgeable(Exception):
    """There is no such purchase, it was not paid, or it was acknowledged before."""


class GaveUp(Exception):
    """The client no longer waits for the answer to its acknowledgement."""


def acknowledge_purchase(purchase_id: int, *, is_awaited: Callable[[], bool], now: datetime) -> int:
    """Record that Perma.cc has credited a purchase. Of several concurrent acknowledgements, one succeeds.

    ``is_awaited`` says whether the client is still waiting. Returns the id to pass to ``confirm_answered``. Raises
    NotAcknowledgeable, GaveUp if the client has left, or OperationalError if the database is too slow. Nothing is
    recorded then; if that is in doubt, staff get a task later.
    """
    with transaction.atomic(durable=True), pghistory.context(source=HistorySource.PERMA_ACKNOWLEDGEMENT):
        with within(ACKNOWLEDGING):
            # A single statement, so only one of several at once finds the purchase unacknowledged.
            acknowledged = Purchase.objects.filter(
                pk=purchase_id, status=PurchaseStatus.PAID, acknowledged_at__isnull=True
            ).update(acknowledged_at=now, updated_at=now)
            if not acknowledged:
                raise NotAcknowledgeable(f"unknown, unpaid, or acknowledged before: purchase {purchase_id}")
            unanswered = UnansweredAcknowledgement.objects.create(
                purchase_id=purchase_id,
                acknowledged_at=now,
                commit_before=_clock_timestamp() + timedelta(seconds=seconds_left() or 0),
            )
        # COMMIT may take longer: we wait until PostgreSQL has done it, or has refused because it is too late.
        if not is_awaited():
            raise GaveUp(f"purchase {purchase_id}")
    logger.info("purchase %s acknowledged", purchase_id, extra=ids(purchase_id=purchase_id))
    return unanswered.pk


def confirm_answered(unanswered_id: int) -> None:
    """Record that our answer to an acknowledgement has left. Raises nothing: the answer cannot be taken back.

    If the database fails, this process retries for as long as it runs.
    """
    try:
        with within(ACKNOWLEDGING):
            UnansweredAcknowledgement.objects.filter(pk=unanswered_id).delete()
    except Error as error:
        logger.error(
            "acknowledgement %s was answered, but that could not be recorded: %s", unanswered_id, describe(error)
        )
        again = threading.Timer(TRY_AGAIN_AFTER, _confirm_in_a_thread, [unanswered_id])
        again.daemon = True
        again.start()


def open_tasks_for_doubts(*, now: datetime) -> int:
    """Open a task for each acknowledgement that was recorded but may not have been answered; return how many."""
    old = UnansweredAcknowledgement.objects.filter(acknowledged_at__lte=now - IN_DOUBT_AFTER)
    with transaction.atomic(), pghistory.context(source=HistorySource.SCHEDULER):
        doubts = list(old.order_by("id").select_for_update(skip_locked=True))
        for doubt in doubts:
            task = StaffTask.objects.create(
                kind=TaskKind.ACKNOWLEDGEMENT_IN_DOUBT, purchase_id=doubt.purchase_id, opened_at=now
            )
            log_opened(task)
            doubt.delete()
    return len(doubts)


def _confirm_in_a_thread(unanswered_id: int) -> None:
    try:
        confirm_answered(unanswered_id)
    finally:
        connection.close()
