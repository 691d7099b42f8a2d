"""Logs and error reports that hold no values, neither what was posted nor what the database keeps."""

import copy
import logging
import traceback
from collections.abc import ItemsView
from types import TracebackType
from typing import Any

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter


class NoValuesFormatter(logging.Formatter):
    """Formats exceptions as their types and places in the code, without their texts.

    PostgreSQL's errors quote whole rows, and others quote input.
    """

    def format(self, record: logging.LogRecord) -> str:
        # Another formatter may have left the text of the exception in the record.
        record = copy.copy(record)
        record.exc_text = None
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
