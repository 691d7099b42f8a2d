"""Record a payment whose response never came, as the Business Center shows it.

The checkout is not known to be paid until CyberSource says so. Staff can say it instead: what they record is kept
as a response of their own, and applied like one of CyberSource's. If CyberSource's comes after all, it is the same
charge and changes nothing more.
"""

import hashlib
import logging
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from ..billing.coverage import midnight
from ..billing.money import CURRENCY, format_amount
from ..billing.transactions import Kind
from ..cybersource.decisions import Verdict
from ..models import OutgoingTransaction, Purchase, Response, SubscriptionAgreement
from .callbacks.apply import apply_response, verdict_on
from .corrections import CannotCorrect, by_hand
from .locks import lock_customer

logger = logging.getLogger(__name__)

# The Business Center shows its own time zone, which may be a day off ours.
UNDECIDED = (Verdict.INDETERMINATE, Verdict.UNREADABLE_AMOUNT)
_DAY_OFF = timedelta(days=1)


def without_payment() -> QuerySet[OutgoingTransaction]:
    """The checkouts that are not known to be paid, though they could be: no response has granted them."""
    granted = Response.objects.granted().filter(outgoing=OuterRef("pk"))
    unpaid = OutgoingTransaction.objects.exclude(kind=Kind.UPDATE).exclude(Exists(granted))
    return unpaid.select_related("agreement", "purchase").order_by("-created_at")


def candidates_for(response: Response) -> QuerySet[OutgoingTransaction]:
    """The checkouts that an unmatched response could belong to: same reference number, type and amount."""
    # An OR over the two tables would read all checkouts.
    number = {"reference_number": response.reference_number}
    agreements = list(SubscriptionAgreement.objects.filter(**number).values_list("pk", flat=True))
    purchases = list(Purchase.objects.filter(**number).values_list("pk", flat=True))
    same = Q(agreement__in=agreements) | Q(purchase__in=purchases)
    found = OutgoingTransaction.objects.filter(same, transaction_type=response.transaction_type)
    if re.fullmatch(r"[0-9]{1,10}(\.[0-9]{1,2})?", response.amount):
        found = found.filter(Q(amount=Decimal(response.amount)) | Q(amount=None))
    return found.select_related("agreement", "purchase").order_by("-created_at")


def record_payment(
    outgoing_id: int,
    *,
    transaction_id: str,
    amount: Decimal,
    paid_on: date,
    reference_number: str,
    by: User,
    reason: str,
    now: datetime,
) -> Response:
    """Record that a checkout was paid. Raises CannotCorrect.

    ``transaction_id`` is CyberSource's, which the Business Center calls Request ID; ``reference_number`` is the
    Business Center's too, or empty.
    """
    with by_hand(by, reason):
        outgoing = OutgoingTransaction.objects.select_related("agreement", "purchase").get(pk=outgoing_id)
        lock_customer(outgoing.customer)
        _refuse_what_is_known(outgoing, transaction_id)
        if reference_number and reference_number != outgoing.reference_number:
            raise CannotCorrect(f"That transaction is not about {outgoing.reference_number}.")
        if outgoing.amount is None or amount != outgoing.amount:
            wanted = "nothing" if outgoing.amount is None else f"${outgoing.amount:,.2f}"
            raise CannotCorrect(f"The customer was asked to pay {wanted}, not ${amount:,.2f}.")
        response = Response.objects.create(
            fingerprint=hashlib.sha256(f"recorded {outgoing.transaction_uuid} {transaction_id}".encode()).digest(),
            outgoing=outgoing,
            transaction_uuid=str(outgoing.transaction_uuid),
            transaction_id=transaction_id,
            decision="ACCEPT",
            reason_code="100",
            message="Recorded by staff.",
            transaction_type=outgoing.transaction_type,
            reference_number=outgoing.reference_number,
            amount=format_amount(amount),
            currency=CURRENCY,
            auth_amount=format_amount(amount),
            recorded_by=by,
            **dict.fromkeys(("signed_at", "received_at"), _moment(outgoing, paid_on, now)),
        )
        apply_response(response, now=now)
        response.refresh_from_db()
        transaction.on_commit(lambda: logger.warning("response %s recorded by user %s", response.pk, by.pk))
    return response


def _refuse_what_is_known(outgoing: OutgoingTransaction, transaction_id: str) -> None:
    if outgoing.kind == Kind.UPDATE:
        raise CannotCorrect("Nothing is paid when a card is updated.")
    if outgoing.responses.granted().exists():
        raise CannotCorrect("This payment is on record already.")
    if outgoing.responses.filter(applied_at=None).exists():
        raise CannotCorrect("CyberSource's response to it is here, and is about to be applied. Please wait.")
    for known in Response.objects.filter(transaction_id=transaction_id):
        # CyberSource itself did not say whether it was paid.
        is_open = known.outgoing == outgoing and verdict_on(known, outgoing) in UNDECIDED
        if not is_open:
            raise CannotCorrect(
                f"CyberSource's transaction {transaction_id} is on record already, for {known.reference_number}."
            )


def _moment(outgoing: OutgoingTransaction, paid_on: date, now: datetime) -> datetime:
    """When it was paid, as far as a day can tell: between the beginning of the checkout and now."""
    begun_on, today = outgoing.created_at.astimezone(UTC).date(), now.astimezone(UTC).date()
    if not begun_on - _DAY_OFF <= paid_on <= today + _DAY_OFF:
        raise CannotCorrect(f"The customer went to CyberSource on {begun_on}, so it was not paid on {paid_on}.")
    return min(max(midnight(paid_on), outgoing.created_at), now)
