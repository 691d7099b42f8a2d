"""How long the admin's pages take in a filled database (fill.py), in-process, with Django's test client."""

import logging
import multiprocessing
import statistics
import time
from collections.abc import Mapping
from typing import Any

from .world import use_django

REPEATS = 3
# What a page may take, in seconds.
LIMIT = 0.2


def paths() -> dict[str, str]:
    """The pages. Registrar 1 has the most of everything (bench.fill)."""
    from perma_payments.models import OutgoingTransaction, Purchase, Response, StaffTask, SubscriptionAgreement

    def last(model: Any, **columns: Any) -> Any:
        return model.objects.filter(**columns).order_by("-pk").first()

    base = "/admin/perma_payments"
    most = {"customer_type": "Registrar", "customer_pk": 1}
    agreement, any_agreement = last(SubscriptionAgreement, **most), last(SubscriptionAgreement, status="Current")
    response = last(Response, outgoing__isnull=False, decision="ACCEPT")
    found = {
        "front page": "/admin/",
        "customer": f"/admin/customer/{any_agreement.customer_type}/{any_agreement.customer_pk}/",
        "customer with thousands": "/admin/customer/Registrar/1/",
        "search: reference number": f"/admin/search/?q={any_agreement.reference_number}",
        "search: its last digits": f"/admin/search/?q={any_agreement.reference_number[-4:]}",
        "search: its first digits": f"/admin/search/?q={any_agreement.reference_number[6:10]}",
        "search: R1": "/admin/search/?q=R1",
        "search: 1": "/admin/search/?q=1",
        "search: transaction id": f"/admin/search/?q={response.transaction_id}",
        "search: uuid": f"/admin/search/?q={response.transaction_uuid}",
        "search: nobody": "/admin/search/?q=R99999999",
        "subscription": f"{base}/subscriptionagreement/{any_agreement.pk}/change/",
        "subscription of thousands": f"{base}/subscriptionagreement/{agreement.pk}/change/",
        "purchase": f"{base}/purchase/{last(Purchase, status='Paid').pk}/change/",
        "purchase of thousands": f"{base}/purchase/{last(Purchase, **most).pk}/change/",
        "checkout": f"{base}/outgoingtransaction/{last(OutgoingTransaction).pk}/change/",
        "response": f"{base}/response/{response.pk}/change/",
        "unmatched response": f"{base}/response/{last(Response, outcome='unmatched').pk}/change/",
        "open task": f"{base}/stafftask/{last(StaffTask, done_at=None).pk}/change/",
        "task": f"{base}/stafftask/{last(StaffTask, done_at__isnull=False).pk}/change/",
        "last report": f"{base}/statusreport/96/change/",
        "older report": f"{base}/statusreport/90/change/",
    }
    lists = {
        "subscriptionagreement": [
            *(f"status__exact={status}" for status in ("Current", "Canceled", "Superseded", "Pending")),
            "canceling=yes",
            "canceling=no",
            "status__exact=Current&canceling=yes",
            "status__exact=Hold&customer_type__exact=Registrar",
            "customer_type__exact=Individual",
            "created_at__year=2020",
            "created_at__year=2020&created_at__month=3",
            "status__exact=Superseded&created_at__year=2020",
            "q=R1",
        ],
        "purchase": [
            "status__exact=Paid",
            "status__exact=Pending",
            "status__exact=Paid&acknowledged=no",
            "acknowledged=no",
            "customer_type__exact=Registrar",
            "created_at__year=2020",
            "q=R1",
        ],
        "outgoingtransaction": ["kind__exact=change", "customer_type=Registrar", "created_at__year=2020", "q=R1"],
        "response": [
            "decision=REVIEW",
            "decision=ACCEPT",
            "decision=other",
            "outcome__exact=unmatched",
            "applied=no",
            "customer_type=Registrar",
            "outcome__exact=no+effect&customer_type=Registrar",
            "received_at__year=2020",
            "q=R1",
        ],
        "stafftask": [
            "done_at__isempty=1",
            "done_at__isempty=0",
            "kind__exact=indeterminate",
            "kind__exact=restored",
            "resolution__exact=done",
            "q=R1",
        ],
        "statusreport": [],
        "checkoutfreeze": [],
    }
    for model, filters in lists.items():
        found[f"{model} list"] = f"{base}/{model}/"
        found |= {f"{model} list, {each}": f"{base}/{model}/?{each}" for each in filters}
    return found


def _seconds(client: Any, path: str) -> float:
    """The median of a page's times. Raises SystemExit if it is not there."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        response = client.get(path)
        times.append(time.perf_counter() - start)
    if response.status_code not in (200, 302) or "e=1" in response.get("Location", ""):
        raise SystemExit(f"{path} was answered with {response.status_code}.")
    return statistics.median(times)


def _list_edges(client: Any) -> dict[str, str]:
    """Of each list, the last page and each order that it offers."""
    found = {}
    for model in ("subscriptionagreement", "purchase", "outgoingtransaction", "response", "stafftask"):
        path = f"/admin/perma_payments/{model}/"
        shown = client.get(path).context_data["cl"]
        found[f"{model} list, last page"] = f"{path}?p={shown.paginator.num_pages}"
        for number, column in enumerate(shown.list_display):
            if shown.get_ordering_field(column):
                found[f"{model} list, by column {number}"] = f"{path}?o={number}"
                found[f"{model} list, by column {number} down"] = f"{path}?o=-{number}"
    return found


def measure(url: str) -> dict[str, float]:
    """The seconds that each page takes. Runs in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as process:
        found: dict[str, float] = process.apply(_measure, (url,))
    return found


def _measure(url: str) -> dict[str, float]:
    use_django(url)
    logging.disable(logging.WARNING)
    from django.contrib.auth.models import User
    from django.test import Client
    from django.utils import timezone

    from perma_payments.services.month_ends import count_months

    count_months(now=timezone.now())  # as the scheduler has done
    client = Client(HTTP_HOST="localhost")
    client.force_login(User.objects.create_superuser("someone"))
    client.get("/admin/login/")
    return {name: _seconds(client, path) for name, path in {**paths(), **_list_edges(client)}.items()}


def print_pages(found: Mapping[str, float]) -> None:
    """Print what each page takes, and mark those that take too long."""
    print(f"\n{'page of the admin':60}{'median':>12}")
    for name, seconds in found.items():
        print(f"{name:60}{seconds * 1000:9.0f} ms{'  slow' if seconds > LIMIT else ''}", flush=True)
