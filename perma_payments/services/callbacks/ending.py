"""What Perma.cc's page may say of a checkout when the customer comes back from CyberSource.

The customer's browser has carried the response, which is kept and usually applied by now. What is said must be
true: nothing is called a success that had no effect, and nothing is called not charged that may have been charged.
"""

from ...models import Outcome, Response
from ...perma.returns import Ending

# After these alone it is certain that a transaction was not charged.
_NOT_CHARGED = ("CANCEL", "DECLINE")
ACCEPTED_IN_FULL = "100"


def ending_of(response: Response) -> Ending | None:
    """How the checkout of a kept response ended; None if neither word would be true."""
    response.refresh_from_db(fields=["applied_at", "outcome", "outgoing"])
    if response.outgoing is None:
        return None
    took_effect = response.outcome == Outcome.TOOK_EFFECT
    match response.decision:
        case "ACCEPT" | "REVIEW" if took_effect:
            return Ending.SUCCESS
        case "ACCEPT" if response.applied_at is None and response.reason_code == ACCEPTED_IN_FULL:
            # Paid, and kept until it can be applied: a customer who is told nothing might pay again.
            return Ending.SUCCESS
        case "CANCEL" if took_effect and not _may_be_charged(response):
            return Ending.CANCELED
        case _:
            return None


def _may_be_charged(response: Response) -> bool:
    """Whether another response to the same checkout leaves open that it was charged."""
    others = Response.objects.filter(outgoing=response.outgoing)
    return others.exclude(decision__in=_NOT_CHARGED).exists()
