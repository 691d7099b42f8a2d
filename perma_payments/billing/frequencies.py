"""How often CyberSource charges a subscription (cybersource.md §3.2)."""
from datetime import date
from enum import StrEnum
from typing import NamedTuple


class Frequency(StrEnum):
    """CyberSource's eight values of ``recurring_frequency``, in its own spelling."""

    WEEKLY = "weekly"
    BI_WEEKLY = "bi-weekly"
    QUAD_WEEKLY = "quad-weekly"
    MONTHLY = "monthly"
    SEMI_MONTHLY = "semi-monthly"
    QUARTERLY = "quarterly"
    SEMI_ANNUALLY = "semi-annually"
    ANNUALLY = "annually"


class Schedule(NamedTuple):
    """When a subscription is charged: how often, and the date of the first scheduled charge."""

    frequency: Frequency
    start: date
