"""Which subscription a customer can modify: the standing one, unless it is about to end."""

from datetime import datetime

from ...billing.customers import Customer
from ...billing.statuses import can_be_modified
from ...models import SubscriptionAgreement
from ..standing import standing_agreement


class NothingToModify(Exception):
    """The customer has no subscription that can be modified."""


def modifiable_agreement(
    customer: Customer, *, now: datetime, even_if_canceling: bool = False
) -> SubscriptionAgreement:
    """The customer's standing agreement, if it can be modified.

    Raises NothingToModify if there is none, if it has ended, or, unless ``even_if_canceling``, if it is about to.
    """
    agreement = standing_agreement(customer, now=now)
    if agreement is None:
        raise NothingToModify
    is_canceling = agreement.cancellation_requested_at is not None
    if not can_be_modified(agreement.status, cancellation_requested=is_canceling and not even_if_canceling):
        raise NothingToModify
    return agreement
