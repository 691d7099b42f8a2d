"""Seal full responses to a public key, and open them with its secret half, which is kept offline.

The format: a NaCl SealedBox over the body of the POST, byte for byte as it came. Nothing here, and nothing
on the server, can open what was sealed.

What the service before this one has sealed is in another format (open_old_sealed).
"""

import base64
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from nacl.exceptions import CryptoError
from nacl.public import Box, PrivateKey, PublicKey, SealedBox

# Tell the halves apart, which would otherwise look just the same: both are 32 bytes.
SECRET_LABEL = "archive-secret:"
PUBLIC_LABEL = "archive-public:"

# What the ids begin with of keys that the service before this one sealed to: old-3 is its key 3.
OLD_KEY = "old-"


class CannotOpen(Exception):
    """The sealed bytes were made for another key, or are damaged."""


@dataclass(frozen=True)
class SealedArchive:
    """The public half of the archive's key pair (32 bytes), with the id that is stored beside what it sealed."""

    key_id: str
    public_key: bytes

    def __str__(self) -> str:
        """As in ARCHIVE_PUBLIC_KEY."""
        return f"{self.key_id}:{PUBLIC_LABEL}{base64.b64encode(self.public_key).decode()}"

    def seal(self, contents: bytes) -> bytes:
        """Seal bytes so that only the offline secret key opens them."""
        return SealedBox(PublicKey(self.public_key)).encrypt(contents)


def open_sealed(sealed: bytes, secret_key: bytes) -> bytes:
    """Open what an archive sealed, with its secret key (32 bytes). Raises CannotOpen."""
    try:
        return SealedBox(PrivateKey(secret_key)).decrypt(sealed)
    except (CryptoError, TypeError, ValueError):
        raise CannotOpen("this secret key does not open it") from None


def open_old_sealed(sealed: bytes, secret_key: bytes, sender: bytes | None = None) -> bytes:
    """Open what the service before this one sealed: a JSON object of the posted fields. Raises CannotOpen.

    ``sender`` is the public half (32 bytes) of the key that it sealed with, if that was not a throw-away one. The
    exact format is not confirmed, so every one that PyNaCl's boxes suggest is tried, raw and in base64. Boxes are
    authenticated, so a wrong guess opens nothing.
    """
    for text in _raw_and_decoded(sealed):
        with suppress(CannotOpen):
            return open_sealed(text, secret_key)
        for public_key, box in ((sender, text), (text[:32], text[32:]), (text[-32:], text[:-32])):
            with suppress(CryptoError, TypeError, ValueError):
                return Box(PrivateKey(secret_key), PublicKey(public_key or b"")).decrypt(box)
    raise CannotOpen("this secret key does not open it")


def _raw_and_decoded(sealed: bytes) -> Iterator[bytes]:
    yield sealed
    with suppress(ValueError):
        yield base64.b64decode(sealed, validate=True)


def secret_half(text: str) -> bytes:
    """The secret key (32 bytes) that a text holds in base64, or all that generate_keys printed. Raises ValueError.

    The label can be left out if there is nothing but the key.
    """
    labeled = re.findall(rf"{SECRET_LABEL}(\S*)", text)
    try:
        key = base64.b64decode(labeled[0] if len(labeled) == 1 else text.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ValueError("not 32 bytes in base64")
    return key
