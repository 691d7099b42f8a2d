"""Bonus links: how Perma.cc credits a purchase to its customer once (perma.md §3.1).

The client credits inside a database transaction, calls `/acknowledge-purchase/` before it commits, and rolls back
unless the answer is a 2xx. If several pages load at once and credit the same purchase, Perma Payments lets exactly
one succeed. Nothing here prevents double credits: if Perma Payments lets two succeed, both are credited, as in
production.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .client import PaymentsClient, Unavailable
from .replies import Purchase
from .store import Customer


class BonusLinks:
    """The number of bonus links credited to each customer. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._credited: Counter[Customer] = Counter()

    def of(self, customer: Customer) -> int:
        with self._lock:
            return self._credited[customer]

    @contextmanager
    def crediting(self, customer: Customer, links: int) -> Iterator[None]:
        """Credit links when the block ends, unless it raises."""
        # The lock is not held meanwhile: pages that load at once have to race, as in production.
        yield
        with self._lock:
            self._credited[customer] += links


@dataclass(frozen=True)
class Crediting:
    """A purchase that was credited, or the problem that prevented it."""

    purchase: Purchase
    problem: str | None


def credit(customer: Customer, purchase: Purchase, bonus_links: BonusLinks, client: PaymentsClient) -> Crediting:
    """Credit a purchase, unless Perma Payments refuses the acknowledgement."""
    try:
        with bonus_links.crediting(customer, purchase.link_quantity):
            client.acknowledge(purchase.id)
    except Unavailable as error:
        return Crediting(purchase, str(error))
    return Crediting(purchase, None)
