"""Seal full responses to a public key, and open them with its secret half, which is kept offline.

The format: a NaCl SealedBox over the body of the POST, byte for byte as it came. Nothing here, and nothing
on the server, can open what was sealed.
"""

import base64
import binascii
from dataclasses import dataclass

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

# Marks a secret half, which would otherwise look just like a public one: both are 32 bytes.
SECRET_LABEL = "archive-secret:"


class CannotOpen(Exception):
    """The sealed bytes were made for another key, or are damaged."""


@dataclass(frozen=True)
class SealedArchive:
    """The public half of the archive's key pair (32 bytes), with the id that is stored beside what it sealed."""

    key_id: str
    public_key: bytes

    def seal(self, contents: bytes) -> bytes:
        """Seal bytes so that only the offline secret key opens them."""
        return SealedBox(PublicKey(self.public_key)).encrypt(contents)


def open_sealed(sealed: bytes, secret_key: bytes) -> bytes:
    """Open what an archive sealed, with its secret key (32 bytes). Raises CannotOpen."""
    try:
        return SealedBox(PrivateKey(secret_key)).decrypt(sealed)
    except (CryptoError, TypeError, ValueError):
        raise CannotOpen("this secret key does not open it") from None


def secret_half(text: str) -> bytes:
    """The secret key (32 bytes) that a text holds in base64, labeled or not. Raises ValueError."""
    try:
        key = base64.b64decode(text.strip().removeprefix(SECRET_LABEL), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 32:
        raise ValueError("not 32 bytes in base64")
    return key
