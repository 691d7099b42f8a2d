"""Where a customer is sent after a checkout (perma.md §3.2, perma-2026.md §7).

    <Perma.cc>/settings/usage-plan/?subscription=success

Perma.cc's page (2026) has a message for each of these:

    subscription=success   "created"                subscription=canceled   "not charged"
    purchase=success       "bought"                 purchase=canceled       "not charged"
    change=success         "submitted"              change=canceled         "scheduled downgrade taken back"
    update=success         "updated"

Customers who leave the checkout of a change return without a parameter, as ``change=canceled`` says something
else. So do customers whose card was declined: that is neither a success nor a checkout that they canceled.
"""

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType

from ..billing.transactions import Kind


class Ending(Enum):
    """How a checkout ended."""

    SUCCESS = auto()
    CANCELED = auto()  # the customer left it, and was not charged
    TAKEN_BACK = auto()  # a change that was scheduled will not happen


_PARAMETERS: Mapping[tuple[Kind, Ending], str] = MappingProxyType(
    {
        (Kind.SUBSCRIBE, Ending.SUCCESS): "subscription=success",
        (Kind.SUBSCRIBE, Ending.CANCELED): "subscription=canceled",
        (Kind.PURCHASE, Ending.SUCCESS): "purchase=success",
        (Kind.PURCHASE, Ending.CANCELED): "purchase=canceled",
        (Kind.CHANGE, Ending.SUCCESS): "change=success",
        (Kind.CHANGE, Ending.TAKEN_BACK): "change=canceled",
        (Kind.UPDATE, Ending.SUCCESS): "update=success",
    }
)


def address(page: str, kind: Kind, ending: Ending) -> str:
    """Where to send the customer: ``page``, with a parameter if it has a message for this ending."""
    parameter = _PARAMETERS.get((kind, ending))
    return page if parameter is None else f"{page}?{parameter}"
