"""What else took effect on a subscription or a purchase: a response may be a second charge, or come too late.

The customer is locked while this is asked, so nothing of it changes meanwhile.
"""

from datetime import datetime
from typing import Any, NamedTuple

from ...models import Outcome, Purchase, Response, SubscriptionAgreement
from ...postgres.built_once import BuiltOnce, parameter


class Effect(NamedTuple):
    """A response that took effect."""

    outgoing_id: int
    kind: str
    transaction_id: str
    decision: str
    signed_at: datetime
    brought_token: bool

    @property
    def granted(self) -> bool:
        """Whether it said that money moved, or is about to."""
        return self.decision in Response.GRANTING


def _took_effect(**subject: Any) -> BuiltOnce:
    columns = ["outgoing__kind" if name == "kind" else name for name in Effect._fields]
    return BuiltOnce(lambda: Response.objects.filter(outcome=Outcome.TOOK_EFFECT, **subject).values_list(*columns))


_ON_AGREEMENT = _took_effect(outgoing__agreement=parameter("pk"))
_ON_PURCHASE = _took_effect(outgoing__purchase=parameter("pk"))


def effects_on(subject: SubscriptionAgreement | Purchase) -> list[Effect]:
    """What took effect on a subscription or a purchase, in no order."""
    statement = _ON_PURCHASE if isinstance(subject, Purchase) else _ON_AGREEMENT
    return list(map(Effect._make, statement.rows(pk=subject.pk)))


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
