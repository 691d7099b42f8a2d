"""Mail staff their tasks: each at least once, and usually exactly once.

A task without ``notified_at`` that is open, or that the customer has taken back, has not been mailed yet. Only the
scheduler and the commands that stand in for it send mail, so no request waits for a mail server.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple

import pghistory
from django.db import Error, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce

from ...emails import (
    Mail,
    MailServer,
    NotDelivered,
    Recipient,
    RefusedRecipient,
    ServerFailed,
    Unreachable,
    recipients,
    refusal_notice,
)
from ...keyed_digests import keyed_digest, keyed_digests
from ...models import Resolution, StaffTask
from ...models.history import HistorySource
from ..backoff import LEASE, check_connection, doubled, wait_after
from ..once_a_day import NotYet, do_once_a_day

logger = logging.getLogger(__name__)

Compose = Callable[[StaffTask], Mail]

# After this long, a round sends no more mail; the next round continues.
ROUND_SECONDS = 60.0


class Sent(NamedTuple):
    """How many mails a round has sent, and whether it ended early because the server failed."""

    number: int
    server_failed: bool = False


def send_task_mails(compose: Compose, *, now: datetime) -> Sent:
    """Mail every open task whose mail is due, oldest first, in one conversation with the mail server.

    A mail that fails is logged and retried later, and does not stop the others. If the server fails, or after
    ROUND_SECONDS, the rest is left to the next round.
    """
    number = 0
    end = time.monotonic() + ROUND_SECONDS
    with _conversation(now) as server:
        for task_id in list(_due(now).order_by("opened_at", "id").values_list("pk", flat=True)):
            if time.monotonic() > end:
                break
            try:
                number += _mail(task_id, compose, server, now)
            except NotDelivered as failure:
                logger.error("staff task %s could not be mailed: %s", task_id, failure)
                if isinstance(failure, ServerFailed):
                    return Sent(number, server_failed=True)
    return Sent(number)


def send_report(name: str, mail: Mail, *, to: Sequence[Recipient], now: datetime) -> None:
    """Send a day's report, which is not about a single task. Raises NotDelivered if no recipient gets it."""
    with _conversation(now) as server:
        # The id is the same each time that the day's report is sent.
        server.send(mail, to=to, message_id=f"{name}-{now.astimezone(UTC):%Y-%m-%d}")


@contextmanager
def _conversation(now: datetime) -> Iterator[MailServer]:
    """A conversation with the mail server. At its end, each recipient that was refused is reported."""
    with MailServer() as server:
        try:
            yield server
        finally:
            for refusal in tuple(server.refused):
                _report(refusal, server, now)


def _report(refusal: RefusedRecipient, server: MailServer, now: datetime) -> None:
    """Log a refused recipient, and mail the developers about it once a day. Raises nothing."""
    logger.error("the mail server refused %s", refusal)
    setting, position = refusal.recipient.setting, refusal.recipient.position
    message_id = f"refused-{setting}-{position}-{now:%Y-%m-%d}"
    to = recipients("DEVELOPER_EMAILS")
    try:
        notify = partial(server.send, refusal_notice(refusal), to=to, message_id=message_id)
        do_once_a_day(f"notice about {refusal.recipient}", notify, now=now)
    except NotYet:
        pass
    except Exception as error:  # it is in the log
        logger.error("the developers could not be notified of that: %s", type(error).__qualname__)


def _due(now: datetime) -> QuerySet[StaffTask]:
    """The tasks that are due to be mailed, to everyone or to those who have not got the mail yet."""
    due = Q(mail_due_at__lte=now) | Q(mail_due_at=None, notified_at=None)
    return StaffTask.objects.filter(due, Q(done_at=None) | Q(resolution=Resolution.TAKEN_BACK))


def _mail(task_id: int, compose: Compose, server: MailServer, now: datetime) -> bool:
    """Mail one task and record the result; return False if another process is mailing it. Raises NotDelivered."""
    this = StaffTask.objects.filter(pk=task_id)
    if not _due(now).filter(pk=task_id).update(mail_due_at=now + LEASE):
        return False
    task = this.select_related("agreement", "purchase", "response").get()
    if task.resolution != Resolution.TAKEN_BACK:
        # If it is taken back while its mail is being sent, that is to be mailed as well.
        this = this.exclude(resolution=Resolution.TAKEN_BACK)
    failures = task.mail_attempts + 1  # if this attempt fails
    try:
        refused = _send(task, compose, server)
    except NotDelivered as failure:
        if isinstance(failure, Unreachable):
            this.update(mail_due_at=now)  # the scheduler itself waits before its next round
        else:
            this.update(mail_attempts=failures, mail_due_at=now + wait_after(failure, failures))
        raise
    rest = [_digest(refusal.recipient) for refusal in refused if refusal.is_temporary]
    with transaction.atomic(), pghistory.context(source=HistorySource.MAIL):
        this.update(
            notified_at=Coalesce("notified_at", now),
            mail_attempts=failures if rest else task.mail_attempts,
            mail_due_at=now + doubled(timedelta(minutes=1), failures, timedelta(days=1)) if rest else None,
            mail_left_to=rest or None,
        )
    logger.info("staff task %s mailed", task_id)
    return True


def _send(task: StaffTask, compose: Compose, server: MailServer) -> list[RefusedRecipient]:
    """Hand a task's mail to the mail server; return the recipients that were refused. Raises NotDelivered."""
    to = recipients("STAFF_EMAILS")
    if task.mail_left_to is not None:  # the others have it already
        to = [recipient for recipient in to if _is_left(recipient, task.mail_left_to)]  # perhaps none
    try:
        mail = compose(task)
    except Error:
        raise
    except Exception as error:  # a mail that cannot be composed must not stop the others
        raise NotDelivered(type(error).__qualname__) from error
    # The same whenever a task is mailed. After a restore from a backup, another task may get its number.
    message_id = f"staff-task-{task.pk}-{(task.reopened_at or task.opened_at).timestamp():.6f}"
    if task.resolution == Resolution.TAKEN_BACK:
        message_id += "-taken-back"
    try:
        return server.send(mail, to=to, message_id=message_id)
    finally:
        check_connection()


def _digest(recipient: Recipient) -> str:
    return keyed_digest(__name__, recipient.address)


def _is_left(recipient: Recipient, digests: Collection[str]) -> bool:
    return not set(digests).isdisjoint(keyed_digests(__name__, recipient.address))
