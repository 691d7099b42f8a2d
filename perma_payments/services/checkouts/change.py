"""A customer chose another plan: send the customer to CyberSource with the new terms."""

from datetime import datetime

from ...billing.transactions import Kind
from ...cybersource.checkout import SignedForm
from ...perma.messages import ChangeMessage
from .modifiable import begin_modification


def change(message: ChangeMessage, *, nonce: bytes, now: datetime) -> SignedForm:
    """Begin a checkout for another plan; see begin_modification. The schedule stays (cybersource.md §3.2)."""
    return begin_modification(
        Kind.CHANGE,
        message.customer,
        nonce=nonce,
        now=now,
        amount=message.amount,
        recurring_amount=message.recurring_amount,
        link_limit=message.link_limit,
        link_limit_effective_timestamp=message.link_limit_effective_timestamp,
    )
