"""What else took effect on a subscription or a purchase: a response may be a second charge, or come too late.

The customer is locked while this is asked, so nothing of it changes meanwhile.
"""

from datetime import datetime
from typing import NamedTuple

from ...billing.transactions import Kind
from ...models import Outcome, OutgoingTransaction, Response
from ...postgres.built_once import BuiltOnce, parameter


class Effect(NamedTuple):
    """A response that took effect, and the kind of its checkout."""

    outgoing_id: int
    transaction_id: str
    decision: str
    signed_at: datetime
    brought_token: bool
    kind: str

    @property
    def granted(self) -> bool:
        """Whether it said that money moved, or is about to."""
        return self.decision in Response.GRANTING


_COLUMNS = Effect._fields[:-1]
_OF_CHECKOUT = BuiltOnce(
    lambda: Response.objects.filter(outcome=Outcome.TOOK_EFFECT, outgoing=parameter("pk")).values_list(*_COLUMNS)
)
_ON_AGREEMENT = BuiltOnce(
    lambda: Response.objects.filter(outcome=Outcome.TOOK_EFFECT, outgoing__agreement=parameter("pk")).values_list(
        *_COLUMNS, "outgoing__kind"
    )
)


def effects_beside(outgoing: OutgoingTransaction) -> list[Effect]:
    """What took effect of a checkout, and for a change or an update, of all others of the same subscription."""
    if outgoing.kind in (Kind.CHANGE, Kind.UPDATE):
        return list(map(Effect._make, _ON_AGREEMENT.rows(pk=outgoing.agreement_id)))
    return [Effect._make((*row, outgoing.kind)) for row in _OF_CHECKOUT.rows(pk=outgoing.pk)]


def was_charged_before(response: Response, effects: list[Effect]) -> bool:
    """Whether a response's checkout was charged before, as another attempt (cybersource.md §5.3)."""
    return any(
        effect.granted
        and effect.outgoing_id == response.outgoing_id
        and effect.transaction_id != response.transaction_id
        for effect in effects
    )


def signed_later(response: Response, effects: list[Effect]) -> list[Effect]:
    """The effects of what CyberSource signed later than a response.

    What CyberSource did last is in force there, so it must be in force here, whatever the order of arrival.
    """
    same = (response.outgoing_id, response.transaction_id)
    return [
        effect
        for effect in effects
        if effect.signed_at > response.signed_at and (effect.outgoing_id, effect.transaction_id) != same
    ]
