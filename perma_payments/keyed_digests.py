"""Digests of what may not be stored in clear, keyed with SECRET_KEY so that nobody can guess it by trying."""

from django.conf import settings
from django.utils.crypto import salted_hmac


def keyed_digest(salt: str, text: str) -> str:
    """Return the digest (64 hexadecimal digits) to store."""
    return keyed_digests(salt, text)[0]


def keyed_digests(salt: str, text: str) -> list[str]:
    """Return all digests to look for: the one to store, with SECRET_KEY, and those with its fallbacks."""
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [salted_hmac(salt, text, secret=key, algorithm="sha256").hexdigest() for key in keys]
