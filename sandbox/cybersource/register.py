"""The subscriptions at CyberSource: what approved transactions created, and what was set since.

A token is a subscription's id. The older 22-digit tokens stay for good; if an update gives a new token, the old
subscription is superseded (cybersource.md §4.6).
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

from .form import CREATE, UPDATES, AcceptedForm

CURRENT, SUPERSEDED = "Current", "Superseded"
# In CyberSource's order (cybersource.md §8.1).
STATUSES = (CURRENT, "Hold", "Canceled", "Completed", SUPERSEDED)
MAX_SUBSCRIPTIONS = 1000


@dataclass(frozen=True, kw_only=True)
class RegisteredSubscription:
    """A subscription. Rate and frequency are empty if the sandbox was not told of them."""

    token: str
    reference_number: str
    rate: str
    frequency: str
    status: str = CURRENT


class Register:
    """The newest subscriptions, by token. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_token: dict[str, RegisteredSubscription] = {}

    def note(self, form: AcceptedForm, response: Mapping[str, str]) -> None:
        """Note an approved transaction: the form, and the fields of the response to it."""
        with self._lock:
            if form.transaction_type == CREATE and "payment_token" in response:
                self._put(_created(form, response["payment_token"]))
            elif form.transaction_type in UPDATES:
                self._update(form, response)
            while len(self._by_token) > MAX_SUBSCRIPTIONS:
                del self._by_token[next(iter(self._by_token))]

    def entries(self) -> list[RegisteredSubscription]:
        """All of them, the oldest first."""
        with self._lock:
            return list(self._by_token.values())

    def set_status(self, token: str, status: str) -> bool:
        """Set a subscription's status, one of STATUSES; False if there is no such subscription."""
        with self._lock:
            if token not in self._by_token:
                return False
            self._put(replace(self._by_token[token], status=status))
            return True

    def _put(self, subscription: RegisteredSubscription) -> None:
        self._by_token[subscription.token] = subscription

    def _update(self, form: AcceptedForm, response: Mapping[str, str]) -> None:
        token = form.fields["payment_token"]
        # One that is not known was created before the sandbox was started.
        old = self._by_token.get(token) or _created(form, token)
        rate = form.fields.get("recurring_amount") or old.rate
        if "payment_token" in response:
            self._put(replace(old, status=SUPERSEDED))
            self._put(replace(old, token=response["payment_token"], rate=rate))
        else:
            self._put(replace(old, rate=rate))


def _created(form: AcceptedForm, token: str) -> RegisteredSubscription:
    return RegisteredSubscription(
        token=token,
        reference_number=form.fields["reference_number"],
        rate=form.fields.get("recurring_amount", ""),
        frequency=form.fields.get("recurring_frequency", ""),
    )
