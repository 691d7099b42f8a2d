"""Logs and error reports that hold no values, neither what was posted nor what the database keeps."""

import copy
import logging
import threading
import traceback
from collections import Counter
from collections.abc import ItemsView
from types import TracebackType
from typing import Any

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter

# Anyone can have requests refused as fast as they like. Of each kind of refusal, the log shows so many a minute,
# and every hundredth after that.
LOGGED_PER_MINUTE = 10


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


class NoValuesFormatter(logging.Formatter):
    """Formats exceptions as their types and places in the code, without their texts.

    PostgreSQL's errors quote whole rows, and others quote input.
    """

    def format(self, record: logging.LogRecord) -> str:
        # Another formatter may have left the text of the exception in the record.
        record = copy.copy(record)
        record.exc_text = None
        if count := getattr(record, "count_in_minute", 0):
            record.msg, record.args = f"{record.getMessage()} ({count} like this in this minute)", None
        if 400 <= getattr(record, "status_code", 0) < 500:
            # Django's line about a refusal. Where in Django it was refused does not matter.
            record.exc_info = None
        return super().format(record)

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
            lines.append(f"{type(error).__module__}.{type(error).__qualname__}")
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\n".join(line.rstrip("\n") for line in lines)


class AlreadyLogged(logging.Filter):
    """Drops Django's line about a response if an earlier line said why it was sent."""

    def filter(self, record: logging.LogRecord) -> bool:
        first = record.args[0] if isinstance(record.args, tuple) and record.args else ""
        return first not in ("Bad Request", "Forbidden", "Service Unavailable")


class NoValuesFilter(SafeExceptionReporterFilter):
    """Keeps what was posted, and all variables, out of Django's error reports."""

    def is_active(self, request: HttpRequest | None) -> bool:
        return True  # Even with DEBUG.

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        return {}

    def get_traceback_frame_variables(self, request: Any, tb_frame: Any) -> ItemsView[str, Any]:
        return {}.items()
