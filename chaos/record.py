"""What CyberSource and Perma.cc did, and how the service answered: the side that the ledger is compared with."""

import threading
from collections import Counter
from dataclasses import dataclass, field

from sandbox.cybersource.form import AcceptedForm
from sandbox.perma.store import Customer, Plan

Fields = list[tuple[str, str]]

SUBSCRIBE, CHANGE, UPDATE, PURCHASE = "subscribe", "change", "update", "purchase"


@dataclass
class SentResponse:
    """One response of CyberSource's: as its server sends it, and as the customer's browser carries it.

    It is `promised` once the service has said that it has it: with a 200 to CyberSource's server, or by telling
    the customer how the checkout ended. Until then, nothing is: CyberSource may bring it again, or never.
    """

    by_server: Fields
    by_browser: Fields
    promised: bool = False

    def __post_init__(self) -> None:
        fields = dict(self.by_server)
        self.decision, self.reason_code = fields["decision"], fields.get("reason_code", "")
        self.transaction_id, self.token = fields.get("transaction_id", ""), fields.get("payment_token", "")
        self.signed = fields["signed_date_time"]

    @property
    def is_granted(self) -> bool:
        """Whether the customer was charged, or what was asked for took effect at CyberSource."""
        return self.decision in ("ACCEPT", "REVIEW")


@dataclass
class Checkout:
    """A checkout that came to CyberSource, and its responses in the order in which CyberSource made them.

    `plan` is what was asked for by a subscription or a change, whose `change` is the kind of Perma.cc's: upgrade,
    downgrade, or take-back.
    """

    kind: str
    customer: Customer
    form: AcceptedForm
    plan: Plan | None = None
    change: str = ""
    link_quantity: int = 0
    responses: list[SentResponse] = field(default_factory=list)

    @property
    def uuid(self) -> str:
        return self.form.transaction_uuid

    @property
    def reference_number(self) -> str:
        return self.form.fields["reference_number"]

    @property
    def is_granted(self) -> bool:
        return any(response.is_granted for response in self.responses)


@dataclass
class Cancellation:
    """What a customer knows of cancelling: whether it is on record, or None if an answer did not come.

    `taken_back` counts the times that the customer kept the subscription after all.
    """

    is_requested: bool | None = False
    taken_back: int = 0


@dataclass
class Record:
    """Everything that was done. Threads add to it."""

    checkouts: list[Checkout] = field(default_factory=list)
    cancellations: dict[Customer, Cancellation] = field(default_factory=dict)
    customers: list[Customer] = field(default_factory=list)
    credited: Counter[int] = field(default_factory=Counter)  # how often Perma.cc credited a purchase, by its id
    given_up: set[int] = field(default_factory=set)  # purchases whose acknowledgement Perma.cc got no answer to
    figures: Counter[str] = field(default_factory=Counter)
    # Good messages that were refused, and answers that are never right.
    objections: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, figure: str, number: int = 1) -> None:
        with self.lock:
            self.figures[figure] += number

    def credit(self, purchase_id: int) -> None:
        """Note that Perma.cc has credited a purchase for good."""
        with self.lock:
            self.credited[purchase_id] += 1

    def note_answer(self, route: str, status: int | None, *, is_good: bool = True) -> None:
        """Count an answer, or None for none. To a good message, only a 5xx other than 500 is an acceptable no."""
        self.count("requests")
        if status is None:
            self.count("requests without an answer")
        elif status == 503:
            self.count("answered with 503")
        elif status >= 500 or (is_good and status >= 400):
            with self.lock:
                self.objections.append(f"{route} was answered with {status}")

    def responses(self) -> list[tuple[Checkout, SentResponse]]:
        return [(checkout, response) for checkout in self.checkouts for response in checkout.responses]


@dataclass(frozen=True)
class Told:
    """What the service tells Perma.cc about a customer at the end.

    `subscription` is None, or its status, its plan (the coming one if a change is scheduled) and whether one is.
    Purchases that are offered, and all that were paid, are there by their ids and numbers of links.
    """

    subscription: tuple[str, Plan, bool] | None
    offered: list[tuple[int, int]]
    history: list[tuple[int, int]]
