"""Settings are collected from the environment, from files and from .env, and one start tells everything wrong."""

import os
import shutil
from unittest import mock

import pytest

from perma_payments.env import BadSetting, Env, Parser
from perma_payments.settings import env as settings_env

from .environments import COMMAND, ROOT, WSGI, production, start

NUMBER = Parser(int, "a number", "5")


def read(default=0, **variables):
    env = Env(variables)
    return env.read("NAME", NUMBER, default), env.problems


def told(env, *conflicts):
    """The sentences that the start ends with; an empty list if it does not end."""
    try:
        env.end_if_wrong(conflicts)
    except BadSetting as ending:
        return ending.code.split("\n")
    return []


# --- Values -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["7", " 7\n"])
def test_a_variable_is_read_without_surrounding_blanks(text):
    assert read(NAME=text) == (7, [])


@pytest.mark.parametrize(
    "variables",
    [{}, {"NAME": ""}, {"NAME": " \n"}, {"NAME_FILE": ""}, {"NAME": "", "NAME_FILE": " "}, {"name": "7"}],
)
def test_a_variable_that_is_not_set_or_empty_has_its_default(variables):
    assert read(3, **variables) == (3, [])


@pytest.mark.parametrize("value", ["Zaphod", "7\udcff"])
def test_a_value_that_cannot_be_read_is_reported_and_replaced(value):
    sentence = "The setting NAME cannot be read: expected a number, for example NAME=5"
    assert read(3, NAME=value) == (3, [sentence])


def test_a_value_must_be_utf_8():
    env = Env({"NAME": "\udcff"})
    assert env.read("NAME", Parser(str, "a text", "x"), "x") == "x"
    assert len(told(env)) == 1


@pytest.mark.parametrize(
    "environment, sentences",
    [
        ("development", []),
        ("", []),
        ("staging", ["The setting NAME is not set: expected a number, for example NAME=5"]),
        ("production", ["The setting NAME is not set: expected a number, for example NAME=5"]),
    ],
)
def test_required_settings_have_a_default_in_development(environment, sentences):
    env = Env({"PERMA_PAYMENTS_ENV": environment})
    assert env.require("NAME", NUMBER, 3) == 3
    assert told(env) == sentences


@pytest.mark.parametrize("name", ["prod", "Production", "production,", "live"])
def test_an_unknown_environment_is_refused(name):
    assert told(Env({"PERMA_PAYMENTS_ENV": name})) == [
        "The setting PERMA_PAYMENTS_ENV cannot be read: expected one of development, staging, production, "
        "for example PERMA_PAYMENTS_ENV=production"
    ]


def test_everything_wrong_is_reported_at_once():
    env = Env({"PERMA_PAYMENTS_ENV": "production", "NAME": "Zaphod", "PERMA_PAYMENT_X": "1"})
    env.read("NAME", NUMBER, 1)
    env.require("OTHER", NUMBER, 1)

    assert [sentence[:30] for sentence in told(env, "MORE does not fit.", "NAME, unread, does not.")] == [
        "The environment sets PERMA_PAY",
        "The setting NAME cannot be rea",
        "The setting OTHER is not set: ",
        "MORE does not fit.",
    ]


def test_bad_settings_end_the_process_with_the_sentences():
    assert issubclass(BadSetting, SystemExit)  # Python prints a code that is text, and ends with status 1.


# --- Files ------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    return tmp_path / "secret-of-Zaphod"


@pytest.mark.parametrize("contents", [b"7", b"7\n", b" 7\r\n", b"\xef\xbb\xbf7\n"])
def test_the_value_can_be_in_a_file(file, contents):
    file.write_bytes(contents)
    assert read(NAME_FILE=f" {file} ") == (7, [])


@pytest.mark.parametrize("value, result", [("8", 8), ("", 7)])
def test_a_value_wins_over_a_file(file, value, result):
    file.write_text("7")
    assert read(NAME=value, NAME_FILE=str(file)) == (result, [])


def test_an_empty_file_counts_as_not_set(file):
    file.write_text(" \n")
    assert read(3, NAME_FILE=str(file)) == (3, [])


@pytest.mark.parametrize(
    "make",
    [lambda file: None, lambda file: file.mkdir(), lambda file: file.write_bytes(b"\xff\xfe7\x00")],
    ids=["missing", "a directory", "not UTF-8"],
)
def test_a_file_that_cannot_be_read_is_reported(file, make):
    make(file)
    assert read(3, NAME_FILE=str(file)) == (
        3,
        [
            "The setting NAME_FILE names a file that cannot be read: expected the path of a readable text file, "
            "for example NAME_FILE=/run/secrets/name"
        ],
    )


def test_a_path_that_no_file_can_have_is_reported():
    assert read(NAME_FILE="a\x00b")[1][0].startswith("The setting NAME_FILE names a file that cannot be read")


def test_the_contents_of_a_file_are_never_quoted(file):
    file.write_text("Zaphod")
    (sentence,) = read(NAME_FILE=str(file))[1]
    assert sentence.startswith("The setting NAME cannot be read: ")
    assert "Zaphod" not in sentence


# --- Names ------------------------------------------------------------------------------------------


def env_with(name, *, line=None):
    """An Env with a variable of that name, from which three of our settings are read."""
    env = Env({name: "Zaphod"}, lines={name: line} if line else None)
    for ours in ("PERMA_PAYMENTS_SECRET_KEYS", "EMAIL_HOST", "CS_KEYS"):
        env.read(ours, Parser(str, "a text", "x"), "")
    return env


@pytest.mark.parametrize(
    "name, meant",
    [
        ("PERMA_PAYMENT_ENV", "PERMA_PAYMENTS_ENV"),
        ("perma_payments_env", "PERMA_PAYMENTS_ENV"),
        ("PERMA_PAYMENTS_ENVIRONMENT", "PERMA_PAYMENTS_ENV"),
        ("PERMA_PAYMENTS", "PERMA_PAYMENTS_ENV"),
        ("PERMAPAYMENTS_ENV", "PERMA_PAYMENTS_ENV"),
        ("PERMA_PAYMENTS_SECRETKEYS", "PERMA_PAYMENTS_SECRET_KEYS"),
        ("PERMA_PAYMENT_SECRET_KEYS_FILE", "PERMA_PAYMENTS_SECRET_KEYS_FILE"),
    ],
)
def test_a_misspelled_setting_stops_the_start(name, meant):
    assert told(env_with(name)) == [f"The environment sets {name}. Did you mean {meant}?"]


@pytest.mark.parametrize(
    "name, meant",
    [
        ("\ufeffPERMA_PAYMENTS_ENV", "PERMA_PAYMENTS_ENV"),
        ("\ufeffEMAIL_HOST", "EMAIL_HOST"),
        ("PERMA_PAYMENTS_ENV ", "PERMA_PAYMENTS_ENV"),
        ("PERMA_PAYMENTS_ENV:", "PERMA_PAYMENTS_ENV"),
        ("PERMA-PAYMENTS-ENV", "PERMA_PAYMENTS_ENV"),
        ("CS_KEYS\u200b", "CS_KEYS"),
        ("PERMA_PAYMENTS_ENV: Zaphod", "PERMA_PAYMENTS_ENV"),
    ],
)
def test_other_characters_in_a_setting_name_stop_the_start(name, meant):
    (sentence,) = told(env_with(name))
    assert sentence.startswith(f"A variable is named {meant}, but with other characters in its name. ")
    assert "Zaphod" not in sentence


@pytest.mark.parametrize(
    "name",
    """
    PATH MAIL_HOST CS_KEY cs_keys BASH_FUNC_x%% PERMA PERMA_URLS EMAIL_HOST_FILE
    PERMA_PAYMENTS_SERVICE_HOST PERMA_PAYMENTS_SERVICE_PORT PERMA_PAYMENTS_SERVICE_PORT_HTTP
    PERMA_PAYMENTS_PORT PERMA_PAYMENTS_PORT_80_TCP PERMA_PAYMENTS_PORT_80_TCP_ADDR
    PERMA_PAYMENTS_DB_SERVICE_HOST PERMA_PAYMENTS_DB_PORT_5432_TCP
    """.split(),
)
def test_a_variable_of_another_program_does_not(name):
    assert [sentence for sentence in told(env_with(name)) if not sentence.startswith("The setting ")] == []


@pytest.mark.parametrize(
    "name, meant",
    [
        ("MAIL_HOST", "EMAIL_HOST"),
        ("CS_KEY", "CS_KEYS"),
        ("cs_keys", "CS_KEYS"),
        ("EMAILHOST", "EMAIL_HOST"),
        ("EMAIL_HSOT", "EMAIL_HOST"),
        ("CS_KEY_FILE", "CS_KEYS_FILE"),
        ("PERMA_PAYMENT_ENV", "PERMA_PAYMENTS_ENV"),
    ],
)
def test_a_name_in_dotenv_similar_to_ours_stops_the_start(name, meant):
    assert told(env_with(name, line=3)) == [f"Line 3 of .env sets {name}. Did you mean {meant}?"]


@pytest.mark.parametrize(
    "name",
    """
    BIND DEVELOPER_UID CHROMIUM REQUIRE_PROGRAMS SANDBOX_SMTP_PORT
    SANDBOX_PAYMENTS_URL POSTGRES_PASSWORD PGHOST
    TEST_DATABASE_URL COMPOSE_PROJECT_NAME SMTP_HOST HOST PORT DJANGO_SECRET_KEY
    """.split(),
)
def test_any_other_name_in_dotenv_does_not(name):
    env = Env({name: "Zaphod"}, lines={name: 3})
    for ours in settings_env.names:
        env.read(ours, Parser(str, "a text", "x"), "")
    assert told(env) == []


# --- The file .env ----------------------------------------------------------------------------------


@pytest.fixture
def dotenv(tmp_path):
    """The Env of a process that finds such a .env, whose other variables are those given."""

    def dotenv(contents, **variables):
        (tmp_path / ".env").write_bytes(contents if isinstance(contents, bytes) else contents.encode())
        with mock.patch.dict(os.environ, variables, clear=True):
            return Env.of_process(tmp_path / ".env")

    return dotenv


@pytest.mark.parametrize(
    "contents",
    [
        "PERMA_PAYMENTS_ENV=production\n",
        "\ufeffPERMA_PAYMENTS_ENV=production\n",
        "PERMA_PAYMENTS_ENV = production",
        "# first\n\nexport PERMA_PAYMENTS_ENV='production' # why\r\n",
        'OTHER="a b"\nPERMA_PAYMENTS_ENV="production"',
        "X=production\nPERMA_PAYMENTS_ENV=${X}",
        "PEM='-----BEGIN\nabc=\n-----END'\nPERMA_PAYMENTS_ENV=production\n",
    ],
)
def test_dotenv_is_read(dotenv, contents):
    env = dotenv(contents)
    assert (env.environment, told(env)) == ("production", [])


def test_a_variable_of_the_process_wins_over_dotenv(dotenv):
    assert dotenv("PERMA_PAYMENTS_ENV=production", PERMA_PAYMENTS_ENV="staging").environment == "staging"


def test_dotenv_is_optional(tmp_path):
    assert told(Env.of_process(tmp_path / ".env")) == []


@pytest.mark.parametrize(
    "line",
    [
        "PERMA_PAYMENTS_ENV: Zaphod",
        "PERMA_PAYMENTS_ENV:Zaphod",
        "PERMA_PAYMENTS_ENV Zaphod",
        "PERMA_PAYMENTS_ENV",
        "PERMA PAYMENTS ENV=Zaphod",
        "PERMA-PAYMENTS-ENV=Zaphod",
        "set PERMA_PAYMENTS_ENV=Zaphod",
        "=Zaphod",
        "PERMA_PAYMENTS_ENV='Zaphod",
        'PERMA_PAYMENTS_ENV="Zaphod',
        "PERMA_PAYMENTS_SECRET_KEYS:Zaphod=",
        "é=Zaphod",
        "PERMA_PAYMENTS_ENV\u200b=Zaphod",
        "'A'B=Zaphod",
        "PERMA_PAYMENTS_ENV='Zap'hod",
    ],
)
def test_a_line_of_dotenv_that_cannot_be_read_is_reported(dotenv, caplog, line):
    env = dotenv(f"# first\n\n{line}\nNAME=8\n")
    assert told(env) == [
        "Line 3 of .env cannot be read: expected NAME=value, with only letters, digits and _ in the name, "
        "and quotation marks in pairs"
    ]
    assert env.read("NAME", NUMBER, 0) == 8
    assert caplog.records == []


def test_a_quotation_mark_that_swallows_a_line_is_reported(dotenv):
    assert told(dotenv('A=1\nB="x\nPERMA_PAYMENTS_ENV=production"\n')) == [
        "Line 2 of .env has a quotation mark that a later line closes: close it on the same line"
    ]


@pytest.mark.parametrize("value", ["${MISSING}", "a${Zaphod}b", "'${MISSING}'", "${PERMA_PAYMENTS_ENV}", "${}"])
def test_a_reference_in_dotenv_to_nothing_is_reported(dotenv, value):
    assert told(dotenv(f"A=1\nPERMA_PAYMENTS_ENV={value}\n")) == [
        "Line 2 of .env uses ${…} for a variable that is not set"
    ]


@pytest.mark.parametrize("value", ["${A}", "${B}", "${MISSING:-production}", "production${MISSING:-}"])
def test_any_other_reference_in_dotenv_is_followed(dotenv, value):
    env = dotenv(f"A=production\nPERMA_PAYMENTS_ENV={value}\n", B="production")
    assert (env.environment, told(env)) == ("production", [])


def test_a_name_that_dotenv_sets_twice_is_reported(dotenv):
    env = dotenv("PERMA_PAYMENTS_ENV=production\nA=1\nPERMA_PAYMENTS_ENV=development\n")
    assert told(env) == ["Line 3 of .env sets PERMA_PAYMENTS_ENV again, after line 1: remove one of them"]


@pytest.mark.parametrize("contents", [b"A=\xff", "A=1".encode("utf-16"), b"A=a\x00b"])
def test_a_dotenv_that_is_not_text_is_reported(dotenv, contents):
    assert told(dotenv(contents)) == [
        "The file .env cannot be read: expected UTF-8 text, a NAME=value on each line"
    ]


def test_a_dotenv_that_is_a_directory_is_reported(tmp_path):
    assert told(Env.of_process(tmp_path)) == [
        "The file .env cannot be opened (IsADirectoryError): let this account read it"
    ]


# --- The real start ---------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path):
    """A copy of what is needed to start, for a .env of its own."""
    shutil.copytree(
        ROOT / "perma_payments", tmp_path / "perma_payments", ignore=shutil.ignore_patterns("tests", "__pycache__")
    )
    shutil.copy(ROOT / "manage.py", tmp_path)
    return tmp_path


@pytest.mark.parametrize("arguments", [COMMAND, WSGI], ids=["command", "wsgi"])
def test_a_bad_dotenv_stops_the_real_start(checkout, arguments):
    (checkout / ".env").write_text("\ufeffPERMA_PAYMENTS_ENV: production\nEMAIL_HSOT=smtp.example.org\n")

    ended = start(*arguments, cwd=checkout, PYTHON_DOTENV_DISABLED="")

    assert ended.returncode in (1, 3)
    second, first = ended.stderr.splitlines()
    assert first.startswith("Line 1 of .env cannot be read")
    assert second.startswith("Line 2 of .env sets EMAIL_HSOT. Did you mean EMAIL_HOST?")


def test_a_dotenv_with_a_byte_order_mark_is_read_completely(checkout):
    lines = [f"{name}={value}\n" for name, value in production().items()]
    assert lines[0].startswith("PERMA_PAYMENTS_ENV=")
    (checkout / ".env").write_text("\ufeff" + "".join(lines))

    ended = start(
        "-c",
        "from django.conf import settings; print(settings.PERMA_PAYMENTS_ENV)",
        cwd=checkout,
        PYTHON_DOTENV_DISABLED="",
        DJANGO_SETTINGS_MODULE="perma_payments.settings",
    )

    assert (ended.stdout, ended.stderr) == ("production\n", "")
