"""What a customer sees in the portal: the subscription, and the payments so far."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db.models import Q

from ..billing.customers import Customer
from ..billing.statuses import Status, can_be_modified, status_for_perma
from ..billing.terms import Terms
from ..models import OutgoingTransaction, Purchase, Response, SubscriptionAgreement
from .cancellation import open_cancellation

# A checkout without a response is mentioned for this long. After that, the customer has most likely left it.
PENDING_IS_SHOWN = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class PortalSubscription:
    """A standing subscription, with what the customer can do about it now.

    ``renewal`` is the terms of the next charge, which comes on ``paid_through`` unless it is canceled.
    """

    agreement: SubscriptionAgreement
    status: str
    in_force: Terms
    scheduled: Terms | None
    paid_through: datetime
    is_canceling: bool
    can_update_card: bool
    can_cancel: bool
    can_keep: bool

    @property
    def renewal(self) -> Terms:
        # CyberSource charges what it was told last.
        return self.scheduled or self.in_force


@dataclass(frozen=True, kw_only=True)
class Payment:
    """One charge that CyberSource has told us of. If it ``is_held``, it may still be rejected after a review."""

    outgoing: OutgoingTransaction
    amount: Decimal
    paid_at: datetime
    transaction_id: str
    is_held: bool

    @property
    def uuid(self) -> UUID:
        return self.outgoing.transaction_uuid


def subscription_of(customer: Customer, *, now: datetime) -> PortalSubscription | None:
    """The subscription that Perma.cc is shown, if there is one."""
    agreement = SubscriptionAgreement.objects.of(customer).standing(now).first()
    if agreement is None:
        return None
    is_canceling = agreement.cancellation_requested_at is not None
    can_modify = can_be_modified(agreement.status, cancellation_requested=is_canceling)
    terms = agreement.agreed_terms.as_of(now)
    return PortalSubscription(
        agreement=agreement,
        status=status_for_perma(agreement.status, cancellation_requested=is_canceling),
        in_force=terms.in_force,
        scheduled=None if agreement.status == Status.CANCELED else terms.scheduled,
        paid_through=agreement.paid_through(now),
        is_canceling=is_canceling and agreement.status != Status.CANCELED,
        can_update_card=can_modify and bool(agreement.payment_token),
        can_cancel=can_modify,
        can_keep=is_canceling and open_cancellation(agreement) is not None,
    )


def pending_subscription(customer: Customer, *, now: datetime) -> SubscriptionAgreement | None:
    """The subscription that the customer has just tried to begin, while nothing is known of its checkout."""
    pending = SubscriptionAgreement.objects.of(customer).filter(status=Status.PENDING)
    return pending.filter(created_at__gt=now - PENDING_IS_SHOWN).order_by("-created_at", "-id").first()


def payments_of(customer: Customer) -> list[Payment]:
    """The customer's charges, the latest first.

    These are the charges of checkouts that had an effect. CyberSource does not tell us of renewals and refunds.
    """
    # Ids, not subqueries: PostgreSQL uses no index for two of those in one OR.
    agreements = list(SubscriptionAgreement.objects.of(customer).values_list("pk", flat=True))
    purchases = list(Purchase.objects.of(customer).values_list("pk", flat=True))
    responses = (
        Response.objects.granted()
        .filter(Q(outgoing__agreement__in=agreements) | Q(outgoing__purchase__in=purchases))
        .select_related("outgoing__agreement", "outgoing__purchase")
        .defer("sealed")
        .order_by("received_at", "id")
    )
    by_checkout: dict[int, list[Response]] = {}
    for response in responses:
        if response.outgoing is not None and response.outgoing.is_sale and response.outgoing.amount:
            by_checkout.setdefault(response.outgoing.pk, []).append(response)
    payments = []
    for first, *later in by_checkout.values():
        outgoing = first.outgoing
        assert outgoing is not None and outgoing.amount is not None  # as above
        is_held = all(response.decision == "REVIEW" for response in (first, *later))
        payments.append(
            Payment(
                outgoing=outgoing,
                amount=outgoing.amount,
                paid_at=first.received_at,
                transaction_id=first.transaction_id,
                is_held=is_held,
            )
        )
    return payments[::-1]


def payment_of(customer: Customer, transaction_uuid: UUID) -> Payment | None:
    """One of the customer's payments, if it is one."""
    return next((payment for payment in payments_of(customer) if payment.uuid == transaction_uuid), None)
