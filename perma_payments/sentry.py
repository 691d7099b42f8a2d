"""Errors in Sentry, for operators who set SENTRY_DSN: types, places, route and request id, and nothing else.

None of the SDK's integrations is on, so it collects nothing by itself: no request, no variables, no breadcrumbs.
What it adds to an event of ours is cut back to what is named here. It sends in a thread of its own.
"""

import logging
from typing import TYPE_CHECKING, Any

from . import __version__
from .request_log import request_id

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

KEPT = ("event_id", "timestamp", "platform", "level", "logger", "environment", "release", "tags", "message")
KEPT_OF_FRAMES = ("filename", "module", "function", "lineno", "in_app")
TAGS = ("kind", "route", "request_id", "job")

_is_on = False


def start(dsn: str, *, environment: str) -> None:
    """Send errors there from now on."""
    import sentry_sdk  # takes a tenth of a second, which a service without it need not spend

    sentry_sdk.init(
        dsn=dsn,
        environment=environment,
        release=__version__,
        server_name="",
        default_integrations=False,
        auto_enabling_integrations=False,
        send_default_pii=False,
        include_local_variables=False,
        include_source_context=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        auto_session_tracking=False,
        send_client_reports=False,
        before_send=scrub,
    )
    global _is_on  # noqa: PLW0603 (the SDK's client is global as well)
    _is_on = True


def report(kind: str, record: logging.LogRecord) -> None:
    """Send what a line in the log is about, if Sentry is on."""
    if not _is_on:
        return
    import sentry_sdk
    from sentry_sdk.utils import event_from_exception

    fields = {**getattr(record, "ids", {}), "kind": str(kind), "request_id": request_id()}
    event: Event = {"level": "error", "logger": record.name, "message": str(kind)}
    if record.exc_info and record.exc_info[1] is not None:
        options = sentry_sdk.get_client().options
        event, _ = event_from_exception(record.exc_info, client_options=options)
    event["tags"] = {name: fields[name] for name in TAGS if fields.get(name)}
    sentry_sdk.capture_event(event)


def flush(seconds: float) -> None:
    """Wait until what was reported is sent, for at most so long."""
    if _is_on:
        import sentry_sdk

        sentry_sdk.flush(timeout=seconds)


def scrub(event: "Event", hint: "Hint") -> "Event":
    """Cut an event back to what may leave: of exceptions their types and places, without what they say."""
    kept: dict[str, Any] = {name: event[name] for name in KEPT if name in event}  # type: ignore[literal-required]
    if "exception" in event:
        kept["exception"] = {"values": [_discreet(each) for each in event["exception"]["values"]]}
    return kept  # type: ignore[return-value]


def _discreet(exception: dict[str, Any]) -> dict[str, Any]:
    frames = (exception.get("stacktrace") or {}).get("frames", [])
    return {
        "type": exception.get("type"),
        "module": exception.get("module"),
        "stacktrace": {"frames": [{name: frame.get(name) for name in KEPT_OF_FRAMES} for frame in frames]},
    }
