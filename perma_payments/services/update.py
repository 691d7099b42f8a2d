"""A customer wants to replace the card or the billing address: send the customer to CyberSource."""

from datetime import datetime

from ..billing.transactions import Kind
from ..cybersource.checkout import SignedForm
from ..perma.messages import UpdateMessage
from .alterable import begin_alteration


def update(message: UpdateMessage, *, nonce: bytes, now: datetime) -> SignedForm:
    """Begin a card update; see begin_alteration. Nothing is charged."""
    return begin_alteration(Kind.UPDATE, message.customer, nonce=nonce, now=now)
