"""The signed tokens that carry a customer from page to page of the portal.

The portal has no login: Perma.cc's sealed message opens it, and a token, which only we can sign, carries it on.
Each is bound to a customer and a purpose, and all that come from one message end at the same time.
"""

import base64
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from django.core.signing import BadSignature, Signer

from ..billing.customers import Customer, CustomerType

LIFETIME = timedelta(minutes=30)


class Purpose(StrEnum):
    """What a token is good for."""

    MANAGE = "manage"  # the pages about a subscription and its payments
    BILLING = "billing"  # the same pages, but only to look at
    UPDATE_CARD = "update card"
    CANCEL = "cancel"
    KEEP = "keep"


class TokenRefused(Exception):
    """Not a token of ours, one for another purpose, or one that has ended. Its text holds no token."""


@dataclass(frozen=True, kw_only=True)
class Token:
    """What a token says. The ``nonce`` (24 bytes) identifies it, as that of a message does."""

    customer: Customer
    purpose: Purpose
    ends: datetime
    nonce: bytes

    def sign(self, purpose: Purpose) -> str:
        """A new token for another purpose, of the same customer, that ends at the same time."""
        return _sign(self.customer, purpose, self.ends)


def begin(customer: Customer, purpose: Purpose, *, now: datetime) -> str:
    """A token with which the portal begins."""
    return _sign(customer, purpose, now + LIFETIME)


def read(text: str, *purposes: Purpose, now: datetime) -> Token:
    """Read a token for one of these purposes. Raises TokenRefused."""
    try:
        customer_type, customer_pk, purpose, ends, nonce = _signer().unsign_object(text)
    except (BadSignature, UnicodeEncodeError):
        raise TokenRefused("not signed by us") from None
    if purpose not in purposes:
        raise TokenRefused(f"for another purpose: {purpose}")
    if now.timestamp() > ends:
        raise TokenRefused(f"ended {now.timestamp() - ends:.0f} seconds ago")
    return Token(
        customer=Customer(CustomerType(customer_type), customer_pk),
        purpose=Purpose(purpose),
        ends=datetime.fromtimestamp(ends, UTC),
        nonce=base64.b64decode(nonce),
    )


def _sign(customer: Customer, purpose: Purpose, ends: datetime) -> str:
    nonce = base64.b64encode(secrets.token_bytes(24)).decode()
    return _signer().sign_object([customer.type, customer.pk, purpose, ends.timestamp(), nonce])


def _signer() -> Signer:
    return Signer(salt="perma_payments.portal")
