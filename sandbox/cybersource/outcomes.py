"""How a checkout can end: CyberSource's decisions and reason codes (cybersource.md §4.5)."""

from dataclasses import dataclass

from .form import CREATE, SALE, SALE_AND_UPDATE, UPDATE


@dataclass(frozen=True, kw_only=True)
class CheckoutOutcome:
    """One way for a checkout to end.

    key: its name in the checkout page's form.
    reason_code: digits; None if CyberSource sends the reduced response without transaction_id and reason_code.
    partial: only part of the amount is authorized.
    creates_token: whether an approved create creates its token.
    types: the transaction types for which it makes sense.
    """

    key: str
    label: str
    decision: str
    reason_code: str | None
    message: str
    partial: bool = False
    creates_token: bool = True
    types: frozenset[str] = frozenset({SALE, CREATE, UPDATE, SALE_AND_UPDATE})

    @property
    def is_approval(self) -> bool:
        """Whether what was asked for takes effect, at least for now."""
        return self.decision in ("ACCEPT", "REVIEW")


ACCEPT = CheckoutOutcome(
    key="accept",
    label="Accepted",
    decision="ACCEPT",
    reason_code="100",
    message="Request was processed successfully.",
)
CANCEL = CheckoutOutcome(
    key="cancel",
    label="Canceled by the customer",
    decision="CANCEL",
    reason_code=None,
    message="The consumer cancelled the transaction",
)

# These two cannot be picked: they follow from the form and from earlier submissions.
INVALID = CheckoutOutcome(
    key="error-102",
    label="Invalid data",
    decision="ERROR",
    reason_code="102",
    message="Request parameters are invalid or missing",
)
DUPLICATE = CheckoutOutcome(
    key="error-104",
    label="Submitted already",
    decision="ERROR",
    reason_code="104",
    message="The access_key and transaction_uuid fields for this authorization request match the "
    "access_key and transaction_uuid of another authorization request that you sent "
    "within the past 15 minutes.",
)

_DECLINES = {
    "202": "Card expired, or expiry date wrong",
    "203": "Declined without detail",
    "204": "Insufficient funds",
    "205": "Stolen or lost card",
    "207": "Issuer unavailable",
    "208": "Card inactive or not allowed for card-not-present",
    "210": "Credit limit reached",
    "211": "Invalid CVN",
    "221": "Customer is on the processor's negative file",
    "222": "Account frozen",
    "230": "CVN check failed",
    "231": "Invalid account number",
    "232": "Card type not accepted by the processor",
    "233": "Declined by the processor",
    "476": "Payer could not be authenticated",
    "481": "Rejected by Decision Manager",
}
_FAILURES = {"150": "General system failure", "151": "Server timeout", "152": "Service timeout"}

_WITH_A_SALE = frozenset({SALE, CREATE, SALE_AND_UPDATE})

# What a tester may pick, by key, in the order in which they are shown.
PICKABLE: dict[str, CheckoutOutcome] = {
    outcome.key: outcome
    for outcome in (
        ACCEPT,
        CheckoutOutcome(
            key="partial",
            label="Accepted for a part of the amount",
            decision="ACCEPT",
            reason_code="110",
            message="Only a partial amount was approved.",
            partial=True,
            types=_WITH_A_SALE,
        ),
        CheckoutOutcome(
            key="review-480",
            label="Held for review by Decision Manager",
            decision="REVIEW",
            reason_code="480",
            message="Order has been marked for review.",
        ),
        CheckoutOutcome(
            key="review-480-no-token",
            label="Held for review, without a token",
            decision="REVIEW",
            reason_code="480",
            message="Order has been marked for review.",
            creates_token=False,
            types=frozenset({CREATE}),
        ),
        *(
            CheckoutOutcome(
                key=f"decline-{code}", label=label, decision="DECLINE", reason_code=code, message=f"{label}."
            )
            for code, label in _DECLINES.items()
        ),
        *(
            CheckoutOutcome(
                key=f"error-{code}", label=label, decision="ERROR", reason_code=code, message=f"{label}."
            )
            for code, label in _FAILURES.items()
        ),
        CheckoutOutcome(
            key="error-bare",
            label="Error before processing, no reason given",
            decision="ERROR",
            reason_code=None,
            message="The request could not be processed.",
        ),
        CANCEL,
    )
}
DECLINE = PICKABLE["decline-203"]


def pickable_for(transaction_type: str) -> list[CheckoutOutcome]:
    """The outcomes that make sense for a transaction type, in the order in which they are shown."""
    return [outcome for outcome in PICKABLE.values() if transaction_type in outcome.types]
