"""Staging and production start only with values of their own; development only where nothing is real."""

import re
import string
from datetime import date, timedelta

import pytest

from perma_payments.env import DEVELOPMENT_NOTICE, BadSetting
from perma_payments.setting_rules import is_local

from . import cyber_source, perma_cc
from .environments import (
    ARCHIVES_PAIR,
    COMMAND,
    NO_DATABASE,
    OUR_PAIR,
    PERMAS_PAIR,
    ROOT,
    SECRET,
    WSGI,
    base64_of,
    production,
    said,
    settings_of,
    staging,
    start,
)

DEVELOPMENTS_ARCHIVE_KEY = "Ukzx+GaBsGtsRPoumeguxgcO9o1LH7csoU1s/uZCvyI="
DEVELOPMENTS_SECRET_KEY = "development-only:this-text-is-public-and-production-refuses-to-start-with-it"

real_ones = pytest.mark.parametrize("real", [staging, production])
both_ways = pytest.mark.parametrize("arguments", [COMMAND, WSGI], ids=["command", "wsgi"])


def told(**environment):
    """The sentences that the settings of an environment end with; an empty list if they are taken."""
    try:
        settings_of(**environment)
    except BadSetting as ending:
        return ending.code.split("\n")
    return []


# --- Staging and production -------------------------------------------------------------------------


@real_ones
def test_values_of_its_own_are_taken(real):
    assert told(**real()) == []


@real_ones
def test_staging_is_as_careful_as_production(real):
    settings = settings_of(**real(ADMIN_ENABLED=...))

    assert settings.SESSION_COOKIE_SECURE and settings.CSRF_COOKIE_SECURE and settings.REQUIRE_SECOND_FACTOR
    assert settings.SECURE_HSTS_SECONDS == 31536000
    assert (settings.EMAIL_USE_TLS, settings.EMAIL_PORT, settings.ADMIN_ENABLED) == (True, 587, False)


@real_ones
@pytest.mark.parametrize(
    "sentence, changes",
    [
        ("DEBUG is on in {place}.", {"DEBUG": "true"}),
        ("SECRET_KEY is weak", {"SECRET_KEY": DEVELOPMENTS_SECRET_KEY}),
        ("SECRET_KEY is weak", {"SECRET_KEY": string.ascii_letters[:49]}),
        ("SECRET_KEY is weak", {"SECRET_KEY": "123456789" * 10}),
        ("SECRET_KEY is weak", {"SECRET_KEY": "django-insecure-" + string.ascii_letters}),
        *[
            ("PERMA_PAYMENTS_SECRET_KEY is one of development's", {"PERMA_PAYMENTS_SECRET_KEY": base64_of(key)})
            for key in (perma_cc.PERMA_PAYMENTS_SECRET, perma_cc.PERMA_SECRET, perma_cc.PERMA_PAYMENTS_PUBLIC)
        ],
        *[
            ("PERMA_PUBLIC_KEYS holds one of development's", {"PERMA_PUBLIC_KEYS": f"{others}a:{base64_of(key)}"})
            for key in (perma_cc.PERMA_PUBLIC, perma_cc.PERMA_PAYMENTS_PUBLIC, perma_cc.PERMA_SECRET)
            for others in ("", f"{production()['PERMA_PUBLIC_KEYS']},")
        ],
        (
            "ARCHIVE_PUBLIC_KEY is one of development's",
            {"ARCHIVE_PUBLIC_KEY": f"2026-11:{DEVELOPMENTS_ARCHIVE_KEY}"},
        ),
        ("CS_MODE is sandbox in {place}.", {"CS_MODE": "sandbox"}),
        ("CS_PROFILE_ID is the sandbox's", {"CS_PROFILE_ID": cyber_source.PROFILE_ID}),
        ("CS_KEYS holds the sandbox's", {"CS_KEYS": f"{cyber_source.ACCESS_KEY}:{SECRET}:{date.today()}"}),
        ("CS_KEYS holds the sandbox's", {"CS_KEYS": f"0011:{cyber_source.SECRET}:{date.today()}"}),
        (
            "CS_KEYS holds the sandbox's",
            {"CS_KEYS": f"{production()['CS_KEYS']},{cyber_source.ACCESS_KEY}:{SECRET}:{date.today()}"},
        ),
        ("A key in CS_KEYS has no creation date", {"CS_KEYS": f"0011:{SECRET}"}),
        ("A key in CS_KEYS has no creation date", {"CS_KEYS": f"{production()['CS_KEYS']},0011:{SECRET}"}),
        (
            "A key in CS_KEYS has no creation date",
            {"CS_KEYS": f"0011:{SECRET}:{date.today() + timedelta(days=2)}"},
        ),
        ("A secret key in CS_KEYS is not 256", {"CS_KEYS": f"0011:{SECRET[:-1]}:{date.today()}"}),
        ("PERMA_URL does not use https", {"PERMA_URL": "http://perma.example"}),
        ("PAYMENTS_URL does not use https", {"PAYMENTS_URL": "http://payments.example.org"}),
        ("ALLOWED_HOSTS allows any host.", {"ALLOWED_HOSTS": "*"}),
        ("ALLOWED_HOSTS allows any host.", {"ALLOWED_HOSTS": "payments.example.org,*"}),
        ("MAIL_FROM and MAIL_REPLY_TO are the same", {"MAIL_FROM": "Info@perma.example"}),
        ("The admin is on in {place}", {"REQUIRE_SECOND_FACTOR": "false"}),
    ],
)
def test_what_is_published_or_weak_is_refused(real, sentence, changes):
    (told_,) = told(**real(**changes))

    assert told_.startswith(sentence.format(place=real()["PERMA_PAYMENTS_ENV"]))
    assert not any(value in told_ for name, value in changes.items() if "KEY" in name)


@pytest.mark.parametrize(
    "environment, mode, sentence",
    [
        (staging(), "live", "CS_MODE is live in staging. Set CS_MODE=test, or another PERMA_PAYMENTS_ENV"),
        (production(), "test", "CS_MODE is test in production. Set CS_MODE=live, or another PERMA_PAYMENTS_ENV"),
    ],
)
def test_each_environment_has_its_cybersource(environment, mode, sentence):
    (told_,) = told(**{**environment, "CS_MODE": mode})
    assert told_.startswith(sentence)


@real_ones
@pytest.mark.parametrize(
    "name",
    [name for name in production() if name not in ("PERMA_PAYMENTS_ENV", "ADMIN_ENABLED", "BEHIND_HTTPS_PROXY")],
)
def test_every_value_is_demanded(real, name):
    (told_,) = told(**real(**{name: ...}))
    assert told_.startswith(f"The setting {name} is not set: ")


def test_all_that_is_wrong_is_told_in_one_start():
    found = told(PERMA_PAYMENTS_ENV="production", DEBUG="true", OVERDUE_DAYS="0", EMAIL_PORT="465")

    missing = {name[1] for sentence in found if (name := re.match(r"The setting (\w+) is not set", sentence))}
    assert missing == {*production()} - {"PERMA_PAYMENTS_ENV", "ADMIN_ENABLED", "BEHIND_HTTPS_PROXY"}
    assert [sentence.split(":")[0][:34] for sentence in found if "is not set" not in sentence] == [
        "The setting OVERDUE_DAYS cannot be",
        "DEBUG is on in production. Remove ",
        "EMAIL_PORT is 465, where a mail se",
    ]


@both_ways
@real_ones
def test_it_starts_with_values_of_its_own_without_a_word(real, arguments):
    ended = start(*arguments, **real(DATABASE_URL=NO_DATABASE))
    assert (ended.returncode, said(ended)) == (0, "")


@both_ways
def test_with_nothing_set_production_does_not_start(arguments):
    ended = start(*arguments, PERMA_PAYMENTS_ENV="production")

    # Gunicorn starts a worker that ends with any other code than 3 again and again.
    assert ended.returncode == (3 if arguments is WSGI else 1)
    assert ended.stderr.count("\n") == ended.stderr.count("is not set: expected") == 17
    assert "Traceback" not in ended.stdout + ended.stderr


@both_ways
def test_with_a_key_of_development_production_does_not_start(arguments):
    ended = start(*arguments, **production(PERMA_PAYMENTS_SECRET_KEY=base64_of(perma_cc.PERMA_PAYMENTS_SECRET)))
    assert ended.returncode != 0
    assert ended.stderr.startswith("PERMA_PAYMENTS_SECRET_KEY is one of development's")
    assert "manage.py generate_keys" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert base64_of(perma_cc.PERMA_PAYMENTS_SECRET) not in ended.stdout + ended.stderr


def test_the_example_of_dotenv_is_taken_by_production():
    """All its lines with the comment signs taken off, and keys for its blanks."""
    example = (ROOT / ".env.example").read_text()
    variables = dict(re.findall(r"^#([A-Z_]+)=(.*)$", example, re.MULTILINE))
    keys = {name: value for name, value in production().items() if "KEY" in name}
    assert variables.keys() > keys.keys()

    assert told(**{**variables, **keys}) == []


def test_the_examples_of_sentences_are_taken_by_production():
    missing = told(PERMA_PAYMENTS_ENV="production")
    examples = dict(sentence.partition(", for example ")[2].split("=", 1) for sentence in missing)
    keys = {name: value for name, value in production().items() if "KEY" in name}

    assert told(**{"PERMA_PAYMENTS_ENV": "production", **examples, **keys}) == []


# --- Development ------------------------------------------------------------------------------------

LOCAL = [
    "localhost",
    "127.0.0.1",
    "[::1]",
    "perma-payments",
    "host.docker.internal",
    "perma.localhost",
    "perma.test",
]
REAL = [
    "perma.cc",
    "payments.example.org",
    "10.0.0.5",
    "192.168.1.5",
    "payments",
    "localhost.example.org",
    "[2001:db8::1]",
]


@pytest.mark.parametrize("host", LOCAL)
@pytest.mark.parametrize("name", ["ALLOWED_HOSTS", "PERMA_URL", "PAYMENTS_URL", "CS_SANDBOX_URL"])
def test_development_may_be_on_this_machine_and_in_docker(name, host):
    assert told(**{name: host if name == "ALLOWED_HOSTS" else f"http://{host}:8000"}) == []


@pytest.mark.parametrize("host", REAL)
@pytest.mark.parametrize("name", ["ALLOWED_HOSTS", "PERMA_URL", "PAYMENTS_URL", "CS_SANDBOX_URL"])
def test_development_is_refused_where_a_host_is_real(name, host):
    assert told(**{name: host if name == "ALLOWED_HOSTS" else f"https://{host}"}) == [
        f"A real host is named in {name}, but PERMA_PAYMENTS_ENV is development (its default), which accepts "
        "published keys. On a server, set PERMA_PAYMENTS_ENV=production (or staging). On a developer's machine, "
        "use localhost."
    ]


@pytest.mark.parametrize("hosts", ["*", "localhost,*", ".localhost.example.org", "localhost,perma.cc"])
def test_development_is_refused_where_any_host_is_allowed(hosts):
    (sentence,) = told(ALLOWED_HOSTS=hosts)
    assert sentence.startswith("A real host is named in ALLOWED_HOSTS, but")


@pytest.mark.parametrize("mode, environment", [("test", "staging"), ("live", "production")])
def test_development_is_refused_where_cybersource_is_real(mode, environment):
    (sentence,) = told(CS_MODE=mode)
    assert sentence.startswith(f"CS_MODE is {mode} in development")
    assert f"PERMA_PAYMENTS_ENV={environment}" in sentence


@pytest.mark.parametrize("real", [staging, production])
@both_ways
def test_a_server_whose_environment_was_forgotten_does_not_start(real, arguments):
    ended = start(*arguments, **real(PERMA_PAYMENTS_ENV=...))

    assert ended.returncode != 0
    assert [line[:40] for line in ended.stderr.splitlines()] == [
        f"CS_MODE is {real()['CS_MODE']} in development, which on"[:40],
        "A real host is named in ALLOWED_HOSTS, PERMA_URL, PAYMENTS_URL, but"[:40],
    ]
    assert ended.stderr.count("PERMA_PAYMENTS_ENV=production") == 2


@pytest.mark.parametrize("name", ["PERMA_PAYMENT_ENV", "perma_payments_env", "\ufeffPERMA_PAYMENTS_ENV"])
def test_a_server_whose_environment_is_misspelt_does_not_start(name):
    real = ("PERMA_PAYMENTS_ENV", "ALLOWED_HOSTS", "PERMA_URL", "PAYMENTS_URL", "CS_MODE")
    environment = production(**dict.fromkeys(real, ...))
    ended = start(*WSGI, **{name: "production", **environment})

    assert ended.returncode == 3
    assert ended.stderr.count("\n") == 1
    assert "PERMA_PAYMENTS_ENV" in ended.stderr


@both_ways
def test_development_says_what_it_is_once(arguments):
    ended = start(*arguments, DATABASE_URL=NO_DATABASE)
    assert (ended.returncode, said(ended)) == (0, f"{DEVELOPMENT_NOTICE}\n")


@pytest.mark.parametrize("host, local", [*((host, True) for host in LOCAL), *((host, False) for host in REAL)])
def test_which_hosts_are_local(host, local):
    assert is_local(host) is local
    assert is_local(host.upper()) is local


# --- Keys in the wrong place ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sentence, changes",
    [
        *[
            (sentence, {name: f"a:{base64_of(key)}"})
            for name, pair, sentence in (
                ("PERMA_PUBLIC_KEYS", OUR_PAIR, "PERMA_PUBLIC_KEYS holds a key of our own pair"),
                (
                    "ARCHIVE_PUBLIC_KEY",
                    OUR_PAIR,
                    "ARCHIVE_PUBLIC_KEY is a key of the pair of PERMA_PAYMENTS_SECRET_KEY",
                ),
                ("ARCHIVE_PUBLIC_KEY", PERMAS_PAIR, "ARCHIVE_PUBLIC_KEY is a key of Perma.cc's pair"),
            )
            for key in (pair, pair.public_key)
        ],
        (
            "PERMA_PUBLIC_KEYS holds a key of our own pair",
            {"PERMA_PUBLIC_KEYS": f"{production()['PERMA_PUBLIC_KEYS']},a:{base64_of(OUR_PAIR.public_key)}"},
        ),
        (
            "ARCHIVE_PUBLIC_KEY is a key of the pair of PERMA_PAYMENTS_SECRET_KEY",
            {"PERMA_PAYMENTS_SECRET_KEY": base64_of(ARCHIVES_PAIR)},
        ),
        (
            "ARCHIVE_PUBLIC_KEY is a key of the pair of PERMA_PAYMENTS_SECRET_KEY",
            {"PERMA_PAYMENTS_SECRET_KEY": base64_of(ARCHIVES_PAIR.public_key)},
        ),
        (
            "PERMA_PUBLIC_KEYS holds a key of our own pair",
            {"PERMA_PAYMENTS_SECRET_KEY": base64_of(PERMAS_PAIR.public_key)},
        ),
    ],
)
@pytest.mark.parametrize(
    "environment",
    [production(), {name: value for name, value in production().items() if "KEY" in name and "CS" not in name}],
    ids=["production", "development"],
)
def test_a_key_in_the_place_of_another_is_refused(environment, sentence, changes):
    (told_,) = told(**{**environment, **changes})

    assert told_.startswith(sentence)
    assert not any(value.partition(":")[2] in told_ for value in changes.values() if ":" in value)


# --- Mail -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"EMAIL_PORT": "465"}, "EMAIL_PORT is 465, where a mail server speaks TLS from the first byte"),
        ({"EMAIL_PORT": "465", "EMAIL_USE_TLS": "true"}, "EMAIL_PORT is 465, where a mail server speaks TLS"),
        ({"EMAIL_PORT": "465", "EMAIL_USE_TLS": "false"}, "EMAIL_PORT is 465, where a mail server speaks TLS"),
        ({"EMAIL_USE_SSL": "true", "EMAIL_USE_TLS": "true"}, "EMAIL_USE_SSL and EMAIL_USE_TLS are both on."),
        ({"EMAIL_HOST_USER": "Zaphod"}, "Only one of EMAIL_HOST_USER and EMAIL_HOST_PASSWORD is set"),
        ({"EMAIL_HOST_PASSWORD": "Zaphod"}, "Only one of EMAIL_HOST_USER and EMAIL_HOST_PASSWORD is set"),
        ({"EMAIL_USE_SSL": "true", "EMAIL_PORT": "587"}, "EMAIL_PORT is 587, where a mail server changes to TLS"),
        ({"EMAIL_USE_SSL": "true", "EMAIL_PORT": "25"}, "EMAIL_PORT is 25, where a mail server changes to TLS"),
    ],
)
@pytest.mark.parametrize("environment", [production(), {}], ids=["production", "development"])
def test_a_way_to_the_mail_server_that_cannot_work_is_refused(environment, settings, sentence):
    (told_,) = told(**environment, **settings)
    assert told_.startswith(sentence)


@pytest.mark.parametrize(
    "given, taken",
    [
        ({}, (587, True, False)),
        ({"EMAIL_USE_SSL": "true"}, (465, False, True)),
        ({"EMAIL_USE_SSL": "true", "EMAIL_PORT": "465", "EMAIL_USE_TLS": "false"}, (465, False, True)),
        ({"EMAIL_USE_SSL": "true", "EMAIL_PORT": "2465"}, (2465, False, True)),
        ({"EMAIL_PORT": "2525"}, (2525, True, False)),
        ({"EMAIL_PORT": "25", "EMAIL_USE_TLS": "false"}, (25, False, False)),
    ],
)
def test_any_other_way_to_the_mail_server_is_taken(given, taken):
    settings = settings_of(**production(**given))
    assert (settings.EMAIL_PORT, settings.EMAIL_USE_TLS, settings.EMAIL_USE_SSL) == taken
