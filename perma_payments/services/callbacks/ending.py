"""What Perma.cc's page may say about a checkout when the customer returns from CyberSource.

The customer's browser brought the response, which by now is kept and usually applied. The page must not report
success for a checkout that had no effect, or "not charged" for one that may have been charged.
"""

from ...models import Outcome, Response
from ...perma.returns import Ending

# The only decisions after which a checkout has certainly not been charged.
_NOT_CHARGED = ("CANCEL", "DECLINE")
ACCEPTED_IN_FULL = "100"


def ending_of(response: Response) -> Ending | None:
    """How the checkout of a kept response ended; None if neither ending is certain."""
    response.refresh_from_db(fields=["applied_at", "outcome", "outgoing"])
    if response.outgoing is None:
        return None
    took_effect = response.outcome == Outcome.TOOK_EFFECT
    match response.decision:
        case "ACCEPT" | "REVIEW" if took_effect:
            return Ending.SUCCESS
        case "ACCEPT" if response.applied_at is None and response.reason_code == ACCEPTED_IN_FULL:
            # Paid, and kept until it can be applied: without a message, the customer might pay again.
            return Ending.SUCCESS
        case "CANCEL" if took_effect and not _may_be_charged(response):
            return Ending.CANCELED
        case _:
            return None


def _may_be_charged(response: Response) -> bool:
    """Whether another response to the same checkout leaves open that it was charged."""
    others = Response.objects.filter(outgoing=response.outgoing)
    return others.exclude(decision__in=_NOT_CHARGED).exists()
