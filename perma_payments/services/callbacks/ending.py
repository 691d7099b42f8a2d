"""The customer comes back from CyberSource: what may be said of the checkout on Perma.cc's page.

The response is the one that the customer's browser carried, kept and as a rule applied. What is said has to be
true: nothing is called a success that took no effect, and nothing is called not charged that may have been.
"""

from ...models import Outcome, Response
from ...perma.returns import Ending

# After these alone it is certain that a transaction was not charged.
_NOT_CHARGED = ("CANCEL", "DECLINE")
ACCEPTED_IN_FULL = "100"


def ending_of(response: Response) -> Ending | None:
    """How the checkout of a kept response ended; None where neither word would be true."""
    response.refresh_from_db(fields=["applied_at", "outcome", "outgoing"])
    if response.outgoing is None:
        return None
    took_effect = response.outcome == Outcome.TOOK_EFFECT
    match response.decision:
        case "ACCEPT" | "REVIEW" if took_effect:
            return Ending.SUCCESS
        case "ACCEPT" if response.applied_at is None and response.reason_code == ACCEPTED_IN_FULL:
            # Paid, and kept until it can be applied: who hears nothing might pay again.
            return Ending.SUCCESS
        case "CANCEL" if took_effect and not _may_be_charged(response):
            return Ending.CANCELED
        case _:
            return None


def _may_be_charged(response: Response) -> bool:
    """Whether another response to the same checkout leaves open that it was charged."""
    others = Response.objects.filter(outgoing=response.outgoing)
    return others.exclude(decision__in=_NOT_CHARGED).exists()
