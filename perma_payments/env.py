"""Typed readers of settings from the environment.

A missing or malformed value stops the start with one sentence that names the variable, says what was
expected, and gives an example. Values themselves are never printed: they may be secrets.
"""
import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import date, time
from email.utils import parseaddr
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from .cybersource.signature import SigningKey

T = TypeVar("T")

# Deliberately not a key: nobody should start with one that is printed here.
KEY_EXAMPLE = "hV0kQ2…(44 characters)…8yY="


class BadSetting(SystemExit):
    """A setting that the service cannot start with.

    It is a SystemExit so that whoever starts the service (manage.py, gunicorn, pytest) shows the
    sentence and ends, instead of a stack trace.
    """


def origin_of(base_url: str) -> str:
    """The origin of a base URL as browsers write it: in small letters, without the usual port of its scheme."""
    parts = urlsplit(base_url.lower())
    return f"{parts.scheme}://{parts.netloc}".removesuffix({"https": ":443", "http": ":80"}[parts.scheme])


class Env:
    """Reads variables from a mapping, as a rule ``os.environ``.

    An empty value counts as not set. ``NAME_FILE`` may name a file that holds the value of ``NAME``.
    A ``default`` of None makes a variable required.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def read(self, name: str, parse: Callable[[str], T], *, default: T | None, expected: str, example: str) -> T:
        """Read one variable with ``parse``, which raises ValueError for what it cannot read."""
        text = self._text(name)
        if text is None:
            if default is None:
                raise BadSetting(_sentence(name, "is not set", expected, example))
            return default
        try:
            return parse(text)
        except ValueError:
            raise BadSetting(_sentence(name, "cannot be read", expected, example)) from None

    def text(self, name: str, default: str | None = None, *, expected: str, example: str) -> str:
        """Any text."""
        return self.read(name, str, default=default, expected=expected, example=example)

    def flag(self, name: str, default: bool | None = None) -> bool:
        """True or false."""
        return self.read(name, _flag, default=default, expected="true or false", example="true")

    def whole_number(self, name: str, default: int | None = None, *, least: int, most: int, unit: str) -> int:
        """A whole number of some unit, within bounds."""
        return self.read(
            name, lambda text: _whole_number(text, least, most), default=default,
            expected=f"a whole number ({unit}) from {least} to {most}", example=str(default or least),
        )

    def choice(self, name: str, default: str | None = None, *, among: tuple[str, ...]) -> str:
        """One of a few words."""
        return self.read(
            name, lambda text: _choice(text, among), default=default,
            expected="one of " + ", ".join(among), example=among[0],
        )

    def words(self, name: str, default: list[str] | None = None, *, expected: str, example: str) -> list[str]:
        """A list of words, separated by commas."""
        return self.read(name, _words, default=default, expected=expected, example=example)

    def hosts(self, name: str, default: list[str] | None = None) -> list[str]:
        """Host names, separated by commas."""
        return self.read(
            name, _hosts, default=default,
            expected="the host names that the service answers to, separated by commas",
            example="payments.example.org,perma-payments",
        )

    def profile_id(self, name: str, default: str | None = None) -> str:
        """The id of a Secure Acceptance profile."""
        return self.read(
            name, _profile_id, default=default, expected="the id of the profile, from the Business Center",
            example="A1B2C3D4-0000-4000-8000-ABCDEF012345",
        )

    def base_url(self, name: str, default: str | None = None, *, example: str) -> str:
        """The beginning of a web address: scheme and host, perhaps a port, nothing behind."""
        return self.read(
            name, _base_url, default=default,
            expected="a web address of scheme and host only, without a slash at the end", example=example,
        )

    def email(self, name: str, default: str | None = None, *, example: str) -> str:
        """An address of e-mail."""
        return self.read(name, _email, default=default, expected="an address of e-mail", example=example)

    def emails(self, name: str, default: list[str] | None = None, *, example: str) -> list[str]:
        """Addresses of e-mail, separated by commas."""
        return self.read(
            name, lambda text: [_email(word) for word in _words(text)], default=default,
            expected="one or more addresses of e-mail, separated by commas", example=example,
        )

    def time_of_day(self, name: str, default: time) -> time:
        """A time of day, in UTC."""
        return self.read(
            name, _time_of_day, default=default, expected="a time of day in UTC, as HH:MM", example="09:00"
        )

    def url_with_pk(self, name: str, default: str) -> str:
        """A web address with ``{pk}`` where an id goes."""
        return self.read(
            name, _url_with_pk, default=default, expected="a web address with {pk} where the id goes",
            example="https://perma.cc/admin/perma/registrar/{pk}/change/",
        )

    def key(self, name: str, default: bytes | None = None) -> bytes:
        """A NaCl key: 32 bytes in base64."""
        return self.read(
            name, _key, default=default,
            expected="a key of 32 bytes in base64, as manage.py generate_keys makes it", example=KEY_EXAMPLE,
        )

    def named_key(self, name: str, default: tuple[str, bytes] | None = None) -> tuple[str, bytes]:
        """One NaCl key with its id: ``id:key``."""
        return self.read(
            name, _named_key, default=default, expected="id:key, the key of 32 bytes in base64",
            example=f"2026-11:{KEY_EXAMPLE}",
        )

    def named_keys(self, name: str, default: dict[str, bytes] | None = None) -> dict[str, bytes]:
        """NaCl keys with their ids: ``id:key``, separated by commas."""
        return self.read(
            name, _named_keys, default=default,
            expected="one or more of id:key, separated by commas, each key of 32 bytes in base64",
            example=f"2026-11:{KEY_EXAMPLE}",
        )

    def signing_keys(self, name: str, default: list[SigningKey] | None = None) -> list[SigningKey]:
        """CyberSource's security keys: ``access_key:secret_key:created``, separated by commas."""
        return self.read(
            name, _signing_keys, default=default,
            expected="one or more of access_key:secret_key:YYYY-MM-DD (the day when the key was created in the "
            "Business Center), separated by commas, the one that signs first",
            example="00112233445566778899aabbccddeeff:0f1e2d…(256 characters):2026-11-21",
        )

    def url_path(self, name: str, default: str | None = None) -> str:
        """Where pages lie below the root: without a slash before it and with one behind."""
        return self.read(
            name, _url_path, default=default,
            expected="a path without a slash before it and with one behind", example="admin/",
        )

    def paths(self, name: str, default: Mapping[str, str]) -> dict[str, str]:
        """Paths by transaction type, ``type=/path`` separated by semicolons, replacing those of ``default``."""
        return self.read(
            name, lambda text: {**default, **_paths(text, default)}, default=dict(default),
            expected=f"type=/path, separated by semicolons, for any of the types {'; '.join(default)}",
            example="update_payment_token=/pay",
        )

    def _text(self, name: str) -> str | None:
        text = self._variables.get(name, "").strip()
        if text:
            return text
        path = self._variables.get(f"{name}_FILE", "").strip()
        if not path:
            return None
        try:
            text = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            raise BadSetting(_sentence(
                f"{name}_FILE", "names a file that cannot be read", "the path of a readable text file",
                f"/run/secrets/{name.lower()}",
            )) from None
        return text or None


def _sentence(name: str, problem: str, expected: str, example: str) -> str:
    return f"The setting {name} {problem}: expected {expected}, for example {name}={example}"


def _flag(text: str) -> bool:
    try:
        return {"true": True, "1": True, "yes": True, "on": True,
                "false": False, "0": False, "no": False, "off": False}[text.lower()]
    except KeyError:
        raise ValueError from None


def _whole_number(text: str, least: int, most: int) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text, re.ASCII) or not least <= int(text) <= most:
        raise ValueError
    return int(text)


def _choice(text: str, among: tuple[str, ...]) -> str:
    if text not in among:
        raise ValueError
    return text


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


def _profile_id(text: str) -> str:
    if not re.fullmatch(r"[0-9A-Za-z-]{1,36}", text):
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


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError from None
    if len(key) != 32:
        raise ValueError
    return key


def _named_key(text: str) -> tuple[str, bytes]:
    key_id, _, key = text.partition(":")
    if not re.fullmatch(r"[0-9A-Za-z_.-]{1,50}", key_id):
        raise ValueError
    return key_id, _key(key)


def _named_keys(text: str) -> dict[str, bytes]:
    keys = [_named_key(word) for word in _words(text)]
    if len(dict(keys)) != len(keys):
        raise ValueError
    return dict(keys)


def _url_path(text: str) -> str:
    if not re.fullmatch(r"(?:[0-9A-Za-z_-]+/)+", text):
        raise ValueError
    return text


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


def _paths(text: str, known: Mapping[str, str]) -> dict[str, str]:
    paths = {}
    for word in text.split(";"):
        kind, _, path = (part.strip() for part in word.partition("="))
        if kind not in known or not re.fullmatch(r"/[A-Za-z0-9_/-]*", path):
            raise ValueError
        paths[kind] = path
    return paths
