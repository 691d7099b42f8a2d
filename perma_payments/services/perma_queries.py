"""What Perma.cc asks about a customer: status and purchases to credit (while a page renders), and history."""

from datetime import datetime

from ..billing.customers import Customer
from ..billing.statuses import PurchaseStatus, Status, status_for_perma
from ..models import Purchase, SubscriptionAgreement
from ..perma.replies import HistoricPurchase, Subscription, UnacknowledgedPurchase


def standing_subscription(customer: Customer, *, now: datetime) -> Subscription | None:
    """The customer's standing subscription, if there is one. One indexed statement."""
    agreement = SubscriptionAgreement.objects.of(customer).standing(now).first()
    return None if agreement is None else subscription_for_perma(agreement, now=now)


def subscription_for_perma(agreement: SubscriptionAgreement, *, now: datetime) -> Subscription:
    """A standing agreement in Perma.cc's terms, for both of its clients (perma-2026.md §4)."""
    terms = agreement.agreed_terms.as_of(now)
    # A canceled subscription never renews, so what was scheduled for its next period never comes into force.
    pending = None if agreement.status == Status.CANCELED else terms.scheduled
    told = pending or terms.in_force
    assert agreement.current_frequency is not None  # held by the constraint agreement_standing_is_complete
    return Subscription(
        status=status_for_perma(
            agreement.status, cancellation_requested=agreement.cancellation_requested_at is not None
        ),
        rate=told.rate,
        frequency=agreement.current_frequency,
        link_limit=told.link_limit,
        link_limit_effective_timestamp=told.effective,
        paid_through=agreement.paid_through(now),
        pending_change=pending,
        reference_number=agreement.reference_number,
    )


def offered_purchases(customer: Customer) -> list[UnacknowledgedPurchase]:
    """The one purchase that Perma.cc is offered to credit now: the oldest that is paid but not yet credited.

    If several were offered and the acknowledgement of the first failed, the client would credit the others twice.
    The next is offered as soon as this one is acknowledged.
    """
    return unacknowledged_purchases(customer)[:1]


def unacknowledged_purchases(customer: Customer) -> list[UnacknowledgedPurchase]:
    """The customer's purchases that are paid but not yet credited by Perma.cc, oldest first."""
    return [
        UnacknowledgedPurchase(id=purchase.pk, link_quantity=purchase.link_quantity)
        for purchase in Purchase.objects.of(customer).unacknowledged()
    ]


def paid_purchases(customer: Customer) -> list[HistoricPurchase]:
    """The customer's paid purchases, acknowledged or not, oldest first."""
    history = []
    for paid in Purchase.objects.of(customer).filter(status=PurchaseStatus.PAID).order_by("paid_at", "id"):
        assert paid.paid_at is not None  # held by purchase_paid_has_date
        history.append(
            HistoricPurchase(
                id=paid.pk,
                link_quantity=paid.link_quantity,
                date=paid.paid_at,
                reference_number=paid.reference_number,
            )
        )
    return history
