"""What all checkouts share: one message begins one transaction, and its form can be signed anew."""

from datetime import datetime, timedelta

from ...billing.customers import Customer
from ...billing.frequencies import Frequency
from ...billing.transactions import Kind
from ...cybersource.checkout import Order, SignedForm
from ...keyrings import profile
from ...models import OutgoingTransaction, UsedMessage

# CyberSource refuses a second charge of one transaction_uuid for this long (cybersource.md §5.5).
DUPLICATE_CHECK = timedelta(minutes=15)


class MessageUsedUp(Exception):
    """The message has begun a checkout that is answered, or too old to be gone on with."""


def begun_by(nonce: bytes, kind: Kind, customer: Customer, *, now: datetime) -> OutgoingTransaction | None:
    """The transaction that a message has begun already (a double click, the Back button), if any.

    Raises MessageUsedUp when the customer must not be sent to that checkout again (perma.md §5).
    """
    outgoing = (
        OutgoingTransaction.objects.select_related("agreement", "purchase").filter(message_nonce=nonce).first()
    )
    if outgoing is None:
        if UsedMessage.objects.filter(nonce=nonce).exists():
            raise MessageUsedUp("it has asked for a cancellation")
        return None
    if (
        outgoing.kind != kind
        or outgoing.customer != customer
        or now - outgoing.created_at > DUPLICATE_CHECK
        or outgoing.responses.exists()
    ):
        raise MessageUsedUp(f"transaction {outgoing.transaction_uuid}")
    return outgoing


def form_of(outgoing: OutgoingTransaction, *, now: datetime) -> SignedForm:
    """The form that takes the customer to CyberSource for this transaction, signed now."""
    return profile().form(
        Order(
            kind=Kind(outgoing.kind),
            transaction_type=outgoing.transaction_type,
            transaction_uuid=outgoing.transaction_uuid,
            reference_number=outgoing.reference_number,
            amount=outgoing.amount,
            recurring_amount=outgoing.recurring_amount,
            recurring_frequency=Frequency(outgoing.recurring_frequency) if outgoing.recurring_frequency else None,
            recurring_start_date=outgoing.recurring_start_date,
            payment_token=outgoing.agreement.payment_token if outgoing.agreement else None,
        ),
        now=now,
    )
