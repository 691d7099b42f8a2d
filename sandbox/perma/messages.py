"""The messages that Perma.cc sends, before they are sealed (perma.md §2).

Amounts are strings with two decimals, timestamps floats in Unix seconds, `customer_pk` an integer.
"""
from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from .replies import Subscription
from .store import Customer, Package, Plan


CENT = Decimal('0.01')


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
            share.quantize(CENT, ROUND_HALF_UP),
            today.replace(day=days) + timedelta(days=1))
    return FirstPayment(plan.price.quantize(CENT), _years_after(today, 1))


def _years_after(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return day.replace(year=day.year + years, day=28)


@dataclass(frozen=True)
class Change:
    """What another plan costs today, from when its limit holds, when its rate is first charged."""

    amount: Decimal
    effective: datetime
    next_payment: date


def change_to(plan: Plan, subscription: Subscription, now: datetime) -> Change:
    """Work out a change to another plan with the same schedule.

    A dearer plan begins now, for the difference in price for the days that are left of the period.
    Any other begins with the next period, and costs nothing today.
    """
    today = now.date()
    next_payment = _next_payment(subscription, today)
    if plan.price <= subscription.rate:
        beginning = datetime.combine(next_payment, time(), timezone.utc)
        return Change(Decimal('0.00'), beginning, next_payment)
    if plan.frequency == 'monthly':
        # As for a first payment, today counts as gone.
        days = monthrange(today.year, today.month)[1]
        days_left = days - today.day
    else:
        days = (next_payment - _years_after(next_payment, -1)).days
        days_left = min((next_payment - today).days, days)
    share = (plan.price - subscription.rate) * days_left / days
    return Change(share.quantize(CENT, ROUND_HALF_UP), now, next_payment)


def _next_payment(subscription: Subscription, today: date) -> date:
    """The first day of the next period: the 1st of a month, or an anniversary."""
    if subscription.frequency == 'monthly':
        days = monthrange(today.year, today.month)[1]
        return today.replace(day=days) + timedelta(days=1)
    if subscription.paid_through is not None and subscription.paid_through.date() > today:
        return subscription.paid_through.date()
    return _years_after(today, 1)


def customer_message(customer: Customer, now: datetime) -> dict[str, Any]:
    """What every message about a customer begins with.

    It is all that `/subscription/`, `/purchase-history/`, `/update/` and `/cancel-request/` get.
    """
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


def change_message(customer: Customer, plan: Plan, change: Change,
                   now: datetime) -> dict[str, Any]:
    """The message for `/change/`; frequency and start date are sent but mean nothing there."""
    return {
        **customer_message(customer, now),
        'amount': f'{change.amount:.2f}',
        'recurring_amount': f'{plan.price:.2f}',
        'recurring_frequency': plan.frequency,
        'recurring_start_date': change.next_payment.isoformat(),
        'link_limit': plan.link_limit,
        'link_limit_effective_timestamp': change.effective.timestamp(),
    }


def purchase_message(customer: Customer, package: Package, now: datetime) -> dict[str, Any]:
    """The message for `/purchase/`."""
    return {
        **customer_message(customer, now),
        'amount': f'{package.price:.2f}',
        'link_quantity': package.link_quantity,
    }


def acknowledge_message(purchase_id: int, now: datetime) -> dict[str, Any]:
    """The message for `/acknowledge-purchase/`, which does not name the customer."""
    return {'timestamp': now.timestamp(), 'purchase_pk': purchase_id}
