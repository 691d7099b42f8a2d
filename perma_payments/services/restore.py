"""What must be done once the database was restored to an earlier moment, before anyone uses it (docs/backup.md).

What happened after that moment is lost here, but not at CyberSource and Perma.cc. So no id that was issued then
may be issued again, and no purchase that Perma.cc may have credited then may be offered again before a person has
looked. Messages from pages of Perma.cc that are older than the restore begin no checkout: they may have begun one.
"""

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

import pghistory
from django.apps import apps
from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.db.models import DateTimeField, Max

from ..models import DatabaseRestore, Purchase, StaffTask, TaskKind
from ..models.history import HistorySource
from ..perma.messages import Freshness
from ..postgres.built_once import BuiltOnce, parameter
from ..postgres.clock import time_there
from .staff_tasks import log_opened

logger = logging.getLogger(__name__)

# Each sequence moves forward by as much as it has issued so far, and by no less than this.
MARGIN = 10_000

# The columns that say when something was done. Others may be in the future, or of before a subscription was here.
_MOMENTS = frozenset(
    "acknowledged_at action_time applied_at attempted_at began_at claimed_at created_at discarded_at done_at "
    "ended_at failed_at last_login last_used_at notified_at opened_at pgh_created_at ran_at received_at "
    "reopened_at requested_at reverted_at updated_at uploaded_at used_at".split()
)
# What a restore has just written itself is not what happened before.
_ITS_OWN = timedelta(minutes=1)


_SINCE = BuiltOnce(lambda: DatabaseRestore.objects.since(parameter("moment")).values_list("pk")[:1])
_BETWEEN = BuiltOnce(
    lambda: (
        DatabaseRestore.objects.since(parameter("moment"))
        .until(parameter("now"))
        .order_by("-done_at")
        .values_list("done_at")[:1]
    )
)


class Moved(NamedTuple):
    """A sequence, the last number that it had issued, and the one after which it goes on."""

    sequence: str
    old: int
    new: int


class Result(NamedTuple):
    """What was done; ``moved`` is empty if it had been done before."""

    restore: DatabaseRestore
    moved: list[Moved]
    purchases: int
    sessions: int
    task: StaffTask


def make_safe(*, margin: int = MARGIN, now: datetime) -> Result:
    """Do it, in one transaction. If it has been done and nothing has happened since, do nothing.

    Only the owner of the tables may move their sequences.
    """
    with transaction.atomic(), pghistory.context(source=HistorySource.RESTORE):
        data_until = min(latest_moment(), now)
        last = DatabaseRestore.objects.until(now).order_by("-done_at").first()
        if last is not None and data_until <= last.done_at + _ITS_OWN:
            task = StaffTask.objects.get(kind=TaskKind.RESTORED, opened_at=last.done_at)
            return Result(last, [], 0, 0, task)
        # First: the rows that follow must not have ids that others had.
        moved = _move_sequences(margin)
        restore = DatabaseRestore.objects.create(data_until=data_until, done_at=now)
        purchases = _withhold_purchases(now)
        sessions, _ = Session.objects.all().delete()
        task = StaffTask.objects.create(kind=TaskKind.RESTORED, opened_at=now)
        log_opened(task)
    logger.warning("the database was restored to %s, and %s purchases are in doubt", data_until, purchases)
    return Result(restore, moved, purchases, sessions, task)


def clock_is_wrong(*, now: datetime) -> bool:
    """Whether this machine's clock and PostgreSQL's differ by more than a minute, so one of them is wrong.

    What make_safe records is final, and the rules that follow from it depend on its time.
    """
    return abs(time_there() - now) > timedelta(minutes=1)


def latest_moment() -> datetime:
    """When something was last recorded. Raises ValueError if nothing ever was."""
    found: list[datetime | None] = []
    for model in apps.get_models():
        if not model._meta.managed or model._meta.proxy or model is DatabaseRestore:
            continue
        names = [
            field.name
            for field in model._meta.concrete_fields
            if isinstance(field, DateTimeField) and field.name in _MOMENTS
        ]
        if names:
            found += model._default_manager.aggregate(*map(Max, names)).values()
    return max(moment for moment in found if moment is not None)


def _move_sequences(margin: int) -> list[Moved]:
    moved = []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sequencename, format('%I.%I', schemaname, sequencename), COALESCE(last_value, 0), max_value "
            "FROM pg_sequences WHERE schemaname = current_schema() ORDER BY 1"
        )
        for name, qualified, old, most in cursor.fetchall():
            # Some ids are integers of 32 bits, and there may be more restores.
            new = old + (max(margin, old) if old < most // 8 else margin)
            cursor.execute("SELECT setval(%s::regclass, %s)", [qualified, new])
            moved.append(Moved(name, old, new))
    return moved


def _withhold_purchases(now: datetime) -> int:
    """Offer no purchase again that Perma.cc may have credited already: a person looks at each."""
    purchases = list(Purchase.objects.unacknowledged().select_for_update(no_key=True))
    for purchase in purchases:
        purchase.acknowledged_at = now
        purchase.save(update_fields=["acknowledged_at", "updated_at"])
        log_opened(
            StaffTask.objects.create(kind=TaskKind.ACKNOWLEDGEMENT_IN_DOUBT, purchase=purchase, opened_at=now)
        )
    return len(purchases)


def may_be_lost(moment: datetime) -> bool:
    """Whether the database has been restored since: what followed from something at that moment may be lost."""
    return _SINCE.exists(moment=moment)


def freshness_of_checkouts(freshness: Freshness, *, now: datetime) -> Freshness:
    """How old a message that begins a checkout may be: the page that it came from must be newer than a restore."""
    restore = _BETWEEN.first(moment=now - freshness.browser, now=now)
    return replace(freshness, browser=now - restore[0]) if restore else freshness
