"""The forms of the settings page that lead to Perma Payments.

Each has its own message, sealed when the page is rendered (perma.md §1). Every page has all forms, even those that
Perma.cc would not offer: the page shows them separately, so that a tester can see how Perma Payments answers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .box import PermaBox
from .messages import (
    Change,
    change_message,
    change_to,
    customer_message,
    first_payment,
    purchase_message,
    subscribe_message,
)
from .replies import Subscription
from .store import PACKAGES, Customer, Package, Plan, plans_for


@dataclass(frozen=True, kw_only=True)
class SealedForm:
    """A form that POSTs one message to `route`, and the plan or package that it is about."""

    route: str
    message: dict[str, Any]
    encrypted_data: str
    plan: Plan | None = None
    package: Package | None = None

    @property
    def name(self) -> str:
        """The route without slashes, such as `cancel-request`."""
        return self.route.strip("/")


@dataclass(frozen=True, kw_only=True)
class PageForms:
    subscribe: list[SealedForm]
    change: list[SealedForm]
    update: SealedForm
    cancel: SealedForm
    purchase: list[SealedForm]

    def __iter__(self) -> Iterator[SealedForm]:
        yield from self.subscribe
        yield from self.change
        yield self.update
        yield self.cancel
        yield from self.purchase


def seal_forms(customer: Customer, subscription: Subscription | None, box: PermaBox, now: datetime) -> PageForms:
    """Make the forms for a customer and their subscription."""

    def sealed(route: str, message: dict[str, Any], **about: Any) -> SealedForm:
        return SealedForm(route=route, message=message, encrypted_data=box.seal(message), **about)

    return PageForms(
        subscribe=[
            sealed("/subscribe/", subscribe_message(customer, plan, now), plan=plan)
            for plan in plans_for(customer)
        ],
        change=[
            sealed("/change/", change_message(customer, plan, change, now), plan=plan)
            for plan, change in _changes(customer, subscription, now)
        ],
        update=sealed("/update/", customer_message(customer, now)),
        cancel=sealed("/cancel-request/", customer_message(customer, now)),
        purchase=[
            sealed("/purchase/", purchase_message(customer, package, now), package=package) for package in PACKAGES
        ],
    )


def _changes(customer: Customer, subscription: Subscription | None, now: datetime) -> list[tuple[Plan, Change]]:
    plans = plans_for(customer)
    if subscription is None:
        # Perma.cc has nothing to change then. One form, for trying it anyway.
        payment = first_payment(plans[0], now.date())
        return [(plans[0], Change(payment.amount, now, payment.recurring_start_date))]
    return [
        (plan, change_to(plan, subscription, now))
        for plan in plans
        # CyberSource cannot change the schedule of a subscription.
        if plan.frequency == subscription.frequency
        and (plan.link_limit, plan.price) != (subscription.link_limit, subscription.rate)
    ]
