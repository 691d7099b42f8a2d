"""What a decision of CyberSource's means for each kind of transaction (cybersource.md §4.5, docs/statuses.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType

from ..billing.transactions import Kind


class Finding(Enum):
    """What CyberSource's decision and reason code say about the money."""

    PAID = auto()
    HELD = auto()  # REVIEW: a person decides in the Business Center
    PARTIAL_APPROVAL = auto()
    UNREADABLE_AMOUNT = auto()
    DECLINED = auto()
    FAILED = auto()
    INDETERMINATE = auto()
    CANCELED = auto()
    UNKNOWN = auto()


class Effect(Enum):
    """What a response does to the agreement or purchase of its transaction."""

    NONE = auto()
    ACTIVATE = auto()  # the agreement becomes Current, with its terms and token
    TAKE_TERMS = auto()
    TAKE_TOKEN = auto()
    PAY = auto()  # the purchase is paid, and offered to Perma.cc
    REFUSE = auto()  # Rejected (an agreement), Refused (a purchase)
    ABORT = auto()


class Concern(Enum):
    """Why a person must look at a response."""

    HELD_FOR_REVIEW = auto()
    PARTIAL_APPROVAL = auto()
    UNREADABLE_AMOUNT = auto()
    CHECKOUT_FAILED = auto()
    INDETERMINATE = auto()
    UNKNOWN_DECISION = auto()


@dataclass(frozen=True)
class Outcome:
    """The effect of a response, and what a person must look at, if anything."""

    effect: Effect
    concern: Concern | None = None


# ERRORs after which the charge may exist all the same: a duplicate of a request that may have been
# processed, and failures and timeouts on CyberSource's side.
INDETERMINATE_REASONS = frozenset({"104", "150", "151", "152"})
PARTIAL_APPROVAL = "110"


def find(decision: str, reason_code: str, *, in_full: bool | None = True) -> Finding:
    """Read a decision; where the reason code is unknown, the decision decides.

    ``in_full`` is False when less was authorized than asked for, and None when the amounts cannot be read.
    """
    match decision:
        case "ACCEPT" | "REVIEW" if reason_code == PARTIAL_APPROVAL or in_full is False:
            return Finding.PARTIAL_APPROVAL
        case "ACCEPT" | "REVIEW" if in_full is None:
            return Finding.UNREADABLE_AMOUNT
        case "ACCEPT":
            return Finding.PAID
        case "REVIEW":
            return Finding.HELD
        case "DECLINE":
            return Finding.DECLINED
        case "ERROR" if reason_code in INDETERMINATE_REASONS:
            return Finding.INDETERMINATE
        case "ERROR":
            return Finding.FAILED
        case "CANCEL":
            return Finding.CANCELED
        case _:
            return Finding.UNKNOWN


def outcome(kind: Kind, finding: Finding) -> Outcome:
    """The cell of the table for a kind of transaction and a finding."""
    return _TABLE[kind].get(finding) or _ALIKE[finding]


# What is the same for every kind.
_ALIKE: Mapping[Finding, Outcome] = MappingProxyType(
    {
        Finding.PARTIAL_APPROVAL: Outcome(Effect.NONE, Concern.PARTIAL_APPROVAL),
        Finding.UNREADABLE_AMOUNT: Outcome(Effect.NONE, Concern.UNREADABLE_AMOUNT),
        Finding.DECLINED: Outcome(Effect.NONE),
        Finding.FAILED: Outcome(Effect.NONE, Concern.CHECKOUT_FAILED),
        Finding.INDETERMINATE: Outcome(Effect.NONE, Concern.INDETERMINATE),
        Finding.CANCELED: Outcome(Effect.NONE),
        Finding.UNKNOWN: Outcome(Effect.NONE, Concern.UNKNOWN_DECISION),
    }
)

_TABLE: Mapping[Kind, Mapping[Finding, Outcome]] = MappingProxyType(
    {
        Kind.SUBSCRIBE: MappingProxyType(
            {
                Finding.PAID: Outcome(Effect.ACTIVATE),
                Finding.HELD: Outcome(Effect.ACTIVATE, Concern.HELD_FOR_REVIEW),
                Finding.DECLINED: Outcome(Effect.REFUSE),
                Finding.FAILED: Outcome(Effect.REFUSE, Concern.CHECKOUT_FAILED),
                Finding.CANCELED: Outcome(Effect.ABORT),
            }
        ),
        Kind.CHANGE: MappingProxyType(
            {
                Finding.PAID: Outcome(Effect.TAKE_TERMS),
                Finding.HELD: Outcome(Effect.TAKE_TERMS, Concern.HELD_FOR_REVIEW),
            }
        ),
        Kind.UPDATE: MappingProxyType(
            {Finding.PAID: Outcome(Effect.TAKE_TOKEN), Finding.HELD: Outcome(Effect.NONE, Concern.HELD_FOR_REVIEW)}
        ),
        Kind.PURCHASE: MappingProxyType(
            {
                Finding.PAID: Outcome(Effect.PAY),
                Finding.HELD: Outcome(Effect.PAY, Concern.HELD_FOR_REVIEW),
                Finding.DECLINED: Outcome(Effect.REFUSE),
                Finding.FAILED: Outcome(Effect.REFUSE, Concern.CHECKOUT_FAILED),
                Finding.CANCELED: Outcome(Effect.ABORT),
            }
        ),
    }
)
