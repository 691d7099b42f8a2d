"""Open and close the things that a person must do."""

import logging
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from itertools import groupby

import pghistory
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from ...billing.statuses import ALIVE
from ...models import FOREMOST_FIRST, Purchase, Resolution, Response, StaffTask, SubscriptionAgreement, TaskKind
from ...models.history import HistorySource
from ..locks import lock_rows, lock_task

logger = logging.getLogger(__name__)


class NotOpen(Exception):
    """The task has ended already."""


def open_for_response(
    kind: TaskKind, response: Response, *, subject: SubscriptionAgreement | Purchase | None, now: datetime
) -> StaffTask:
    """Open a task about a response and what it belongs to. A response gives each kind of task once."""
    task, created = StaffTask.objects.get_or_create(
        kind=kind,
        response=response,
        defaults={
            "agreement": subject if isinstance(subject, SubscriptionAgreement) else None,
            "purchase": subject if isinstance(subject, Purchase) else None,
            "opened_at": now,
        },
    )
    if created:
        # Once it is: whatever opens a task may be taken back.
        transaction.on_commit(
            partial(logger.warning, "staff task %s opened: %s, response %s", task.pk, kind.value, response.pk)
        )
    return task


def open_for_revived(agreements: QuerySet[SubscriptionAgreement], *, now: datetime) -> list[int]:
    """Open the tasks about agreements that may be charged again, without a response; return them.

    Whatever has revived them (a report, its undoing, a correction): a customer may now have several, and one
    may lack its token.
    """
    charged = agreements.filter(status__in=ALIVE)
    without_token = charged.filter(payment_token="").values_list("pk", flat=True)
    return [
        *open_about(TaskKind.SECOND_SUBSCRIPTION, _one_too_many(charged), now=now),
        *open_about(TaskKind.TOKEN_MISSING, without_token, now=now),
    ]


def _one_too_many(agreements: QuerySet[SubscriptionAgreement]) -> Iterator[int]:
    """The subscriptions that the agreements' customers are charged for besides their oldest.

    Not those that there are enough open tasks for: if staff are told to cancel either, they keep the other.
    """
    of_the_same_customer = agreements.filter(
        customer_type=OuterRef("customer_type"), customer_pk=OuterRef("customer_pk")
    )
    charged = SubscriptionAgreement.objects.filter(Exists(of_the_same_customer), status__in=ALIVE)
    told = set(
        StaffTask.objects.filter(
            kind=TaskKind.SECOND_SUBSCRIPTION, done_at__isnull=True, agreement__in=charged.values("pk")
        ).values_list("agreement", flat=True)
    )
    rows = charged.order_by("customer_type", "customer_pk", *FOREMOST_FIRST)
    columns = rows.values_list("customer_type", "customer_pk", "pk")
    for _, group in groupby(columns, key=lambda row: row[:2]):
        ids = [pk for _, _, pk in group]
        missing = len(ids) - 1 - len(told.intersection(ids))
        yield from [pk for pk in ids[1:] if pk not in told][: max(missing, 0)]


def open_about(kind: TaskKind, agreements: Iterable[int], *, now: datetime) -> list[int]:
    """Open a task about each of the agreements that has no open one of this kind; return the tasks."""
    wanted = set(agreements)
    already = StaffTask.objects.filter(kind=kind, done_at__isnull=True, agreement__in=wanted)
    opened = StaffTask.objects.bulk_create(
        StaffTask(kind=kind, agreement_id=agreement, opened_at=now)
        for agreement in sorted(wanted - set(already.values_list("agreement", flat=True)))
    )
    for task in opened:
        transaction.on_commit(
            partial(
                logger.warning, "staff task %s opened: %s, agreement %s", task.pk, kind.value, task.agreement_id
            )
        )
    return [task.pk for task in opened]


def finish(task_id: int, *, by: User, note: str, now: datetime) -> StaffTask:
    """Record that a person has done a task. Raises NotOpen if it has ended already."""
    return _end(task_id, Resolution.DONE, by=by, note=note, now=now)


def withdraw(task_id: int, *, by: User, note: str, now: datetime) -> StaffTask:
    """Record that a task is no longer needed. Raises NotOpen if it has ended already.

    A cancellation that is withdrawn (the customer changed their mind) counts as never asked for: the
    subscription goes on, and Perma.cc is told so.
    """
    return _end(task_id, Resolution.WITHDRAWN, by=by, note=note, now=now)


def _end(task_id: int, resolution: Resolution, *, by: User, note: str, now: datetime) -> StaffTask:
    with transaction.atomic(), pghistory.context(source=HistorySource.STAFF, user=by.pk, reason=note):
        task = lock_task(task_id)
        agreement = task.agreement
        if task.done_at is not None:
            raise NotOpen(f"staff task {task_id}")
        if agreement and task.kind == TaskKind.CANCELLATION and resolution == Resolution.WITHDRAWN:
            agreement.cancellation_requested_at = None
            agreement.save(update_fields=["cancellation_requested_at", "updated_at"])
        _write_end(task, resolution, by=by, note=note, now=now)
    logger.info("staff task %s ended: %s", task_id, resolution.value)
    return task


def end_open(
    tasks: QuerySet[StaffTask], resolution: Resolution, *, by: User | None, note: str, now: datetime
) -> list[int]:
    """End those of the tasks that are open, and return them; ``by`` is None where no person did it.

    One by one, so that the history has each, and in the order of locks.
    """
    ended = []
    for task in lock_rows(tasks.filter(done_at__isnull=True)):
        _write_end(task, resolution, by=by, note=note, now=now)
        ended.append(task.pk)
    return ended


def withdraw_not_applied(response: Response, *, now: datetime) -> None:
    """End the task that asked to apply a response, now that it is applied."""
    end_open(
        StaffTask.objects.filter(kind=TaskKind.NOT_APPLIED, response=response),
        Resolution.WITHDRAWN,
        by=None,
        note="Applied by a later try.",
        now=now,
    )


def _write_end(task: StaffTask, resolution: Resolution, *, by: User | None, note: str, now: datetime) -> None:
    task.done_at, task.done_by, task.resolution, task.note = now, by, resolution, note
    task.save(update_fields=["done_at", "done_by", "resolution", "note"])
