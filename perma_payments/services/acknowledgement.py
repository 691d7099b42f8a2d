"""Perma.cc says that it has credited a purchase: that is recorded in time, or not at all.

Perma.cc's client waits two seconds for its answer, then takes its credit back (perma.md §3.1): an acknowledgement
that is recorded later would lose the links for good. So PostgreSQL refuses a COMMIT that comes too late
(models/unanswered_acknowledgement.py), and what may not have been answered becomes a staff task.
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
from ..models import Purchase, StaffTask, TaskKind, UnansweredAcknowledgement
from ..models.history import HistorySource
from ..postgres.problems import describe
from ..postgres.time_limits import seconds_left, within
from .staff_tasks import log_opened

logger = logging.getLogger(__name__)

# In seconds, until COMMIT is asked for. PostgreSQL may do that so long after the last statement, so that the
# client, which waits for two, is answered within twice this.
ACKNOWLEDGING = 0.8
# No acknowledgement is answered later than this.
IN_DOUBT_AFTER = timedelta(minutes=1)
TRY_AGAIN_AFTER = 5.0  # seconds

_clock_timestamp = partial(Func, function="clock_timestamp", output_field=DateTimeField())


class NotAcknowledgeable(Exception):
    """There is no such purchase, it was not paid, or it was acknowledged before."""


class GaveUp(Exception):
    """The client that has acknowledged a purchase no longer waits for the answer."""


def acknowledge_purchase(purchase_id: int, *, is_awaited: Callable[[], bool], now: datetime) -> int:
    """Record that Perma.cc has credited a purchase. Of several acknowledgements at once, one succeeds.

    ``is_awaited`` tells whether the client is still there. Returns what to pass to ``confirm_answered``. Raises
    NotAcknowledgeable, GaveUp if nobody waits, and OperationalError if the database is too slow. Nothing is
    recorded then; if that is in doubt, staff get a task later.
    """
    with transaction.atomic(durable=True), pghistory.context(source=HistorySource.PERMA_ACKNOWLEDGEMENT):
        with within(ACKNOWLEDGING):
            # One statement: of several at once, PostgreSQL lets one find the row as it must be.
            acknowledged = Purchase.objects.filter(
                pk=purchase_id, status=PurchaseStatus.PAID, acknowledged_at__isnull=True
            ).update(acknowledged_at=now, updated_at=now)
            if not acknowledged:
                raise NotAcknowledgeable(f"purchase {purchase_id}")
            unanswered = UnansweredAcknowledgement.objects.create(
                purchase_id=purchase_id,
                acknowledged_at=now,
                commit_before=_clock_timestamp() + timedelta(seconds=seconds_left() or 0),
            )
        # Here PostgreSQL may take longer: it is waited for until it has refused what comes too late.
        if not is_awaited():
            raise GaveUp(f"purchase {purchase_id}")
    logger.info("purchase %s acknowledged", purchase_id)
    return unanswered.pk


def confirm_answered(unanswered_id: int) -> None:
    """Record that Perma.cc was told that its acknowledgement is recorded. Raises nothing: it was told.

    If the database cannot be told, this process tries again, as long as it runs.
    """
    try:
        with within(ACKNOWLEDGING):
            UnansweredAcknowledgement.objects.filter(pk=unanswered_id).delete()
    except Error as error:
        logger.error("acknowledgement %s was answered, but is in doubt: %s", unanswered_id, describe(error))
        again = threading.Timer(TRY_AGAIN_AFTER, _confirm_in_a_thread, [unanswered_id])
        again.daemon = True
        again.start()


def open_tasks_for_doubts(*, now: datetime) -> int:
    """Open a task for each acknowledgement that was recorded but may not have been answered; return how many."""
    old = UnansweredAcknowledgement.objects.filter(acknowledged_at__lte=now - IN_DOUBT_AFTER)
    with transaction.atomic():
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
