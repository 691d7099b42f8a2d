"""A customer wants to replace the card or the billing address: send the customer to CyberSource."""

from datetime import datetime

from ...billing.transactions import Kind
from ...cybersource.checkout import SignedForm
from ...perma.messages import UpdateMessage
from .modifiable import begin_modification


def update(message: UpdateMessage, *, nonce: bytes, now: datetime) -> SignedForm:
    """Begin a card update; see begin_modification. Nothing is charged."""
    return begin_modification(Kind.UPDATE, message.customer, nonce=nonce, now=now)
