"""The checkouts that are open or finished, and which transactions were submitted lately.

The same access key and transaction_uuid within 15 minutes is a duplicate: decision ERROR, reason 104
(cybersource.md §5.5). Everything is in memory and safe to use from several threads.
"""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from .form import AcceptedForm
from .outcomes import CANCEL, DUPLICATE, INVALID, CheckoutOutcome

DUPLICATE_WINDOW = timedelta(minutes=15)
MAX_CHECKOUTS = 1000


@dataclass(frozen=True)
class Answer:
    """What the merchant answered to a response: HTTP status and the start of the body.

    If no answer came, `status` is None and `problem` says why.
    """

    status: int | None
    body: str
    problem: str | None

    @property
    def is_success(self) -> bool:
        """Whether the merchant took the response: any status from 200 to 299."""
        return self.status is not None and 200 <= self.status < 300


@dataclass
class Result:
    """How one submission of a checkout ended, and what the merchant has answered so far.

    expected: how many responses are sent in all. delay: the seconds before the first.
    to_carry: the response that the customer's browser is given.
    """

    outcome: CheckoutOutcome
    expected: int = 0
    delay: int = 0
    answers: list[tuple[str, Answer]] = field(default_factory=list)
    to_carry: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Checkout:
    """One accepted form, and how its submissions ended: none while it is open, usually one."""

    id: str
    form: AcceptedForm
    results: list[Result] = field(default_factory=list)


class Checkouts:
    """The newest checkouts, by an id that cannot be guessed."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._checkouts: OrderedDict[str, Checkout] = OrderedDict()
        self._finished: dict[tuple[str, str], datetime] = {}

    def open(self, form: AcceptedForm) -> tuple[Checkout, CheckoutOutcome | None]:
        """Remember a new checkout.

        Its outcome comes with it if it is known before the customer is asked anything: the form has invalid
        values, or the transaction was submitted already.
        """
        with self._lock:
            checkout = Checkout(secrets.token_urlsafe(16), form)
            self._checkouts[checkout.id] = checkout
            while len(self._checkouts) > MAX_CHECKOUTS:
                self._checkouts.popitem(last=False)
            if self._is_duplicate(form):
                return checkout, DUPLICATE
            return checkout, INVALID if form.invalid_fields else None

    def find(self, checkout_id: str) -> Checkout | None:
        with self._lock:
            return self._checkouts.get(checkout_id)

    def finish(self, checkout: Checkout, wanted: CheckoutOutcome) -> Result:
        """End a checkout. If several end the same transaction at once, only one gets the outcome it wants.

        The others, and later submissions of a finished checkout, get DUPLICATE. An open checkout can always be
        canceled: that submits nothing.
        """
        with self._lock:
            form = checkout.form
            if checkout.results or (wanted is not CANCEL and self._is_duplicate(form)):
                result = Result(DUPLICATE)
            else:
                result = Result(wanted)
                self._finished[form.access_key, form.transaction_uuid] = self._clock()
            checkout.results.append(result)
            return result

    def _is_duplicate(self, form: AcceptedForm) -> bool:
        start = self._clock() - DUPLICATE_WINDOW
        for key in [key for key, at in self._finished.items() if at <= start]:
            del self._finished[key]
        return (form.access_key, form.transaction_uuid) in self._finished
