"""A customer's standing subscription, which every checkout and every accepted response asks for."""

from datetime import datetime

from ..billing.customers import Customer
from ..models import SubscriptionAgreement
from ..postgres.built_once import BuiltOnce, all_columns, instance_of, parameter

_STANDING = BuiltOnce(
    lambda: (
        SubscriptionAgreement.objects.of(Customer(parameter("type"), parameter("pk")))
        .standing(parameter("now"))
        .values_list(*all_columns(SubscriptionAgreement))[:1]
    )
)


def standing_agreement(customer: Customer, *, now: datetime) -> SubscriptionAgreement | None:
    """The customer's standing agreement, if there is one, and the foremost if there are several."""
    values = _STANDING.first(type=customer.type, pk=customer.pk, now=now)
    return instance_of(SubscriptionAgreement, values) if values else None
