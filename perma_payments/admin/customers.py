"""A customer's page: subscriptions, purchases, open tasks, and what Perma.cc sees right now."""

import json
from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from ..billing.customers import Customer, CustomerType
from ..models import Purchase, StaffTask, SubscriptionAgreement
from ..perma import replies
from ..perma.messages import MAX_ID
from ..services import perma_queries
from ..services.recovery import without_payment
from .base import may_view
from .links import business_center_url, perma_admin_list_url, perma_admin_url

SUBSCRIPTIONS_SHOWN = PURCHASES_SHOWN = 100
UNPAID_SHOWN = 20

SEARCHED = ("subscriptionagreement", "purchase", "outgoingtransaction", "response", "stafftask")


def may_search(user: Any) -> bool:
    """Whether a user may view some of what a search finds. Each part is shown to those who may view its table."""
    return any(may_view(user, model) for model in SEARCHED)


def elsewhere() -> dict[str, Any]:
    """For templates: where names, addresses and payments are kept."""
    return {
        "business_center_url": business_center_url(),
        "perma_admin_lists": [(type_, perma_admin_list_url(type_)) for type_ in CustomerType],
    }


def customer_page(site: Any, request: HttpRequest, customer_type: str, pk: str) -> HttpResponse:
    """The page of a customer, even of one that we have never seen; a 404 page if there can be no such customer."""
    if not may_search(request.user):
        raise PermissionDenied
    customer = _read_customer(customer_type, pk)
    context = {**site.each_context(request), **elsewhere()}
    if customer is None:
        context["title"] = "There is no such customer"
        return TemplateResponse(request, "perma_payments/admin/no_customer.html", context, status=404)
    context |= {"title": str(customer), "customer": customer, "perma_admin_url": perma_admin_url(customer)}
    context |= _parts(customer, request.user, now=timezone.now())
    return TemplateResponse(request, "perma_payments/admin/customer.html", context)


def _read_customer(customer_type: str, pk: str) -> Customer | None:
    is_possible = customer_type in list(CustomerType) and pk.isascii() and pk.isdecimal() and len(pk) < 20
    if not is_possible or not 1 <= int(pk) <= MAX_ID:
        return None
    return Customer(CustomerType(customer_type), int(pk))


def _parts(customer: Customer, user: Any, *, now: datetime) -> dict[str, Any]:
    """What a user may view of a customer."""
    parts: dict[str, Any] = {}
    may_view_agreements, may_view_purchases = may_view(user, "subscriptionagreement"), may_view(user, "purchase")
    if may_view_agreements:
        newest_first = SubscriptionAgreement.objects.of(customer).order_by("-created_at", "-id")
        # All that stand, even if they are old.
        latest, standing = newest_first[:SUBSCRIPTIONS_SHOWN], newest_first.standing(now)
        agreements = list(newest_first.filter(Q(pk__in=latest.values("pk")) | Q(pk__in=standing.values("pk"))))
        parts["more_subscriptions"] = newest_first.count() > len(agreements)
        parts["subscriptions"] = [(agreement, agreement.terms_in_force(now)) for agreement in agreements]
    if may_view_purchases:
        purchases = list(Purchase.objects.of(customer).order_by("-created_at", "-id")[: PURCHASES_SHOWN + 1])
        parts["purchases"] = purchases[:PURCHASES_SHOWN]
        parts["more_purchases"] = len(purchases) > PURCHASES_SHOWN
    if may_view_agreements and may_view_purchases:
        parts["is_unknown"] = not agreements and not purchases
        theirs = Q(agreement__in=agreements) | Q(purchase__in=purchases)
        parts["unpaid"] = without_payment().filter(theirs)[:UNPAID_SHOWN]
        parts |= _seen_by_perma(customer, now=now)
    if may_view(user, "stafftask"):
        parts["tasks"] = [(task, task.age_in_days(now)) for task in _open_tasks(customer)]
    return parts


def _seen_by_perma(customer: Customer, *, now: datetime) -> dict[str, Any]:
    """The reply that ``/subscription/`` would send now, as it is and as its parts."""
    status = perma_queries.status_of(customer, now=now)
    reply = replies.subscription_status(
        customer, subscription=status.subscription, purchases=status.offered, now=now
    )
    return {
        "shown": status.subscription,
        "offered": status.offered,
        "reply": json.dumps(json.loads(reply), indent=2),
    }


def _open_tasks(customer: Customer) -> list[StaffTask]:
    agreement = Q(agreement__customer_type=customer.type, agreement__customer_pk=customer.pk)
    purchase = Q(purchase__customer_type=customer.type, purchase__customer_pk=customer.pk)
    tasks = StaffTask.objects.filter(agreement | purchase, done_at=None)
    return list(tasks.select_related("agreement", "purchase", "response").order_by("opened_at", "id"))
