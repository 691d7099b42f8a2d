"""Settings are read as what they are meant to be, or refused with a sentence on how to set them."""

import base64
import contextlib
from datetime import date, time

import pytest
from hypothesis import given, settings, strategies as st
from nacl.public import PrivateKey

from perma_payments import setting_kinds as kinds
from perma_payments.cybersource.signature import SigningKey
from perma_payments.env import Env
from perma_payments.settings import database_url

KEY, OTHER_KEY = (bytes(PrivateKey(bytes([seed]) * 32).public_key) for seed in (1, 2))
KEY_TEXT, OTHER_KEY_TEXT = (base64.b64encode(key).decode() for key in (KEY, OTHER_KEY))
PATHS = {"sale": "/pay", "update_payment_token": "/token/update"}
PROFILE_ID = "A1B2C3D4-0000-4000-8000-ABCDEF012345"

KINDS = {
    "text": kinds.text("some words", "so"),
    "flag": kinds.FLAG,
    "whole_number": kinds.whole_number(2, 10, "days", 3),
    "choice": kinds.choice("red", "green", example="green"),
    "hosts": kinds.HOSTS,
    "mail_server": kinds.MAIL_SERVER,
    "profile_id": kinds.PROFILE_ID,
    "base_url": kinds.base_url("https://perma.example"),
    "email": kinds.email("info@perma.example"),
    "emails": kinds.emails("info@perma.example"),
    "time_of_day": kinds.TIME_OF_DAY,
    "url_with_pk": kinds.URL_WITH_PK,
    "key": kinds.SECRET_HALF,
    "named_key": kinds.PUBLIC_KEY,
    "named_keys": kinds.PUBLIC_KEYS,
    "signing_keys": kinds.SIGNING_KEYS,
    "url_path": kinds.URL_PATH,
    "paths": kinds.paths(PATHS),
    "database": database_url,
}
KEY_KINDS = [("key", ""), ("named_key", "a:"), ("named_keys", "a:")]

# All but the one that reads any text.
every_parser = pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"text"}))


def read(kind, text):
    return KINDS[kind].parse(text)


def complaint(kind, text):
    env = Env({"NAME": text})
    assert env.read("NAME", KINDS[kind], "the default") == "the default"
    (problem,) = env.problems
    return problem


# --- Values -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, text, value",
    [
        ("text", "any text: of=any,kind", "any text: of=any,kind"),
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
        ("choice", "green", "green"),
        ("base_url", "https://perma.example", "https://perma.example"),
        ("base_url", "https://perma.example/", "https://perma.example"),
        ("base_url", "http://localhost:8001", "http://localhost:8001"),
        ("base_url", "http://[::1]:80", "http://[::1]:80"),
        ("hosts", "a.example, .b.example,[::1],*", ["a.example", ".b.example", "[::1]", "*"]),
        *[("mail_server", host, host) for host in ["localhost", "smtp.example.org", "192.0.2.1", "2001:db8::1"]],
        ("profile_id", PROFILE_ID, PROFILE_ID),
        ("profile_id", "0a1B2c3", "0a1B2c3"),
        ("email", "info@perma.example", "info@perma.example"),
        ("email", "a+b@c.d.example", "a+b@c.d.example"),
        ("emails", "a@b.example", ["a@b.example"]),
        ("emails", "a@b.example, c@d.example", ["a@b.example", "c@d.example"]),
        ("time_of_day", "09:30", time(9, 30)),
        ("time_of_day", "00:00", time(0)),
        ("time_of_day", "23:59", time(23, 59)),
        ("url_with_pk", "https://perma.example/{pk}", "https://perma.example/{pk}"),
        ("url_with_pk", "http://localhost:8001/a/{pk}/b/?c=1", "http://localhost:8001/a/{pk}/b/?c=1"),
        ("key", KEY_TEXT, KEY),
        ("named_key", f"2026-11:{KEY_TEXT}", ("2026-11", KEY)),
        ("named_keys", f"a:{KEY_TEXT}", {"a": KEY}),
        ("named_keys", f"a:{KEY_TEXT}, b:{OTHER_KEY_TEXT}", {"a": KEY, "b": OTHER_KEY}),
        ("signing_keys", "a:secret:2026-11-21", [SigningKey("a", "secret", date(2026, 11, 21))]),
        ("signing_keys", "a:secret", [SigningKey("a", "secret")]),
        (
            "signing_keys",
            "b:1:2026-11-21, a:2:2024-02-29",
            [SigningKey("b", "1", date(2026, 11, 21)), SigningKey("a", "2", date(2024, 2, 29))],
        ),
        ("url_path", "admin/", "admin/"),
        ("url_path", "a/b-c_1/", "a/b-c_1/"),
        ("paths", "update_payment_token=/pay", {"sale": "/pay", "update_payment_token": "/pay"}),
        ("paths", " sale = /a ; update_payment_token = /b ", {"sale": "/a", "update_payment_token": "/b"}),
    ],
)
def test_a_value_is_read_as_what_it_is_meant_to_be(kind, text, value):
    assert read(kind, text) == value
    assert type(read(kind, text)) is type(value)


@pytest.mark.parametrize(
    "kind, text",
    [
        *[("flag", text) for text in ["maybe", "2", "truefalse", "y", "-1"]],
        *[("whole_number", text) for text in ["1", "11", "-2", "2.0", "1e1", "two", "٣", "５", "0x3", "9" * 400]],
        *[("choice", text) for text in ["Red", "blue", "red,green", "r"]],
        *[("hosts", text) for text in ["a,,b", "https://a.example", "a b", "a.example:80", "a/b"]],
        *[
            ("mail_server", text)
            for text in [
                "smtp.example.org:465",
                "smtp://smtp.example.org",
                "smtp.example.org/",
                "a b",
                "a,b",
                "a..b",
                "user@a",
            ]
        ],
        *[
            ("profile_id", text)
            for text in [
                "x",
                PROFILE_ID.lower(),
                PROFILE_ID.replace("-", ""),
                PROFILE_ID[:-1],
                PROFILE_ID + "0",
                PROFILE_ID[:-1] + "G",
                "{" + PROFILE_ID + "}",
                "0a1B2c34",
                "0a1-2c3",
                "0a1B2c",
            ]
        ],
        *[
            ("base_url", text)
            for text in [
                "perma.example",
                "//perma.example",
                "https://",
                "https:///path",
                "ftp://perma.example",
                "https://perma.example/path",
                "https://perma.example/?a=1",
                "https://perma.example/#a",
                "https://user:password@perma.example",
                "https://perma.example:port",
                "https://perma.example:99999",
                "https://perma.example:0",
                "https://perma .example",
                "https://perma.example;a",
                "https://a.example,b.example",
                "https://perma.example'",
                "javascript:alert(1)",
                "https://[::1",
                "https://:443",
            ]
        ],
        *[
            ("email", text)
            for text in [
                "info",
                "info@",
                "@perma.example",
                "info@perma",
                "a b@perma.example",
                "Info <info@perma.example>",
                "<info@perma.example>",
                "info,staff@perma.example",
                "(info)info@perma.example",
                "a@perma.example,b@perma.example",
                "a@b@perma.example",
                "info@perma.example\nBcc: b@perma.example",
            ]
        ],
        *[("emails", text) for text in ["info", "a@b.example,", "a@b.example,,c@d.example", "a@b.example c"]],
        *[
            ("time_of_day", text)
            for text in ["24:00", "9:00", "09:60", "09:00:00", "0900", "09:00Z", "٠٩:٠٠", "noon"]
        ],
        *[
            ("url_with_pk", text)
            for text in [
                "https://perma.example/",
                "https://perma.example/{pk}/{pk}",
                "https://{pk}/",
                "/admin/{pk}/",
                "https://perma.example/{id}/",
                "https://perma.example/{pk}/{id}/",
                "https://perma.example/{id}/{pk}/",
                "https://perma.example/ /{pk}/",
                "https://perma.example/{pk} /",
                "javascript://perma.example/{pk}",
                "https:///{pk}",
                "https://perma.example/{pk!r}",
            ]
        ],
        *[
            (kind, prefix + text)
            for kind, prefix in KEY_KINDS
            for text in [
                "short",
                "é" * 44,
                KEY_TEXT[:-1],
                KEY_TEXT + "A",
                "-_" + KEY_TEXT[2:],
                base64.b64encode(KEY[:31]).decode(),
                base64.b64encode(KEY + b"\x00").decode(),
                KEY.hex(),
                "!" + KEY_TEXT,
            ]
        ],
        *[
            (kind, text)
            for kind in ["named_key", "named_keys"]
            for text in [
                KEY_TEXT,
                f":{KEY_TEXT}",
                "a:",
                "a",
                f"a b:{KEY_TEXT}",
                f"é:{KEY_TEXT}",
                f"{'a' * 51}:{KEY_TEXT}",
            ]
        ],
        ("named_keys", f"a:{KEY_TEXT},a:{OTHER_KEY_TEXT}"),
        ("named_keys", f"a:{KEY_TEXT},"),
        ("named_keys", f"a:{KEY_TEXT},b"),
        *[
            ("signing_keys", text)
            for text in [
                "a",
                "a:",
                ":secret",
                "a:secret:21-11-2026",
                "a:secret:2026-02-30",
                "a:secret:soon",
                "a:secret:2026-11-21:more",
                "a:1,a:2",
                "a:1,",
                "a b:1",
                "é:1",
                f"{'a' * 33}:1",
            ]
        ],
        *[
            ("url_path", text)
            for text in [
                "/",
                "/admin/",
                "admin",
                "//",
                "admin//",
                "a b/",
                "../",
                "admin/?a/",
                "https://perma.example/",
                "é/",
            ]
        ],
        *[
            ("paths", text)
            for text in [
                "sale",
                "sale=",
                "sale=pay",
                "other=/pay",
                "=/pay",
                "sale=/pay;",
                "sale=/p ay",
                "sale=https://a.example/pay",
                "sale=/pay?a",
                "sale=/pay,update_payment_token=/pay",
            ]
        ],
    ],
)
def test_any_other_value_stops_the_start(kind, text):
    assert complaint(kind, text).startswith("The setting NAME cannot be read: ")


@pytest.mark.parametrize(
    "text",
    [
        "https://perma.example?",
        "https://perma.example#",
        "https://@perma.example",
        "https://:Zaphod@perma.example",
    ],
)
def test_an_address_with_anything_about_its_host_stops_the_start(text):
    assert complaint("base_url", text).startswith("The setting NAME cannot be read: ")


@pytest.mark.parametrize(
    "url",
    [
        "postgres://perma_payments:password@localhost:5432/perma_payments",
        "postgresql:///perma_payments",
        "postgres://u:a:b%23%3F%2F%40%25@h/db",
        "postgres://u@%2Ftmp%2Fsocket:5432/db",
        "postgres://[::1]/db",
        "postgres://u:p@h/db?sslmode=require&connect_timeout=3",
    ],
)
def test_the_address_of_a_database_is_read(url):
    assert read("database", url)["NAME"] in ("perma_payments", "db")


def test_the_parts_of_an_address_are_what_is_escaped_in_it():
    parts = read("database", "postgres://u:a:b%23%3F%2F%40%25@%2Ftmp:5433/d%20b")
    assert [parts[part] for part in ("USER", "PASSWORD", "HOST", "PORT", "NAME")] == [
        "u",
        "a:b#?/@%",
        "/tmp",
        5433,
        "d b",
    ]


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
        ("mysql://u:p@h/db", "cannot be read"),
        ("h/db", "cannot be read"),
        ("db", "cannot be read"),
    ],
)
def test_any_other_address_of_a_database_is_refused(url, reason):
    assert complaint("database", url).startswith(f"The setting NAME {reason}: expected the address of a Postgre")


# Points of small order (https://cr.yp.to/ecdh.html#validate): anyone could open what is sealed to them.
SMALL_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
]


@pytest.mark.parametrize("kind", ["named_key", "named_keys"])
@pytest.mark.parametrize("key", SMALL_ORDER)
def test_a_public_key_that_nothing_can_be_sealed_with_is_refused(kind, key):
    encoded = base64.b64encode(bytes.fromhex(key)).decode()
    sentence = complaint(kind, f"a:{encoded}")
    assert sentence.startswith("The setting NAME contains a key that nothing can be sealed with: ")


@pytest.mark.parametrize("kind", ["named_key", "named_keys"])
def test_a_labeled_secret_half_is_refused_as_what_it_is(kind):
    sentence = complaint(kind, f"a:archive-secret:{KEY_TEXT}")
    assert sentence.startswith("The setting NAME contains a secret key, which must not be on this machine: ")


@every_parser
@settings(deadline=None)
@given(text=st.text())
def test_reading_any_text_raises_nothing_but_value_error(kind, text):
    with contextlib.suppress(ValueError):
        read(kind, "x" + text)


# --- The sentence -----------------------------------------------------------------------------------


@every_parser
def test_the_sentence_names_the_variable_and_says_what_was_expected_and_gives_an_example(kind):
    assert complaint(kind, "Zaphod,,") == (
        f"The setting NAME cannot be read: expected {KINDS[kind].expected}, for example NAME={KINDS[kind].example}"
    )
    assert "\n" not in KINDS[kind].expected + KINDS[kind].example


@every_parser
@pytest.mark.parametrize("value", ["Zaphod,,", "Zaphod: Zaphod,", "Zaphod=/Zaphod;,", "é Zaphod\nZaphod,"])
def test_the_sentence_never_says_the_value(kind, value):
    assert "Zaphod" not in complaint(kind, value)


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"key", "named_key", "named_keys"}))
def test_the_example_is_one_that_can_be_read(kind):
    read(kind, KINDS[kind].example)


@pytest.mark.parametrize("kind", ["key", "named_key", "named_keys"])
def test_the_example_of_a_key_is_none_that_could_be_used(kind):
    assert complaint(kind, KINDS[kind].example)
