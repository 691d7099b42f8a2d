"""Errors reach a person: mails to DEVELOPER_EMAILS about what no one else would notice, and events to Sentry.

A logging handler picks the lines about errors (logs.Alarm). It keeps only their kinds, types, places, times and
ids, grouped: a dict of limited size, so that nothing grows while mail fails. A thread of its own mails them,
because no request waits for a mail server, and they matter most while the database is down. Each process has its
own handler, thread and limits.
"""

import atexit
import logging
import os
import socket
import threading
import uuid
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from types import TracebackType

from django.conf import settings
from django.template.loader import render_to_string

from . import sentry
from .emails import Mail, MailServer, NotDelivered, Unanswered, recipients
from .logs import Alarm, Unbreakable
from .request_log import request_id

logger = logging.getLogger(__name__)

# Seconds. The same problem is mailed once in this time, and a process sends at most so many mails in it.
HOUR = 3600.0
MAILS_PER_HOUR = 3
# A problem waits for others like it.
SETTLE = 1.0
# After a mail that failed: doubled each time, up to the other.
RETRY, LONGEST_RETRY = 30.0, 900.0
# A process that ends waits this long for its last mail.
SECONDS_TO_STOP = 2.0
# Kinds of problems that wait to be mailed; others are only counted. And lines about each.
MOST_GROUPS, MOST_DETAILS = 50, 20

# The most important first: it is in the subject.
_TITLES = {
    Alarm.NOT_KEPT: "A response could not be kept",
    Alarm.UNKNOWN_KEY: "Callbacks signed with an unknown key",
    Alarm.JOB_FAILED: "A scheduled job failed: {what}",
    Alarm.ERROR: "Error: {what}",
}
_ORDER = list(_TITLES)
_OTHERS = "of other kinds"


@dataclass(frozen=True)
class Problem:
    """One occurrence. ``what`` tells it from others of its kind; ``detail`` has its time and ids."""

    kind: Alarm
    what: str
    at: datetime
    detail: str = ""

    @classmethod
    def of(cls, record: logging.LogRecord) -> "Problem | None":
        """What a line in the log means for the developers, or None if it is none of their business."""
        error = record.exc_info[1] if record.exc_info else None
        kind: Alarm | None = getattr(record, "alarm", None)
        status = getattr(record, "status_code", 500 if error else 0)
        # Django calls refusals errors, too. A 500 without an exception is a fault in the page for another error.
        if kind is None and record.levelno >= logging.ERROR and status == 500:
            # A connection that broke is nobody's fault.
            is_connection = record.name == "gunicorn.error" and isinstance(error, OSError)
            kind = None if is_connection else Alarm.ERROR
        if kind is None:
            return None
        at = datetime.fromtimestamp(record.created, UTC)
        known = getattr(record, "ids", {})
        ids = {name: known[name] for name in known if name not in ("method", "status", "ms", "outcome")}
        what = ids.pop("job", "")
        place = _place(error) if error else f"500 at {ids['route']}" if kind is Alarm.ERROR else ""
        what = f"{what}: {place}" if what else place
        if current := request_id():
            ids["request"] = current
        detail = ", ".join([f"{at:%H:%M:%S}", *(f"{name} {value}" for name, value in ids.items())])
        # Anyone can send what is signed with an unknown key. Only that it came is worth telling.
        return cls(kind, what, at, "" if kind is Alarm.UNKNOWN_KEY else detail)


@dataclass
class Group:
    """Problems that are the same but for their times and ids."""

    kind: Alarm
    what: str
    since: float
    first_at: datetime
    last_at: datetime
    count: int = 0
    details: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        times = f" ({self.count:,} times)" if self.count > 1 else ""
        return _TITLES[self.kind].format(what=self.what) + times

    @property
    def left_out(self) -> int:
        return self.count - len(self.details)


class Waiting:
    """The problems that have not been mailed yet, and when they may be. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._groups: dict[tuple[Alarm, str], Group] = {}
        self._mailed_at: dict[tuple[Alarm, str], float] = {}
        self._mails: deque[float] = deque(maxlen=MAILS_PER_HOUR)
        self._retry_at, self._pause = 0.0, RETRY

    def add(self, problem: Problem, *, now: float) -> bool:
        """Count a problem. Returns whether it is the first one like it that waits."""
        key = (problem.kind, problem.what)
        if problem.what and key not in self._groups and len(self._groups) >= MOST_GROUPS:
            key = (Alarm.ERROR, _OTHERS)
        group = self._groups.setdefault(key, Group(*key, now, problem.at, problem.at))
        group.count += 1
        group.last_at = problem.at
        if problem.detail and len(group.details) < MOST_DETAILS:
            group.details.append(problem.detail)
        return group.count == 1

    def due_at(self) -> float | None:
        """When the next mail may be sent; None if there is nothing to say."""
        if not self._groups:
            return None
        first = min(self._due_at(key) for key in self._groups)
        return max(first, self._retry_at, self._mails[0] + HOUR if self._is_full else 0.0)

    def take(self, *, now: float, at_the_end: bool = False) -> list[Group]:
        """The groups to mail now, the most important first. They count as mailed, unless they are put back."""
        if at_the_end and self._is_full and self._mails[0] + HOUR > now:
            return []
        keys = [key for key in self._groups if at_the_end or self._due_at(key) <= now]
        self._mailed_at = {key: at for key, at in self._mailed_at.items() if at + HOUR > now}
        self._mailed_at |= dict.fromkeys(keys, now)
        return [self._groups.pop(key) for key in sorted(keys, key=lambda key: _ORDER.index(key[0]))]

    def was_sent(self, *, now: float) -> None:
        """Count the mail about what was taken."""
        self._mails.append(now)
        self._retry_at, self._pause = 0.0, RETRY

    def put_back(self, groups: Iterable[Group], *, now: float) -> None:
        """Keep what could not be mailed, with what has come since."""
        for group in groups:
            key = (group.kind, group.what)
            self._mailed_at.pop(key, None)
            if newer := self._groups.pop(key, None):
                group.count += newer.count
                group.last_at = newer.last_at
                group.details = [*group.details, *newer.details][:MOST_DETAILS]
            self._groups[key] = group
        self._retry_at, self._pause = now + self._pause, min(self._pause * 2, LONGEST_RETRY)

    def next_mail(self, *, now: float) -> float | None:
        """If a mail that is sent now is the last one for a while: in how many seconds the next one may come."""
        if len(self._mails) < MAILS_PER_HOUR - 1:
            return None
        # The oldest of those that will then be counted.
        oldest = self._mails[1] if self._is_full else self._mails[0]
        return oldest + HOUR - now if oldest + HOUR > now else None

    @property
    def _is_full(self) -> bool:
        return len(self._mails) == MAILS_PER_HOUR

    def _due_at(self, key: tuple[Alarm, str]) -> float:
        again = self._mailed_at[key] + HOUR if key in self._mailed_at else 0.0
        return max(self._groups[key].since + SETTLE, again)


def mail_about(groups: list[Group], *, next_mail_at: datetime | None) -> Mail:
    """The mail about some groups. ``next_mail_at`` is given if no other mail may come before."""
    more = f", and {len(groups) - 1} more" if len(groups) > 1 else ""
    context = {
        "groups": groups,
        "kinds": {group.kind for group in groups},
        "place": f"{socket.gethostname()}, process {os.getpid()}",
        "next_mail_at": next_mail_at,
        "most": MAILS_PER_HOUR,
    }
    return Mail(groups[0].title + more, render_to_string("perma_payments/mail/errors.txt", context))


class ErrorMails(Unbreakable):
    """Takes problems from the log, and mails them from a thread that begins with the first one."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        # Not the handler's own lock: logging holds that while it ends, and the thread logs as well.
        self._changed = threading.Condition()
        self._waiting = Waiting()
        self._thread: threading.Thread | None = None
        self._stopping = self._has_failed = False

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler. Raises nothing: a process may have no room for a thread, or be ending."""
        try:
            self._take(record)
        except Exception:
            self.handleError(record)

    def _take(self, record: logging.LogRecord) -> None:
        problem = Problem.of(record)
        if problem is None:
            return
        with self._changed:
            is_news = self._waiting.add(problem, now=monotonic())
            if self._thread is None or not self._thread.is_alive():  # a process that was forked has none
                self._thread = threading.Thread(target=self._run, name="error mails", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        # Anyone can send what is signed with an unknown key, and Sentry counts each event.
        if is_news or problem.kind is not Alarm.UNKNOWN_KEY:
            sentry.report(problem.kind, record)

    def stop(self) -> None:
        """Mail what is left, within SECONDS_TO_STOP."""
        end = monotonic() + SECONDS_TO_STOP
        thread = self._thread
        if thread is not None and thread.is_alive():
            with self._changed:
                self._stopping = True
                self._changed.notify_all()
            thread.join(SECONDS_TO_STOP)
        sentry.flush(max(end - monotonic(), 0))

    def _run(self) -> None:
        while True:
            with self._changed:
                due_at = self._waiting.due_at()
                if not self._stopping and (due_at is None or due_at > monotonic()):
                    self._changed.wait(None if due_at is None else due_at - monotonic())
                    continue
                stopping = self._stopping
                now = monotonic()
                groups = self._waiting.take(now=now, at_the_end=stopping)
                pause = self._waiting.next_mail(now=now)
            if groups:
                self._send(groups, pause)
            if stopping:
                return

    def _send(self, groups: list[Group], pause: float | None) -> None:
        next_mail_at = None if pause is None else datetime.now(UTC) + timedelta(seconds=pause)
        problem = ""
        try:
            mail = mail_about(groups, next_mail_at=next_mail_at)
            with MailServer() as server:
                for refusal in server.send(mail, to=recipients("DEVELOPER_EMAILS"), message_id=_message_id()):
                    logger.warning("the mail server refused %s", refusal)
        except Unanswered as failure:
            logger.warning("a mail about errors may not have arrived: %s", failure)
        except NotDelivered as failure:
            problem = str(failure)
        except Exception as error:  # what is about errors must not end by one
            problem = type(error).__qualname__
        if problem and not self._has_failed:
            logger.warning("the developers cannot be mailed about errors, which is tried again: %s", problem)
        self._has_failed = bool(problem)
        with self._changed:
            if problem:
                self._waiting.put_back(groups, now=monotonic())
            else:
                self._waiting.was_sent(now=monotonic())


def start() -> None:
    """Have the errors of this process mailed, and sent to Sentry if SENTRY_DSN is set."""
    if settings.SENTRY_DSN:
        sentry.start(settings.SENTRY_DSN, environment=settings.PERMA_PAYMENTS_ENV)
    handler = ErrorMails()
    logging.getLogger().addHandler(handler)
    # Before logging.shutdown(), which was registered first.
    atexit.register(handler.stop)


def _message_id() -> str:
    return f"errors-{uuid.uuid4()}"


def _place(error: BaseException) -> str:
    """The type of an exception, and the last function of ours that it came through."""
    place = ""
    for frame in _frames(error.__traceback__):
        module = frame.tb_frame.f_globals.get("__name__", "")
        if module.startswith("perma_payments.") or not place:
            place = f"{module}.{frame.tb_frame.f_code.co_name}, line {frame.tb_lineno}"
    name = type(error).__qualname__
    return f"{name} in {place}" if place else name


def _frames(traceback: TracebackType | None) -> Iterable[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next
