"""Seal replies to Perma.cc, and open its messages.

On the wire: ``base64(nonce (24 bytes) + ciphertext)`` of a NaCl Box that holds UTF-8 JSON.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from nacl.exceptions import CryptoError
from nacl.public import Box, PrivateKey, PublicKey

# Real messages are under 1 kB. This also limits how much JSON is parsed.
MAX_ENCRYPTED_LENGTH = 16_384


class Refusal(Exception):
    """A message that we may not act on. Its text is for the log and contains no payload."""


class Unreadable(Refusal):
    """Not base64, or not a box that one of our keys opens."""


class KeyPair(NamedTuple):
    """The ids of the two keys that a message is sealed between."""

    ours: str
    permas: str


@dataclass(frozen=True)
class Opened:
    """The contents of a box, its nonce (which identifies the message), and the keys that opened it."""

    plaintext: bytes = field(repr=False)
    nonce: bytes
    keys: KeyPair


class PermaKeys:
    """The ring of our secret keys and that of Perma.cc's public keys, by id. Any of ours goes with any of theirs.

    The shared secrets are computed only once, because that is slow.
    """

    def __init__(self, secret_keys: Mapping[str, bytes], public_keys: Mapping[str, bytes]) -> None:
        """Keys are 32 raw bytes each. Raises ValueError for an empty ring."""
        if not secret_keys:
            raise ValueError("the ring of our secret keys is empty")
        if not public_keys:
            raise ValueError("the ring of Perma.cc's public keys is empty")
        self._boxes = {
            KeyPair(ours, permas): Box(PrivateKey(secret_key), PublicKey(public_key))
            for ours, secret_key in secret_keys.items()
            for permas, public_key in public_keys.items()
        }
        # Tried first, because the next message was most likely sealed with the same keys.
        self._latest = next(iter(self._boxes))

    def open(self, encrypted_data: str) -> Opened:
        """Open a message with whichever keys fit. Raises Unreadable if none do."""
        if len(encrypted_data) > MAX_ENCRYPTED_LENGTH:
            raise Unreadable(f"{len(encrypted_data)} characters are too many for a message")
        try:
            sealed = base64.b64decode(encrypted_data, validate=True)
        except (binascii.Error, ValueError):
            raise Unreadable("not base64") from None
        if len(sealed) < Box.NONCE_SIZE:
            raise Unreadable("too short for a box")
        for keys in sorted(self._boxes, key=lambda keys: keys != self._latest):
            try:
                plaintext = self._boxes[keys].decrypt(sealed)
            except CryptoError:
                continue
            self._latest = keys
            return Opened(plaintext=plaintext, nonce=sealed[: Box.NONCE_SIZE], keys=keys)
        raise Unreadable("none of our keys opens it")

    def seal(self, plaintext: bytes, *, keys: KeyPair) -> str:
        """Seal a reply with the keys that its request came with, so that either side can change keys first."""
        return base64.b64encode(self._boxes[keys].encrypt(plaintext)).decode("ascii")
