"""Where a customer is sent after a checkout (perma.md §3.2, perma-2026.md §7).

    <Perma.cc>/settings/usage-plan/?subscription=success

Perma.cc's page has a message for each of these:

    subscription=success   "created"                       subscription=canceled   "not charged"
    purchase=success       "bought"                        purchase=canceled       "not charged"
    change=success         "submitted"
    update=success         "updated"

It also has one for ``change=canceled``, but that says that a scheduled downgrade was canceled, so customers who
leave the checkout of a change return without a parameter. So do customers whose card was declined: that is neither
a success nor a checkout that they canceled.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from urllib.parse import urlencode

from ..billing.transactions import Kind


class Ending(StrEnum):
    """How a checkout ended, if Perma.cc has a message for it."""

    SUCCESS = "success"
    CANCELED = "canceled"


_PARAMETERS: Mapping[tuple[Kind, Ending], str] = MappingProxyType(
    {
        (Kind.SUBSCRIBE, Ending.SUCCESS): "subscription",
        (Kind.SUBSCRIBE, Ending.CANCELED): "subscription",
        (Kind.PURCHASE, Ending.SUCCESS): "purchase",
        (Kind.PURCHASE, Ending.CANCELED): "purchase",
        (Kind.CHANGE, Ending.SUCCESS): "change",
        (Kind.UPDATE, Ending.SUCCESS): "update",
    }
)


def address(page: str, kind: Kind, ending: Ending) -> str:
    """Where to send the customer: ``page``, with a parameter if it has a message for this ending."""
    parameter = _PARAMETERS.get((kind, ending))
    return page if parameter is None else f"{page}?{urlencode({parameter: ending})}"
