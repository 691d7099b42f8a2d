"""Logs and error reports that hold no values, neither what was posted nor what the database keeps."""

import contextlib
import copy
import json
import logging
import sys
import threading
import traceback
from collections import Counter
from collections.abc import ItemsView
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import Any

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter

from .request_log import request_id

# Anyone can have requests refused as fast as they like. Of each kind of refusal, the log shows so many a minute,
# and every hundredth after that.
LOGGED_PER_MINUTE = 10


class Alarm(StrEnum):
    """What the developers are mailed about (error_mails.py)."""

    ERROR = "error"
    NOT_KEPT = "not_kept"
    UNKNOWN_KEY = "unknown_key"
    JOB_FAILED = "job_failed"


def ids(**values: Any) -> dict[str, Any]:
    """The ``extra`` of a line about a decision: fields in JSON. Only ids, kinds, numbers and codes."""
    return {"ids": values}


def alarm(kind: Alarm, **values: Any) -> dict[str, Any]:
    """The ``extra`` of a line that the developers are mailed about, with ids."""
    return {"alarm": kind, "ids": values}


def refusal(kind: str) -> dict[str, str]:
    """The ``extra`` of a line that anyone can cause. There must be few kinds: a route is one, a path is not."""
    return {"refused": kind}


class FewRefusals(logging.Filter):
    """Keeps refusals from flooding the log: our own, and Django's, which have the status of the answer.

    Each process counts for itself, in its memory, so this needs nothing that could be away.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._minute = 0
        self._counts: Counter[tuple[str, str | int]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        kind: str | int | None = getattr(record, "refused", None)
        if kind is None and 400 <= getattr(record, "status_code", 0) < 500:
            kind = record.status_code  # type: ignore[attr-defined]
        if kind is None:
            return True
        with self._lock:
            minute = int(record.created // 60)
            if minute != self._minute:
                self._minute = minute
                self._counts.clear()
            self._counts[record.name, kind] += 1
            count = self._counts[record.name, kind]
        if count >= LOGGED_PER_MINUTE:
            record.count_in_minute = count
        return count <= LOGGED_PER_MINUTE or count % 100 == 0


class Unbreakable(logging.Handler):
    """A handler whose failure breaks nothing of what it was told about, and shows no value.

    Python's own would print the exception with all that it came from, such as a row that PostgreSQL quotes.
    """

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exception()
        with contextlib.suppress(Exception):  # there may be no standard error either
            kind = type_of(error) if error else "unknown"
            print(f"{record.name}, line {record.lineno}: could not be logged: {kind}", file=sys.stderr)


class Console(Unbreakable, logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to standard error."""


class NoValuesFormatter(logging.Formatter):
    """Formats exceptions as their types and places in the code, without their texts.

    PostgreSQL's errors quote whole rows, and others quote input.
    """

    def format(self, record: logging.LogRecord) -> str:
        return super().format(self.discreet(record))

    def discreet(self, record: logging.LogRecord) -> logging.LogRecord:
        """The record, or a copy with the number of its kind and without what nobody should see."""
        if not (record.exc_info or record.exc_text or hasattr(record, "count_in_minute")):
            return record
        # Another formatter may have left the text of the exception in the record.
        record = copy.copy(record)
        record.exc_text = None
        if count := getattr(record, "count_in_minute", 0):
            record.msg, record.args = f"{record.getMessage()} ({count} like this in this minute)", None
        if 400 <= getattr(record, "status_code", 0) < 500:
            # Django's line about a refusal. Where in Django it was refused does not matter.
            record.exc_info = None
        return record

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """See logging.Formatter: always RFC 3339, UTC, with milliseconds."""
        return (
            datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        )

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        return f"{line} [{current}]" if (current := request_id()) else line

    def formatException(
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        error = ei[1]
        lines: list[str] = []
        seen: set[int] = set()
        while error is not None and id(error) not in seen:
            seen.add(id(error))
            if len(seen) > 1:
                lines.append("because of, or while handling:")
            lines += traceback.format_tb(error.__traceback__)
            lines.append(type_of(error))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\n".join(line.rstrip("\n") for line in lines)


class JsonFormatter(NoValuesFormatter):
    """The same as one JSON object a line, whose fields docs/operations.md lists.

    Libraries for this (python-json-logger, structlog) write everything that is in a record, such as Django's
    request, and would have to be told what to leave out. This writes what is named here.
    """

    def format(self, record: logging.LogRecord) -> str:
        record = self.discreet(record)
        line: dict[str, Any] = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if current := request_id():
            line["request_id"] = current
        if count := getattr(record, "count_in_minute", 0):
            line["count_in_minute"] = count
        line |= getattr(record, "ids", {})
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = type_of(record.exc_info[1])
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def type_of(error: BaseException) -> str:
    """The full name of an exception's type."""
    return f"{type(error).__module__}.{type(error).__qualname__}"


class GunicornsLines(logging.Filter):
    """Keeps what clients send, and where they are, out of Gunicorn's lines, and limits those that they cause."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("gunicorn."):
            return True
        text = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        if text.startswith("Invalid request from"):
            record.msg, record.refused = "refused by Gunicorn: not a request in HTTP", "gunicorn"
        elif record.exc_info and isinstance(record.exc_info[1], TimeoutError):
            record.msg, record.refused = "refused by Gunicorn: waited too long for the client", "gunicorn"
            record.levelno, record.levelname, record.exc_info = logging.WARNING, "WARNING", None
        elif record.exc_info or "Exception" in text:
            # The rest is the address that was asked for, or the text of an exception.
            record.msg, record.args = text.partition("%")[0].strip(), None
        return True


class NoValuesFilter(SafeExceptionReporterFilter):
    """Keeps what was posted, and all variables, out of Django's error reports."""

    def is_active(self, request: HttpRequest | None) -> bool:
        return True  # Even with DEBUG.

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        return {}

    def get_traceback_frame_variables(self, request: Any, tb_frame: Any) -> ItemsView[str, Any]:
        return {}.items()
