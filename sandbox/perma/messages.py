"""The messages that Perma.cc sends, before they are sealed (perma.md §2).

Amounts are strings with two decimals, timestamps are floats in Unix seconds, `customer_pk` is an integer.
"""

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from .clients import PermaClient
from .store import REGISTRAR, Customer, Package, Plan

CENT = Decimal("0.01")
MONTHS = {"monthly": 1, "annually": 12}


@dataclass(frozen=True)
class FirstPayment:
    """What a new subscription costs today, and the day from which the full rate is charged."""

    amount: Decimal
    recurring_start_date: date


def first_payment(perma_client: PermaClient, plan: Plan, now: datetime) -> FirstPayment:
    """The first payment of a subscription that begins now.

    The full rate is due today, and again on the same day of each month or year, or on the month's last day if it
    is shorter. The client of 2024 charges months on the 1st, and a share until then.
    """
    if perma_client.bills_on_the_first and plan.frequency == "monthly":
        start = _first_of_next_month(now)
        return FirstPayment(_share(plan.price, plan, now, start), start.date())
    return FirstPayment(plan.price.quantize(CENT), _months_after(now.date(), MONTHS[plan.frequency]))


def _months_after(day: date, count: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + count, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def _first_of_next_month(now: datetime) -> datetime:
    """The 1st of next month, at the same time of day."""
    return datetime.combine(_months_after(now.date().replace(day=1), 1), now.timetz())


def _share(price: Decimal, plan: Plan, now: datetime, end: datetime) -> Decimal:
    """A price for the whole days until the end of a plan's period."""
    days = monthrange(now.year, now.month)[1] if plan.frequency == "monthly" else 365
    return (price * (end - now).days / days).quantize(CENT, ROUND_HALF_UP)


@dataclass(frozen=True)
class Change:
    """A change to a plan: what it costs today, when its limit takes effect, and when its rate is first charged.

    `kind` is upgrade, downgrade, or take-back: a scheduled downgrade is taken back.
    """

    kind: str
    plan: Plan
    amount: Decimal
    effective: datetime
    next_payment: date


def change_to(
    perma_client: PermaClient, plan: Plan, *, in_force: Plan, paid_through: datetime, now: datetime
) -> Change:
    """A change to another plan with the same schedule, or to the plan in force, which takes a downgrade back.

    A more expensive plan begins now, for the difference in price for the whole days until the subscription is paid
    through. A cheaper one begins then, and costs nothing today. For the client of 2024, months always end on the
    1st.
    """
    is_on_the_first = perma_client.bills_on_the_first and plan.frequency == "monthly"
    end = _first_of_next_month(now) if is_on_the_first else paid_through
    if plan == in_force:
        return Change("take-back", plan, Decimal("0.00"), now, end.date())
    if plan.price <= in_force.price:
        return Change("downgrade", plan, Decimal("0.00"), end, end.date())
    return Change("upgrade", plan, _share(plan.price - in_force.price, plan, now, end), now, end.date())


def customer_message(customer: Customer, now: datetime) -> dict[str, Any]:
    """The beginning of every message about a customer.

    It is the whole message for `/subscription/`, `/purchase-history/`, `/update/`, `/billing/` and
    `/cancel-request/`.
    """
    return {"timestamp": now.timestamp(), "customer_pk": customer.pk, "customer_type": customer.customer_type}


def _name_of(customer: Customer, perma_client: PermaClient) -> dict[str, str]:
    """The name of an organization, for a client that sends it. A person's name is never sent."""
    if perma_client.names_registrars and customer.customer_type == REGISTRAR:
        return {"customer_name": customer.name}
    return {}


def subscribe_message(perma_client: PermaClient, customer: Customer, plan: Plan, now: datetime) -> dict[str, Any]:
    """The message for `/subscribe/`, made when the page with its form is rendered."""
    payment = first_payment(perma_client, plan, now)
    return {
        **customer_message(customer, now),
        **_name_of(customer, perma_client),
        "amount": f"{payment.amount:.2f}",
        "recurring_amount": f"{plan.price:.2f}",
        "recurring_frequency": plan.frequency,
        "recurring_start_date": payment.recurring_start_date.isoformat(),
        "link_limit": plan.link_limit,
        "link_limit_effective_timestamp": now.timestamp(),
    }


def change_message(perma_client: PermaClient, customer: Customer, change: Change, now: datetime) -> dict[str, Any]:
    """The message for `/change/`, where frequency and start date mean nothing."""
    return {
        **customer_message(customer, now),
        **({} if change.kind == "take-back" else _name_of(customer, perma_client)),
        "amount": f"{change.amount:.2f}",
        "recurring_amount": f"{change.plan.price:.2f}",
        "recurring_frequency": change.plan.frequency,
        "recurring_start_date": change.next_payment.isoformat(),
        "link_limit": change.plan.link_limit,
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
