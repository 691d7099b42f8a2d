"""The plan in force of each customer, as Perma.cc remembers it (perma-2026.md §4).

While a downgrade is scheduled, a reply describes only the coming plan, so Perma.cc goes by what it learned before.
"""

import threading

from .replies import Subscription
from .store import Customer, Plan


class KnownPlans:
    """The plan in force of each customer. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plans: dict[Customer, Plan] = {}

    def learn(self, customer: Customer, subscription: Subscription | None) -> Plan | None:
        """Take in what a reply says; return the plan in force, if it is known."""
        with self._lock:
            if subscription is None:
                self._plans.pop(customer, None)
            elif subscription.pending is None:
                self._plans[customer] = subscription.plan
            return self._plans.get(customer)
