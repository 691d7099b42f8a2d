"""Open and end staff tasks: the things that a person must do."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any

import pghistory
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from ...billing.statuses import ALIVE
from ...logs import ids
from ...models import FOREMOST_FIRST, Resolution, Response, StaffTask, SubscriptionAgreement, TaskKind
from ...models.history import HistorySource
from ...postgres.write import insert_unless_there
from ..locks import lock_rows, lock_task

logger = logging.getLogger(__name__)


class NotOpen(Exception):
    """The task has ended already."""


class Claimed(Exception):
    """Someone else is doing the task. ``by`` says who."""

    def __init__(self, by: User) -> None:
        super().__init__(f"claimed by user {by.pk}")
        self.by = by


class CannotReopen(Exception):
    """The task cannot be open again. The text is a sentence for staff that says why."""


def open_for_response(kind: TaskKind, response: Response, *, now: datetime) -> None:
    """Open a task about a response and what it belongs to. A response opens each kind of task only once."""
    outgoing = response.outgoing
    about = {"agreement": outgoing.agreement, "purchase": outgoing.purchase} if outgoing else {}
    task = StaffTask(kind=kind, response=response, opened_at=now, **about)
    if insert_unless_there(task):
        log_opened(task)


def open_for_revived(agreements: QuerySet[SubscriptionAgreement], *, now: datetime) -> list[int]:
    """Open tasks about agreements that CyberSource may charge again; return the tasks' ids.

    A report, its revert or a correction has revived them: a customer may now have two, and one may lack its token.
    """
    charged = agreements.filter(status__in=ALIVE)
    without_token = charged.filter(payment_token="").values_list("pk", flat=True)
    return [
        *open_about(TaskKind.SECOND_SUBSCRIPTION, _surplus(charged), now=now),
        *open_about(TaskKind.TOKEN_MISSING, without_token, now=now),
    ]


def _surplus(agreements: QuerySet[SubscriptionAgreement]) -> Iterator[int]:
    """The ids of the surplus subscriptions of these agreements' customers: all that are charged but the foremost.

    An open task about either of two is enough: staff cancel one, and keep the other.
    """
    of_the_same_customer = agreements.filter(
        customer_type=OuterRef("customer_type"), customer_pk=OuterRef("customer_pk")
    )
    charged = SubscriptionAgreement.objects.filter(Exists(of_the_same_customer), status__in=ALIVE)
    tasks = StaffTask.objects.filter(
        kind=TaskKind.SECOND_SUBSCRIPTION, done_at=None, agreement__in=charged.values("pk")
    )
    with_task = set(tasks.values_list("agreement", flat=True))
    rows = charged.order_by("customer_type", "customer_pk", *FOREMOST_FIRST)
    for _, group in groupby(rows.values_list("customer_type", "customer_pk", "pk"), key=lambda row: row[:2]):
        ids = [pk for _, _, pk in group]
        missing = len(ids) - 1 - len(with_task.intersection(ids))
        yield from [pk for pk in ids[1:] if pk not in with_task][: max(missing, 0)]


def open_about(kind: TaskKind, agreements: Iterable[int], *, now: datetime) -> list[int]:
    """Open a task about each agreement (by id) that has no open one of this kind; return the tasks' ids."""
    wanted = set(agreements)
    already = StaffTask.objects.filter(kind=kind, done_at=None, agreement__in=wanted)
    opened = StaffTask.objects.bulk_create(
        StaffTask(kind=kind, agreement_id=agreement, opened_at=now)
        for agreement in sorted(wanted - set(already.values_list("agreement", flat=True)))
    )
    for task in opened:
        log_opened(task)
    return [task.pk for task in opened]


def log_opened(task: StaffTask) -> None:
    """Log a task when its transaction commits, as it may be rolled back."""
    subjects = {"response": task.response_id, "agreement": task.agreement_id, "purchase": task.purchase_id}
    about = next((f"{name} {pk}" for name, pk in subjects.items() if pk is not None), "all subscriptions")
    what = ids(task_id=task.pk, kind=task.kind, **{f"{name}_id": pk for name, pk in subjects.items() if pk})
    write = partial(logger.warning, "staff task %s opened: %s, %s", task.pk, task.kind, about, extra=what)
    transaction.on_commit(write)


def finish(task_id: int, *, by: User, note: str, now: datetime) -> StaffTask:
    """Record that a person has done a task. Raises NotOpen if it has ended already."""
    return _end(task_id, Resolution.DONE, by=by, note=note, now=now)


def withdraw(task_id: int, *, by: User, note: str, now: datetime) -> StaffTask:
    """Record that a task is no longer needed. Raises NotOpen if it has ended already.

    Withdrawing a cancellation (the customer changed their mind) undoes the request: the subscription
    continues, and Perma.cc sees it as before.
    """
    return _end(task_id, Resolution.WITHDRAWN, by=by, note=note, now=now)


def claim(task_id: int, *, by: User, now: datetime) -> StaffTask:
    """Record that a person is doing a task, so that nobody else does. Raises NotOpen, and Claimed."""
    with _by_staff(by):
        task = lock_task(task_id)
        if task.done_at is not None:
            raise NotOpen(f"staff task {task_id}")
        if task.claimed_by not in (None, by):
            raise Claimed(task.claimed_by)
        if task.claimed_by is None:
            task.claimed_by, task.claimed_at = by, now
            task.save(update_fields=["claimed_by", "claimed_at"])
    return task


def release(task_id: int, *, by: User) -> StaffTask:
    """Record that nobody is doing a task any longer, whoever it was. Raises NotOpen."""
    with _by_staff(by):
        task = lock_task(task_id)
        if task.done_at is not None:
            raise NotOpen(f"staff task {task_id}")
        if task.claimed_by is not None:
            task.claimed_by, task.claimed_at = None, None
            task.save(update_fields=["claimed_by", "claimed_at"])
    return task


def reopen(task_id: int, *, by: User, note: str, now: datetime) -> StaffTask:
    """Open a task that has ended, for the reason in ``note``. Staff are mailed again. Raises CannotReopen."""
    with _by_staff(by, note):
        task = lock_task(task_id)
        if task.done_at is None:
            raise CannotReopen("This task is open already.")
        if has_open_twin(task):
            raise CannotReopen("Another task of this kind is open about the same thing.")
        if task.response and task.kind == TaskKind.NOT_APPLIED and task.response.applied_at is not None:
            raise CannotReopen("There is nothing left to do: the response has been applied.")
        if task.agreement and task.kind == TaskKind.CANCELLATION:
            if task.agreement.status not in ALIVE:
                raise CannotReopen("There is nothing left to cancel: the subscription has ended.")
            if task.agreement.cancellation_requested_at is None:
                raise CannotReopen(
                    "The request was withdrawn. If the customer wants to cancel after all, they have to ask again."
                )
        task.done_at, task.done_by, task.resolution, task.note = None, None, "", note
        task.reopened_at = now
        task.notified_at, task.mail_attempts, task.mail_due_at, task.mail_left_to = None, 0, None, None
        task.save()
    logger.warning("staff task %s reopened by user %s", task_id, by.pk)
    return task


def has_open_twin(task: StaffTask) -> bool:
    """Whether a task of the same kind is open about the same thing."""
    about = {"agreement": task.agreement_id, "purchase": task.purchase_id, "response": task.response_id}
    return StaffTask.objects.filter(kind=task.kind, done_at=None, **about).exclude(pk=task.pk).exists()


@contextmanager
def _by_staff(by: User, reason: str = "") -> Iterator[None]:
    context = {"source": HistorySource.STAFF, "user": by.pk} | ({"reason": reason} if reason else {})
    with transaction.atomic(), pghistory.context(**context):
        yield


def _end(task_id: int, resolution: Resolution, *, by: User, note: str, now: datetime) -> StaffTask:
    with _by_staff(by, note):
        task = lock_task(task_id)
        if task.done_at is not None:
            raise NotOpen(f"staff task {task_id}")
        if task.agreement and task.kind == TaskKind.CANCELLATION and resolution == Resolution.WITHDRAWN:
            keep_subscription(task.agreement, by=by, note=note, now=now)
        _write_end(task, resolution, by=by, note=note, now=now)
    logger.info("staff task %s ended: %s", task_id, resolution.value)
    return task


def end_open(
    tasks: QuerySet[StaffTask], resolution: Resolution, *, by: User | None, note: str, now: datetime
) -> list[int]:
    """End those of the tasks that are open; return their ids. ``by`` is None if no person did it."""
    ended = [task.pk for task in lock_rows(tasks.filter(done_at=None))]
    StaffTask.objects.filter(pk__in=ended).update(**_end_of(resolution, by=by, note=note, now=now))
    return ended


def keep_subscription(agreement: SubscriptionAgreement, *, by: User | None, note: str, now: datetime) -> None:
    """Undo the request to cancel, and end the task to cancel after all: the customer keeps the subscription."""
    agreement.cancellation_requested_at = None
    agreement.save(update_fields=["cancellation_requested_at", "updated_at"])
    tasks = StaffTask.objects.filter(kind=TaskKind.STILL_CHARGED, agreement=agreement)
    end_open(tasks, Resolution.WITHDRAWN, by=by, note=note, now=now)


def take_back(task: StaffTask, *, now: datetime) -> None:
    """End a task whose reason the customer has taken back; the scheduler mails staff that it has ended."""
    task.notified_at, task.mail_attempts, task.mail_due_at, task.mail_left_to = None, 0, None, None
    task.save(update_fields=["notified_at", "mail_attempts", "mail_due_at", "mail_left_to"])
    _write_end(task, Resolution.TAKEN_BACK, by=None, note="The customer took the request back.", now=now)
    what = ids(task_id=task.pk, agreement_id=task.agreement_id)
    write = partial(logger.warning, "staff task %s taken back by the customer", task.pk, extra=what)
    transaction.on_commit(write)


def withdraw_not_applied(response: Response, *, now: datetime) -> None:
    """End the task that says that a response could not be applied, now that it is."""
    tasks = StaffTask.objects.filter(kind=TaskKind.NOT_APPLIED, response=response)
    end_open(tasks, Resolution.WITHDRAWN, by=None, note="Applied by a later attempt.", now=now)


def _write_end(task: StaffTask, resolution: Resolution, *, by: User | None, note: str, now: datetime) -> None:
    columns = _end_of(resolution, by=by, note=note, now=now)
    for column, value in columns.items():
        setattr(task, column, value)
    task.save(update_fields=list(columns))


def _end_of(resolution: Resolution, *, by: User | None, note: str, now: datetime) -> dict[str, Any]:
    """The columns of a task that has ended."""
    return {
        "done_at": now,
        "done_by": by,
        "resolution": resolution,
        "note": note,
        "claimed_by": None,
        "claimed_at": None,
    }
