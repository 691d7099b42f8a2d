"""Seal and open messages the way Perma.cc does.

A message is one JSON object. Sealed, it is base64(nonce + ciphertext): the nonce has 24 bytes, the ciphertext is
PyNaCl's Box over the JSON in UTF-8 (perma.md §1).
"""

import base64
import binascii
import json
import math
from typing import Any

from nacl.exceptions import CryptoError
from nacl.public import Box, PrivateKey, PublicKey


class BoxError(Exception):
    """This is not a sealed message from the other side; the text says why."""


def strict_json(text: str | bytes) -> Any:
    """Read JSON that can be shown and passed on.

    Raises ValueError for what Python accepts beyond the standard, too: NaN and infinite numbers, halves of
    surrogate pairs, nesting too deep to read.
    """

    def finite(literal: str) -> float:
        number = float(literal)
        if not math.isfinite(number):
            raise ValueError(f"{literal} is not a finite number")
        return number

    try:
        value = json.loads(text, parse_constant=finite, parse_float=finite)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


class PermaBox:
    """Seals with our secret key for the owner of `public_key`, and opens what comes from there. Thread-safe."""

    def __init__(self, *, secret_key: PrivateKey, public_key: PublicKey) -> None:
        self._box = Box(secret_key, public_key)

    def seal(self, message: dict[str, Any]) -> str:
        """Seal a message with a new nonce."""
        sealed = self._box.encrypt(json.dumps(message).encode("utf-8"))
        return base64.b64encode(sealed).decode("ascii")

    def open(self, text: str) -> dict[str, Any]:
        """Open a message that the other side sealed. Raises BoxError."""
        try:
            raw = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise BoxError("it is not base64") from None
        try:
            plain = self._box.decrypt(raw)
        except (CryptoError, ValueError):
            # ValueError: too short to hold a nonce.
            raise BoxError("it does not open with the keys of this sandbox") from None
        try:
            message = strict_json(plain)
        except ValueError as error:
            raise BoxError(f"what is inside is not JSON ({error})") from None
        if not isinstance(message, dict):
            raise BoxError("what is inside is not a JSON object")
        return message
