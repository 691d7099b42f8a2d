"""The checkouts that are open or finished, and which transactions were submitted lately.

The same access key and transaction_uuid within 15 minutes is a duplicate: decision ERROR, reason
104 (cybersource.md §5.5). All of it is in memory and safe to use from several threads.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from .delivery import Answer
from .form import Order
from .outcomes import CANCEL, DUPLICATE, INVALID, Outcome

DUPLICATE_WINDOW = timedelta(minutes=15)
MAX_CHECKOUTS = 1000


@dataclass
class Result:
    """How one submission of a checkout ended, and what the merchant answered so far.

    `expected` is how many responses are sent in all; `delay` the seconds before the first.
    `to_carry` is the response that the customer's browser is given.
    """

    outcome: Outcome
    expected: int = 0
    delay: int = 0
    answers: list[tuple[str, Answer]] = field(default_factory=list)
    to_carry: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Checkout:
    """One accepted form, and how its submissions ended: none while it is open, mostly one."""

    id: str
    order: Order
    results: list[Result] = field(default_factory=list)


class Checkouts:
    """The newest checkouts, by an id that cannot be guessed."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._checkouts: OrderedDict[str, Checkout] = OrderedDict()
        self._finished: dict[tuple[str, str], datetime] = {}

    def open(self, order: Order) -> tuple[Checkout, Outcome | None]:
        """Remember a new checkout.

        The Outcome is not None where it is known before the customer is asked anything: the form
        has invalid values, or the transaction was submitted already.
        """
        with self._lock:
            checkout = Checkout(secrets.token_urlsafe(16), order)
            self._checkouts[checkout.id] = checkout
            while len(self._checkouts) > MAX_CHECKOUTS:
                self._checkouts.popitem(last=False)
            if self._is_duplicate(order):
                return checkout, DUPLICATE
            return checkout, INVALID if order.invalid_fields else None

    def find(self, checkout_id: str) -> Checkout | None:
        """The checkout with this id, if there is one."""
        with self._lock:
            return self._checkouts.get(checkout_id)

    def finish(self, checkout: Checkout, wanted: Outcome) -> Result:
        """End a checkout. Of several at once for the same transaction only one gets its wish.

        The others, and whoever submits a finished checkout again, get DUPLICATE. Cancelling a
        checkout that is still open is always possible: it submits nothing.
        """
        with self._lock:
            order = checkout.order
            if checkout.results or (wanted is not CANCEL and self._is_duplicate(order)):
                result = Result(DUPLICATE)
            else:
                result = Result(wanted)
                self._finished[order.access_key, order.transaction_uuid] = self._clock()
            checkout.results.append(result)
            return result

    def _is_duplicate(self, order: Order) -> bool:
        start = self._clock() - DUPLICATE_WINDOW
        for key in [key for key, at in self._finished.items() if at <= start]:
            del self._finished[key]
        return (order.access_key, order.transaction_uuid) in self._finished
