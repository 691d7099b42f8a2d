"""Bonus links: how Perma.cc credits a purchase to its customer once (perma.md §3.1).

The client credits inside a database transaction, calls `/acknowledge-purchase/` before it commits,
and rolls back unless the answer is a 2xx. Of several pages that load at once, and all credit the
same purchase, Perma Payments lets exactly one succeed. So nothing here looks for double credits: a
Perma Payments that lets two succeed has them credited twice, as it would in production.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .client import PaymentsClient, Unavailable
from .replies import Purchase
from .store import Customer


class BonusLinks:
    """How many bonus links each customer was credited with. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._credited: Counter[Customer] = Counter()

    def of(self, customer: Customer) -> int:
        """How many links the customer has been credited with."""
        with self._lock:
            return self._credited[customer]

    @contextmanager
    def crediting(self, customer: Customer, links: int) -> Iterator[None]:
        """Credit links when the block ends well; if it raises, nothing is credited."""
        # The lock is not held meanwhile: pages that load at once are to race, as in production.
        yield
        with self._lock:
            self._credited[customer] += links


@dataclass(frozen=True)
class Crediting:
    """What became of one purchase: credited, or not and the reason why."""

    purchase: Purchase
    problem: str | None


def credit(customer: Customer, purchase: Purchase, bonus_links: BonusLinks, client: PaymentsClient) -> Crediting:
    """Credit a purchase, unless Perma Payments does not take the acknowledgement."""
    try:
        with bonus_links.crediting(customer, purchase.link_quantity):
            client.acknowledge(purchase.id)
    except Unavailable as error:
        return Crediting(purchase, str(error))
    return Crediting(purchase, None)
