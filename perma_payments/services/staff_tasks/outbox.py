"""Tell staff of their tasks: at least once each, and once as a rule.

A staff task without ``notified_at`` is a mail that is still to be sent. Only the scheduler sends mail, and the
commands that stand in for it: no request waits for a mail server.
"""

import logging
import time
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

import pghistory
from django.db import Error, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce
from django.template.loader import render_to_string
from django.utils.crypto import salted_hmac

from ...emails import (
    MailServer,
    NotDelivered,
    Recipient,
    Refusal,
    ServerFailed,
    Unanswered,
    Unreachable,
    mail_server,
    recipients,
)
from ...models import StaffTask
from ...models.history import HistorySource
from ..backoff import LEASE, check_connection, wait_after_failure, wait_after_silence, wait_for_the_rest
from ..once_a_day import NotYet, do_once_a_day
from .mail import compose

logger = logging.getLogger(__name__)

STAFF = "STAFF_EMAILS"
DEVELOPERS = "DEVELOPER_EMAILS"

# Seconds after which a round begins no further mail. What is claimed is claimed from the round's beginning on.
ROUND = 60.0


class Sent(NamedTuple):
    """How many mails a round sent, and how many it could not, and whether the mail server made it end early."""

    sent: int
    failed: int
    server_failed: bool = False


def send_task_mails(*, now: datetime) -> Sent:
    """Mail every open task whose mail is due, oldest first, in one conversation with the mail server.

    A mail that fails is logged and tried again later, and keeps no other from being sent. If the server fails, or
    the round has lasted for ROUND, the rest is left to the next round.
    """
    sent = failed = 0
    end = time.monotonic() + ROUND
    with mail_server() as server:
        for task_id in list(_due(now).order_by("opened_at", "id").values_list("pk", flat=True)):
            if time.monotonic() > end:
                break
            try:
                sent += _mail(task_id, server, now)
            except NotDelivered as failure:
                failed += 1
                logger.error("staff task %s could not be mailed: %s", task_id, failure)
                if isinstance(failure, ServerFailed):
                    return Sent(sent, failed, server_failed=True)
    return Sent(sent, failed)


def count_unsent() -> int:
    """How many open tasks nobody was told of yet."""
    return StaffTask.objects.filter(done_at__isnull=True, notified_at__isnull=True).count()


def send_report(subject: str, body: str, *, to: Sequence[Recipient], message_id: str, now: datetime) -> None:
    """Send a mail that is about no single task. Raises NotDelivered if nobody gets it."""
    with mail_server() as server:
        try:
            refused = server.send(subject, body, to=to, message_id=message_id)
        except NotDelivered as failure:
            _report_refusals(server, failure, now)
            raise
        _report_refusals(server, refused, now)


def _due(now: datetime) -> QuerySet[StaffTask]:
    """The open tasks whose mail is due: nobody was told yet, or some still are to be."""
    return StaffTask.objects.filter(
        Q(mail_due_at__lte=now) | Q(mail_due_at__isnull=True, notified_at__isnull=True), done_at__isnull=True
    )


def _mail(task_id: int, server: MailServer, now: datetime) -> bool:
    """Mail one task, and write down what became of it; return False if another process is at it.

    Raises NotDelivered.
    """
    this = StaffTask.objects.filter(pk=task_id)
    if not _due(now).filter(pk=task_id).update(mail_due_at=now + LEASE):
        return False
    task = this.select_related("agreement", "purchase", "response").get()
    failures = task.mail_attempts + 1  # if this is one
    try:
        refused = _send(task, server)
    except NotDelivered as failure:
        if isinstance(failure, Unanswered):
            _put_off(task, now + wait_after_silence(failures))
        elif isinstance(failure, Unreachable):
            this.update(mail_due_at=now)  # the scheduler waits before it tries any
        else:
            _put_off(task, now + wait_after_failure(failures))
        _report_refusals(server, failure, now)
        raise
    left = [refusal.recipient for refusal in refused if refusal.is_temporary]
    with transaction.atomic(), pghistory.context(source=HistorySource.MAIL):
        this.update(
            notified_at=Coalesce("notified_at", now),
            mail_attempts=F("mail_attempts") + (1 if left else 0),
            mail_due_at=now + wait_for_the_rest(failures) if left else None,
            mail_left_to=[_digest(recipient) for recipient in left] or None,
        )
    logger.info("staff task %s mailed", task_id)
    _report_refusals(server, refused, now)
    return True


def _send(task: StaffTask, server: MailServer) -> list[Refusal]:
    """Hand a task's mail to the mail server. Raises NotDelivered."""
    to = _whom_to_tell(task)
    if not to:
        return []  # those who were left are in the settings no more
    try:
        subject, body = compose(task)
    except Error:
        raise
    except Exception as error:  # what cannot be written must not keep the other mails from being sent
        raise NotDelivered(type(error).__qualname__) from error
    try:
        return server.send(subject, body, to=to, message_id=_message_id(task))
    finally:
        check_connection()


def _put_off(task: StaffTask, due_at: datetime) -> None:
    StaffTask.objects.filter(pk=task.pk).update(mail_attempts=F("mail_attempts") + 1, mail_due_at=due_at)


def _whom_to_tell(task: StaffTask) -> list[Recipient]:
    """All staff; or those who are left, if the server has taken the mail for the others."""
    staff = recipients(STAFF)
    if task.mail_left_to is None:
        return staff
    return [recipient for recipient in staff if _digest(recipient) in task.mail_left_to]


def _digest(recipient: Recipient) -> str:
    return salted_hmac(__name__, recipient.address, algorithm="sha256").hexdigest()


def _message_id(task: StaffTask) -> str:
    """The same however often a task is mailed. After a restored backup another task may have its number."""
    return f"staff-task-{task.pk}-{task.opened_at.timestamp():.6f}"


def _report_refusals(server: MailServer, what: NotDelivered | Sequence[Refusal], now: datetime) -> None:
    """Log the recipients that were refused, and mail the developers of each, once a day. Raises nothing."""
    for refusal in what.refused if isinstance(what, NotDelivered) else what:
        logger.error("the mail server refused %s", refusal)
        try:
            do_once_a_day(f"notice about {refusal.recipient}", partial(_tell_developers, refusal, server), now=now)
        except NotYet:
            pass
        except Exception as error:  # the log has it
            logger.error("the developers could not be told of it: %s", type(error).__qualname__)


def _tell_developers(refusal: Refusal, server: MailServer, *, now: datetime) -> None:
    setting, position = refusal.recipient.setting, refusal.recipient.position
    server.send(
        f"Refused: {refusal.recipient}",
        render_to_string("perma_payments/mail/refused.txt", {"refusal": refusal}),
        to=recipients(DEVELOPERS),
        message_id=f"refused-{setting}-{position}-{now:%Y-%m-%d}",
    )
