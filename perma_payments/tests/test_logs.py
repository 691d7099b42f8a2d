"""Logs and error reports say what went wrong and where, but hold no values."""

import json
import logging
import os
import sys

import pytest
from django.conf import settings
from django.test import RequestFactory
from django.views.debug import ExceptionReporter, get_exception_reporter_filter
from gunicorn.config import Config

from perma_payments import gunicorn_logs
from perma_payments.logs import Console, GunicornsLines, JsonFormatter, NoValuesFilter, NoValuesFormatter, ids

from .environments import production, settings_of

VALUE = "Zaphod-424242"


class Trouble(Exception):
    """An exception whose text is what it was given."""


def fail():
    raise Trouble(VALUE)


def fail_because_of_another():
    try:
        fail()
    except Trouble as error:
        raise ValueError(f"because of {VALUE}") from error


def fail_while_handling_another():
    try:
        fail()
    except Trouble:
        raise KeyError(VALUE)  # noqa: B904 (that is the point)


def fail_instead_of_another():
    try:
        fail()
    except Trouble:
        raise LookupError(VALUE) from None


def fail_because_of_two_others():
    try:
        fail_because_of_another()
    except ValueError as error:
        raise RuntimeError(VALUE) from error


def fail_with_a_note():
    error = Trouble(VALUE)
    error.add_note(VALUE)
    raise error


def fail_in_a_group():
    raise ExceptionGroup(VALUE, [Trouble(VALUE), ValueError(VALUE)])


def record_of(function):
    try:
        function()
    except Exception:
        return logging.LogRecord("name", logging.ERROR, __file__, 1, "it failed", None, sys.exc_info())


def logged(function):
    return NoValuesFormatter("{levelname}: {message}", style="{").format(record_of(function))


@pytest.mark.parametrize(
    "function",
    [
        fail,
        fail_because_of_another,
        fail_while_handling_another,
        fail_instead_of_another,
        fail_because_of_two_others,
        fail_with_a_note,
        fail_in_a_group,
    ],
)
def test_the_text_of_an_exception_is_not_logged(function):
    as_json = JsonFormatter().format(record_of(function))
    for text in (logged(function), as_json):
        assert "Zaphod" not in text
        assert "424242" not in text
    assert json.loads(as_json)["traceback"].splitlines() == logged(function).splitlines()[1:]


def test_the_type_and_places_of_an_exception_are_logged():
    lines = logged(fail).splitlines()

    assert lines[0] == "ERROR: it failed"
    assert any(__file__ in line and "in record_of" in line for line in lines)
    assert any(__file__ in line and "in fail" in line for line in lines)
    assert "raise Trouble(VALUE)" in logged(fail)
    assert lines[-1] == f"{__name__}.Trouble"


@pytest.mark.parametrize(
    "function, types",
    [
        (fail_because_of_another, ["builtins.ValueError", f"{__name__}.Trouble"]),
        (fail_while_handling_another, ["builtins.KeyError", f"{__name__}.Trouble"]),
        (fail_instead_of_another, ["builtins.LookupError"]),
        (fail_because_of_two_others, ["builtins.RuntimeError", "builtins.ValueError", f"{__name__}.Trouble"]),
        (fail_in_a_group, ["builtins.ExceptionGroup"]),
    ],
)
def test_chained_exceptions_are_logged_from_last_to_first(function, types):
    lines = logged(function).splitlines()

    assert [line for line in lines if line.startswith(("builtins.", __name__))] == types
    assert lines.count("because of, or while handling:") == len(types) - 1
    assert ("in fail\n" in logged(function)) == (f"{__name__}.Trouble" in types)


def test_a_message_without_an_exception_is_logged_as_it_is():
    record = logging.LogRecord("perma_payments", logging.INFO, __file__, 1, "%s of %s", (1, 2), None)
    assert NoValuesFormatter("{message}", style="{").format(record) == "1 of 2"


def test_exc_info_without_an_exception_is_logged_as_no_exception():
    record = logging.LogRecord("perma_payments", logging.INFO, __file__, 1, "fine", None, (None, None, None))
    assert NoValuesFormatter("{message}", style="{").format(record).strip() == "fine"


def test_text_that_another_handler_left_is_not_logged_either():
    record = record_of(fail)
    assert VALUE in logging.Formatter().format(record)
    assert VALUE not in NoValuesFormatter().format(record)


class Circular(Exception):
    """An exception that notices if its places are asked for again and again."""

    asked = 0

    @property
    def __traceback__(self):
        self.asked += 1
        assert self.asked < 100, "the chain is walked in circles"
        return None


def test_a_circular_chain_of_exceptions_is_logged_once():
    error = Circular(VALUE)
    error.__cause__ = error  # as "raise error from error" does

    lines = NoValuesFormatter().formatException((Circular, error, None)).splitlines()

    assert lines.count(f"{__name__}.Circular") == 1


def test_a_line_that_cannot_be_written_breaks_nothing_and_shows_no_value(capsys):
    """What failed before is the context of the error in the line."""
    try:
        fail()
    except Trouble:
        Console().handle(logging.makeLogRecord({"name": "perma_payments", "lineno": 7, "msg": "%s %s", "args": 1}))

    assert capsys.readouterr().err == "perma_payments, line 7: could not be logged: builtins.TypeError\n"


def test_every_log_line_is_formatted_without_values():
    assert {handler["class"] for handler in settings.LOGGING["handlers"].values()} == {
        "perma_payments.logs.Console"
    }
    formatters = settings.LOGGING["formatters"]
    assert {formatter["()"] for formatter in formatters.values()} == {"perma_payments.logs.NoValuesFormatter"}
    assert "logs.JsonFormatter" in str(settings_of(**production()).LOGGING["formatters"])
    assert "logs.JsonFormatter" not in str(settings_of(**production(LOG_FORMAT="text")).LOGGING["formatters"])
    assert all(handler["formatter"] in formatters for handler in settings.LOGGING["handlers"].values())
    assert settings.LOGGING["loggers"]["django"]["handlers"] == []


def test_a_line_of_json_holds_what_it_names_and_nothing_else_of_the_record():
    extra = {**ids(response_id=7), "request": VALUE, "anything": VALUE}
    record = logging.makeLogRecord(
        {"name": "perma_payments", "levelname": "INFO", "msg": "two\nlines: %s", "args": (1,), **extra}
    )
    record.created = 1_800_000_000.0
    line = JsonFormatter().format(record)

    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2027-01-15T08:00:00.000Z",
        "level": "INFO",
        "logger": "perma_payments",
        "message": "two\nlines: 1",
        "response_id": 7,
    }


@pytest.mark.parametrize(
    ("message", "arguments", "shown"),
    [
        (f"Invalid request from ip=192.0.2.1: Invalid HTTP request line: '{VALUE}'", (), "refused by Gunicorn"),
        ("Error handling request %s", (f"/portal/?token={VALUE}",), "Error handling request"),
        (Trouble(VALUE), (), "Trouble"),
        ("Exception during worker exit:\n%s", (VALUE,), "Exception during worker exit"),
        ("Listening at: %s", ("http://127.0.0.1:8000",), "Listening at: http://127.0.0.1:8000"),
    ],
    ids=str,
)
def test_gunicorns_lines_hold_nothing_that_a_client_sent(message, arguments, shown):
    record = logging.LogRecord("gunicorn.error", logging.WARNING, __file__, 1, message, arguments, None)
    record.exc_info = (Trouble, Trouble(VALUE), None) if shown in ("Trouble", "Error handling request") else None
    assert GunicornsLines().filter(record)

    line = JsonFormatter().format(record)
    assert json.loads(line)["message"].startswith(shown)
    assert "Zaphod" not in line and "192.0.2.1" not in line
    assert hasattr(record, "refused") == str(message).startswith("Invalid request")


@pytest.mark.parametrize(
    ("file", "variables", "formatter"),
    [
        ("", {}, NoValuesFormatter),
        ("", {"PERMA_PAYMENTS_ENV": "production"}, JsonFormatter),
        ("PERMA_PAYMENTS_ENV=staging", {}, JsonFormatter),
        ("PERMA_PAYMENTS_ENV=staging", {"LOG_FORMAT": "text"}, NoValuesFormatter),
        ("LOG_FORMAT=json", {}, JsonFormatter),
    ],
    ids=str,
)
def test_gunicorns_master_writes_like_the_service_and_leaves_its_environment_alone(
    tmp_path, monkeypatch, file, variables, formatter
):
    (tmp_path / ".env").write_text(file)
    monkeypatch.setattr(gunicorn_logs, "ENV_FILE", tmp_path / ".env")
    for name in ("PERMA_PAYMENTS_ENV", "LOG_FORMAT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    for name in ("error", "access"):
        logger = logging.getLogger(f"gunicorn.{name}")
        monkeypatch.setattr(logger, "handlers", [])
        monkeypatch.setattr(logger, "propagate", logger.propagate)

    log = gunicorn_logs.Logger(Config()).error_log

    (handler,) = log.handlers
    assert type(handler.formatter) is formatter
    assert any(isinstance(each, GunicornsLines) for each in handler.filters)
    assert dict(os.environ) == before


# --- Django's error reports -------------------------------------------------------------------------


def error_report():
    """The data of an error report about a POST, where a local variable holds the value."""
    request = RequestFactory().post("/", {"name": VALUE})
    local = VALUE
    assert local
    try:
        raise Trouble
    except Trouble:
        return ExceptionReporter(request, *sys.exc_info()).get_traceback_data()


@pytest.mark.parametrize("debug", [True, False])
def test_a_report_holds_nothing_that_was_posted(debug, settings):
    settings.DEBUG = debug
    assert dict(error_report()["filtered_POST_items"]) == {}


@pytest.mark.parametrize("debug", [True, False])
def test_a_report_holds_no_variables(debug, settings):
    settings.DEBUG = debug
    report = error_report()
    assert report["frames"]
    assert all(dict(frame["vars"]) == {} for frame in report["frames"])


@pytest.mark.parametrize("debug", [True, False])
def test_the_filter_is_in_use_with_debug_too(debug, settings):
    settings.DEBUG = debug
    used = get_exception_reporter_filter(RequestFactory().get("/"))
    assert type(used) is NoValuesFilter
    assert used.is_active(None)
