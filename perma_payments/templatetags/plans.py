"""Plans and prices in words, for the customer's pages."""

from datetime import date
from decimal import Decimal

from django import template

from ..billing.schedules import Frequency

register = template.Library()

_PERIODS = {
    Frequency.WEEKLY: "a week",
    Frequency.BI_WEEKLY: "every two weeks",
    Frequency.QUAD_WEEKLY: "every four weeks",
    Frequency.SEMI_MONTHLY: "twice a month",
    Frequency.MONTHLY: "a month",
    Frequency.QUARTERLY: "every three months",
    Frequency.SEMI_ANNUALLY: "every six months",
    Frequency.ANNUALLY: "a year",
}


@register.filter
def dollars(amount: Decimal | str) -> str:
    """An amount of money: ``$1,250.00``."""
    return f"${Decimal(amount):,.2f}"


@register.filter
def day(text: str) -> date:
    """A date as CyberSource writes it: ``20261213``."""
    return date.fromisoformat(text)


@register.filter
def links(link_limit: str, frequency: str) -> str:
    """A link limit: ``100 links a month``, ``unlimited links``."""
    if link_limit == "unlimited":
        return "unlimited links"
    plural = "" if link_limit == "1" else "s"
    return f"{int(link_limit):,} link{plural} {_PERIODS[Frequency(frequency)]}"


@register.filter
def price(rate: Decimal | str, frequency: str) -> str:
    """What a plan costs: ``$25.00 a month``."""
    return f"{dollars(rate)} {_PERIODS[Frequency(frequency)]}"
