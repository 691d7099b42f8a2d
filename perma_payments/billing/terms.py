"""What a subscription costs and allows: the terms in force, and those scheduled to follow them.

Perma.cc's three kinds of ``/change/`` are told apart here (perma-2026.md §3). Scheduled terms come into force by
themselves once their time has come: each reader of the terms gives the moment.
"""

import math
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple


class Terms(NamedTuple):
    """A rate in US dollars for each period, a link limit (digits or ``unlimited``), and from when they hold."""

    rate: Decimal
    link_limit: str
    effective: datetime


class ChangeKind(StrEnum):
    """The three kinds of change that a customer can ask for."""

    UPGRADE = "upgrade"
    DOWNGRADE = "downgrade"
    TAKING_BACK = "taking back"  # the scheduled change will not happen; the terms in force stay


class AgreedTerms(NamedTuple):
    """The terms in force, and those that a customer has agreed to for later."""

    in_force: Terms
    scheduled: Terms | None = None

    def as_of(self, now: datetime) -> "AgreedTerms":
        """The same once scheduled terms whose time has come are in force."""
        if self.scheduled is not None and self.scheduled.effective <= now:
            return AgreedTerms(self.scheduled)
        return self

    def has(self, wanted: Terms) -> bool:
        """Whether these terms are in force, and nothing is scheduled to follow them."""
        return self.scheduled is None and _size(self.in_force) == _size(wanted)

    def kind_of(self, wanted: Terms) -> ChangeKind:
        """Which kind of change it would be to want these terms."""
        current, new = _size(self.in_force), _size(wanted)
        if new == current and self.scheduled is not None:
            return ChangeKind.TAKING_BACK
        return ChangeKind.DOWNGRADE if new < current else ChangeKind.UPGRADE

    def changed_to(self, wanted: Terms, *, paid_through: datetime, now: datetime) -> "AgreedTerms":
        """The terms after a change, which replaces any scheduled one: CyberSource knows only one rate to charge.

        A downgrade keeps what is paid for: it begins no earlier than ``paid_through``, even if the page that it
        comes from was rendered before the last charge.
        """
        kind = self.kind_of(wanted)
        if kind is ChangeKind.TAKING_BACK:
            return AgreedTerms(self.in_force)
        if kind is ChangeKind.DOWNGRADE:
            wanted = wanted._replace(effective=max(wanted.effective, paid_through))
        return AgreedTerms(self.in_force, wanted).as_of(now)


def _size(terms: Terms) -> tuple[float, Decimal]:
    """What makes terms more or less than others: the link limit, and with the same limit the rate."""
    return (math.inf if terms.link_limit == "unlimited" else int(terms.link_limit), terms.rate)
