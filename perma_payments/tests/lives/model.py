"""What must be true of customers' subscriptions and purchases, kept beside the service in plain Python.

Written from docs/statuses.md and the contracts. Uses nothing of the package under test.
"""

import math
from calendar import isleap, monthrange
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, NamedTuple

ALIVE = ("Current", "Hold")
UNPAID = "unpaid"  # Pending, Rejected, Aborted and Abandoned

# What the words of a status report mean, and whether they prove a charge.
WORDS = {
    "CURRENT": ("Current", True),
    "RETRY": ("Current", False),
    "HOLD": ("Hold", False),
    "SUSPENDED": ("Hold", False),
    "CANCELED": ("Canceled", False),
    "COMPLETED": ("Completed", False),
    "SUPERSEDED": ("Superseded", False),
}


class Customer(NamedTuple):
    type: str
    pk: int


class Plan(NamedTuple):
    rate: str
    link_limit: str

    @property
    def size(self) -> tuple[float, Decimal]:
        limit = math.inf if self.link_limit == "unlimited" else int(self.link_limit)
        return limit, Decimal(self.rate)


class Terms(NamedTuple):
    plan: Plan
    since: datetime


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def due(start: date, frequency: str, number: int) -> date:
    """A due date, the first being number 0."""
    if frequency == "annually":
        year, lacks = start.year + number, (start.month, start.day) == (2, 29)
        return start.replace(year=year, day=28 if lacks and not isleap(year) else start.day)
    year, month = divmod(start.year * 12 + start.month - 1 + number, 12)
    return date(year, month + 1, min(start.day, monthrange(year, month + 1)[1]))


@dataclass(eq=False)
class Subscription:
    """``covered_until`` is only observed: it is what the service has on record."""

    customer: Customer
    reference_number: str
    asked: Terms
    frequency: str
    start: date
    status: str = UNPAID
    in_force: Terms | None = None
    scheduled: Terms | None = None
    next_charge_on: date | None = None
    is_canceling: bool = False
    covered_until: datetime | None = None
    # The responses that took effect.
    effective: "list[Response]" = field(default_factory=list)
    # Who changed it, and how it was before: the last one last.
    changes: list[tuple[object, dict[str, Any]]] = field(default_factory=list)

    def first_due_after(self, day: date) -> date:
        number = 0
        while due(self.start, self.frequency, number) <= day:
            number += 1
        return due(self.start, self.frequency, number)

    def paid_through(self, now: datetime) -> datetime:
        if self.status == "Current" and self.next_charge_on and midnight(self.next_charge_on) > now:
            return midnight(self.next_charge_on)
        if self.status == "Current":
            return midnight(self.first_due_after(now.date()))
        assert self.covered_until is not None
        return self.covered_until

    def stands(self, now: datetime) -> bool:
        if self.status == "Canceled":
            return self.covered_until is not None and now <= self.covered_until
        return self.status in ALIVE

    def terms(self, now: datetime) -> tuple[Terms, Terms | None]:
        """Those in force, and those to come."""
        assert self.in_force is not None
        if self.scheduled and self.scheduled.since <= now:
            return self.scheduled, None
        return self.in_force, self.scheduled

    def for_perma(self, now: datetime) -> dict[str, Any]:
        """What Perma.cc is told, with date-times as they are."""
        in_force, to_come = self.terms(now)
        if self.status == "Canceled":
            to_come = None
        told = to_come or in_force
        return {
            "status": "Cancellation Requested"
            if (self.status, self.is_canceling) == ("Current", True)
            else self.status,
            "rate": told.plan.rate,
            "frequency": self.frequency,
            "link_limit": told.plan.link_limit,
            "link_limit_effective_timestamp": told.since,
            "paid_through": self.paid_through(now),
            "pending_change": to_come
            and {"rate": to_come.plan.rate, "link_limit": to_come.plan.link_limit, "effective": to_come.since},
            "reference_number": self.reference_number,
        }

    def has(self, wanted: Terms, now: datetime) -> bool:
        in_force, to_come = self.terms(now)
        return in_force.plan.size == wanted.plan.size and to_come is None

    def change_plan(self, wanted: Terms, now: datetime) -> bool:
        """Agree to another plan; return whether that plan was agreed to already."""
        had = self.has(wanted, now)
        in_force, to_come = self.terms(now)
        if wanted.plan.size < in_force.plan.size:
            self.in_force = in_force
            self.scheduled = wanted._replace(since=max(wanted.since, self.paid_through(now)))
        elif wanted.plan.size == in_force.plan.size and to_come:
            self.in_force, self.scheduled = in_force, None
        else:
            self.in_force, self.scheduled = wanted, None
        return had

    def before(self) -> dict[str, Any]:
        names = ("status", "in_force", "next_charge_on", "is_canceling")
        return {name: getattr(self, name) for name in names}

    def is_changed(self, by: object, before: dict[str, Any]) -> None:
        if before != self.before():
            self.changes.append((by, before))


@dataclass(eq=False)
class Purchase:
    customer: Customer
    reference_number: str
    link_quantity: int
    is_paid: bool = False
    is_credited: bool = False
    id: int = 0


@dataclass(eq=False)
class Checkout:
    """``form`` is what was signed. A change has the terms that were asked for."""

    kind: str
    subject: Subscription | Purchase
    form: dict[str, str]
    begun_at: datetime
    wanted: Terms | None = None
    # The ids of the charges that took effect: one, unless something is wrong.
    charges: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)  # decisions that have arrived

    @property
    def is_sale(self) -> bool:
        return "sale" in self.form["transaction_type"].split(",")


@dataclass(eq=False)
class Response:
    """What CyberSource answers to a checkout: ``says`` is ``granted``, or the kind of the task that follows, or
    nothing that matters.
    """

    checkout: Checkout
    fields: dict[str, str]
    says: str
    signed_at: datetime
    is_unmatched: bool = False
    received_at: datetime | None = None
    is_applied: bool = False
    took_effect: bool = False

    @property
    def decision(self) -> str:
        return self.fields["decision"]

    @property
    def transaction_id(self) -> str:
        return self.fields.get("transaction_id", "")

    @property
    def token(self) -> str:
        return self.fields.get("payment_token", "")

    @property
    def identity(self) -> tuple[str, ...]:
        reason = "" if self.transaction_id else self.fields.get("reason_code", "")
        return self.fields["req_transaction_uuid"], self.transaction_id, self.decision, reason


@dataclass(eq=False)
class Model:
    subscriptions: list[Subscription] = field(default_factory=list)
    purchases: list[Purchase] = field(default_factory=list)
    # Tasks that must have been opened, and may have ended: the kind, and the transaction id and decision.
    tasks: set[tuple[str, str, str]] = field(default_factory=set)

    def standing(self, customer: Customer, now: datetime) -> list[Subscription]:
        """The one that Perma.cc is shown first."""
        found = [each for each in self.subscriptions if each.customer == customer and each.stands(now)]
        return sorted(found, key=lambda each: each.status == "Canceled")

    def alive(self, customer: Customer) -> list[Subscription]:
        return [each for each in self.subscriptions if each.customer == customer and each.status in ALIVE]

    def offered(self, customer: Customer) -> list[Purchase]:
        unpaid = [each for each in self.purchases if each.customer == customer and each.is_paid]
        return [each for each in unpaid if not each.is_credited][:1]

    def apply(self, response: Response) -> None:
        """Do what a response that has arrived calls for."""
        response.is_applied = True
        for kind in self._effect(response):
            self.tasks.add((kind, response.transaction_id, response.decision))

    def _effect(self, response: Response) -> Iterable[str]:
        """The kinds of tasks that must follow."""
        checkout, received_at = response.checkout, response.received_at
        assert received_at is not None
        if response.is_unmatched:
            yield "unmatched"
            return
        if response.says != "granted":
            if response.says:
                yield response.says
            return
        if response.decision == "REVIEW":
            yield "held for review"
        if checkout.is_sale and checkout.charges - {response.transaction_id}:
            yield "duplicate charge"
            return
        if checkout.kind == "update" and response.decision == "REVIEW":
            return
        subject = checkout.subject
        if isinstance(subject, Purchase):
            response.took_effect = not subject.is_paid
            subject.is_paid = True
        elif checkout.kind == "subscribe":
            response.took_effect = True
            yield from self._activate(subject, response, received_at)
        elif not subject.stands(received_at):
            yield "no longer stands"
        else:
            yield from self._modify(subject, response, received_at)
        if response.took_effect:
            checkout.charges.add(response.transaction_id)
            if isinstance(subject, Subscription):
                subject.effective.append(response)

    def _activate(self, subscription: Subscription, response: Response, now: datetime) -> Iterable[str]:
        if subscription.status != UNPAID:
            return
        if self.standing(subscription.customer, now):
            yield "second subscription"
        before = subscription.before()
        subscription.status, subscription.in_force = "Current", subscription.asked
        subscription.covered_until = max(
            midnight(subscription.start), subscription.covered_until or midnight(subscription.start)
        )
        subscription.is_changed(response, before)

    def _modify(self, subscription: Subscription, response: Response, now: datetime) -> Iterable[str]:
        checkout = response.checkout
        later = _later(subscription, response)
        is_change = checkout.kind == "change"
        if any(each.checkout.kind == "change" if is_change else response.token and each.token for each in later):
            yield "out of order"
            return
        response.took_effect = True
        if checkout.kind == "change" and response.transaction_id not in checkout.charges:
            assert checkout.wanted is not None
            if checkout.charges and subscription.has(checkout.wanted, now):
                return
            if subscription.change_plan(checkout.wanted, now) and checkout.is_sale:
                yield "duplicate charge"
            subscription.changes.append((response, {}))


def _later(subscription: Subscription, response: Response) -> list[Response]:
    """What CyberSource did later, in another attempt."""
    return [
        each
        for each in subscription.effective
        if each.transaction_id != response.transaction_id and each.signed_at > response.signed_at
    ]


def last_change(subscription: Subscription) -> Response | None:
    """The change of plan that CyberSource made last, of those that took effect. Each attempt changes it once."""
    firsts: dict[str, Response] = {}
    for each in subscription.effective:
        if each.checkout.kind == "change":
            firsts.setdefault(each.transaction_id, each)
    return max(firsts.values(), key=lambda each: each.signed_at, default=None)


def last_token(subscription: Subscription) -> str | None:
    """The token that CyberSource issued last, of those that were taken."""
    tokens = [each for each in subscription.effective if each.token]
    return max(tokens, key=lambda each: each.signed_at).token if tokens else None
