"""Settings from the environment."""

import pytest

from sandbox.config import Config, ConfigError


def test_everything_has_a_default():
    config = Config.from_environ({})
    assert config.payments_url == "http://localhost:8000"
    assert config.smtp_port == 8025
    assert config.perma_client.year == "2026"
    assert config.cs_profile_id == "5A4DB0C5-0000-4000-8000-000000000001"
    assert {key: len(secret) for key, secret in config.cs_keys.items()} == {
        "sandboxsandboxsandboxsandbox0001": 256
    }


def test_an_empty_variable_counts_as_not_set():
    assert Config.from_environ({"SANDBOX_PAYMENTS_URL": " "}).payments_url == "http://localhost:8000"


def test_a_trailing_slash_in_the_address_makes_no_difference():
    assert (
        Config.from_environ({"SANDBOX_PAYMENTS_URL": "https://pay.example/x/"}).payments_url
        == "https://pay.example/x"
    )


@pytest.mark.parametrize("year", ["2024", "2026"])
def test_either_client_can_be_chosen(year):
    assert Config.from_environ({"SANDBOX_PERMA_CLIENT": year}).perma_client.year == year


@pytest.mark.parametrize("value, port", [("0", 0), ("2525", 2525), ("65535", 65535)])
def test_the_port_for_mail_can_be_chosen(value, port):
    assert Config.from_environ({"SANDBOX_SMTP_PORT": value}).smtp_port == port


@pytest.mark.parametrize(
    "name, value",
    [
        ("SANDBOX_PAYMENTS_URL", "localhost:8000"),
        ("SANDBOX_PAYMENTS_URL", "ftp://localhost"),
        ("SANDBOX_PAYMENTS_URL", "http://localhost:port"),
        ("SANDBOX_PAYMENTS_URL", "http://localhost/?a=b"),
        ("SANDBOX_PAYMENTS_URL", "http://[::1"),
        ("SANDBOX_PERMA_CLIENT", "2025"),
        ("SANDBOX_PERMA_CLIENT", "both"),
        ("SANDBOX_SMTP_PORT", "65536"),
        ("SANDBOX_SMTP_PORT", "-1"),
        ("SANDBOX_SMTP_PORT", "smtp"),
    ],
)
def test_a_bad_value_is_refused_with_a_sentence(name, value):
    with pytest.raises(ConfigError) as caught:
        Config.from_environ({name: value})
    sentence = str(caught.value)
    assert sentence.startswith(f"{name} must be ")
    assert "for example" in sentence
    assert "\n" not in sentence


def test_secrets_are_not_in_the_repr():
    assert "c0ffee00" not in repr(Config())
