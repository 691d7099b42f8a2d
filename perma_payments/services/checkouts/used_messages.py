"""A message counts only once: if it is sent again, it leads to the same checkout or to none."""

from datetime import datetime, timedelta

from ...billing.customers import Customer
from ...billing.transactions import Kind
from ...models import OutgoingTransaction, Response, UsedMessage
from ...postgres.built_once import BuiltOnce, parameter

# CyberSource refuses a second charge of one transaction_uuid for this long (cybersource.md §5.5).
DUPLICATE_CHECK = timedelta(minutes=15)

_CHECKOUT = BuiltOnce(
    lambda: OutgoingTransaction.objects.filter(message_nonce=parameter("nonce")).values_list("pk")
)
_USED = BuiltOnce(lambda: UsedMessage.objects.filter(nonce=parameter("nonce")).values_list("pk"))


class MessageUsedUp(Exception):
    """The message was used for something else, or its checkout has a response already or is too old.

    ``not_charged`` says that its checkout has ended, certainly without a charge.
    """

    def __init__(self, reason: str, *, not_charged: bool = False) -> None:
        super().__init__(reason)
        self.not_charged = not_charged


def begun_by(nonce: bytes, kind: Kind, customer: Customer, *, now: datetime) -> OutgoingTransaction | None:
    """The transaction that a message has already begun, if any.

    Raises MessageUsedUp when the customer must not be sent to that checkout again (perma.md §5).
    """
    if not _CHECKOUT.exists(nonce=nonce):
        if _USED.exists(nonce=nonce):
            raise MessageUsedUp("it was about a cancellation")
        return None
    outgoing = OutgoingTransaction.objects.select_related("agreement", "purchase").get(message_nonce=nonce)
    reason = f"transaction {outgoing.transaction_uuid}"
    if outgoing.kind != kind or outgoing.customer != customer:
        raise MessageUsedUp(reason)
    decisions = set(outgoing.responses.values_list("decision", flat=True))
    if decisions:
        raise MessageUsedUp(reason, not_charged=decisions <= Response.NOT_CHARGING)
    if now - outgoing.created_at > DUPLICATE_CHECK:
        raise MessageUsedUp(reason)
    return outgoing


def use_up(nonce: bytes, *, now: datetime) -> bool:
    """Use up a message that begins no checkout; return False if it was used up before.

    Raises MessageUsedUp if it has begun a checkout.
    """
    if _USED.exists(nonce=nonce):
        return False
    if _CHECKOUT.exists(nonce=nonce):
        raise MessageUsedUp("it has begun a checkout")
    UsedMessage.objects.create(nonce=nonce, used_at=now)
    return True
