"""What customers, CyberSource, Perma.cc, the scheduler and monitoring do."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from perma_payments.admin.mails import remind_of_overdue
from perma_payments.billing.customers import Customer, CustomerType
from perma_payments.management import jobs
from perma_payments.models import OutgoingTransaction, Purchase, StaffTask, SubscriptionAgreement
from perma_payments.services import health, staff_tasks
from perma_payments.services.status_reports.expect import expect_report
from perma_payments.views import tokens
from perma_payments.views.tokens import Purpose

from . import cyber_source, perma_cc, records
from .conftest import FORM


def journeys() -> Iterator[tuple[str, Callable[[], object]]]:
    """What is done, by name. Each may need those before it."""
    client = Client(HTTP_HOST="localhost")
    stranger = Customer(CustomerType.INDIVIDUAL, 900_000_001)
    standing = SubscriptionAgreement.objects.filter(status="Current", cancellation_requested_at=None)
    known = standing.latest("pk").customer

    def post(route: str, customer: Customer | None = stranger, **changes: Any) -> None:
        if customer:
            changes |= {"customer_type": customer.type, "customer_pk": customer.pk}
        response = client.post(f"/{route}/", urlencode(perma_cc.form(route, **changes)), content_type=FORM)
        assert response.status_code in (200, 302, 303), (route, response.status_code, response.content[:500])

    def call_back(route: str = "cybersource-callback", decision: str = "ACCEPT", **changes: Any) -> None:
        form = records.form(OutgoingTransaction.objects.latest("pk"))
        fields = {**cyber_source.response(form, decision, **changes)}
        if route == "cybersource-callback":
            last.update(fields=fields)
        response = client.post(f"/{route}/", urlencode(last["fields"]), content_type=FORM)
        assert response.status_code in (200, 302, 303), (route, response.status_code)

    def act(page: str, purpose: Purpose) -> None:
        client.cookies["csrftoken"] = csrf = "a" * 32
        fields = {"token": tokens.begin(stranger, purpose, now=timezone.now()), "csrfmiddlewaretoken": csrf}
        response = client.post(f"/portal/{page}/", urlencode(fields), content_type=FORM)
        assert response.status_code in (200, 302, 303), (page, response.status_code)

    def see(page: str, customer: Customer = known, **query: str) -> None:
        token = tokens.begin(customer, Purpose.MANAGE, now=timezone.now())
        response = client.get(f"/portal/{page}", {"token": token, **query})
        assert response.status_code == 200, (page, response.status_code)

    def acknowledge() -> None:
        paid = Purchase.objects.of(stranger).unacknowledged()[0]
        post("acknowledge-purchase", None, purchase_pk=paid.pk)

    def finish() -> None:
        task = StaffTask.objects.filter(done_at=None, claimed_by=None).latest("pk")
        staff_tasks.finish(task.pk, by=User.objects.earliest("pk"), note="Done.", now=timezone.now())

    last: dict[str, dict[str, str]] = {}
    now = timezone.now()
    yield "status of a stranger", partial(post, "subscription")
    yield "status", partial(post, "subscription", known)
    yield "subscribe", partial(post, "subscribe")
    yield "callback, subscribe", call_back
    yield "callback, again", partial(call_back, transaction_id="7408214003316000009999")
    yield "return", partial(call_back, "return")
    yield "subscribe twice", partial(post, "subscribe")
    yield "change", partial(post, "change")
    yield "callback, change", call_back
    yield "update", partial(act, "update-card", Purpose.UPDATE_CARD)
    yield "callback, update", call_back
    yield "purchase", partial(post, "purchase")
    yield "callback, declined", partial(call_back, decision="DECLINE")
    yield "callback, purchase", call_back
    yield (
        "callback, unmatched",
        partial(
            call_back,
            req_transaction_uuid="00000000-0000-4000-8000-000000000000",
            transaction_id="7408214003316000008888",
        ),
    )
    yield "acknowledge", acknowledge
    yield "purchase history", partial(post, "purchase-history")
    yield "purchase history, known", partial(post, "purchase-history", known)
    for page in ("", "cancel/"):
        yield f"portal/{page}", partial(see, page)
    paid = OutgoingTransaction.objects.filter(purchase__customer_pk=stranger.pk).latest("pk")
    yield "portal/receipt/", partial(see, "receipt/", stranger, payment=str(paid.transaction_uuid))
    yield "portal, cancel", partial(act, "cancel/confirm", Purpose.CANCEL)
    yield "portal, keep", partial(act, "keep", Purpose.KEEP)
    yield "cancel request", partial(post, "cancel-request")
    yield "end a task", finish
    yield "job: responses", partial(jobs.apply_responses, now=now)
    yield "job: purge", partial(jobs.purge_expired, now=now)
    yield "job: mails", partial(jobs.send_mails, now=now)
    yield "job: daily report", partial(jobs.send_daily_report, now=now)
    yield "job: overdue reminder", partial(remind_of_overdue, now=now)
    yield "job: expect a report", partial(expect_report, now=now)
    yield "health", lambda: health.Readiness().checks(now=now)
    yield "metrics", lambda: list(health.gauges(now=now))
