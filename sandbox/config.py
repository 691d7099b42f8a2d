"""The sandbox's settings.

Three can be set in the environment: SANDBOX_PAYMENTS_URL, SANDBOX_PERMA_CLIENT and SANDBOX_SMTP_PORT.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from nacl.public import PrivateKey, PublicKey

from .perma.clients import CLIENTS, DEFAULT_CLIENT, PermaClient

# The development keys of perma.md §6. They are public, and refused by Perma Payments in production.
DEFAULT_PERMA_SECRET_KEY = "hneZHHft4QieiNmyVPfyYFJs3toRgixbiTqSQKJ1r2E="
DEFAULT_PERMA_PAYMENTS_PUBLIC_KEY = "FhfWRc3QmLzG9SY+QwvTNMT9vcACNzpcMyvNSxKg0jA="

DEFAULT_PAYMENTS_URL = "http://localhost:8000"
DEFAULT_SMTP_PORT = 8025
DEFAULT_CS_PROFILE_ID = "5A4DB0C5-0000-4000-8000-000000000001"
DEFAULT_CS_ACCESS_KEY = "sandboxsandboxsandboxsandbox0001"
DEFAULT_CS_SECRET = "c0ffee00" * 32


class ConfigError(Exception):
    """A setting cannot be used: a sentence that names it, says what is expected and gives an example."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of a sandbox.

    payments_url: where Perma Payments is, without a slash at the end, for browsers and servers alike.
    perma_client: the version of Perma.cc's client that is played.
    smtp_port: where mail is received, on the same address as the pages; 0 for nowhere.
    perma_secret_key, payments_public_key: the two keys of Perma.cc's box.
    cs_profile_id: the only Secure Acceptance profile there is.
    cs_keys: secret by access key. A secret is used as text, as CyberSource does.
    """

    payments_url: str = DEFAULT_PAYMENTS_URL
    perma_client: PermaClient = DEFAULT_CLIENT
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

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read what the environment sets; an empty value counts as not set. Raises ConfigError."""
        return cls(
            payments_url=_url("SANDBOX_PAYMENTS_URL", environ),
            perma_client=_perma_client("SANDBOX_PERMA_CLIENT", environ),
            smtp_port=_port("SANDBOX_SMTP_PORT", environ),
        )


def _url(name: str, environ: Mapping[str, str]) -> str:
    value = environ.get(name, "").strip() or DEFAULT_PAYMENTS_URL
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


def _perma_client(name: str, environ: Mapping[str, str]) -> PermaClient:
    value = environ.get(name, "").strip() or DEFAULT_CLIENT.year
    if value not in CLIENTS:
        raise ConfigError(
            f"{name} must be the year of one of Perma.cc's clients, {' or '.join(CLIENTS)}, for example "
            f"{DEFAULT_CLIENT.year}; it is {value!r}."
        )
    return CLIENTS[value]


def _port(name: str, environ: Mapping[str, str]) -> int:
    value = environ.get(name, "").strip() or str(DEFAULT_SMTP_PORT)
    if not re.fullmatch(r"[0-9]{1,5}", value) or int(value) > 65535:
        raise ConfigError(
            f"{name} must be the number of a port, or 0 to receive no mail, for example "
            f"{DEFAULT_SMTP_PORT}; it is {value!r}."
        )
    return int(value)
