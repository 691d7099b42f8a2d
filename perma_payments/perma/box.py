"""Seal replies to Perma.cc, and open its messages.

On the wire: ``base64(nonce (24 bytes) + ciphertext)`` of a NaCl Box that holds UTF-8 JSON.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

from nacl.exceptions import CryptoError
from nacl.public import Box, PrivateKey, PublicKey

# Real messages are under 1 kB. This also limits how much JSON is parsed.
MAX_ENCRYPTED_LENGTH = 16_384


class Refusal(Exception):
    """A message that we may not act on. Its text is for the log and contains no payload."""


class Unreadable(Refusal):
    """Not base64, or not a box that one of our keys opens."""


@dataclass(frozen=True)
class Opened:
    """The contents of a box, its nonce (which identifies the message), and the id of the sender's key."""

    plaintext: bytes = field(repr=False)
    nonce: bytes
    key_id: str


class PermaKeys:
    """Our secret key and the ring of Perma.cc's public keys, by id.

    The shared secrets are computed only once, because that is slow.
    """

    def __init__(self, secret_key: bytes, public_keys: Mapping[str, bytes]) -> None:
        """Keys are 32 raw bytes each. Raises ValueError for an empty ring."""
        if not public_keys:
            raise ValueError("the ring of Perma.cc's public keys is empty")
        ours = PrivateKey(secret_key)
        self._boxes = {key_id: Box(ours, PublicKey(key)) for key_id, key in public_keys.items()}

    def open(self, encrypted_data: str) -> Opened:
        """Open a message with the key in the ring that fits. Raises Unreadable if none does."""
        if len(encrypted_data) > MAX_ENCRYPTED_LENGTH:
            raise Unreadable(f"{len(encrypted_data)} characters are too many for a message")
        try:
            sealed = base64.b64decode(encrypted_data, validate=True)
        except (binascii.Error, ValueError):
            raise Unreadable("not base64") from None
        if len(sealed) < Box.NONCE_SIZE:
            raise Unreadable("too short for a box")
        for key_id, box in self._boxes.items():
            try:
                plaintext = box.decrypt(sealed)
            except CryptoError:
                continue
            return Opened(plaintext=plaintext, nonce=sealed[: Box.NONCE_SIZE], key_id=key_id)
        raise Unreadable("none of our keys opens it")

    def seal(self, plaintext: bytes, *, key_id: str) -> str:
        """Seal a reply with the key that its request came with, so that either side can change keys first."""
        return base64.b64encode(self._boxes[key_id].encrypt(plaintext)).decode("ascii")
