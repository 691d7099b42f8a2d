"""A message counts only once: if it is sent again, it leads to the same checkout or to none."""

from datetime import datetime, timedelta

from ...billing.customers import Customer
from ...billing.transactions import Kind
from ...models import OutgoingTransaction, UsedMessage

# CyberSource refuses a second charge of one transaction_uuid for this long (cybersource.md §5.5).
DUPLICATE_CHECK = timedelta(minutes=15)


class MessageUsedUp(Exception):
    """The message was used for something else, or its checkout has a response already or is too old."""


def begun_by(nonce: bytes, kind: Kind, customer: Customer, *, now: datetime) -> OutgoingTransaction | None:
    """The transaction that a message has already begun, if any.

    Raises MessageUsedUp when the customer must not be sent to that checkout again (perma.md §5).
    """
    transactions = OutgoingTransaction.objects.select_related("agreement", "purchase")
    outgoing = transactions.filter(message_nonce=nonce).first()
    if outgoing is None:
        if UsedMessage.objects.filter(nonce=nonce).exists():
            raise MessageUsedUp("it has requested a cancellation")
        return None
    if (
        outgoing.kind != kind
        or outgoing.customer != customer
        or now - outgoing.created_at > DUPLICATE_CHECK
        or outgoing.responses.exists()
    ):
        raise MessageUsedUp(f"transaction {outgoing.transaction_uuid}")
    return outgoing


def use_for_cancellation(nonce: bytes, *, now: datetime) -> bool:
    """Use a message up; return False if it was used for a cancellation before.

    Raises MessageUsedUp if it has begun a checkout.
    """
    if UsedMessage.objects.filter(nonce=nonce).exists():
        return False
    if OutgoingTransaction.objects.filter(message_nonce=nonce).exists():
        raise MessageUsedUp("it has begun a checkout")
    UsedMessage.objects.create(nonce=nonce, used_at=now)
    return True
