"""The messages that Perma.cc sends, before they are sealed (perma.md §2).

Amounts are strings with two decimals, timestamps floats in Unix seconds, `customer_pk` an integer.
"""
from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from .store import Customer, Plan


@dataclass(frozen=True)
class FirstPayment:
    """What a new subscription costs today, and from which day the full rate is charged."""

    amount: Decimal
    recurring_start_date: date


def first_payment(plan: Plan, today: date) -> FirstPayment:
    """Work out the first payment of a subscription begun on `today`.

    Monthly: today the share of the days left in this month, then the full rate on the 1st of each
    month; on the last day of a month nothing is due. Annually: the full rate today and on each
    anniversary; 29 February continues on the 28th.
    """
    if plan.frequency == 'monthly':
        days = monthrange(today.year, today.month)[1]
        share = plan.price * (days - today.day) / days
        return FirstPayment(
            share.quantize(Decimal('0.01'), ROUND_HALF_UP),
            today.replace(day=days) + timedelta(days=1))
    try:
        anniversary = today.replace(year=today.year + 1)
    except ValueError:
        anniversary = today.replace(year=today.year + 1, day=28)
    return FirstPayment(plan.price.quantize(Decimal('0.01')), anniversary)


def customer_message(customer: Customer, now: datetime) -> dict[str, Any]:
    """What every message about a customer begins with; all that `/subscription/` is sent."""
    return {
        'timestamp': now.timestamp(),
        'customer_pk': customer.pk,
        'customer_type': customer.customer_type,
    }


def subscribe_message(customer: Customer, plan: Plan, now: datetime) -> dict[str, Any]:
    """The message for `/subscribe/`, made when the page with its form is rendered."""
    payment = first_payment(plan, now.date())
    return {
        **customer_message(customer, now),
        'amount': f'{payment.amount:.2f}',
        'recurring_amount': f'{plan.price:.2f}',
        'recurring_frequency': plan.frequency,
        'recurring_start_date': payment.recurring_start_date.isoformat(),
        'link_limit': plan.link_limit,
        'link_limit_effective_timestamp': now.timestamp(),
    }
