"""Staging and production start only with values of their own; development only where nothing is real."""

import re
import string
from datetime import date, timedelta

import pytest

from perma_payments.development import NOTICE
from perma_payments.env import BadSetting
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

DEVELOPMENTS_ARCHIVE_SECRET = "txmKQuPWYukMWn/wdZaMah47r4A86ojNThvBSmc2I2Q="
DEVELOPMENTS_ARCHIVE_KEY = "Ukzx+GaBsGtsRPoumeguxgcO9o1LH7csoU1s/uZCvyI="
DEVELOPMENTS_SECRET_KEY = "development-only:this-text-is-public-and-production-refuses-to-start-with-it"
TODAY = date.today()
REQUIRED = {*production()} - {"PERMA_PAYMENTS_ENV", "ADMIN_ENABLED", "BEHIND_HTTPS_PROXY"}

staging_and_production = pytest.mark.parametrize("real", [staging, production])
both_ways = pytest.mark.parametrize("arguments", [COMMAND, WSGI], ids=["command", "wsgi"])


def told(**environment):
    """The sentences that the settings of an environment end with; an empty list if they are accepted."""
    try:
        settings_of(**environment)
    except BadSetting as ending:
        return ending.code.split("\n")
    return []


def with_ring(name, value):
    """The value that production has for a ring of keys, with another key behind it."""
    return f"{production()[name]},{value}"


# --- Staging and production -------------------------------------------------------------------------


@staging_and_production
def test_values_of_its_own_are_accepted(real):
    assert told(**real()) == []


@staging_and_production
def test_staging_is_as_careful_as_production(real):
    settings = settings_of(**real(ADMIN_ENABLED=...))

    assert settings.SESSION_COOKIE_SECURE and settings.CSRF_COOKIE_SECURE and settings.REQUIRE_SECOND_FACTOR
    assert settings.SECURE_HSTS_SECONDS == 31536000
    assert settings.SECURE_HSTS_INCLUDE_SUBDOMAINS
    assert (settings.EMAIL_USE_TLS, settings.EMAIL_PORT, settings.ADMIN_ENABLED) == (True, 587, False)


@pytest.mark.parametrize(
    "sentence, name, value",
    [
        ("DEBUG is on in production.", "DEBUG", "true"),
        ("SECRET_KEY is weak", "SECRET_KEY", DEVELOPMENTS_SECRET_KEY),
        ("SECRET_KEY is weak", "SECRET_KEY", string.ascii_letters[:49]),
        ("SECRET_KEY is weak", "SECRET_KEY", "123456789" * 10),
        ("SECRET_KEY is weak", "SECRET_KEY", "django-insecure-" + string.ascii_letters),
        *[
            ("A key in SECRET_KEY_FALLBACKS is weak", "SECRET_KEY_FALLBACKS", value)
            for value in (
                DEVELOPMENTS_SECRET_KEY,
                string.ascii_letters[:49],
                f"{string.ascii_letters},{'123456789' * 10}",
                f"{string.ascii_letters[:25]},{string.ascii_letters[25:]}",
            )
        ],
        *[
            ("PERMA_PAYMENTS_SECRET_KEYS holds one of development's", "PERMA_PAYMENTS_SECRET_KEYS", value)
            for value in (
                f"a:{base64_of(perma_cc.PERMA_PAYMENTS_SECRET)}",
                f"a:{base64_of(perma_cc.PERMA_SECRET)}",
                with_ring("PERMA_PAYMENTS_SECRET_KEYS", f"a:{base64_of(perma_cc.PERMA_PAYMENTS_PUBLIC)}"),
            )
        ],
        *[
            ("PERMA_PUBLIC_KEYS holds one of development's", "PERMA_PUBLIC_KEYS", value)
            for value in (
                f"a:{base64_of(perma_cc.PERMA_PUBLIC)}",
                f"a:{base64_of(perma_cc.PERMA_SECRET)}",
                with_ring("PERMA_PUBLIC_KEYS", f"a:{base64_of(perma_cc.PERMA_PAYMENTS_PUBLIC)}"),
            )
        ],
        *[
            ("ARCHIVE_PUBLIC_KEY is one of development's", "ARCHIVE_PUBLIC_KEY", f"a:archive-public:{key}")
            for key in (
                DEVELOPMENTS_ARCHIVE_KEY,
                DEVELOPMENTS_ARCHIVE_SECRET,
                base64_of(perma_cc.PERMA_PUBLIC),
                base64_of(perma_cc.PERMA_PAYMENTS_SECRET),
            )
        ],
        ("CS_MODE is sandbox in production.", "CS_MODE", "sandbox"),
        ("CS_MODE is test in production. Set CS_MODE=live, or another PERMA_PAYMENTS_ENV", "CS_MODE", "test"),
        ("CS_PROFILE_ID is the sandbox's", "CS_PROFILE_ID", cyber_source.PROFILE_ID),
        *[
            ("CS_KEYS holds the sandbox's", "CS_KEYS", value)
            for value in (
                f"{cyber_source.ACCESS_KEY}:{SECRET}:{TODAY}",
                f"0011:{cyber_source.SECRET}:{TODAY}",
                with_ring("CS_KEYS", f"{cyber_source.ACCESS_KEY}:{SECRET}:{TODAY}"),
            )
        ],
        *[
            ("A key in CS_KEYS has no creation date", "CS_KEYS", value)
            for value in (
                f"0011:{SECRET}",
                with_ring("CS_KEYS", f"0011:{SECRET}"),
                f"0011:{SECRET}:{TODAY + timedelta(days=2)}",
            )
        ],
        ("A secret key in CS_KEYS is not 256", "CS_KEYS", f"0011:{SECRET[:-1]}:{TODAY}"),
        ("PERMA_URL does not use https", "PERMA_URL", "http://perma.example"),
        ("PAYMENTS_URL does not use https", "PAYMENTS_URL", "http://payments.example.org"),
        ("SCHEDULER_PING_URL does not use https", "SCHEDULER_PING_URL", "http://hc-ping.example/1"),
        ("METRICS_TOKEN is set, and METRICS_DIR is not.", "METRICS_TOKEN", string.ascii_letters),
        ("ALLOWED_HOSTS allows any host.", "ALLOWED_HOSTS", "*"),
        ("ALLOWED_HOSTS allows any host.", "ALLOWED_HOSTS", "payments.example.org,*"),
        ("MAIL_FROM and MAIL_REPLY_TO are the same", "MAIL_FROM", "Info@perma.example"),
        ("EMAIL_USE_TLS and EMAIL_USE_SSL are off, so mail", "EMAIL_USE_TLS", "false"),
        ("The admin is on in production", "REQUIRE_SECOND_FACTOR", "false"),
    ],
)
def test_what_is_published_or_weak_is_refused(sentence, name, value):
    (told_,) = told(**production(**{name: value}))

    assert told_.startswith(sentence)
    keys = [part for part in re.split("[:,]", value) if "KEY" in name and len(part) > len("2026-11-25")]
    assert [key for key in keys if key in told_] == []


@pytest.mark.parametrize(
    "changes", [{"EMAIL_HOST": "localhost"}, {"EMAIL_HOST": "::1"}, {"EMAIL_USE_SSL": "true"}]
)
def test_mail_that_crosses_no_network_unencrypted_is_accepted_without_starttls(changes):
    assert told(**production(EMAIL_USE_TLS="false", **changes)) == []


@both_ways
def test_with_unencrypted_mail_production_does_not_start(arguments):
    ended = start(*arguments, **production(EMAIL_USE_TLS="false"))
    assert ended.returncode != 0
    assert ended.stderr.startswith("EMAIL_USE_TLS and EMAIL_USE_SSL are off")
    assert ended.stderr.count("\n") == 1


def test_staging_refuses_what_production_refuses():
    found = told(**staging(DEBUG="true", CS_MODE="live", CS_PROFILE_ID=cyber_source.PROFILE_ID))
    assert [sentence[:54] for sentence in found] == [
        "CS_PROFILE_ID is the sandbox's, which is public. Set t",
        "DEBUG is on in staging. Remove DEBUG, or set DEBUG=fal",
        "CS_MODE is live in staging. Set CS_MODE=test, or anoth",
    ]


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_everything_wrong_is_reported_in_one_start(environment):
    found = told(PERMA_PAYMENTS_ENV=environment, DEBUG="true", OVERDUE_DAYS="0", EMAIL_PORT="465")

    missing = {name[1] for sentence in found if (name := re.match(r"The setting (\w+) is not set: ", sentence))}
    assert missing == REQUIRED
    assert [sentence.split(" ")[:3] for sentence in found if "is not set" not in sentence] == [
        ["The", "setting", "OVERDUE_DAYS"],
        ["DEBUG", "is", "on"],
        ["EMAIL_PORT", "is", "465,"],
    ]


@pytest.mark.parametrize("real, arguments", [(staging, COMMAND), (production, COMMAND), (production, WSGI)])
def test_it_starts_with_values_of_its_own_without_a_word(real, arguments):
    ended = start(*arguments, **real(DATABASE_URL=NO_DATABASE))
    assert (ended.returncode, said(ended)) == (0, "")


# Gunicorn starts a worker that ends with any other code than 3 again and again.
@pytest.mark.parametrize("arguments, code", [(COMMAND, 1), (WSGI, 3)], ids=["command", "wsgi"])
def test_with_nothing_set_production_does_not_start(arguments, code):
    ended = start(*arguments, PERMA_PAYMENTS_ENV="production")

    assert ended.returncode == code
    assert ended.stderr.count("\n") == ended.stderr.count("is not set: expected") == len(REQUIRED) == 17
    assert "Traceback" not in ended.stdout + ended.stderr


@both_ways
def test_with_a_key_of_development_production_does_not_start(arguments):
    published = base64_of(perma_cc.PERMA_PAYMENTS_SECRET)
    ended = start(*arguments, **production(PERMA_PAYMENTS_SECRET_KEYS=f"a:{published}"))
    assert ended.returncode != 0
    assert ended.stderr.startswith("PERMA_PAYMENTS_SECRET_KEYS holds one of development's")
    assert "manage.py generate_keys" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert published not in ended.stdout + ended.stderr


def test_production_accepts_the_example_of_dotenv():
    """All its lines with the comment signs taken off, and keys for its blanks."""
    example = (ROOT / ".env.example").read_text()
    variables = dict(re.findall(r"^#([A-Z_]+)=(.*)$", example, re.MULTILINE))
    keys = {name: value for name, value in production().items() if "KEY" in name}
    assert variables.keys() > keys.keys()

    assert told(**{**variables, **keys}) == []


def test_production_accepts_the_examples_in_sentences():
    missing = told(PERMA_PAYMENTS_ENV="production")
    examples = dict(sentence.partition(", for example ")[2].split("=", 1) for sentence in missing)
    keys = {name: value for name, value in production().items() if "KEY" in name}

    assert told(**{"PERMA_PAYMENTS_ENV": "production", **examples, **keys}) == []


def test_the_setting_that_held_one_secret_key_says_what_has_replaced_it():
    key = base64_of(OUR_PAIR)
    missing, replaced = told(**production(PERMA_PAYMENTS_SECRET_KEYS=..., PERMA_PAYMENTS_SECRET_KEY=key))

    assert missing.startswith("The setting PERMA_PAYMENTS_SECRET_KEYS is not set")
    assert replaced == (
        "PERMA_PAYMENTS_SECRET_KEY has become PERMA_PAYMENTS_SECRET_KEYS. Write the same key there as id:key, "
        "with the day when it was made, or today's date, as its id, and remove PERMA_PAYMENTS_SECRET_KEY."
    )
    (replaced,) = told(**production(PERMA_PAYMENTS_SECRET_KEY_FILE="/run/secrets/key"))
    assert replaced.startswith("PERMA_PAYMENTS_SECRET_KEY_FILE has become PERMA_PAYMENTS_SECRET_KEYS_FILE.")


# --- Development ------------------------------------------------------------------------------------

LOCAL = "localhost 127.0.0.1 [::1] perma-payments host.docker.internal perma.localhost perma.test".split()
REAL = "perma.cc payments.example.org 10.0.0.5 192.168.1.5 payments localhost.example.org [2001:db8::1] *".split()


@pytest.mark.parametrize("host, local", [*((host, True) for host in LOCAL), *((host, False) for host in REAL)])
def test_which_hosts_are_local(host, local):
    assert is_local(host) is local
    assert is_local(host.upper()) is local


def test_development_accepts_local_hosts():
    addresses = {"PERMA_URL": "http://perma.test", "PAYMENTS_URL": "http://localhost:8000"}
    addresses["SCHEDULER_PING_URL"] = "http://localhost:8000/ping/1"
    assert told(ALLOWED_HOSTS=",".join(LOCAL), CS_SANDBOX_URL="http://[::1]:8001", **addresses) == []


@pytest.mark.parametrize(
    "name, value",
    [
        ("ALLOWED_HOSTS", "payments.example.org"),
        ("ALLOWED_HOSTS", "localhost,*"),
        ("ALLOWED_HOSTS", ".localhost.example.org"),
        ("PERMA_URL", "https://perma.cc"),
        ("PAYMENTS_URL", "https://payments.example.org"),
        ("CS_SANDBOX_URL", "https://192.168.1.5:8001"),
        ("SCHEDULER_PING_URL", "https://hc-ping.example/1"),
    ],
)
def test_development_refuses_real_hosts(name, value):
    assert told(**{name: value}) == [
        f"A real host is named in {name}, but PERMA_PAYMENTS_ENV is development (its default), which accepts "
        "published keys. On a server, set PERMA_PAYMENTS_ENV=production (or staging). On a developer's machine, "
        "use localhost."
    ]


@pytest.mark.parametrize("mode, environment", [("test", "staging"), ("live", "production")])
def test_development_refuses_the_real_cybersource(mode, environment):
    (sentence,) = told(CS_MODE=mode)
    assert sentence.startswith(f"CS_MODE is {mode} in development")
    assert f"PERMA_PAYMENTS_ENV={environment}" in sentence


@pytest.mark.parametrize("real, arguments", [(staging, COMMAND), (production, WSGI)])
def test_a_server_whose_environment_was_forgotten_does_not_start(real, arguments):
    ended = start(*arguments, **real(PERMA_PAYMENTS_ENV=...))

    assert ended.returncode != 0
    mode, host = ended.stderr.splitlines()
    assert mode.startswith(f"CS_MODE is {real()['CS_MODE']} in development, which only")
    assert host.startswith("A real host is named in ALLOWED_HOSTS, PERMA_URL, PAYMENTS_URL, but")
    assert ended.stderr.count("PERMA_PAYMENTS_ENV=production") == 2


@pytest.mark.parametrize("name", ["PERMA_PAYMENT_ENV", "perma_payments_env", "\ufeffPERMA_PAYMENTS_ENV"])
def test_a_server_with_a_misspelled_environment_does_not_start(name):
    real = ("PERMA_PAYMENTS_ENV", "ALLOWED_HOSTS", "PERMA_URL", "PAYMENTS_URL", "CS_MODE")
    environment = production(**dict.fromkeys(real, ...))
    ended = start(*WSGI, **{name: "production", **environment})

    assert ended.returncode == 3
    assert ended.stderr.count("\n") == 1
    assert "PERMA_PAYMENTS_ENV" in ended.stderr


@both_ways
def test_development_says_what_it_is_once(arguments):
    ended = start(*arguments, DATABASE_URL=NO_DATABASE)
    assert (ended.returncode, said(ended)) == (0, f"{NOTICE}\n")


# --- Keys in the wrong place ------------------------------------------------------------------------

IN_THE_RING = "PERMA_PUBLIC_KEYS holds a key of a pair of our own"
OURS_FOR_THE_ARCHIVE = "ARCHIVE_PUBLIC_KEY is a key of a pair in PERMA_PAYMENTS_SECRET_KEYS"
PERMAS_FOR_THE_ARCHIVE = "ARCHIVE_PUBLIC_KEY is a key of Perma.cc's pair"


@pytest.mark.parametrize(
    "sentence, name, value",
    [
        (IN_THE_RING, "PERMA_PUBLIC_KEYS", f"a:{base64_of(OUR_PAIR)}"),
        (IN_THE_RING, "PERMA_PUBLIC_KEYS", f"a:{base64_of(OUR_PAIR.public_key)}"),
        (IN_THE_RING, "PERMA_PUBLIC_KEYS", with_ring("PERMA_PUBLIC_KEYS", f"a:{base64_of(OUR_PAIR.public_key)}")),
        (IN_THE_RING, "PERMA_PAYMENTS_SECRET_KEYS", f"a:{base64_of(PERMAS_PAIR.public_key)}"),
        (
            IN_THE_RING,
            "PERMA_PAYMENTS_SECRET_KEYS",
            with_ring("PERMA_PAYMENTS_SECRET_KEYS", f"a:{base64_of(PERMAS_PAIR)}"),
        ),
        (OURS_FOR_THE_ARCHIVE, "ARCHIVE_PUBLIC_KEY", f"a:archive-public:{base64_of(OUR_PAIR)}"),
        (OURS_FOR_THE_ARCHIVE, "ARCHIVE_PUBLIC_KEY", f"a:archive-public:{base64_of(OUR_PAIR.public_key)}"),
        (OURS_FOR_THE_ARCHIVE, "PERMA_PAYMENTS_SECRET_KEYS", f"a:{base64_of(ARCHIVES_PAIR)}"),
        (
            OURS_FOR_THE_ARCHIVE,
            "PERMA_PAYMENTS_SECRET_KEYS",
            with_ring("PERMA_PAYMENTS_SECRET_KEYS", f"a:{base64_of(ARCHIVES_PAIR.public_key)}"),
        ),
        (PERMAS_FOR_THE_ARCHIVE, "ARCHIVE_PUBLIC_KEY", f"a:archive-public:{base64_of(PERMAS_PAIR)}"),
        (PERMAS_FOR_THE_ARCHIVE, "ARCHIVE_PUBLIC_KEY", f"a:archive-public:{base64_of(PERMAS_PAIR.public_key)}"),
    ],
)
def test_a_key_in_the_place_of_another_is_refused(sentence, name, value):
    (told_,) = told(**production(**{name: value}))

    assert told_.startswith(sentence)
    assert value.rpartition(":")[2] not in told_


def test_the_halves_of_a_pair_in_each_others_places_are_refused():
    public, secret = base64_of(OUR_PAIR.public_key), base64_of(OUR_PAIR)
    (sentence,) = told(**production(PERMA_PAYMENTS_SECRET_KEYS=f"a:{public}", PERMA_PUBLIC_KEYS=f"a:{secret}"))
    assert sentence.startswith(IN_THE_RING)


def test_development_refuses_misplaced_keys_too():
    environment = {name: value for name, value in production().items() if "KEY" in name and "CS" not in name}
    (sentence,) = told(**{**environment, "ARCHIVE_PUBLIC_KEY": f"a:archive-public:{base64_of(OUR_PAIR)}"})
    assert sentence.startswith(OURS_FOR_THE_ARCHIVE)


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
        ({"EMAIL_USE_SSL": "true", "EMAIL_PORT": "587"}, "EMAIL_PORT is 587, where a mail server switches to TLS"),
        ({"EMAIL_USE_SSL": "true", "EMAIL_PORT": "25"}, "EMAIL_PORT is 25, where a mail server switches to TLS"),
    ],
)
def test_impossible_mail_is_refused(settings, sentence):
    (told_,) = told(**production(), **settings)
    assert told_.startswith(sentence)


def test_development_refuses_impossible_mail_too():
    (sentence,) = told(EMAIL_PORT="465")
    assert sentence.startswith("EMAIL_PORT is 465")


@pytest.mark.parametrize(
    "given, read",
    [
        ({}, (587, True, False)),
        ({"EMAIL_USE_SSL": "true"}, (465, False, True)),
        ({"EMAIL_USE_SSL": "true", "EMAIL_PORT": "465", "EMAIL_USE_TLS": "false"}, (465, False, True)),
        ({"EMAIL_USE_SSL": "true", "EMAIL_PORT": "2465"}, (2465, False, True)),
        ({"EMAIL_PORT": "2525"}, (2525, True, False)),
        ({"EMAIL_HOST": "localhost", "EMAIL_PORT": "25", "EMAIL_USE_TLS": "false"}, (25, False, False)),
    ],
)
def test_any_other_mail_server_is_accepted(given, read):
    settings = settings_of(**production(**given))
    assert (settings.EMAIL_PORT, settings.EMAIL_USE_TLS, settings.EMAIL_USE_SSL) == read
