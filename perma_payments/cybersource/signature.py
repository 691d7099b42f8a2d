"""CyberSource's signature: HMAC-SHA256 over ``name=value`` pairs (cybersource.md §2.1).

The data to sign are the fields listed in ``signed_field_names``, in that order, as ``name=value`` joined by
commas, with nothing escaped. The secret key is used as text.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from dateutil.relativedelta import relativedelta

# How long before a key ends to create the next one.
WARN_BEFORE_END = timedelta(days=60)


@dataclass(frozen=True)
class SigningKey:
    """A security key of the profile: the access key identifies it, and the secret (256 characters) signs.

    ``created_on`` is when it was created in the Business Center, if known.
    """

    access_key: str
    secret: str
    created_on: date | None = None

    @classmethod
    def parse(cls, text: str) -> "SigningKey":
        """Read ``access_key:secret`` or ``access_key:secret:YYYY-MM-DD``. Raises ValueError."""
        access_key, _, rest = text.partition(":")
        secret, _, created = rest.partition(":")
        if not re.fullmatch("[0-9A-Za-z]{1,32}", access_key) or not secret:
            raise ValueError("not a key of CyberSource's")
        return cls(access_key, secret, date.fromisoformat(created) if created else None)

    @property
    def ends_on(self) -> date | None:
        """The day when it stops working, two years after it was created (cybersource.md §6)."""
        return None if self.created_on is None else self.created_on + relativedelta(years=2)

    def ends_soon(self, today: date) -> bool:
        """Whether it has ended, or ends within 60 days."""
        return self.ends_on is not None and self.ends_on - WARN_BEFORE_END <= today

    def ending(self, today: date) -> str:
        """When it ends, in words that follow the key: ``ends on 2028-11-21``, or ``ended on`` that day."""
        return f"{'ended' if self.ends_on and self.ends_on <= today else 'ends'} on {self.ends_on}"

    def __repr__(self) -> str:
        # Keeps the secret out of logs and error reports.
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

    @classmethod
    def parse(cls, text: str) -> "SigningKeys":
        """Read keys separated by commas. Raises ValueError."""
        return cls(*(SigningKey.parse(each.strip()) for each in text.split(",")))

    def __iter__(self) -> Iterator[SigningKey]:
        return iter(self._keys.values())

    def get(self, access_key: str) -> SigningKey | None:
        return self._keys.get(access_key)


def data_to_sign(fields: Mapping[str, str]) -> str:
    """The text that is signed. Raises KeyError if a listed field is missing."""
    return ",".join(f"{name}={fields[name]}" for name in fields["signed_field_names"].split(","))


def sign(fields: Mapping[str, str], secret: str) -> str:
    """The signature of the fields listed in ``signed_field_names``: 44 characters of base64."""
    digest = hmac.new(secret.encode(), data_to_sign(fields).encode("utf-8"), hashlib.sha256).digest()
    return base64.b64encode(digest).decode("ascii")


def is_signed(fields: Mapping[str, str], secret: str) -> bool:
    """Whether ``signature`` is right for the listed fields, compared in constant time."""
    # compare_digest only takes ASCII text, and anything may have been posted.
    expected, given = sign(fields, secret).encode(), fields["signature"].encode("utf-8", "replace")
    return hmac.compare_digest(expected, given)
