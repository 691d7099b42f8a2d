"""The mail of a staff task: what happened, what to do, where to look, and what happens if nobody does."""

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from ...billing.customers import CustomerType
from ...cybersource.reasons import explain
from ...models import Outcome, Response, StaffTask, SubscriptionAgreement

BUSINESS_CENTERS = {
    "live": "https://businesscenter.cybersource.com",
    "test": "https://businesscentertest.cybersource.com",
}


def compose(task: StaffTask) -> tuple[str, str]:
    """The subject and the plain-text body of a task's mail. Ids and amounts only: no personal data."""
    template = f"perma_payments/mail/{task.kind.replace(' ', '_')}.txt"
    body = render_to_string(
        template,
        {
            "task": task,
            "outgoing": task.response.outgoing if task.response else None,
            "others": other_standing(task),
            "granted": granted_response(task),
            "reason": explain(task.response.reason_code) if task.response else "",
            "perma_admin_url": perma_admin_url(task),
            "business_center_url": business_center_url(),
            "task_url": task_url(task),
        },
    )
    return f"{task.get_kind_display()}: {task.reference_number}", body


def other_standing(task: StaffTask) -> list[SubscriptionAgreement]:
    """The customer's other standing subscriptions: what is done to one may have to be done to them."""
    customer = task.customer
    if customer is None or task.agreement is None:
        return []
    return list(SubscriptionAgreement.objects.of(customer).standing(timezone.now()).exclude(pk=task.agreement.pk))


def granted_response(task: StaffTask) -> Response | None:
    """Of the several charges of a checkout, the one that was granted."""
    if task.response is None or task.response.outgoing is None:
        return None
    others = task.response.outgoing.responses.exclude(pk=task.response.pk)
    return others.filter(outcome=Outcome.TOOK_EFFECT, decision__in=("ACCEPT", "REVIEW")).order_by("id").first()


def perma_admin_url(task: StaffTask) -> str:
    """Perma.cc's own page about the customer, for its staff."""
    customer = task.customer
    if customer is None:
        return ""
    url: str = {
        CustomerType.REGISTRAR: settings.PERMA_REGISTRAR_ADMIN_URL,
        CustomerType.INDIVIDUAL: settings.PERMA_INDIVIDUAL_ADMIN_URL,
    }[customer.type]
    return url.replace("{pk}", str(customer.pk))


def business_center_url() -> str:
    """CyberSource's Business Center; in development the sandbox stands for it."""
    return BUSINESS_CENTERS.get(settings.CS_MODE, settings.CS_BASE_URL)


def task_url(task: StaffTask) -> str:
    """The task's page in our admin; empty where the admin is off."""
    try:
        path = reverse("admin:perma_payments_stafftask_change", args=[task.pk])
    except NoReverseMatch:
        return ""
    return settings.PAYMENTS_URL + path
