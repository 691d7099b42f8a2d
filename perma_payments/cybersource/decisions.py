"""What CyberSource's decisions say about the money (cybersource.md §4.5)."""

from enum import Enum, auto

# ERRORs after which the charge may still exist: a duplicate of a request that may have been processed,
# and failures and timeouts on CyberSource's side.
INDETERMINATE_REASONS = frozenset({"104", "150", "151", "152"})
PARTIAL_APPROVAL = "110"


class Verdict(Enum):
    """What a decision and its reason code say about the money."""

    PAID = auto()
    HELD = auto()  # REVIEW: a person decides in the Business Center
    PARTIAL_APPROVAL = auto()
    UNREADABLE_AMOUNT = auto()
    DECLINED = auto()
    FAILED = auto()
    INDETERMINATE = auto()
    ABANDONED = auto()  # CANCEL: the customer left the checkout
    UNKNOWN = auto()


def read_decision(decision: str, reason_code: str, *, in_full: bool | None) -> Verdict:
    """Read a decision. If the reason code is unknown, the decision alone counts.

    ``in_full`` is False if less was authorized than asked for, and None if the amounts cannot be read.
    """
    match decision:
        case "ACCEPT" | "REVIEW" if reason_code == PARTIAL_APPROVAL or in_full is False:
            return Verdict.PARTIAL_APPROVAL
        case "ACCEPT" | "REVIEW" if in_full is None:
            return Verdict.UNREADABLE_AMOUNT
        case "ACCEPT":
            return Verdict.PAID
        case "REVIEW":
            return Verdict.HELD
        case "DECLINE":
            return Verdict.DECLINED
        case "ERROR" if reason_code in INDETERMINATE_REASONS:
            return Verdict.INDETERMINATE
        case "ERROR":
            return Verdict.FAILED
        case "CANCEL":
            return Verdict.ABANDONED
        case _:
            return Verdict.UNKNOWN
