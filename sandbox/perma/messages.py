"""The messages that Perma.cc sends, before they are sealed (perma.md §2).

Amounts are strings with two decimals, timestamps are floats in Unix seconds, `customer_pk` is an integer.
"""

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from .replies import Subscription
from .store import Customer, Package, Plan

CENT = Decimal("0.01")
MONTHS = {"monthly": 1, "annually": 12}


@dataclass(frozen=True)
class FirstPayment:
    """What a new subscription costs today, and the day from which the full rate is charged."""

    amount: Decimal
    recurring_start_date: date


def first_payment(plan: Plan, today: date) -> FirstPayment:
    """The first payment of a subscription that begins on `today`, as the client of 2026 computes it.

    The full rate is due today, and again on the same day of each month or year, or on the month's last day if it
    is shorter.
    """
    return FirstPayment(plan.price.quantize(CENT), _months_after(today, MONTHS[plan.frequency]))


def _months_after(day: date, count: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + count, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


@dataclass(frozen=True)
class Change:
    """What another plan costs today, when its limit takes effect, and when its rate is first charged."""

    amount: Decimal
    effective: datetime
    next_payment: date


def change_to(plan: Plan, subscription: Subscription, now: datetime) -> Change:
    """A change to another plan with the same schedule, as the client of 2026 computes it.

    A more expensive plan begins now, for the difference in price for the whole days until the subscription is paid
    through. Any other begins then, and costs nothing today.
    """
    end = subscription.paid_through
    if plan.price <= subscription.rate:
        return Change(Decimal("0.00"), end, end.date())
    days = monthrange(now.year, now.month)[1] if plan.frequency == "monthly" else 365
    share = (plan.price - subscription.rate) * (end - now).days / days
    return Change(share.quantize(CENT, ROUND_HALF_UP), now, end.date())


def customer_message(customer: Customer, now: datetime) -> dict[str, Any]:
    """The beginning of every message about a customer.

    It is the whole message for `/subscription/`, `/purchase-history/`, `/update/` and `/cancel-request/`.
    """
    return {"timestamp": now.timestamp(), "customer_pk": customer.pk, "customer_type": customer.customer_type}


def subscribe_message(customer: Customer, plan: Plan, now: datetime) -> dict[str, Any]:
    """The message for `/subscribe/`, made when the page with its form is rendered."""
    payment = first_payment(plan, now.date())
    return {
        **customer_message(customer, now),
        "amount": f"{payment.amount:.2f}",
        "recurring_amount": f"{plan.price:.2f}",
        "recurring_frequency": plan.frequency,
        "recurring_start_date": payment.recurring_start_date.isoformat(),
        "link_limit": plan.link_limit,
        "link_limit_effective_timestamp": now.timestamp(),
    }


def change_message(customer: Customer, plan: Plan, change: Change, now: datetime) -> dict[str, Any]:
    """The message for `/change/`, where frequency and start date mean nothing."""
    return {
        **customer_message(customer, now),
        "amount": f"{change.amount:.2f}",
        "recurring_amount": f"{plan.price:.2f}",
        "recurring_frequency": plan.frequency,
        "recurring_start_date": change.next_payment.isoformat(),
        "link_limit": plan.link_limit,
        "link_limit_effective_timestamp": change.effective.timestamp(),
    }


def purchase_message(customer: Customer, package: Package, now: datetime) -> dict[str, Any]:
    """The message for `/purchase/`."""
    return {
        **customer_message(customer, now),
        "amount": f"{package.price:.2f}",
        "link_quantity": package.link_quantity,
    }


def acknowledge_message(purchase_id: int, now: datetime) -> dict[str, Any]:
    """The message for `/acknowledge-purchase/`, which does not name the customer."""
    return {"timestamp": now.timestamp(), "purchase_pk": purchase_id}
