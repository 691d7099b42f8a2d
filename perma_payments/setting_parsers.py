"""The parsers of settings: what each can be, in code and in words."""

import base64
import ipaddress
from collections.abc import Callable, Mapping
from datetime import time
from typing import TypeVar
from urllib.parse import urlsplit

from nacl.exceptions import CryptoError
from nacl.public import Box, PrivateKey, PublicKey

from .cache import cache
from .cybersource.signature import SigningKeys
from .env import BadValue, Parser, matching
from .postgres.url import database
from .sealed_archive import PUBLIC_LABEL, SECRET_LABEL

T = TypeVar("T")

# Deliberately not a key: nobody should start with one that is printed here.
KEY_EXAMPLE = "hV0kQ2…(44 characters)…8yY="


def whole_number(least: int, most: int, unit: str, example: int) -> Parser[int]:
    """Return the parser of a whole number of some unit, within bounds."""
    digits = matching(r"-?[0-9]{1,18}")

    def parse(text: str) -> int:
        number = int(digits(text))
        if not least <= number <= most:
            raise ValueError
        return number

    return Parser(parse, f"a whole number ({unit}) from {least} to {most}", str(example))


def paths(defaults: Mapping[str, str]) -> Parser[dict[str, str]]:
    """Return the parser of paths by transaction type, which replace those of ``defaults``."""
    path = matching(r"/[A-Za-z0-9_/-]*")

    def parse(text: str) -> dict[str, str]:
        pairs = ([part.strip() for part in pair.split("=")] for pair in text.split(";"))
        given = {transaction_type: path(value) for transaction_type, value in pairs}
        if not given.keys() <= defaults.keys():
            raise ValueError
        return {**defaults, **given}

    expected = f"type=/path, separated by semicolons, for any of the types {'; '.join(defaults)}"
    return Parser(parse, expected, "update_payment_token=/pay")


def origin_of(base_url: str) -> str:
    """Return the origin of a base URL as browsers write it: in lowercase, without the usual port of its scheme."""
    parts = urlsplit(base_url.lower())
    return f"{parts.scheme}://{parts.netloc}".removesuffix({"https": ":443", "http": ":80"}[parts.scheme])


def _listed(parse: Callable[[str], T]) -> Callable[[str], list[T]]:
    return lambda text: [parse(each.strip()) for each in text.split(",")]


def _flag(text: str) -> bool:
    word = text.lower()
    if word not in ("true", "1", "yes", "on", "false", "0", "no", "off"):
        raise ValueError
    return word in ("true", "1", "yes", "on")


_host_name = matching(r"[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]+)*\.?")
_email = matching(r"""[^@\s()<>\[\]:;,"]+@[^@\s()<>\[\]:;,"]+\.[^@\s()<>\[\]:;,"]+""")


def _mail_server(text: str) -> str:
    return str(ipaddress.IPv6Address(text)) if ":" in text else _host_name(text)


def _base_url(text: str) -> str:
    # What a browser's content security policy could misread is refused, too.
    parts = urlsplit(matching(r"https?://[^\s/?#@;,'\"<>\\]+/?")(text))
    if not parts.hostname or parts.port == 0:
        raise ValueError
    return text.rstrip("/")


def _time_of_day(text: str) -> time:
    return time.fromisoformat(matching(r"[0-9]{2}:[0-9]{2}")(text))


def _key(text: str) -> bytes:
    key = base64.b64decode(text, validate=True)
    if len(key) != 32:
        raise ValueError
    return key


_key_id = matching(r"[0-9A-Za-z_.-]{1,50}")


def _secret_key(text: str) -> tuple[str, bytes]:
    if SECRET_LABEL in text:
        raise BadValue("contains the archive's secret key, which must not be on this machine")
    key_id, _, encoded = text.partition(":")
    return _key_id(key_id), _key(encoded)


def _public_key(text: str) -> tuple[str, bytes]:
    if SECRET_LABEL in text:
        raise BadValue("contains a secret key, which must not be on this machine")
    key_id, _, encoded = text.partition(":")
    _key_id(key_id)
    key = _key(encoded)
    try:
        Box(PrivateKey.generate(), PublicKey(key))
    except CryptoError:
        raise BadValue("contains a key that nothing can be sealed with") from None
    return key_id, key


def _archive_public_key(text: str) -> tuple[str, bytes]:
    key_id, _, key = text.partition(":")
    public_key = _public_key(f"{key_id}:{key.removeprefix(PUBLIC_LABEL)}")
    if not key.startswith(PUBLIC_LABEL):
        raise BadValue(f"has no label {PUBLIC_LABEL} before its key, so that could be a secret key")
    return public_key


def _ring(parse: Callable[[str], tuple[str, bytes]]) -> Callable[[str], dict[str, bytes]]:
    def parse_all(text: str) -> dict[str, bytes]:
        keys = _listed(parse)(text)
        if len(dict(keys)) != len(keys):
            raise ValueError
        return dict(keys)

    return parse_all


FLAG = Parser(_flag, "true or false", "true")
SECRET_KEY = Parser(
    str, "at least 50 random characters, as manage.py generate_keys makes them", "x7Q…(50 or more)…k2"
)
SECRET_KEY_FALLBACKS = Parser(
    _listed(matching(r"\S+")),
    "one or more keys like SECRET_KEY, separated by commas, with neither commas nor blanks in them",
    "x7Q…(50-or-more)…k2",
)
HOSTS = Parser(
    _listed(matching(r"\*|\.?[0-9A-Za-z_.-]+|\[[0-9A-Fa-f:]+\]")),
    "the host names that the service answers to, separated by commas",
    "payments.example.org,perma-payments",
)
DATABASE = Parser(
    database,
    "the address of a PostgreSQL database, with any of #, ?, /, @ and % in its password written as %23, %3F, %2F, "
    "%40 and %25",
    "postgres://perma_payments:password@localhost:5432/perma_payments",
)
CACHE = Parser(
    cache,
    "the address of a Redis, with any of #, ?, /, @ and % in its password written as %23, %3F, %2F, %40 and %25",
    "redis://localhost:6379/0",
)
# Scheme, host and perhaps port; a slash at the end is dropped.
BASE_URL = Parser(
    _base_url, "a web address of scheme and host only, without a slash at the end", "https://perma.cc"
)
EMAIL = Parser(_email, "an email address", "info@perma.cc")
EMAILS = Parser(_listed(_email), "one or more email addresses, separated by commas", "info@perma.cc")
# NaCl keys are 32 bytes in base64, with their ids.
SECRET_KEYS = Parser(
    _ring(_secret_key),
    "one or more of id:key, separated by commas, each key of 32 bytes in base64, as from manage.py generate_keys",
    f"2026-11:{KEY_EXAMPLE}",
)
ARCHIVE_PUBLIC_KEY = Parser(
    _archive_public_key,
    f"id:{PUBLIC_LABEL}key, as in the line that manage.py generate_keys --archive printed",
    f"2026-11-25:{PUBLIC_LABEL}{KEY_EXAMPLE}",
)
PUBLIC_KEYS = Parser(
    _ring(_public_key),
    "one or more of id:key, separated by commas, each key of 32 bytes in base64",
    f"2026-11:{KEY_EXAMPLE}",
)
# cybersource.md §3: an upper-case UUID with hyphens; 7 characters for old profiles.
PROFILE_ID = Parser(
    matching(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}|[0-9A-Za-z]{7}"),
    "the id of the profile as the Business Center shows it, in capitals and with its hyphens",
    "A1B2C3D4-0000-4000-8000-ABCDEF012345",
)
SIGNING_KEYS = Parser(
    SigningKeys.parse,
    "one or more of access_key:secret_key:YYYY-MM-DD (the day when the key was created in the "
    "Business Center), separated by commas, the one that signs first",
    "00112233445566778899aabbccddeeff:0f1e2d…(256 characters):2026-11-21",
)
MAIL_SERVER = Parser(_mail_server, "the name of the mail server, without a scheme or a port", "smtp.example.org")
MAIL_USER = Parser(str, "a user of the mail server", "perma-payments")
MAIL_PASSWORD = Parser(str, "that user's password", "(the password)")
# Unencrypted only on this machine.
SENTRY_DSN = Parser(
    matching(
        r"(https://[0-9A-Za-z]+@[0-9A-Za-z.-]+|http://[0-9A-Za-z]+@(localhost|127\.0\.0\.1))(:[0-9]{1,5})?"
        r"/([0-9A-Za-z._-]+/)*[0-9]+"
    ),
    "the DSN of a project in Sentry, as its settings show it under Client Keys, with https",
    "https://0123456789abcdef@o1.ingest.sentry.io/1",
)
TOKEN = Parser(
    matching(r"[!-~]{32,200}"),
    "at least 32 random characters, without blanks, as from openssl rand -hex 32",
    "4f1d…(32 or more)…9c",
)
DIRECTORY = Parser(matching(r"/[^\0]*"), "the absolute path of a directory", "/run/perma-payments")
PING_URL = Parser(
    matching(r"https?://[0-9A-Za-z.:\[\]-]+/[!-~]*"),
    "a web address with a path",
    "https://hc-ping.com/6f9619ff-8b86-4d11-b42d-00cf4fc964ff",
)
TIME_OF_DAY = Parser(_time_of_day, "a time of day in UTC, as HH:MM", "09:00")
URL_WITH_PK = Parser(
    matching(r"https?://[^\s/{}]+/[^\s{}]*\{pk\}[^\s{}]*"),
    "a web address with {pk} where the id goes",
    "https://perma.cc/admin/perma/registrar/{pk}/change/",
)
# Below the root, where the pages are.
URL_PATH = Parser(
    matching(r"([0-9A-Za-z_-]+/)+"), "a path with a slash at its end and none at its start", "admin/"
)
