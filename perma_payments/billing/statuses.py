"""The statuses of subscriptions and purchases, and what each allows."""

from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    """The status of a subscription agreement, in CyberSource's spelling where CyberSource has one.

    Pending, Rejected and Aborted are ours: a checkout that has no response yet, was declined, or was
    given up by the customer. The others are CyberSource's (cybersource.md §8.1).
    """

    PENDING = "Pending"
    REJECTED = "Rejected"
    ABORTED = "Aborted"
    CURRENT = "Current"
    HOLD = "Hold"
    CANCELED = "Canceled"
    COMPLETED = "Completed"
    SUPERSEDED = "Superseded"


# What Perma.cc sees instead of Current once a customer has asked to cancel (perma.md §4).
CANCELLATION_REQUESTED = "Cancellation Requested"

# An agreement in one of these was never paid, as far as we know: an ACCEPT of its own makes it Current.
UNPAID = frozenset({Status.PENDING, Status.REJECTED, Status.ABORTED})

# The agreement stands, or did until what was paid for ended: its terms and dates are always complete.
WITH_TERMS = frozenset({Status.CURRENT, Status.HOLD, Status.CANCELED})

# It is charged, or may be again: CyberSource has not ended it.
ALIVE = frozenset({Status.CURRENT, Status.HOLD})

# What a status report may say (cybersource.md §8.1).
REPORTED = frozenset({Status.CURRENT, Status.HOLD, Status.CANCELED, Status.COMPLETED, Status.SUPERSEDED})

# Endings, from which a subscription is rarely reactivated.
ENDED = REPORTED - ALIVE


def is_standing(status: str, covered_until: datetime | None, now: datetime) -> bool:
    """Whether a subscription is shown to Perma.cc (perma.md §4): Current, Hold, or Canceled but still paid for."""
    if status == Status.CANCELED:
        return covered_until is not None and now <= covered_until
    return status in ALIVE


def can_be_modified(status: str, *, cancellation_requested: bool) -> bool:
    """Whether the customer can change, update or cancel a subscription: it is charged, and will be again."""
    return status in ALIVE and not cancellation_requested


def status_for_perma(status: str, *, cancellation_requested: bool) -> str:
    """The status for Perma.cc: a requested cancellation shows only while the subscription is Current."""
    if status == Status.CURRENT and cancellation_requested:
        return CANCELLATION_REQUESTED
    return status


class PurchaseStatus(StrEnum):
    """The status of a one-time purchase. Only a paid one is ever offered to Perma.cc."""

    PENDING = "Pending"
    PAID = "Paid"
    REFUSED = "Refused"
    ABORTED = "Aborted"
