"""Settings are read as what they are meant to be, or refused with a sentence that says how to set them."""

import base64
import contextlib
from datetime import date, time

import pytest
from hypothesis import given, settings, strategies as st
from nacl.public import PrivateKey

from perma_payments import setting_parsers as parsers
from perma_payments.cybersource.signature import SigningKey
from perma_payments.env import Env, choice

KEY, OTHER_KEY = (bytes(PrivateKey(bytes([seed]) * 32).public_key) for seed in (1, 2))
KEY_TEXT, OTHER_KEY_TEXT = (base64.b64encode(key).decode() for key in (KEY, OTHER_KEY))
PROFILE_ID = "A1B2C3D4-0000-4000-8000-ABCDEF012345"

PARSERS = {
    "flag": parsers.FLAG,
    "whole_number": parsers.whole_number(2, 10, "days", 3),
    "choice": choice("red", "green", example="green"),
    "hosts": parsers.HOSTS,
    "mail_server": parsers.MAIL_SERVER,
    "profile_id": parsers.PROFILE_ID,
    "base_url": parsers.BASE_URL,
    "email": parsers.EMAIL,
    "emails": parsers.EMAILS,
    "time_of_day": parsers.TIME_OF_DAY,
    "url_with_pk": parsers.URL_WITH_PK,
    "url_path": parsers.URL_PATH,
    "paths": parsers.paths({"sale": "/pay", "update_payment_token": "/token/update"}),
    "signing_keys": parsers.SIGNING_KEYS,
    "database": parsers.DATABASE,
    "cache": parsers.CACHE,
    "sentry_dsn": parsers.SENTRY_DSN,
    "secret_keys": parsers.SECRET_KEYS,
    "secret_key_fallbacks": parsers.SECRET_KEY_FALLBACKS,
    "archive_public_key": parsers.ARCHIVE_PUBLIC_KEY,
    "public_keys": parsers.PUBLIC_KEYS,
    "token": parsers.TOKEN,
    "directory": parsers.DIRECTORY,
    "ping_url": parsers.PING_URL,
}
KEYS = ("secret_keys", "archive_public_key", "public_keys")

every_parser = pytest.mark.parametrize("parser", PARSERS)


def read(parser, text):
    return PARSERS[parser].parse(text)


def complaint(parser, text):
    env = Env({"NAME": text})
    assert env.read("NAME", PARSERS[parser], "the default") == "the default"
    (problem,) = env.problems
    return problem


# --- Values -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parser, text, value",
    [
        ("flag", "true", True),
        ("flag", "TRUE", True),
        ("flag", "1", True),
        ("flag", "yes", True),
        ("flag", "on", True),
        ("flag", "false", False),
        ("flag", "False", False),
        ("flag", "0", False),
        ("flag", "no", False),
        ("flag", "off", False),
        ("whole_number", "2", 2),
        ("whole_number", "10", 10),
        ("whole_number", "07", 7),
        ("choice", "red", "red"),
        ("hosts", "a.example, .b.example,[::1],*", ["a.example", ".b.example", "[::1]", "*"]),
        ("mail_server", "localhost", "localhost"),
        ("mail_server", "smtp.example.org", "smtp.example.org"),
        ("mail_server", "192.0.2.1", "192.0.2.1"),
        ("mail_server", "2001:db8::1", "2001:db8::1"),
        ("profile_id", PROFILE_ID, PROFILE_ID),
        ("profile_id", "0a1B2c3", "0a1B2c3"),
        ("base_url", "https://perma.example", "https://perma.example"),
        ("base_url", "https://perma.example/", "https://perma.example"),
        ("base_url", "http://localhost:8001", "http://localhost:8001"),
        ("base_url", "http://[::1]:80", "http://[::1]:80"),
        ("email", "a+b@c.d.example", "a+b@c.d.example"),
        ("emails", "a@b.example", ["a@b.example"]),
        ("emails", "a@b.example, c@d.example", ["a@b.example", "c@d.example"]),
        ("time_of_day", "09:30", time(9, 30)),
        ("time_of_day", "00:00", time(0)),
        ("time_of_day", "23:59", time(23, 59)),
        ("url_with_pk", "https://perma.example/{pk}", "https://perma.example/{pk}"),
        ("url_with_pk", "http://localhost:8001/a/{pk}/b/?c=1", "http://localhost:8001/a/{pk}/b/?c=1"),
        ("url_path", "admin/", "admin/"),
        ("url_path", "a/b-c_1/", "a/b-c_1/"),
        ("sentry_dsn", "http://a1@127.0.0.1:9000/sub/1", "http://a1@127.0.0.1:9000/sub/1"),
        ("paths", "update_payment_token=/pay", {"sale": "/pay", "update_payment_token": "/pay"}),
        ("paths", " sale = /a ; update_payment_token = /b ", {"sale": "/a", "update_payment_token": "/b"}),
        ("secret_keys", f"2026-11-28:{KEY_TEXT}", {"2026-11-28": KEY}),
        ("secret_keys", f"a:{KEY_TEXT}, b:{OTHER_KEY_TEXT}", {"a": KEY, "b": OTHER_KEY}),
        ("secret_key_fallbacks", "Zaphod:1, Ford:2", ["Zaphod:1", "Ford:2"]),
        ("archive_public_key", f"2026-11:archive-public:{KEY_TEXT}", ("2026-11", KEY)),
        ("public_keys", f"a:{KEY_TEXT}", {"a": KEY}),
        ("public_keys", f"a:{KEY_TEXT}, b:{OTHER_KEY_TEXT}", {"a": KEY, "b": OTHER_KEY}),
        ("token", KEY.hex()[:32], KEY.hex()[:32]),
        ("directory", "/run/perma payments", "/run/perma payments"),
        ("ping_url", "https://hc-ping.example/1-2/x?a=b", "https://hc-ping.example/1-2/x?a=b"),
        ("ping_url", "http://localhost:8000/ping/1", "http://localhost:8000/ping/1"),
    ],
)
def test_a_value_is_read_as_what_it_is_meant_to_be(parser, text, value):
    assert read(parser, text) == value
    assert type(read(parser, text)) is type(value)


@pytest.mark.parametrize(
    "text, keys",
    [
        ("a:secret:2026-11-21", [SigningKey("a", "secret", date(2026, 11, 21))]),
        ("a:secret", [SigningKey("a", "secret")]),
        ("b:1, a:2:2024-02-29", [SigningKey("b", "1"), SigningKey("a", "2", date(2024, 2, 29))]),
    ],
)
def test_of_signing_keys_the_first_signs(text, keys):
    ring = read("signing_keys", text)
    assert (list(ring), ring.current) == (keys, keys[0])


# Separated by bars.
REFUSED = {
    "flag": "maybe|2|truefalse|y|-1",
    "whole_number": "1|11|-2|2.0|1e1|two|٣|５|0x3|" + "9" * 400,
    "choice": "Red|blue|red,green|r",
    "hosts": "a,,b|https://a.example|a b|a.example:80|a/b",
    "mail_server": "smtp.example.org:465|smtp://smtp.example.org|smtp.example.org/|a b|a,b|a..b|user@a",
    "profile_id": f"x|{PROFILE_ID.lower()}|{PROFILE_ID.replace('-', '')}|{PROFILE_ID[:-1]}|{PROFILE_ID}0"
    f"|{PROFILE_ID[:-1]}G|{{{PROFILE_ID}}}|0a1B2c34|0a1-2c3|0a1B2c",
    "base_url": "perma.example|//perma.example|https://|https:///path|ftp://perma.example|javascript:alert(1)"
    "|https://perma.example/path|https://perma.example/?a=1|https://perma.example/#a|https://perma.example?"
    "|https://perma.example#|https://user:password@perma.example|https://@perma.example"
    "|https://:Zaphod@perma.example|https://perma.example:port|https://perma.example:99999"
    "|https://perma.example:0|https://perma .example|https://perma.example;a|https://a.example,b.example"
    "|https://perma.example'|https://[::1|https://:443",
    "email": "info|info@|@perma.example|info@perma|a b@perma.example|Info <info@perma.example>"
    "|<info@perma.example>|info,staff@perma.example|(info)info@perma.example|a@perma.example,b@perma.example"
    "|a@b@perma.example|info@perma.example\nBcc: b@perma.example",
    "emails": "info|a@b.example,|a@b.example,,c@d.example|a@b.example c",
    "time_of_day": "24:00|9:00|09:60|09:00:00|0900|09:00Z|٠٩:٠٠|noon",
    "url_with_pk": "https://perma.example/|https://perma.example/{pk}/{pk}|https://{pk}/|/admin/{pk}/"
    "|https://perma.example/{id}/|https://perma.example/{pk}/{id}/|https://perma.example/{id}/{pk}/"
    "|https://perma.example/ /{pk}/|https://perma.example/{pk} /|javascript://perma.example/{pk}|https:///{pk}"
    "|https://perma.example/{pk!r}",
    "url_path": "/|/admin/|admin|//|admin//|a b/|../|admin/?a/|https://perma.example/|é/",
    "paths": "sale|sale=|sale=pay|other=/pay|=/pay|sale=/pay;|sale=/p ay|sale=https://a.example/pay|sale=/pay?a"
    "|sale=/pay,update_payment_token=/pay",
    "sentry_dsn": "a1|https://sentry.example/1|https://a1@sentry.example|https://a1@sentry.example/x"
    "|http://a1@sentry.example/1|https://a1@sentry.example/1?x=1",
    "signing_keys": "a|a:|:secret|a:secret:21-11-2026|a:secret:2026-02-30|a:secret:soon|a:secret:2026-11-21:more"
    f"|a:1,a:2|a:1,|a b:1|é:1|{'a' * 33}:1",
    "secret_keys": f"{KEY_TEXT}|:{KEY_TEXT}|a:short|a:{'é' * 44}|a:{KEY_TEXT[:-1]}|a:{KEY_TEXT}A"
    f"|a:-_{KEY_TEXT[2:]}|a:!{KEY_TEXT}|a:{KEY.hex()}|a:{base64.b64encode(KEY[:31]).decode()}"
    f"|a:{base64.b64encode(KEY + b'0').decode()}|a:{KEY_TEXT},a:{OTHER_KEY_TEXT}|a:{KEY_TEXT},|a:{KEY_TEXT},b",
    "secret_key_fallbacks": ",|Zaphod,|,Zaphod|Zaphod,,Ford|Zaphod Ford",
    "archive_public_key": f"{KEY_TEXT}|:archive-public:{KEY_TEXT}|a:archive-public:|a:|a"
    f"|a:archive-public:short|a b:archive-public:{KEY_TEXT}|é:archive-public:{KEY_TEXT}"
    f"|{'a' * 51}:archive-public:{KEY_TEXT}|a:archive-public:archive-public:{KEY_TEXT}"
    f"|a:Archive-Public:{KEY_TEXT}",
    "token": f"{KEY.hex()[:31]}|{KEY.hex()[:32]} {KEY.hex()[:32]}|{'é' * 32}",
    "directory": "run/perma-payments|./run|~/run|metrics",
    "ping_url": "hc-ping.example/1|https://hc-ping.example|ftp://a.example/1|file:///etc/passwd|https:///1"
    "|https://user:password@a.example/1|https://a.example/1 2|https://a.example/é|/1",
    "public_keys": f"{KEY_TEXT}|a:{KEY_TEXT},a:{OTHER_KEY_TEXT}|a:{KEY_TEXT},|a:{KEY_TEXT},b",
}


@pytest.mark.parametrize(
    "parser, text", [(parser, text) for parser, texts in REFUSED.items() for text in texts.split("|")]
)
def test_any_other_value_is_refused(parser, text):
    assert complaint(parser, text).startswith("The setting NAME cannot be read: ")


@pytest.mark.parametrize(
    "url",
    [
        "postgres://perma_payments:password@localhost:5432/db",
        "postgresql:///db",
        "postgres://u@%2Ftmp%2Fsocket:5432/db",
        "postgres://[::1]/db",
        "postgres://u:p@h/db?sslmode=require&connect_timeout=3",
    ],
)
def test_the_address_of_a_database_is_read(url):
    assert read("database", url)["NAME"] == "db"


def test_the_parts_of_a_database_address_are_unescaped():
    parts = read("database", "postgres://u:a:b%23%3F%2F%40%25@%2Ftmp:5433/d%20b")
    read_parts = [parts[part] for part in ("USER", "PASSWORD", "HOST", "PORT", "NAME")]
    assert read_parts == ["u", "a:b#?/@%", "/tmp", 5433, "d b"]


@pytest.mark.parametrize(
    "url, reason",
    [
        ("postgres://u:12#ss@h/db", "contains an unescaped #"),
        ("postgres://u:p@h/db#", "contains an unescaped #"),
        ("postgres://u:p@h", "names no database"),
        ("postgres://u:p@h/", "names no database"),
        ("postgres://u:1?2@h/db", "names no database"),
        ("postgres://u:p?ss@h/db", "names no database"),
        ("postgres://u:1/2@h/db", "cannot be read"),
        ("postgres://u:p/ss@h/db", "cannot be read"),
        ("postgres://u:p@ss@h/db", "cannot be read"),
        ("postgres://u:50%off@h/db", "cannot be read"),
        ("postgres://u:p%00@h/db", "cannot be read"),
        ("postgres://u:p@h/db/more", "cannot be read"),
        (f"postgres://u:p@h/{'d' * 64}", "cannot be read"),
        ("postgres://u:p@h:0/db", "cannot be read"),
        ("postgres://u:p@h:99999/db", "cannot be read"),
        ("postgres://u:p@h:port/db", "cannot be read"),
        ("postgres://u:p@h/db?sslmode", "cannot be read"),
        ("postgres://u:p@h/db?nonsense=1", "cannot be read"),
        ("postgres://u:p@h/db?connect_timeout=soon", "cannot be read"),
        ("mysql://u:p@h/db", "cannot be read"),
        ("h/db", "cannot be read"),
        ("db", "cannot be read"),
    ],
)
def test_any_other_address_of_a_database_is_refused(url, reason):
    assert complaint("database", url).startswith(f"The setting NAME {reason}: expected the address of a Postgre")


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://cache:6379/0",
        "redis://:p,a;ss@10.0.0.5:6380/15",
        "rediss://user:p%23%2Fss@cache.example.org/1",
        "redis://[::1]:6379",
    ],
)
def test_the_address_of_a_cache_is_read_whole(url):
    assert read("cache", url)["LOCATION"] == [url]


@pytest.mark.parametrize(
    "url, reason",
    [
        ("redis://:p#ss@h/0", "contains an unescaped #"),
        ("redis://:p/ss@h/0", "cannot be read"),
        ("redis://:p?ss@h/0", "cannot be read"),
        ("redis://:p@ss@h/0", "cannot be read"),
        ("redis://:50%off@h/0", "cannot be read"),
        # It could lift the time limits.
        ("redis://h/0?socket_timeout=60", "cannot be read"),
        ("redis://h/db", "cannot be read"),
        ("redis://h:0/0", "cannot be read"),
        ("redis://h:port/0", "cannot be read"),
        ("redis://", "cannot be read"),
        ("redis:///0", "cannot be read"),
        ("unix:///tmp/redis", "cannot be read"),
        ("memcached://h:11211", "cannot be read"),
        ("h:6379", "cannot be read"),
    ],
)
def test_any_other_address_of_a_cache_is_refused(url, reason):
    assert complaint("cache", url).startswith(f"The setting NAME {reason}: expected the address of a Redis")


# Points of small order (https://cr.yp.to/ecdh.html#validate): anyone could open what is sealed to them.
@pytest.mark.parametrize(
    "key",
    [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    ],
)
def test_a_key_that_nothing_can_be_sealed_with_is_refused(key):
    sentence = complaint("archive_public_key", f"a:archive-public:{base64.b64encode(bytes.fromhex(key)).decode()}")
    assert sentence.startswith("The setting NAME contains a key that nothing can be sealed with: ")


def test_a_key_of_the_archive_without_its_label_is_refused_as_it_could_be_the_secret_half():
    assert complaint("archive_public_key", f"a:{KEY_TEXT}") == (
        "The setting NAME has no label archive-public: before its key, so that could be a secret key: expected "
        "id:archive-public:key, as in the line that manage.py generate_keys --archive printed, for example "
        "NAME=2026-11-25:archive-public:hV0kQ2…(44 characters)…8yY="
    )


@pytest.mark.parametrize("parser", ["archive_public_key", "public_keys"])
def test_a_labeled_secret_half_is_recognized_and_refused(parser):
    sentence = complaint(parser, f"a:archive-secret:{KEY_TEXT}")
    assert sentence.startswith("The setting NAME contains a secret key, which must not be on this machine: ")


@pytest.mark.parametrize("text", [f"archive-secret:{KEY_TEXT}", f"a:archive-secret:{KEY_TEXT}"])
def test_the_labeled_secret_half_of_the_archive_is_not_taken_for_a_key_of_ours(text):
    sentence = complaint("secret_keys", text)
    assert sentence.startswith(
        "The setting NAME contains the archive's secret key, which must not be on this machine"
    )


@every_parser
@settings(deadline=None)
@given(text=st.text())
def test_no_text_raises_anything_but_value_error(parser, text):
    with contextlib.suppress(ValueError):
        read(parser, "x" + text)


# --- The sentence -----------------------------------------------------------------------------------


@every_parser
def test_the_sentence_says_what_was_expected_with_an_example(parser):
    expected, example = PARSERS[parser].expected, PARSERS[parser].example
    assert complaint(parser, "Zaphod,,") == (
        f"The setting NAME cannot be read: expected {expected}, for example NAME={example}"
    )
    assert "\n" not in expected + example


@every_parser
def test_the_sentence_never_quotes_the_value(parser):
    assert "Zaphod" not in complaint(parser, "Zaphod: Zaphod=/Zaphod;,\nZaphod")


@pytest.mark.parametrize("parser", sorted(PARSERS.keys() - {*KEYS, "token"}))
def test_the_example_can_be_read(parser):
    read(parser, PARSERS[parser].example)


@pytest.mark.parametrize("parser", KEYS)
def test_the_example_of_a_key_cannot_be_used(parser):
    assert complaint(parser, PARSERS[parser].example)
