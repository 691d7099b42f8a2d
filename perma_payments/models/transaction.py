"""Checkouts that we sent customers to CyberSource for."""

import uuid
from typing import Any

import pgtrigger
from django.db import models
from django.db.models import Q
from django.utils import timezone

from ..billing.customers import Customer
from ..billing.schedules import Frequency
from ..billing.terms import ChangeKind, Terms
from ..billing.transactions import Kind
from .agreement import SubscriptionAgreement
from .fields import choices, money_field, never_deleted, one_of
from .purchase import Purchase

# Which terms each kind asks for. A column that is not listed is null for that kind.
_TERMS_OF_KIND: dict[Kind, frozenset[str]] = {
    Kind.SUBSCRIBE: frozenset(
        {
            "amount",
            "recurring_amount",
            "recurring_frequency",
            "recurring_start_date",
            "link_limit",
            "link_limit_effective_timestamp",
        }
    ),
    Kind.CHANGE: frozenset(
        {"amount", "change_kind", "recurring_amount", "link_limit", "link_limit_effective_timestamp"}
    ),
    Kind.UPDATE: frozenset(),
    Kind.PURCHASE: frozenset({"amount"}),
}


def _kind_has_its_columns() -> Q:
    """For each kind: its terms are set and the others null, and it has its agreement or its purchase."""
    all_terms = frozenset().union(*_TERMS_OF_KIND.values())
    condition = Q()
    for kind, terms in _TERMS_OF_KIND.items():
        nulls = {f"{column}__isnull": column not in terms for column in sorted(all_terms)}
        nulls["purchase__isnull"] = kind != Kind.PURCHASE
        nulls["agreement__isnull"] = kind == Kind.PURCHASE
        condition |= Q(kind=str(kind), **nulls)
    return condition


class OutgoingTransaction(models.Model):
    """One checkout, begun by one message of Perma.cc's: what was asked for, and so what was signed."""

    kind = models.CharField(max_length=10, choices=choices(Kind))
    transaction_uuid = models.UUIDField(unique=True, default=uuid.uuid4)
    transaction_type = models.CharField(max_length=60, help_text="As it was sent to CyberSource.")
    agreement = models.ForeignKey(
        SubscriptionAgreement, on_delete=models.PROTECT, null=True, blank=True, related_name="transactions"
    )
    purchase = models.OneToOneField(
        Purchase, on_delete=models.PROTECT, null=True, blank=True, related_name="transaction"
    )
    message_nonce = models.BinaryField(
        max_length=24, unique=True, help_text="The nonce of the message that began it (perma.md §5)."
    )
    amount = money_field("amount charged today", null=True, blank=True)
    recurring_amount = money_field("amount charged regularly", null=True, blank=True)
    recurring_frequency = models.CharField(max_length=20, choices=choices(Frequency), null=True, blank=True)
    recurring_start_date = models.DateField(null=True, blank=True)
    link_limit = models.CharField(max_length=10, null=True, blank=True)
    link_limit_effective_timestamp = models.DateTimeField(null=True, blank=True)
    change_kind = models.CharField(
        max_length=15,
        choices=choices(ChangeKind),
        null=True,
        blank=True,
        help_text="What kind of change it was, compared with the terms in force when it was asked for.",
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        permissions = [("correct_transaction", "Can record a payment whose response never came")]
        constraints = [
            models.CheckConstraint(condition=_kind_has_its_columns(), name="transaction_kind_has_its_columns"),
            models.CheckConstraint(
                condition=(Q(amount__isnull=True) | Q(amount__gte=0))
                & (Q(recurring_amount__isnull=True) | Q(recurring_amount__gte=0)),
                name="transaction_amounts",
            ),
            models.CheckConstraint(
                condition=Q(recurring_frequency__isnull=True) | one_of("recurring_frequency", Frequency),
                name="transaction_frequency",
            ),
            models.CheckConstraint(
                condition=Q(change_kind__isnull=True) | one_of("change_kind", ChangeKind),
                name="transaction_change_kind",
            ),
            models.UniqueConstraint(
                fields=["agreement"], condition=Q(kind=str(Kind.SUBSCRIBE)), name="transaction_one_subscribe"
            ),
        ]
        indexes = [
            models.Index(fields=["created_at"], name="transaction_created_at"),
            models.Index(fields=["kind", "created_at"], name="transaction_kind"),
        ]
        # What was signed never changes.
        triggers = [never_deleted(), pgtrigger.ReadOnly(name="signed_is_final")]

    def __str__(self) -> str:
        return str(self.transaction_uuid)

    @property
    def label(self) -> str:
        """What a person calls it: ``purchase PERMA-1943-7227, $15.00``."""
        amount = "" if self.amount is None else f", ${self.amount:,.2f}"
        return f"{self.kind} {self.subject.reference_number}{amount}"

    @property
    def subject(self) -> SubscriptionAgreement | Purchase:
        """The agreement or the purchase that it is about."""
        subject = self.agreement or self.purchase
        assert subject is not None  # held by transaction_kind_has_its_columns
        return subject

    @subject.setter
    def subject(self, subject: SubscriptionAgreement | Purchase) -> None:
        """Replace what was read of it."""
        if isinstance(subject, Purchase):
            self.purchase = subject
        else:
            self.agreement = subject

    @property
    def customer(self) -> Customer:
        return self.subject.customer

    @property
    def is_sale(self) -> bool:
        """Whether CyberSource charges something at once."""
        return "sale" in self.transaction_type.split(",")

    @property
    def reference_number(self) -> str:
        """The reference number that was sent to CyberSource."""
        return self.subject.reference_number

    @property
    def new_terms(self) -> dict[str, Any]:
        """The terms of the subscription that it begins, by the agreement's columns."""
        return {
            "current_rate": self.recurring_amount,
            "current_link_limit": self.link_limit,
            "current_link_limit_effective_timestamp": self.link_limit_effective_timestamp,
            "current_frequency": self.recurring_frequency,
            "schedule_start": self.recurring_start_date,
        }

    @property
    def changed_terms(self) -> Terms:
        """The terms that a change asks for. A change keeps the schedule."""
        rate, link_limit, effective = self.recurring_amount, self.link_limit, self.link_limit_effective_timestamp
        assert rate is not None and link_limit is not None and effective is not None  # kind_has_its_columns
        return Terms(rate, link_limit, effective)
