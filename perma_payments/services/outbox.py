"""Tell staff of their tasks: once each, at once where that works, and by a later try where it does not.

A staff task without ``notified_at`` is a mail that is still to be sent.
"""
import logging
from datetime import datetime
from typing import NamedTuple

import pghistory
from django.conf import settings
from django.db import transaction

from .. import emails
from ..models import Response, StaffTask
from .locks import try_to_lock
from .task_mail import compose

logger = logging.getLogger(__name__)

# CyberSource waits 10 seconds for its answer.
LIMIT_IN_CALLBACKS = 3.0


class Sent(NamedTuple):
    """How many mails a try sent, and how many it could not."""

    sent: int
    failed: int


def send_task_mails(*, now: datetime) -> Sent:
    """Mail every open task that nobody was told of yet, oldest first."""
    tasks = StaffTask.objects.filter(notified_at__isnull=True, done_at__isnull=True).order_by("opened_at", "id")
    results = [mail_task(task.pk, now=now) for task in tasks]
    return Sent(sent=results.count(True), failed=results.count(False))


def try_to_mail_tasks_of(response: Response, *, now: datetime) -> None:
    """Mail the tasks that a response has opened, quickly or not at all. Raises nothing."""
    try:
        for task in response.tasks.filter(notified_at__isnull=True, done_at__isnull=True).order_by("id"):
            if mail_task(task.pk, now=now, limit=LIMIT_IN_CALLBACKS) is False:
                return  # the next one would only wait for the same mail server
    except Exception as error:  # what must be answered must not depend on a mail
        logger.error("tasks of response %s could not be mailed: %s", response.pk, type(error).__qualname__)


def try_to_mail(task_id: int, *, now: datetime) -> None:
    """Mail one task, or leave it to the next try. Raises nothing."""
    try:
        mail_task(task_id, now=now)
    except Exception as error:  # as above
        logger.error("staff task %s could not be mailed: %s", task_id, type(error).__qualname__)


def mail_task(task_id: int, *, now: datetime, limit: float | None = None) -> bool | None:
    """Mail one task. Returns True if it was sent, False if it could not be, None if there was nothing to do.

    A failure is logged, and left to the next try.
    """
    with transaction.atomic(), pghistory.context(source="the mail"):
        # Whoever holds the lock is about to send it.
        if not try_to_lock(f"mail of task {task_id}"):
            return None
        task = (
            StaffTask.objects.select_related("agreement", "purchase", "response")
            .filter(pk=task_id, notified_at__isnull=True, done_at__isnull=True)
            .first()
        )
        if task is None:
            return None
        subject, body = compose(task)
        try:
            emails.send(subject, body, to=settings.STAFF_EMAILS, limit=limit)
        except emails.NotDelivered as failure:
            logger.error("staff task %s could not be mailed: %s", task_id, failure)
            return False
        task.notified_at = now
        task.save(update_fields=["notified_at"])
    logger.info("staff task %s mailed", task_id)
    return True
