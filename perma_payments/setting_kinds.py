"""What settings may be: each Kind reads a text, and says in words what it expects."""

import base64
import binascii
import ipaddress
import re
from collections.abc import Mapping
from datetime import date, time
from email.utils import parseaddr
from urllib.parse import urlsplit

from nacl.exceptions import CryptoError
from nacl.public import Box, PrivateKey, PublicKey

from .cybersource.signature import SigningKey
from .env import Kind, Unfit, one_of
from .sealed_archive import SECRET_LABEL

# Deliberately not a key: nobody should start with one that is printed here.
KEY_EXAMPLE = "hV0kQ2…(44 characters)…8yY="


def text(expected: str, example: str) -> Kind[str]:
    """Any text."""
    return Kind(_text, expected, example)


def whole_number(least: int, most: int, unit: str, example: int) -> Kind[int]:
    """A whole number of some unit, within bounds."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", text, re.ASCII) or not least <= int(text) <= most:
            raise ValueError
        return int(text)

    return Kind(parse, f"a whole number ({unit}) from {least} to {most}", str(example))


def choice(*among: str, example: str) -> Kind[str]:
    """One of a few words."""
    return Kind(one_of(among), "one of " + ", ".join(among), example)


def paths(defaults: Mapping[str, str]) -> Kind[dict[str, str]]:
    """Paths by transaction type, ``type=/path`` separated by semicolons, replacing those of ``defaults``."""

    def parse(text: str) -> dict[str, str]:
        given = {}
        for word in text.split(";"):
            kind, _, path = (part.strip() for part in word.partition("="))
            if kind not in defaults or not re.fullmatch(r"/[A-Za-z0-9_/-]*", path):
                raise ValueError
            given[kind] = path
        return {**defaults, **given}

    return Kind(
        parse,
        f"type=/path, separated by semicolons, for any of the types {'; '.join(defaults)}",
        "update_payment_token=/pay",
    )


def base_url(example: str) -> Kind[str]:
    """The beginning of a web address: scheme and host, perhaps a port, nothing behind."""
    return Kind(_base_url, "a web address of scheme and host only, without a slash at the end", example)


def origin_of(base_url: str) -> str:
    """The origin of a base URL as browsers write it: in small letters, without the usual port of its scheme."""
    parts = urlsplit(base_url.lower())
    return f"{parts.scheme}://{parts.netloc}".removesuffix({"https": ":443", "http": ":80"}[parts.scheme])


def email(example: str) -> Kind[str]:
    """An email address."""
    return Kind(_email, "an email address", example)


def emails(example: str) -> Kind[list[str]]:
    """Email addresses, separated by commas."""
    return Kind(
        lambda text: [_email(word) for word in _words(text)],
        "one or more email addresses, separated by commas",
        example,
    )


def _text(text: str) -> str:
    return text.encode().decode()  # Raises ValueError for bytes that are no UTF-8.


def _flag(text: str) -> bool:
    try:
        return {
            "true": True,
            "1": True,
            "yes": True,
            "on": True,
            "false": False,
            "0": False,
            "no": False,
            "off": False,
        }[text.lower()]
    except KeyError:
        raise ValueError from None


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise ValueError
    return words


def _hosts(text: str) -> list[str]:
    hosts = _words(text)
    if not all(re.fullmatch(r"\*|\.?[0-9A-Za-z_.-]+|\[[0-9A-Fa-f:]+\]", host) for host in hosts):
        raise ValueError
    return hosts


def _host(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        if not re.fullmatch(r"[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]+)*\.?", text):
            raise ValueError from None
        return text


def _profile_id(text: str) -> str:
    # cybersource.md §3: an upper-case UUID with hyphens; 7 characters for old profiles.
    if not re.fullmatch(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}|[0-9A-Za-z]{7}", text):
        raise ValueError
    return text


def _base_url(text: str) -> str:
    # What a browser's security policy could misread is refused with the rest.
    if not re.fullmatch(r"https?://[^\s/?#@;,'\"<>\\]+/?", text) or not urlsplit(text).hostname:
        raise ValueError
    if urlsplit(text).port == 0:
        raise ValueError
    return text.rstrip("/")


def _email(text: str) -> str:
    _, address = parseaddr(text)
    if address != text or not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", text):
        raise ValueError
    return text


def _time_of_day(text: str) -> time:
    if not re.fullmatch(r"[0-9]{2}:[0-9]{2}", text, re.ASCII):
        raise ValueError
    return time.fromisoformat(text)


def _url_with_pk(text: str) -> str:
    if text.count("{pk}") != 1 or not re.fullmatch(r"https?://[^\s/{}]+/[^\s{}]*\{pk\}[^\s{}]*", text):
        raise ValueError
    return text


def _url_path(text: str) -> str:
    if not re.fullmatch(r"(?:[0-9A-Za-z_-]+/)+", text):
        raise ValueError
    return text


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError from None
    if len(key) != 32:
        raise ValueError
    return key


def _public_key(text: str) -> tuple[str, bytes]:
    key_id, _, encoded = text.partition(":")
    if SECRET_LABEL in text:
        raise Unfit("contains a secret key, which must not be on this machine")
    if not re.fullmatch(r"[0-9A-Za-z_.-]{1,50}", key_id):
        raise ValueError
    key = _key(encoded)
    try:
        Box(PrivateKey.generate(), PublicKey(key))
    except CryptoError:
        raise Unfit("contains a key that nothing can be sealed with") from None
    return key_id, key


def _public_keys(text: str) -> dict[str, bytes]:
    keys = [_public_key(word) for word in _words(text)]
    if len(dict(keys)) != len(keys):
        raise ValueError
    return dict(keys)


def _signing_keys(text: str) -> list[SigningKey]:
    keys = []
    for word in _words(text):
        access_key, _, rest = word.partition(":")
        secret, _, created = rest.partition(":")
        if not re.fullmatch(r"[0-9A-Za-z]{1,32}", access_key, re.ASCII) or not secret:
            raise ValueError
        keys.append(SigningKey(access_key, secret, date.fromisoformat(created) if created else None))
    if len({key.access_key for key in keys}) != len(keys):
        raise ValueError
    return keys


FLAG = Kind(_flag, "true or false", "true")
HOSTS = Kind(
    _hosts,
    "the host names that the service answers to, separated by commas",
    "payments.example.org,perma-payments",
)
MAIL_SERVER = Kind(_host, "the name of the mail server, without a scheme or a port", "smtp.example.org")
PROFILE_ID = Kind(
    _profile_id,
    "the id of the profile as the Business Center shows it, in capitals and with its hyphens",
    "A1B2C3D4-0000-4000-8000-ABCDEF012345",
)
TIME_OF_DAY = Kind(_time_of_day, "a time of day in UTC, as HH:MM", "09:00")
URL_WITH_PK = Kind(
    _url_with_pk,
    "a web address with {pk} where the id goes",
    "https://perma.cc/admin/perma/registrar/{pk}/change/",
)
# Below the root: where pages lie.
URL_PATH = Kind(_url_path, "a path without a slash before it and with one behind", "admin/")
# NaCl keys: 32 bytes in base64, public halves with their ids.
SECRET_HALF = Kind(_key, "a key of 32 bytes in base64, as manage.py generate_keys makes it", KEY_EXAMPLE)
PUBLIC_KEY = Kind(
    _public_key, "id:key, the key of 32 bytes in base64, the public half of its pair", f"2026-11:{KEY_EXAMPLE}"
)
PUBLIC_KEYS = Kind(
    _public_keys,
    "one or more of id:key, separated by commas, each key of 32 bytes in base64",
    f"2026-11:{KEY_EXAMPLE}",
)
SIGNING_KEYS = Kind(
    _signing_keys,
    "one or more of access_key:secret_key:YYYY-MM-DD (the day when the key was created in the "
    "Business Center), separated by commas, the one that signs first",
    "00112233445566778899aabbccddeeff:0f1e2d…(256 characters):2026-11-21",
)
