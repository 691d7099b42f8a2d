"""The sandbox's settings, read from environment variables in this one place.

Every variable has a default, so `python -m sandbox` works with none set. A variable that is set to
nothing counts as not set. A bad value raises ConfigError, whose text names the variable, says what
is expected and gives an example.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from nacl.public import PrivateKey, PublicKey

# The development keys of perma.md §6. They are public, and refused by Perma Payments in production.
DEFAULT_PERMA_SECRET_KEY = "hneZHHft4QieiNmyVPfyYFJs3toRgixbiTqSQKJ1r2E="
DEFAULT_PERMA_PAYMENTS_PUBLIC_KEY = "FhfWRc3QmLzG9SY+QwvTNMT9vcACNzpcMyvNSxKg0jA="

DEFAULT_PAYMENTS_URL = "http://localhost:8000"
DEFAULT_SMTP_PORT = 8025
DEFAULT_CS_PROFILE_ID = "5A4DB0C5-0000-4000-8000-000000000001"
DEFAULT_CS_ACCESS_KEY = "sandboxsandboxsandboxsandbox0001"
DEFAULT_CS_SECRET = "c0ffee00" * 32

_SWITCH_WORDS = {
    "on": True,
    "true": True,
    "yes": True,
    "1": True,
    "off": False,
    "false": False,
    "no": False,
    "0": False,
}


class ConfigError(Exception):
    """A setting has a value that cannot be used. The text is one sentence for a person."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """All that can be set about a sandbox.

    payments_url: where Perma Payments is, without a slash at the end; for the browser's forms and
        for server-to-server calls alike.
    smtp_port: where mail is taken, at the same address as the pages; 0 for nowhere.
    perma_secret_key, payments_public_key: the two keys of Perma.cc's box.
    cs_profile_id: the only Secure Acceptance profile there is.
    cs_keys: secret by access key. A secret is used as text, as CyberSource does.
    cs_strict_clock: refuse forms signed more than 15 minutes from now. CyberSource names no
        figure; 15 minutes is an assumption, hence the switch.
    cs_token_update_on_pay: accept a plain `update_payment_token` on /pay too. The guides list only
        /token/update for it, but /pay has been seen to accept it for years.
    """

    payments_url: str = DEFAULT_PAYMENTS_URL
    smtp_port: int = DEFAULT_SMTP_PORT
    perma_secret_key: PrivateKey = field(
        default_factory=lambda: PrivateKey(base64.b64decode(DEFAULT_PERMA_SECRET_KEY)), repr=False
    )
    payments_public_key: PublicKey = field(
        default_factory=lambda: PublicKey(base64.b64decode(DEFAULT_PERMA_PAYMENTS_PUBLIC_KEY))
    )
    cs_profile_id: str = DEFAULT_CS_PROFILE_ID
    cs_keys: Mapping[str, str] = field(
        default_factory=lambda: {DEFAULT_CS_ACCESS_KEY: DEFAULT_CS_SECRET}, repr=False
    )
    cs_strict_clock: bool = True
    cs_token_update_on_pay: bool = True

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Config:
        """Read the settings from `environ`. Raises ConfigError for the first bad value."""

        def text(name: str, default: str) -> str:
            return environ.get(name, "").strip() or default

        return cls(
            payments_url=_url("SANDBOX_PAYMENTS_URL", text("SANDBOX_PAYMENTS_URL", DEFAULT_PAYMENTS_URL)),
            smtp_port=_port("SANDBOX_SMTP_PORT", text("SANDBOX_SMTP_PORT", str(DEFAULT_SMTP_PORT))),
            perma_secret_key=PrivateKey(
                _key("SANDBOX_PERMA_SECRET_KEY", text("SANDBOX_PERMA_SECRET_KEY", DEFAULT_PERMA_SECRET_KEY))
            ),
            payments_public_key=PublicKey(
                _key(
                    "SANDBOX_PERMA_PAYMENTS_PUBLIC_KEY",
                    text("SANDBOX_PERMA_PAYMENTS_PUBLIC_KEY", DEFAULT_PERMA_PAYMENTS_PUBLIC_KEY),
                )
            ),
            cs_profile_id=_profile_id(
                "SANDBOX_CS_PROFILE_ID", text("SANDBOX_CS_PROFILE_ID", DEFAULT_CS_PROFILE_ID)
            ),
            cs_keys=_key_pairs(
                "SANDBOX_CS_KEYS", text("SANDBOX_CS_KEYS", f"{DEFAULT_CS_ACCESS_KEY}:{DEFAULT_CS_SECRET}")
            ),
            cs_strict_clock=_switch("SANDBOX_CS_STRICT_CLOCK", text("SANDBOX_CS_STRICT_CLOCK", "on")),
            cs_token_update_on_pay=_switch(
                "SANDBOX_CS_TOKEN_UPDATE_ON_PAY", text("SANDBOX_CS_TOKEN_UPDATE_ON_PAY", "on")
            ),
        )


def _url(name: str, value: str) -> str:
    error = ConfigError(
        f"{name} must be the http or https address of Perma Payments, without a query, for "
        f"example {DEFAULT_PAYMENTS_URL}; it is {value!r}."
    )
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError where it is no port number
    except ValueError:
        raise error from None
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
        or re.search(r'[\s<>"\\]', value)
    ):
        raise error
    return value.rstrip("/")


def _port(name: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", value) or int(value) > 65535:
        raise ConfigError(
            f"{name} must be the number of a port, or 0 to take no mail, for example "
            f"{DEFAULT_SMTP_PORT}; it is {value!r}."
        )
    return int(value)


def _key(name: str, value: str) -> bytes:
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32:
        # The value itself is left out: it may be a secret, mistyped.
        raise ConfigError(
            f"{name} must be 32 bytes in base64, 44 characters, for example "
            f"{DEFAULT_PERMA_PAYMENTS_PUBLIC_KEY} (a public key)."
        )
    return raw


def _profile_id(name: str, value: str) -> str:
    if not re.fullmatch(r"[0-9A-Za-z-]{1,36}", value):
        raise ConfigError(
            f"{name} must be up to 36 letters, digits and hyphens, for example "
            f"{DEFAULT_CS_PROFILE_ID}; it is {value!r}."
        )
    return value


def _key_pairs(name: str, value: str) -> Mapping[str, str]:
    expected = (
        f"{name} must be a comma-separated list of access_key:secret, each access key 32 letters "
        f"and digits and there once, each secret of visible ASCII characters, for example "
        f"{DEFAULT_CS_ACCESS_KEY}:{DEFAULT_CS_SECRET[:16]}…"
    )
    pairs: dict[str, str] = {}
    for item in value.split(","):
        access_key, _colon, secret = item.strip().partition(":")
        if (
            not re.fullmatch(r"[0-9A-Za-z]{32}", access_key)
            or access_key in pairs
            or not re.fullmatch(r"[!-~]+", secret)
        ):
            raise ConfigError(expected + ".")
        pairs[access_key] = secret
    return pairs


def _switch(name: str, value: str) -> bool:
    try:
        return _SWITCH_WORDS[value.lower()]
    except KeyError:
        raise ConfigError(
            f"{name} must be on or off (also true/false, yes/no, 1/0), for example on; it is {value!r}."
        ) from None
