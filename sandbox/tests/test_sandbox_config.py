"""Settings from the environment."""

from __future__ import annotations

import pytest

from sandbox.config import Config, ConfigError


def test_everything_has_a_default():
    config = Config.from_environ({})
    assert config.payments_url == "http://localhost:8000"
    assert config.smtp_port == 8025
    assert config.cs_profile_id == "5A4DB0C5-0000-4000-8000-000000000001"
    assert {key: len(secret) for key, secret in config.cs_keys.items()} == {
        "sandboxsandboxsandboxsandbox0001": 256
    }
    assert config.cs_strict_clock and config.cs_token_update_on_pay


def test_a_variable_set_to_nothing_counts_as_not_set():
    assert Config.from_environ({"SANDBOX_PAYMENTS_URL": " "}).payments_url == "http://localhost:8000"


def test_a_slash_at_the_end_of_the_address_makes_no_difference():
    assert (
        Config.from_environ({"SANDBOX_PAYMENTS_URL": "https://pay.example/x/"}).payments_url
        == "https://pay.example/x"
    )


def test_several_key_pairs_can_be_given():
    first, second = "a" * 32, "B" * 32
    config = Config.from_environ({"SANDBOX_CS_KEYS": f"{first}:one, {second}:two:2"})
    assert config.cs_keys == {first: "one", second: "two:2"}


@pytest.mark.parametrize("value, port", [("0", 0), ("2525", 2525), ("65535", 65535)])
def test_the_port_for_mail_can_be_chosen(value, port):
    assert Config.from_environ({"SANDBOX_SMTP_PORT": value}).smtp_port == port


@pytest.mark.parametrize(
    "word, is_on", [("on", True), ("TRUE", True), ("1", True), ("off", False), ("No", False), ("0", False)]
)
def test_a_switch_understands_the_usual_words(word, is_on):
    assert Config.from_environ({"SANDBOX_CS_STRICT_CLOCK": word}).cs_strict_clock is is_on


@pytest.mark.parametrize(
    "name, value",
    [
        ("SANDBOX_PAYMENTS_URL", "localhost:8000"),
        ("SANDBOX_PAYMENTS_URL", "ftp://localhost"),
        ("SANDBOX_PAYMENTS_URL", "http://localhost:port"),
        ("SANDBOX_PAYMENTS_URL", "http://localhost/?a=b"),
        ("SANDBOX_PAYMENTS_URL", "http://[::1"),
        ("SANDBOX_SMTP_PORT", "65536"),
        ("SANDBOX_SMTP_PORT", "-1"),
        ("SANDBOX_SMTP_PORT", "smtp"),
        ("SANDBOX_PERMA_SECRET_KEY", "not base64!"),
        ("SANDBOX_PERMA_SECRET_KEY", "dG9vIHNob3J0"),
        ("SANDBOX_PERMA_PAYMENTS_PUBLIC_KEY", "ü"),
        ("SANDBOX_CS_PROFILE_ID", "has blanks"),
        ("SANDBOX_CS_KEYS", "no-colon"),
        ("SANDBOX_CS_KEYS", "tooshort:secret"),
        ("SANDBOX_CS_KEYS", "a" * 32 + ":"),
        ("SANDBOX_CS_KEYS", ",".join(["a" * 32 + ":secret"] * 2)),
        ("SANDBOX_CS_STRICT_CLOCK", "maybe"),
        ("SANDBOX_CS_TOKEN_UPDATE_ON_PAY", "2"),
    ],
)
def test_a_bad_value_stops_with_a_sentence_naming_the_variable(name, value):
    with pytest.raises(ConfigError) as caught:
        Config.from_environ({name: value})
    sentence = str(caught.value)
    assert sentence.startswith(f"{name} must be ")
    assert "for example" in sentence
    assert "\n" not in sentence


def test_secrets_are_not_shown_in_errors_or_in_the_repr():
    with pytest.raises(ConfigError) as caught:
        Config.from_environ({"SANDBOX_PERMA_SECRET_KEY": "mistyped-secret"})
    assert "mistyped-secret" not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        Config.from_environ({"SANDBOX_CS_KEYS": "mistyped-secret"})
    assert "mistyped-secret" not in str(caught.value)
    assert "c0ffee00" not in repr(Config())
