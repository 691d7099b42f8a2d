"""What Perma.cc's page may say about a checkout when the customer returns from CyberSource.

The customer's browser brought the response, which by now is kept and usually applied. The page must not report
success for a checkout that had no effect, or "not charged" for one that may have been charged.
"""

from ...billing.terms import ChangeKind
from ...models import Outcome, Response
from ...perma.returns import Ending

ACCEPTED_IN_FULL = "100"


def ending_of(response: Response) -> Ending | None:
    """How the checkout of a kept response ended; None if neither ending is certain."""
    response.refresh_from_db(fields=["applied_at", "outcome"])
    if response.outgoing is None:
        return None
    is_taking_back = response.outgoing.change_kind == ChangeKind.TAKING_BACK
    success = Ending.TAKEN_BACK if is_taking_back else Ending.SUCCESS
    took_effect = response.outcome == Outcome.TOOK_EFFECT
    match response.decision:
        case "ACCEPT" | "REVIEW" if took_effect:
            return success
        case "ACCEPT" if response.applied_at is None and response.reason_code == ACCEPTED_IN_FULL:
            # Paid, and kept until it can be applied: without a message, the customer might pay again.
            return success
        case "CANCEL" if took_effect and not _may_be_charged(response):
            return Ending.CANCELED
        case _:
            return None


def _may_be_charged(response: Response) -> bool:
    """Whether another response to the same checkout leaves open that it was charged."""
    others = Response.objects.filter(outgoing=response.outgoing)
    return others.exclude(decision__in=Response.NOT_CHARGING).exists()
