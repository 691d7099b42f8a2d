"""How often CyberSource charges a subscription (cybersource.md §3.2)."""

from enum import StrEnum


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
