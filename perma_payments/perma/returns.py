"""How a customer comes back to Perma.cc after a checkout (perma.md §3.2, perma-2026.md §7).

    <Perma.cc>/settings/usage-plan/?subscription=success

The page has a message for each of these, and for nothing else:

    subscription=success   "created"                       subscription=canceled   "not charged"
    purchase=success       "bought"                        purchase=canceled       "not charged"
    change=success         "submitted"
    update=success         "updated"

It has one for ``change=canceled``, too, but that says that a scheduled downgrade was taken back. So a customer
who leaves the checkout of a change comes back without a parameter, and so does anyone of whom none is true: a card
that was declined is neither a success nor a checkout that the customer has canceled.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from urllib.parse import urlencode

from ..billing.transactions import Kind


class Ending(StrEnum):
    """How a checkout ended, as far as Perma.cc has a message for it."""

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
    """Where to send the customer: ``page``, with a parameter if the page has a message for this ending."""
    parameter = _PARAMETERS.get((kind, ending))
    return page if parameter is None else f"{page}?{urlencode({parameter: ending})}"
