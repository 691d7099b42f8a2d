"""The statuses of subscriptions and purchases, and what each allows."""

from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    """The status of a subscription agreement, in CyberSource's spelling where CyberSource has one.

    Pending, Rejected, Aborted and Abandoned are ours: a checkout that has no response yet, was declined, was given
    up by the customer, or had no response for a day. The others are CyberSource's (cybersource.md §8.1).
    """

    PENDING = "Pending"
    REJECTED = "Rejected"
    ABORTED = "Aborted"
    ABANDONED = "Abandoned"
    CURRENT = "Current"
    HOLD = "Hold"
    CANCELED = "Canceled"
    COMPLETED = "Completed"
    SUPERSEDED = "Superseded"


# What Perma.cc sees instead of Current once a customer has asked to cancel (perma.md §4).
CANCELLATION_REQUESTED = "Cancellation Requested"

# An agreement in one of these was never paid, as far as we know: an ACCEPT of its own makes it Current.
UNPAID = frozenset({Status.PENDING, Status.REJECTED, Status.ABORTED, Status.ABANDONED})

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
    """The status of a one-time purchase. Only a paid one is ever offered to Perma.cc.

    Until CyberSource says so, a Pending or Abandoned one is not known to be paid, which does not mean unpaid.
    """

    PENDING = "Pending"
    PAID = "Paid"
    REFUSED = "Refused"
    ABORTED = "Aborted"
    ABANDONED = "Abandoned"
