"""The start warns in time of keys that end, and of what is allowed but rarely meant."""

from datetime import date

import pytest
from django.core import checks as django_checks

from perma_payments import checks
from perma_payments.cybersource.signature import SigningKey

from .environments import COMMAND, SECRET, WSGI, production, settings_of, staging, start


@pytest.fixture
def warnings(monkeypatch):
    """What the checks find in the settings that an environment gives."""

    def warnings(**environment):
        monkeypatch.setattr(checks, "settings", settings_of(**environment))
        return [
            message
            for check in django_checks.registry.registry.registered_checks
            if checks.TAG in check.tags
            for message in check(None)
        ]

    return warnings


@pytest.mark.parametrize("environment", [{}, staging(), production()], ids=["development", "staging", "real"])
def test_values_as_they_should_be_give_no_warning(warnings, environment):
    assert warnings(**environment) == []


@pytest.mark.parametrize("real", [staging, production])
@pytest.mark.parametrize(
    "number, changes",
    [
        (3, {"ADMIN_ENABLED": ...}),
        (3, {"ADMIN_ENABLED": "false"}),
        (4, {"BEHIND_HTTPS_PROXY": ...}),
        (5, {"EMAIL_USE_TLS": "false"}),
    ],
)
def test_what_is_rarely_meant_is_warned_of(warnings, real, number, changes):
    (warning,) = warnings(**real(**changes))
    assert (warning.id, warning.is_serious()) == (f"perma_payments.W{number:03}", False)
    assert warning.hint


@pytest.mark.parametrize("changes", [{"EMAIL_HOST": "localhost"}, {"EMAIL_USE_SSL": "true"}])
def test_mail_in_clear_on_this_machine_or_in_tls_from_the_first_byte_is_not_warned_of(warnings, changes):
    assert warnings(**production(EMAIL_USE_TLS="false", **changes)) == []


@pytest.mark.parametrize("arguments", [COMMAND, WSGI], ids=["command", "wsgi"])
def test_a_warning_is_said_at_the_start_and_stops_nothing(arguments):
    ended = start(*arguments, **production(EMAIL_USE_TLS="false"))
    assert ended.returncode == 0
    assert ended.stderr.count("EMAIL_USE_TLS and EMAIL_USE_SSL are off: mail and EMAIL_HOST_PASSWORD cross") == 1


# --- Keys that end ----------------------------------------------------------------------------------


def age_of(created_on, today):
    key = SigningKey("0011", "Zaphod", created_on and date.fromisoformat(created_on))
    return checks.age_of(key, today=date.fromisoformat(today))


@pytest.mark.parametrize(
    "created_on, today",
    [
        ("2024-11-21", "2024-11-21"),
        ("2024-11-21", "2026-09-21"),
        ("2024-02-29", "2025-12-29"),
        ("2026-02-28", "2027-12-29"),
        ("2026-03-01", "2027-12-31"),
        (None, "2026-11-21"),
    ],
)
def test_until_60_days_before_its_end_there_is_no_warning_of_a_key(created_on, today):
    assert age_of(created_on, today) is None


@pytest.mark.parametrize(
    "created_on, today, text",
    [
        ("2024-11-21", "2026-09-22", "CyberSource's key 0011 ends on 2026-11-21."),
        ("2024-11-21", "2026-11-20", "CyberSource's key 0011 ends on 2026-11-21."),
        ("2024-11-21", "2026-11-21", "CyberSource's key 0011 ended on 2026-11-21."),
        ("2024-11-21", "2030-01-01", "CyberSource's key 0011 ended on 2026-11-21."),
        # Made on a leap day.
        ("2024-02-29", "2025-12-30", "CyberSource's key 0011 ends on 2026-02-28."),
        ("2024-02-29", "2026-02-27", "CyberSource's key 0011 ends on 2026-02-28."),
        ("2024-02-29", "2026-02-28", "CyberSource's key 0011 ended on 2026-02-28."),
        # Ends in a leap year.
        ("2026-02-28", "2027-12-30", "CyberSource's key 0011 ends on 2028-02-28."),
        ("2026-03-01", "2028-01-01", "CyberSource's key 0011 ends on 2028-03-01."),
    ],
)
def test_from_60_days_before_its_end_there_is_a_warning_of_a_key(created_on, today, text):
    warning = age_of(created_on, today)
    assert (warning.id, warning.msg) == ("perma_payments.W001", text)
    assert "Zaphod" not in f"{warning.msg} {warning.hint}"


def test_every_key_that_ends_is_warned_of_but_stops_nothing(warnings):
    found = warnings(
        **production(CS_KEYS=f"new:{SECRET}:{date.today()},old:{SECRET}:2020-01-01,older:{SECRET}:2018-01-01")
    )
    assert [warning.msg for warning in found] == [
        "CyberSource's key old ended on 2022-01-01.",
        "CyberSource's key older ended on 2020-01-01.",
    ]
    assert not any(warning.is_serious() for warning in found)
