"""Builders of rows. Each makes the valid case, and keyword arguments change it."""

import secrets
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from perma_payments.billing.coverage import midnight
from perma_payments.billing.customers import Customer, CustomerType
from perma_payments.billing.transactions import Kind
from perma_payments.cybersource.checkout import transaction_type
from perma_payments.models import (
    CheckoutFreeze,
    OutgoingTransaction,
    Purchase,
    ReferenceNumber,
    Response,
    SubscriptionAgreement,
)
from perma_payments.services.checkouts import begin

REGISTRAR = Customer(CustomerType.REGISTRAR, 7)
INDIVIDUAL = Customer(CustomerType.INDIVIDUAL, 7)

TOKEN = "7408214003316000001234"


def _reference_number(reference_number: str = "", **changes: Any) -> str:
    """A new reference number. One that is given is taken, too, so none that is drawn later is the same."""
    if reference_number:
        ReferenceNumber.take(reference_number)
    return reference_number or ReferenceNumber.issue()


def agreement(customer: Customer = REGISTRAR, **changes: Any) -> SubscriptionAgreement:
    """A Pending agreement that was started just now."""
    return SubscriptionAgreement.objects.create(
        **{
            "customer_type": customer.type,
            "customer_pk": customer.pk,
            "reference_number": _reference_number(**changes),
            **changes,
        }
    )


def standing_agreement(customer: Customer = REGISTRAR, **changes: Any) -> SubscriptionAgreement:
    """A Current monthly agreement with its terms and token, paid for until its first charge in nine days."""
    now = timezone.now()
    start = (now + timedelta(days=9)).date()
    return agreement(
        customer,
        **{
            "status": "Current",
            "payment_token": TOKEN,
            "current_rate": Decimal("45.00"),
            "current_frequency": "monthly",
            "current_link_limit": "100",
            "current_link_limit_effective_timestamp": now,
            "schedule_start": start,
            "covered_until": midnight(start),
            "coverage_proof": "checkout",
            **changes,
        },
    )


def purchase(customer: Customer = REGISTRAR, **changes: Any) -> Purchase:
    """A Pending purchase of ten links."""
    return Purchase.objects.create(
        **{
            "customer_type": customer.type,
            "customer_pk": customer.pk,
            "reference_number": _reference_number(**changes),
            "amount": Decimal("15.00"),
            "link_quantity": 10,
            **changes,
        }
    )


def paid_purchase(customer: Customer = REGISTRAR, **changes: Any) -> Purchase:
    """A purchase of ten links that was paid for just now."""
    return purchase(customer, **{"status": "Paid", "paid_at": timezone.now(), **changes})


def response(**changes: Any) -> Response:
    """A response that was not applied, and matches no transaction."""
    return Response.objects.create(
        **{
            "fingerprint": secrets.token_bytes(32),
            "transaction_uuid": "uuid",
            "decision": "ACCEPT",
            "transaction_type": "sale",
            "reference_number": "PERMA-1234-5678",
            "sealed": b"sealed",
            "archive_key_id": "development",
            **changes,
        }
    )


def freeze(**changes: Any) -> CheckoutFreeze:
    """A freeze of checkouts that is in force."""
    changes.setdefault("began_by", User.objects.get_or_create(username="freezer")[0])
    return CheckoutFreeze.objects.create(**{"reason": "Fraud.", **changes})


def outgoing(
    kind: Kind, subject: SubscriptionAgreement | Purchase | None = None, **changes: Any
) -> OutgoingTransaction:
    """A checkout of one kind for ``subject`` or a new one, which is Pending if the customer subscribes or buys."""
    if subject is None:
        make: Callable[[], Any] = {Kind.SUBSCRIBE: agreement, Kind.PURCHASE: purchase}.get(
            kind, standing_agreement
        )
        subject = make()
    of_kind: dict[Kind, dict[str, Any]] = {
        Kind.SUBSCRIBE: {
            "amount": Decimal("12.50"),
            "recurring_amount": Decimal("45.00"),
            "recurring_frequency": "monthly",
            "recurring_start_date": date.today() + timedelta(days=10),
            "link_limit": "100",
            "link_limit_effective_timestamp": datetime(2026, 11, 21, 12, tzinfo=UTC),
        },
        Kind.CHANGE: {
            "amount": Decimal("20.00"),
            "change_kind": "upgrade",
            "recurring_amount": Decimal("90.00"),
            "link_limit": "500",
            "link_limit_effective_timestamp": datetime(2026, 11, 21, 12, tzinfo=UTC),
        },
        Kind.UPDATE: {},
        Kind.PURCHASE: {"amount": Decimal("15.00")},
    }
    columns = {
        "kind": kind,
        "purchase" if kind == Kind.PURCHASE else "agreement": subject,
        "message_nonce": secrets.token_bytes(24),
        **of_kind[kind],
        **changes,
    }
    columns.setdefault("transaction_type", transaction_type(kind, columns.get("amount")))
    return OutgoingTransaction.objects.create(**columns)


def form(transaction: OutgoingTransaction) -> dict[str, str]:
    """The signed form that takes the customer to this checkout."""
    return dict(begin.signed_form(transaction, now=timezone.now()).fields)
