"""The forms of the settings page that lead to Perma Payments.

Each has its own message, sealed when the page is rendered (perma.md §1). Every page has all forms of its client,
also those that Perma.cc would not offer. They are shown separately, so that a tester can see how Perma Payments
answers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .box import PermaBox
from .clients import PermaClient
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
from .store import INDIVIDUAL, PACKAGES, Customer, Package, Plan, plans_for


@dataclass(frozen=True, kw_only=True)
class SealedForm:
    """A form that POSTs one message to `route`, and the plan, kind of change, or package that it is about."""

    route: str
    message: dict[str, Any]
    encrypted_data: str
    plan: Plan | None = None
    kind: str | None = None
    package: Package | None = None

    @property
    def name(self) -> str:
        """The route without slashes, such as `cancel-request`."""
        return self.route.strip("/")


@dataclass(frozen=True, kw_only=True)
class PageForms:
    """All forms of a page. `cancel` is only in the client of 2024, and `billing` in the one of 2026."""

    subscribe: list[SealedForm]
    change: list[SealedForm]
    take_back: SealedForm | None
    update: SealedForm
    cancel: SealedForm | None
    billing: SealedForm | None
    purchase: list[SealedForm]

    def __iter__(self) -> Iterator[SealedForm]:
        yield from self.subscribe
        yield from self.change
        yield from filter(None, [self.take_back, self.update, self.cancel, self.billing])
        yield from self.purchase


def seal_forms(
    perma_client: PermaClient,
    customer: Customer,
    subscription: Subscription | None,
    in_force: Plan | None,
    box: PermaBox,
    now: datetime,
) -> PageForms:
    """Make the forms for a customer, their subscription, and its plan in force, if that is known."""

    def sealed(route: str, message: dict[str, Any], **about: Any) -> SealedForm:
        return SealedForm(route=route, message=message, encrypted_data=box.seal(message), **about)

    def to_change(change: Change) -> SealedForm:
        message = change_message(perma_client, customer, change, now)
        return sealed("/change/", message, plan=change.plan, kind=change.kind)

    changes, take_back = _changes(perma_client, customer, subscription, in_force, now)
    about_customer = customer_message(customer, now)
    has_billing = perma_client.uses_portal and customer.customer_type == INDIVIDUAL
    return PageForms(
        subscribe=[
            sealed("/subscribe/", subscribe_message(perma_client, customer, plan, now), plan=plan)
            for plan in plans_for(customer)
        ],
        change=[to_change(change) for change in changes],
        take_back=to_change(take_back) if take_back else None,
        update=sealed("/update/", about_customer),
        cancel=None if perma_client.uses_portal else sealed("/cancel-request/", about_customer),
        billing=sealed("/billing/", about_customer) if has_billing else None,
        purchase=[
            sealed("/purchase/", purchase_message(customer, package, now), package=package) for package in PACKAGES
        ],
    )


def _changes(
    perma_client: PermaClient,
    customer: Customer,
    subscription: Subscription | None,
    in_force: Plan | None,
    now: datetime,
) -> tuple[list[Change], Change | None]:
    """The changes to other plans, and the one that takes back a scheduled downgrade."""
    plans = plans_for(customer)
    if subscription is None or in_force is None:
        # Perma.cc has nothing to change then. One form, for trying it anyway.
        payment = first_payment(perma_client, plans[0], now)
        return [Change("upgrade", plans[0], payment.amount, now, payment.recurring_start_date)], None

    def to(plan: Plan) -> Change:
        return change_to(perma_client, plan, in_force=in_force, paid_through=subscription.paid_through, now=now)

    # CyberSource cannot change the schedule of a subscription.
    others = [plan for plan in plans if plan.frequency == in_force.frequency and plan != in_force]
    return [to(plan) for plan in others], to(in_force) if subscription.pending else None
