"""The checks warn of keys that will expire, and of settings that are allowed but rarely meant."""

import secrets
from datetime import UTC, date, datetime

import pytest
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from perma_payments import checks
from perma_payments.cybersource.signature import SigningKey
from perma_payments.models import Response
from perma_payments.postgres.log_settings import DISCREET

from . import postgres_log
from .environments import COMMAND, SECRET, WSGI, production, settings_of, staging, start

# As docs/operations.md sets them.
DISCREET_FOR_OUR_ROLE = {name: values[0] for name, values in DISCREET.items()}


@pytest.fixture
def warnings(monkeypatch):
    """What the checks find in the settings that an environment gives."""

    def warnings(**environment):
        monkeypatch.setattr(checks, "settings", settings_of(**environment))
        return checks.check_settings(None)

    return warnings


@pytest.mark.parametrize(
    "environment", [{}, staging(), production()], ids=["development", "staging", "production"]
)
def test_correct_values_give_no_warning(warnings, environment):
    assert warnings(**environment) == []


@pytest.mark.parametrize(
    "number, changes",
    [
        (3, {"ADMIN_ENABLED": ...}),
        (3, {"ADMIN_ENABLED": "false"}),
        (3, {"ADMIN_ENABLED": "false", "PERMA_PAYMENTS_ENV": "staging", "CS_MODE": "test"}),
        (4, {"BEHIND_HTTPS_PROXY": ...}),
    ],
)
def test_a_setting_that_is_rarely_meant_is_warned_of(warnings, number, changes):
    (warning,) = warnings(**production(**changes))
    assert (warning.id, warning.is_serious()) == (f"perma_payments.W{number:03}", False)
    assert warning.hint


@pytest.mark.parametrize("arguments", [COMMAND, WSGI], ids=["command", "wsgi"])
def test_a_warning_is_printed_at_the_start_and_stops_nothing(arguments):
    ended = start(*arguments, **production(ADMIN_ENABLED="false"))
    assert ended.returncode == 0
    assert ended.stderr.count("The admin is off, so staff cannot mark their tasks as done.") == 1


# --- PostgreSQL's log -------------------------------------------------------------------------------


def set_for_now(**values):
    with connection.cursor() as cursor:
        for name, value in values.items():
            cursor.execute(f"SET LOCAL {name} = %s", [value])


@pytest.mark.django_db
@pytest.mark.parametrize(
    "name, value",
    [
        ("log_min_error_statement", "error"),
        ("log_min_error_statement", "fatal"),
        ("log_error_verbosity", "default"),
        ("log_statement", "all"),
        ("log_statement", "mod"),
        ("log_min_duration_statement", "0"),
    ],
)
def test_a_log_of_postgresql_that_may_show_tokens_is_warned_of(monkeypatch, name, value):
    monkeypatch.setattr(checks, "settings", settings_of(**production()))
    set_for_now(**DISCREET_FOR_OUR_ROLE)
    assert checks.check_log_of_postgresql(None, databases=["default"]) == []

    set_for_now(**{name: value})
    (warning,) = checks.check_log_of_postgresql(None, databases=["default"])
    assert (warning.id, warning.is_serious()) == ("perma_payments.W010", False)
    assert f"Set {name} for the role in DATABASE_URL" in warning.hint
    # Nothing asks for the database where none was named, and in development it does not matter.
    assert checks.check_log_of_postgresql(None) == []
    monkeypatch.setattr(checks, "settings", settings_of())
    assert checks.check_log_of_postgresql(None, databases=["default"]) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_set", [False, True])
def test_with_these_settings_postgresqls_log_shows_no_row(is_set):
    log = postgres_log.reading_from_now()
    token = f"{secrets.token_hex(12)}!"
    row = {"fingerprint": b"x", "sealed": b"x", "archive_key_id": "k"}
    with pytest.raises(IntegrityError), transaction.atomic():
        if is_set:
            set_for_now(**DISCREET_FOR_OUR_ROLE)
        Response.objects.create(payment_token=token, **row)
    assert "response_payment_token_form" in log()
    assert (token in log()) == (not is_set)


def test_the_documented_settings_are_these():
    documented = (settings.BASE_DIR / "docs" / "operations.md").read_text()
    for name, value in DISCREET_FOR_OUR_ROLE.items():
        assert f"ALTER ROLE perma_payments_a SET {name} = '{value}';" in documented


# --- Keys that end ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "created_on, today, soon",
    [
        ("2024-11-21", "2024-11-21", False),
        ("2024-11-21", "2026-09-21", False),
        ("2024-11-21", "2026-09-22", True),
        ("2024-11-21", "2026-11-21", True),
        ("2024-11-21", "2030-01-01", True),
        # Created on a leap day, so it ends on February 28.
        ("2024-02-29", "2025-12-29", False),
        ("2024-02-29", "2025-12-30", True),
        # Ends in a leap year.
        ("2026-03-01", "2027-12-31", False),
        ("2026-03-01", "2028-01-01", True),
        (None, "2026-11-21", False),
    ],
)
def test_a_key_ends_soon_from_60_days_before_its_end(created_on, today, soon):
    key = SigningKey("0011", "Zaphod", created_on and date.fromisoformat(created_on))
    assert key.ends_soon(date.fromisoformat(today)) is soon


def test_every_key_that_ends_soon_is_warned_of(warnings, monkeypatch):
    dates = ("2026-11-20", "2024-11-22", "2024-11-21", "2020-02-29")
    keys = ",".join(f"{date.replace('-', '')}:{SECRET}:{date}" for date in dates)
    monkeypatch.setattr(timezone, "now", lambda: datetime(2026, 11, 21, tzinfo=UTC))
    found = warnings(**production(CS_KEYS=keys))

    assert [(warning.id, warning.msg) for warning in found] == [
        ("perma_payments.W001", "CyberSource's key 20241122 ends on 2026-11-22."),
        ("perma_payments.W001", "CyberSource's key 20241121 ended on 2026-11-21."),
        ("perma_payments.W001", "CyberSource's key 20200229 ended on 2022-02-28."),
    ]
    assert not any(warning.is_serious() for warning in found)
    assert SECRET not in "".join(f"{warning.msg} {warning.hint}" for warning in found)
