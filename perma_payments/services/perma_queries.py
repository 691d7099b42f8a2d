"""What Perma.cc asks about a customer: status and purchases to credit (while a page renders), and history."""

from datetime import datetime
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connection

from ..billing.customers import Customer
from ..billing.statuses import PurchaseStatus, Status, status_for_perma
from ..models import Purchase, SubscriptionAgreement
from ..perma.replies import HistoricPurchase, Subscription, UnacknowledgedPurchase

_READ = (
    *("id", "status", "reference_number", "current_rate", "current_frequency", "current_link_limit"),
    *("current_link_limit_effective_timestamp", "scheduled_rate", "scheduled_link_limit", "scheduled_from"),
    *("schedule_start", "covered_until", "next_charge_on", "cancellation_requested_at"),
)
# Perma.cc asks several times a page, and building this from querysets each time takes longer than all the rest.
# A test compares its rules with those of ``AgreementQuerySet.standing`` and ``PurchaseQuerySet.unacknowledged``.
_STATUS = f"""
    SELECT {", ".join(f"agreement.{column}" for column in _READ)}, purchase.id, purchase.link_quantity
    FROM (SELECT 1) AS one
    LEFT JOIN (
        SELECT {", ".join(_READ)} FROM {SubscriptionAgreement._meta.db_table}
        WHERE customer_type = %(customer_type)s AND customer_pk = %(customer_pk)s
            AND CASE status WHEN 'Canceled' THEN covered_until >= %(now)s ELSE status IN ('Current', 'Hold') END
        ORDER BY status = 'Canceled', created_at, id LIMIT 1
    ) AS agreement ON TRUE
    LEFT JOIN (
        SELECT id, link_quantity FROM {Purchase._meta.db_table}
        WHERE customer_type = %(customer_type)s AND customer_pk = %(customer_pk)s
            AND status = 'Paid' AND acknowledged_at IS NULL
        ORDER BY id LIMIT 1
    ) AS purchase ON TRUE
"""


class CustomerStatus(NamedTuple):
    """The customer's standing subscription, if there is one, and the purchases to credit now: one at most.

    The oldest that is paid but not yet credited is offered. If several were, and the acknowledgement of the first
    failed, the client would credit the others twice. The next is offered once this one is acknowledged.
    """

    subscription: Subscription | None
    offered: list[UnacknowledgedPurchase]


def status_of(customer: Customer, *, now: datetime) -> CustomerStatus:
    """What ``/subscription/`` says. One indexed statement."""
    parameters: dict[str, Any] = {"customer_type": customer.type, "customer_pk": customer.pk, "now": now}
    with connection.cursor() as cursor:
        cursor.execute(_STATUS, parameters)
        *columns, purchase_id, link_quantity = cursor.fetchone()
    subscription = None
    if columns[0] is not None:
        agreement = SubscriptionAgreement.from_db(DEFAULT_DB_ALIAS, _READ, columns)
        subscription = subscription_for_perma(agreement, now=now)
    if purchase_id is None:
        return CustomerStatus(subscription, [])
    return CustomerStatus(subscription, [UnacknowledgedPurchase(id=purchase_id, link_quantity=link_quantity)])


def standing_subscription(customer: Customer, *, now: datetime) -> Subscription | None:
    """The customer's standing subscription as Perma.cc is told, if there is one."""
    return status_of(customer, now=now).subscription


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
