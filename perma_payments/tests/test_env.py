"""Settings are read as what they are meant to be, or the start ends with one sentence on how to set them."""
import base64
import os
import subprocess
import sys
from datetime import date, time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perma_payments.cybersource.signature import SigningKey
from perma_payments.env import BadSetting, Env

ROOT = Path(__file__).resolve().parent.parent.parent
KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
KEY_TEXT, OTHER_KEY_TEXT = (base64.b64encode(key).decode() for key in (KEY, OTHER_KEY))
WITH_PK = "https://perma.example/{pk}/"
PATHS = {"sale": "/pay", "update_payment_token": "/token/update"}

READERS = {
    "text": lambda env, *default: env.text("NAME", *default, expected="some words", example="so"),
    "flag": lambda env, *default: env.flag("NAME", *default),
    "whole_number": lambda env, *default: env.whole_number("NAME", *default, least=2, most=10, unit="days"),
    "choice": lambda env, *default: env.choice("NAME", *default, among=("red", "green")),
    "words": lambda env, *default: env.words("NAME", *default, expected="a list of words", example="a,b"),
    "base_url": lambda env, *default: env.base_url("NAME", *default, example="https://perma.example"),
    "email": lambda env, *default: env.email("NAME", *default, example="info@perma.example"),
    "emails": lambda env, *default: env.emails("NAME", *default, example="info@perma.example"),
    "time_of_day": lambda env, default=time(9): env.time_of_day("NAME", default),
    "url_with_pk": lambda env, default=WITH_PK: env.url_with_pk("NAME", default),
    "key": lambda env, *default: env.key("NAME", *default),
    "named_key": lambda env, *default: env.named_key("NAME", *default),
    "named_keys": lambda env, *default: env.named_keys("NAME", *default),
    "signing_keys": lambda env, *default: env.signing_keys("NAME", *default),
    "url_path": lambda env, *default: env.url_path("NAME", *default),
    "paths": lambda env, default=PATHS: env.paths("NAME", default),
}
EXPECTED = {
    "text": "some words",
    "flag": "true or false",
    "whole_number": "a whole number (days) from 2 to 10",
    "choice": "one of red, green",
    "words": "a list of words",
    "base_url": "a web address of scheme and host only",
    "email": "an address of e-mail",
    "emails": "one or more addresses of e-mail, separated by commas",
    "time_of_day": "a time of day in UTC, as HH:MM",
    "url_with_pk": "a web address with {pk} where the id goes",
    "key": "a key of 32 bytes in base64",
    "named_key": "id:key",
    "named_keys": "one or more of id:key, separated by commas",
    "signing_keys": "one or more of access_key:secret_key:YYYY-MM-DD",
    "url_path": "a path without a slash before it",
    "paths": "type=/path, separated by semicolons, for any of the types sale; update_payment_token",
}

KEY_READERS = [("key", ""), ("named_key", "a:"), ("named_keys", "a:")]

every_reader = pytest.mark.parametrize("reader", READERS)
ALWAYS_WITH_DEFAULT = {"paths", "time_of_day", "url_with_pk"}
every_required = pytest.mark.parametrize("reader", sorted(READERS.keys() - ALWAYS_WITH_DEFAULT))
# All but the one that reads any text.
every_parser = pytest.mark.parametrize("reader", sorted(READERS.keys() - {"text"}))


def read(reader, *default, **variables):
    return READERS[reader](Env(variables), *default)


def complaint(reader, *default, **variables):
    with pytest.raises(BadSetting) as error:
        read(reader, *default, **variables)
    assert error.value.__cause__ is None
    assert error.value.__context__ is None or error.value.__suppress_context__
    return str(error.value)


# --- Values -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("reader, text, value", [
    ("text", "any text: of=any,kind", "any text: of=any,kind"),
    ("flag", "true", True), ("flag", "TRUE", True), ("flag", "1", True), ("flag", "yes", True),
    ("flag", "on", True),
    ("flag", "false", False), ("flag", "False", False), ("flag", "0", False), ("flag", "no", False),
    ("flag", "off", False),
    ("whole_number", "2", 2), ("whole_number", "10", 10), ("whole_number", "07", 7),
    ("choice", "red", "red"), ("choice", "green", "green"),
    ("words", "a", ["a"]), ("words", "a,b", ["a", "b"]), ("words", " a , b ", ["a", "b"]),
    ("base_url", "https://perma.example", "https://perma.example"),
    ("base_url", "https://perma.example/", "https://perma.example"),
    ("base_url", "http://localhost:8001", "http://localhost:8001"),
    ("base_url", "http://[::1]:80", "http://[::1]:80"),
    ("email", "info@perma.example", "info@perma.example"), ("email", "a+b@c.d.example", "a+b@c.d.example"),
    ("emails", "a@b.example", ["a@b.example"]),
    ("emails", "a@b.example, c@d.example", ["a@b.example", "c@d.example"]),
    ("time_of_day", "09:30", time(9, 30)), ("time_of_day", "00:00", time(0)),
    ("time_of_day", "23:59", time(23, 59)),
    ("url_with_pk", "https://perma.example/{pk}", "https://perma.example/{pk}"),
    ("url_with_pk", "http://localhost:8001/a/{pk}/b/?c=1", "http://localhost:8001/a/{pk}/b/?c=1"),
    ("key", KEY_TEXT, KEY),
    ("named_key", f"2026-11:{KEY_TEXT}", ("2026-11", KEY)),
    ("named_keys", f"a:{KEY_TEXT}", {"a": KEY}),
    ("named_keys", f"a:{KEY_TEXT}, b:{OTHER_KEY_TEXT}", {"a": KEY, "b": OTHER_KEY}),
    ("signing_keys", "a:secret:2026-11-21", [SigningKey("a", "secret", date(2026, 11, 21))]),
    ("signing_keys", "a:secret", [SigningKey("a", "secret")]),
    ("signing_keys", "b:1:2026-11-21, a:2:2024-02-29", [
        SigningKey("b", "1", date(2026, 11, 21)), SigningKey("a", "2", date(2024, 2, 29)),
    ]),
    ("url_path", "admin/", "admin/"), ("url_path", "a/b-c_1/", "a/b-c_1/"),
    ("paths", "update_payment_token=/pay", {"sale": "/pay", "update_payment_token": "/pay"}),
    ("paths", " sale = /a ; update_payment_token = /b ", {"sale": "/a", "update_payment_token": "/b"}),
])
def test_a_value_is_read_as_what_it_is_meant_to_be(reader, text, value):
    assert read(reader, NAME=text) == value
    assert read(reader, NAME=f" {text}\n") == value
    assert type(read(reader, NAME=text)) is type(value)


@pytest.mark.parametrize("reader, text", [
    *[("flag", text) for text in ["maybe", "2", "truefalse", "y", "-1"]],
    *[("whole_number", text) for text in ["1", "11", "-2", "2.0", "1e1", "two", "٣", "５", "0x3", "9" * 400]],
    *[("choice", text) for text in ["Red", "blue", "red,green", "r"]],
    *[("words", text) for text in [",", "a,", ",a", "a,,b", "a, ,b"]],
    *[("base_url", text) for text in [
        "perma.example", "//perma.example", "https://", "https:///path", "ftp://perma.example",
        "https://perma.example/path", "https://perma.example/?a=1", "https://perma.example/#a",
        "https://user:password@perma.example", "https://perma.example:port", "https://perma.example:99999",
        "https://perma.example:0", "https://perma .example", "https://perma.example;a",
        "https://a.example,b.example",
        "https://perma.example'", "javascript:alert(1)", "https://[::1", "https://:443",
    ]],
    *[("email", text) for text in [
        "info", "info@", "@perma.example", "info@perma", "a b@perma.example", "Info <info@perma.example>",
        "<info@perma.example>", "info,staff@perma.example", "(info)info@perma.example",
        "a@perma.example,b@perma.example", "a@b@perma.example", "info@perma.example\nBcc: b@perma.example",
    ]],
    *[("emails", text) for text in ["info", "a@b.example,", "a@b.example,,c@d.example", "a@b.example c"]],
    *[("time_of_day", text) for text in ["24:00", "9:00", "09:60", "09:00:00", "0900", "09:00Z", "٠٩:٠٠", "noon"]],
    *[("url_with_pk", text) for text in [
        "https://perma.example/", "https://perma.example/{pk}/{pk}", "https://{pk}/", "/admin/{pk}/",
        "https://perma.example/{id}/", "https://perma.example/{pk}/{id}/",
        "https://perma.example/{id}/{pk}/", "https://perma.example/ /{pk}/", "https://perma.example/{pk} /",
        "javascript://perma.example/{pk}", "https:///{pk}", "https://perma.example/{pk!r}",
    ]],
    *[(reader, prefix + text) for reader, prefix in KEY_READERS for text in [
        "short", "é" * 44, KEY_TEXT[:-1], KEY_TEXT + "A", "-_" + KEY_TEXT[2:], base64.b64encode(KEY[:31]).decode(),
        base64.b64encode(KEY + b"\x00").decode(), KEY.hex(), "!" + KEY_TEXT,
    ]],
    *[(reader, text) for reader in ["named_key", "named_keys"] for text in [
        KEY_TEXT, f":{KEY_TEXT}", "a:", "a", f"a b:{KEY_TEXT}", f"é:{KEY_TEXT}", f"{'a' * 51}:{KEY_TEXT}",
    ]],
    ("named_keys", f"a:{KEY_TEXT},a:{OTHER_KEY_TEXT}"), ("named_keys", f"a:{KEY_TEXT},"),
    ("named_keys", f"a:{KEY_TEXT},b"),
    *[("signing_keys", text) for text in [
        "a", "a:", ":secret", "a:secret:21-11-2026", "a:secret:2026-02-30", "a:secret:soon",
        "a:secret:2026-11-21:more", "a:1,a:2", "a:1,", "a b:1", "é:1", f"{'a' * 33}:1",
    ]],
    *[("url_path", text) for text in [
        "/", "/admin/", "admin", "//", "admin//", "a b/", "../", "admin/?a/", "https://perma.example/", "é/",
    ]],
    *[("paths", text) for text in [
        "sale", "sale=", "sale=pay", "other=/pay", "=/pay", "sale=/pay;", "sale=/p ay",
        "sale=https://a.example/pay", "sale=/pay?a", "sale=/pay,update_payment_token=/pay",
    ]],
])
def test_any_other_value_stops_the_start(reader, text):
    assert complaint(reader, NAME=text).startswith("The setting NAME cannot be read: ")


@pytest.mark.parametrize("text", [
    "https://perma.example?", "https://perma.example#", "https://@perma.example", "https://:Zaphod@perma.example",
])
def test_an_address_with_anything_about_its_host_stops_the_start(text):
    assert complaint("base_url", NAME=text).startswith("The setting NAME cannot be read: ")


@every_parser
@settings(deadline=None)
@given(text=st.text())
def test_reading_any_text_raises_nothing_but_bad_setting(reader, text):
    try:
        read(reader, NAME="x" + text)
    except BadSetting:
        pass


# --- Not set ----------------------------------------------------------------------------------------

@every_required
@pytest.mark.parametrize("variables", [
    {}, {"NAME": ""}, {"NAME": " \n"}, {"NAME_FILE": ""}, {"NAME": "", "NAME_FILE": " "}, {"name": "x"},
])
def test_a_required_variable_that_is_not_set_or_empty_stops_the_start(reader, variables):
    sentence = complaint(reader, **variables)
    assert sentence.startswith(f"The setting NAME is not set: expected {EXPECTED[reader]}")


@pytest.mark.parametrize("reader, default", [
    ("text", "x"), ("flag", True), ("flag", False), ("whole_number", 5), ("whole_number", 0), ("choice", "red"),
    ("words", ["a"]), ("words", []), ("base_url", "http://localhost"), ("email", "a@b.example"), ("key", KEY),
    ("named_key", ("a", KEY)), ("named_keys", {"a": KEY}), ("signing_keys", [SigningKey("a", "1")]),
    ("emails", ["a@b.example"]), ("time_of_day", time(9)), ("url_with_pk", WITH_PK), ("url_path", "admin/"),
    ("paths", PATHS),
])
@pytest.mark.parametrize("variables", [{}, {"NAME": ""}, {"NAME": " \n"}])
def test_a_variable_that_is_not_set_or_empty_has_its_default(reader, default, variables):
    assert read(reader, default, **variables) == default


# --- Files ------------------------------------------------------------------------------------------

@pytest.fixture
def file(tmp_path):
    return tmp_path / "secret-of-Zaphod"


@every_reader
def test_the_value_may_be_in_a_file(reader, file):
    text = {
        "text": "x", "flag": "true", "whole_number": "5", "choice": "red", "words": "a,b",
        "base_url": "https://perma.example", "email": "info@perma.example", "key": KEY_TEXT,
        "named_key": f"a:{KEY_TEXT}", "named_keys": f"a:{KEY_TEXT}", "signing_keys": "a:1", "url_path": "admin/",
        "paths": "sale=/a", "emails": "a@b.example", "time_of_day": "09:30", "url_with_pk": WITH_PK,
    }[reader]
    file.write_text(f"{text}\n")
    assert read(reader, NAME_FILE=f" {file} ") == read(reader, NAME=text)


def test_a_value_is_stronger_than_a_file(file):
    file.write_text("from the file")
    assert read("text", NAME="from the variable", NAME_FILE=str(file)) == "from the variable"
    assert read("text", NAME="", NAME_FILE=str(file)) == "from the file"


def test_an_empty_file_counts_as_not_set(file):
    file.write_text(" \n")
    assert read("text", "default", NAME_FILE=str(file)) == "default"
    assert complaint("text", NAME_FILE=str(file)).startswith("The setting NAME is not set: ")


@pytest.mark.parametrize("make", [
    lambda file: None,
    lambda file: file.mkdir(),
    lambda file: file.write_bytes(b"\xff\xfe"),
], ids=["missing", "a directory", "not text"])
def test_a_file_that_cannot_be_read_stops_the_start_even_if_there_is_a_default(file, make):
    make(file)
    sentence = complaint("text", "default", NAME_FILE=str(file))
    assert sentence == (
        "The setting NAME_FILE names a file that cannot be read: expected the path of a readable text file, "
        "for example NAME_FILE=/run/secrets/name"
    )


def test_a_path_that_no_file_can_have_stops_the_start():
    assert complaint("text", NAME_FILE="a\x00b").startswith("The setting NAME_FILE names a file that cannot be ")


@every_parser
def test_what_a_file_holds_is_never_said(reader, file):
    file.write_text("Zaphod,,")
    sentence = complaint(reader, NAME_FILE=str(file))
    assert sentence.startswith("The setting NAME cannot be read: ")
    assert "Zaphod" not in sentence


# --- The sentence -----------------------------------------------------------------------------------

@every_parser
def test_the_sentence_names_the_variable_and_says_what_was_expected_and_gives_an_example(reader):
    sentence = complaint(reader, NAME="Zaphod,,")
    assert sentence.startswith(f"The setting NAME cannot be read: expected {EXPECTED[reader]}")
    assert ", for example NAME=" in sentence
    assert "\n" not in sentence


@every_parser
@pytest.mark.parametrize("value", ["Zaphod,,", "Zaphod: Zaphod,", "Zaphod=/Zaphod;,", "é Zaphod\nZaphod,"])
def test_the_sentence_never_says_the_value(reader, value):
    assert "Zaphod" not in complaint(reader, NAME=value)


@pytest.mark.parametrize("reader", [
    "text", "flag", "whole_number", "choice", "words", "base_url", "email", "emails", "time_of_day", "url_with_pk",
    "url_path", "paths",
])
def test_the_example_is_one_that_can_be_read(reader):
    sentence = complaint(reader) if reader == "text" else complaint(reader, NAME="Zaphod,,")
    read(reader, NAME=sentence.partition(" for example NAME=")[2])


@pytest.mark.parametrize("reader", ["key", "named_key", "named_keys"])
def test_the_example_of_a_key_is_none_that_could_be_used(reader):
    example = complaint(reader).partition(" for example NAME=")[2]
    assert complaint(reader, NAME=example)


def test_a_bad_setting_ends_the_process_with_the_sentence():
    assert issubclass(BadSetting, SystemExit)
    with pytest.raises(SystemExit) as ending:
        read("flag", NAME="maybe")
    # Python prints a code that is text, and ends with status 1.
    assert ending.value.code == "The setting NAME cannot be read: expected true or false, for example NAME=true"


# --- The real start ---------------------------------------------------------------------------------

def start(*arguments, **variables):
    """Run Python in the checkout, with these variables and no others, nor those of a .env file."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60,
        env={"PATH": os.environ["PATH"], "PYTHON_DOTENV_DISABLED": "1", **variables},
    )


def assert_ended_with_a_sentence_about(name, ended):
    assert ended.returncode != 0
    assert ended.stderr.startswith(f"The setting {name} ")
    assert ended.stderr.count("\n") == 1
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "Zaphod" not in ended.stdout + ended.stderr


def test_development_starts_with_nothing_but_a_database():
    ended = start("manage.py", "check", DATABASE_URL=os.environ["DATABASE_URL"])
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("name, value", [
    ("PERMA_PAYMENTS_ENV", "Zaphod"),
    ("DATABASE_URL", "mysql://Zaphod:Zaphod@localhost/Zaphod"),
    ("CS_KEYS", "Zaphod"),
    ("GRACE_PERIOD_DAYS", "Zaphod"),
    ("SECRET_KEY_FILE", "/Zaphod"),
])
def test_a_bad_variable_stops_the_real_start_with_one_sentence(name, value):
    ended = start("manage.py", "check", **{"DATABASE_URL": os.environ["DATABASE_URL"], name: value})
    assert_ended_with_a_sentence_about(name, ended)
