"""CyberSource's signature: HMAC-SHA256 over ``name=value`` pairs (cybersource.md §2.1).

The data to sign is the values of the names in ``signed_field_names``, in that list's order, as
``name=value`` joined by commas, with nothing escaped. The secret key is used as text.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from dateutil.relativedelta import relativedelta


@dataclass(frozen=True)
class SigningKey:
    """A security key of the profile: the access key names it, the secret (256 characters) signs.

    ``created_on`` is when it was made in the Business Center, where known: keys live two years.
    """

    access_key: str
    secret: str
    created_on: date | None = None

    @property
    def ends_on(self) -> date | None:
        """The day on which it stops working: two years after it was created (cybersource.md §6)."""
        return None if self.created_on is None else self.created_on + relativedelta(years=2)

    def __repr__(self) -> str:
        # The secret must not come into a log or an error report by way of a repr.
        return f"SigningKey(access_key={self.access_key!r})"


class SigningKeys:
    """The ring of security keys: the first signs, all verify."""

    def __init__(self, *keys: SigningKey) -> None:
        """Raises ValueError for an empty ring or a repeated access key."""
        if not keys:
            raise ValueError("the ring of CyberSource's keys is empty")
        self._keys = {key.access_key: key for key in keys}
        if len(self._keys) != len(keys):
            raise ValueError("an access key is repeated")
        self.current = keys[0]

    def __iter__(self) -> Iterator[SigningKey]:
        """The keys, the one that signs first."""
        return iter(self._keys.values())

    def get(self, access_key: str) -> SigningKey | None:
        """The key of that name, or None."""
        return self._keys.get(access_key)


def data_to_sign(fields: Mapping[str, str]) -> str:
    """The one line that is signed. Raises KeyError if a listed field is not there."""
    return ",".join(f"{name}={fields[name]}" for name in fields["signed_field_names"].split(","))


def sign(fields: Mapping[str, str], secret: str) -> str:
    """The signature of the fields listed in ``signed_field_names``: 44 characters of base64."""
    digest = hmac.new(secret.encode(), data_to_sign(fields).encode("utf-8"), hashlib.sha256).digest()
    return base64.b64encode(digest).decode("ascii")


def is_signed(fields: Mapping[str, str], secret: str) -> bool:
    """Whether ``signature`` is right for the listed fields. Compares in constant time."""
    # compare_digest takes text only if it is ASCII, and what was posted may be anything.
    expected, given = sign(fields, secret).encode(), fields["signature"].encode("utf-8", "replace")
    return hmac.compare_digest(expected, given)
