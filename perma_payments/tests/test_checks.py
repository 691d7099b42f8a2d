"""Production starts only with values of its own, and warns in time of keys that end."""
import base64
import importlib.util
import os
import string
from datetime import date, timedelta
from unittest import mock

import pytest
from django.core import checks as django_checks
from nacl.public import PrivateKey

from perma_payments import checks
from perma_payments.cybersource.signature import SigningKey

from . import cyber_source, perma_cc
from .test_env import ROOT, assert_ended_with_a_sentence_about, start

DEVELOPMENT_VAULT_KEY = "Ukzx+GaBsGtsRPoumeguxgcO9o1LH7csoU1s/uZCvyI="
SECRET = "0f1e2d3c4b5a69788796a5b4c3d2e1f0" * 8


def base64_of(key):
    return base64.b64encode(bytes(key)).decode()


def production(**changes):
    """A valid environment for production; ``changes`` replace some variables, ``...`` takes one away."""
    variables = {
        "PERMA_PAYMENTS_ENV": "production",
        "SECRET_KEY": string.ascii_letters[:50],
        "ALLOWED_HOSTS": "payments.example.org,perma-payments",
        "DATABASE_URL": "postgres://perma_payments:password@localhost/perma_payments",
        "PERMA_URL": "https://perma.example",
        "CONTACT_EMAIL": "info@perma.example",
        "PERMA_PAYMENTS_SECRET_KEY": base64_of(PrivateKey(b"1" * 32)),
        "PERMA_PUBLIC_KEYS": f"2026-11:{base64_of(PrivateKey(b'2' * 32).public_key)}",
        "CS_MODE": "live",
        "CS_PROFILE_ID": "A1B2C3D4-0000-4000-8000-ABCDEF012345",
        "CS_KEYS": f"00112233445566778899aabbccddeeff:{SECRET}:{date.today()}",
        "VAULT_PUBLIC_KEY": f"2026-11:{base64_of(PrivateKey(b'3' * 32).public_key)}",
        "EMAIL_HOST": "smtp.example.org",
        "MAIL_FROM": "payments@perma.example",
        "MAIL_REPLY_TO": "info@perma.example",
        "STAFF_EMAILS": "staff@perma.example",
        "DEVELOPER_EMAILS": "developers@perma.example",
        "PAYMENTS_URL": "https://payments.example.org",
        "ADMIN_ENABLED": "true",
        "BEHIND_HTTPS_PROXY": "true",
        **changes,
    }
    return {name: value for name, value in variables.items() if value is not ...}


@pytest.fixture
def problems(monkeypatch):
    """What the checks find in the settings that an environment gives."""
    def problems(**environment):
        spec = importlib.util.spec_from_file_location(
            "perma_payments.settings_under_test", ROOT / "perma_payments" / "settings.py"
        )
        settings = importlib.util.module_from_spec(spec)
        with mock.patch.dict(os.environ, {**environment, "PYTHON_DOTENV_DISABLED": "1"}, clear=True):
            spec.loader.exec_module(settings)
        monkeypatch.setattr(checks, "settings", settings)
        return checks.check_production(None) + checks.check_signing_keys(None)

    return problems


# --- Production -------------------------------------------------------------------------------------

def test_production_with_values_of_its_own_is_without_problems(problems):
    assert problems(**production()) == []


def test_development_with_the_values_of_development_is_without_problems(problems):
    assert problems(DATABASE_URL=os.environ["DATABASE_URL"], DEBUG="true", ALLOWED_HOSTS="*") == []


@pytest.mark.parametrize("number, changes", [
    (1, {"DEBUG": "true"}),
    (2, {"SECRET_KEY": "development-only:this-text-is-public-and-production-refuses-to-start-with-it"}),
    (2, {"SECRET_KEY": string.ascii_letters[:49]}),
    (2, {"SECRET_KEY": "123456789" * 10}),
    (3, {"PERMA_PAYMENTS_SECRET_KEY": base64_of(perma_cc.PERMA_PAYMENTS_SECRET)}),
    (2, {"SECRET_KEY": "django-insecure-" + string.ascii_letters}),
    (3, {"PERMA_PAYMENTS_SECRET_KEY": base64_of(perma_cc.PERMA_SECRET)}),
    (4, {"PERMA_PUBLIC_KEYS": f"2026-11:{base64_of(perma_cc.PERMA_PUBLIC)}"}),
    (4, {"PERMA_PUBLIC_KEYS": f"2026-11:{base64_of(perma_cc.PERMA_PAYMENTS_PUBLIC)}"}),
    (4, {"PERMA_PUBLIC_KEYS": f"{production()['PERMA_PUBLIC_KEYS']},old:{base64_of(perma_cc.PERMA_PUBLIC)}"}),
    (5, {"VAULT_PUBLIC_KEY": f"2026-11:{DEVELOPMENT_VAULT_KEY}"}),
    (6, {"CS_MODE": "test"}),
    (6, {"CS_MODE": "sandbox"}),
    (7, {"CS_PROFILE_ID": cyber_source.PROFILE_ID}),
    (7, {"CS_KEYS": f"{cyber_source.ACCESS_KEY}:{SECRET}:{date.today()}"}),
    (7, {"CS_KEYS": f"0011:{cyber_source.SECRET}:{date.today()}"}),
    (7, {"CS_KEYS": f"{production()['CS_KEYS']},{cyber_source.ACCESS_KEY}:{SECRET}:{date.today()}"}),
    (8, {"CS_KEYS": f"0011:{SECRET}"}),
    (8, {"CS_KEYS": f"{production()['CS_KEYS']},0011:{SECRET}"}),
    (8, {"CS_KEYS": f"0011:{SECRET}:{date.today() + timedelta(days=2)}"}),
    (9, {"PERMA_URL": "http://perma.example"}),
    (9, {"PAYMENTS_URL": "http://payments.example.org"}),
    (12, {"REQUIRE_SECOND_FACTOR": "false"}),
    (13, {"CS_KEYS": f"0011:{SECRET[:-1]}:{date.today()}"}),
    (10, {"ALLOWED_HOSTS": "*"}),
    (10, {"ALLOWED_HOSTS": "payments.example.org,*"}),
])
def test_production_refuses_what_only_development_may_use(problems, number, changes):
    (problem,) = problems(**production(**changes))

    assert problem.id == f"perma_payments.E{number:03}"
    assert problem.is_serious()
    assert problem.hint
    assert not any(value in f"{problem.msg} {problem.hint}" for name, value in changes.items() if "KEY" in name)


def test_production_names_every_problem_at_once(problems):
    found = problems(**production(DEBUG="true", CS_MODE="test", PERMA_URL="http://perma.example"))
    assert [problem.id[-4:] for problem in found] == ["E001", "E006", "E009"]


@pytest.mark.parametrize("name", [
    name for name in production() if name not in ("PERMA_PAYMENTS_ENV", "ADMIN_ENABLED", "BEHIND_HTTPS_PROXY")
])
def test_production_demands_every_value(problems, name):
    with pytest.raises(SystemExit, match=f"^The setting {name} is not set: "):
        problems(**production(**{name: ...}))


def test_the_checks_are_run_by_their_tag():
    registered = django_checks.registry.registry.registered_checks
    tagged = {check.__name__ for check in registered if checks.TAG in check.tags}
    assert tagged >= {"check_production", "check_signing_keys"}


# --- The real start ---------------------------------------------------------------------------------

WSGI = ["-c", "import perma_payments.wsgi"]
COMMAND = ["manage.py", "check"]


@pytest.mark.parametrize("arguments", [COMMAND, WSGI], ids=["command", "wsgi"])
def test_production_starts_with_values_of_its_own(arguments):
    ended = start(*arguments, **production())
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [COMMAND, WSGI], ids=["command", "wsgi"])
def test_production_with_nothing_set_ends_with_a_sentence(arguments):
    assert_ended_with_a_sentence_about("SECRET_KEY", start(*arguments, PERMA_PAYMENTS_ENV="production"))


def test_production_without_a_database_ends_with_a_sentence():
    assert_ended_with_a_sentence_about("DATABASE_URL", start(*COMMAND, **production(DATABASE_URL=...)))


@pytest.mark.parametrize("arguments", [COMMAND, WSGI], ids=["command", "wsgi"])
def test_production_with_a_key_of_development_does_not_start(arguments):
    ended = start(*arguments, **production(PERMA_PAYMENTS_SECRET_KEY=base64_of(perma_cc.PERMA_PAYMENTS_SECRET)))
    assert ended.returncode != 0
    assert "PERMA_PAYMENTS_SECRET_KEY is one of development's" in ended.stderr
    assert "manage.py generate_keys" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert base64_of(perma_cc.PERMA_PAYMENTS_SECRET) not in ended.stdout + ended.stderr


# --- Keys that end ----------------------------------------------------------------------------------

def age_of(created_on, today):
    key = SigningKey("0011", "Zaphod", created_on and date.fromisoformat(created_on))
    return checks.age_of(key, today=date.fromisoformat(today))


@pytest.mark.parametrize("created_on, today", [
    ("2024-11-21", "2024-11-21"), ("2024-11-21", "2026-09-21"), ("2024-02-29", "2025-12-29"),
    ("2026-02-28", "2027-12-29"), ("2026-03-01", "2027-12-31"), (None, "2026-11-21"),
])
def test_until_60_days_before_its_end_there_is_no_warning_of_a_key(created_on, today):
    assert age_of(created_on, today) is None


@pytest.mark.parametrize("created_on, today, text", [
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
])
def test_from_60_days_before_its_end_there_is_a_warning_of_a_key(created_on, today, text):
    warning = age_of(created_on, today)
    assert (warning.id, warning.msg) == ("perma_payments.W001", text)
    assert "Zaphod" not in f"{warning.msg} {warning.hint}"


def test_every_key_that_ends_is_warned_of_but_stops_nothing(problems):
    found = problems(**production(
        CS_KEYS=f"new:{SECRET}:{date.today()},old:{SECRET}:2020-01-01,older:{SECRET}:2018-01-01"
    ))
    assert [problem.msg for problem in found] == [
        "CyberSource's key old ended on 2022-01-01.", "CyberSource's key older ended on 2020-01-01.",
    ]
    assert not any(problem.is_serious() for problem in found)


# --- What is not for production alone ---------------------------------------------------------------

@pytest.mark.parametrize("name", ["PERMA_PUBLIC_KEYS", "VAULT_PUBLIC_KEY"])
def test_a_key_that_nothing_can_be_sealed_with_stops_the_start(name):
    ended = start("-c", "import perma_payments.wsgi", **production(**{name: f"2026-11:{base64_of(bytes(32))}"}))

    # Gunicorn starts a worker that ends with any other code again and again.
    assert ended.returncode == 3
    assert f"{name} holds a key that nothing can be sealed with." in ended.stderr
    assert "Traceback" not in ended.stderr


def test_browsers_are_told_to_come_back_by_https_in_digits_only():
    told = start(
        "-c", "from django.conf import settings; print(repr(settings.SECURE_HSTS_SECONDS))",
        DJANGO_SETTINGS_MODULE="perma_payments.settings", **production(),
    )

    assert told.stdout.strip() == "31536000"
