"""Subscription agreements: what a customer pays regularly, and for what."""

from datetime import UTC, datetime
from typing import Any

import pghistory
from django.db import models
from django.db.models import Q
from django.db.models.functions import Right
from django.utils import timezone

from ..billing import tokens
from ..billing.coverage import Coverage, Proof, midnight, paid_through_for_perma
from ..billing.customers import Customer, CustomerType
from ..billing.schedules import Frequency, Schedule
from ..billing.statuses import ALIVE, WITH_TERMS, Status, is_standing
from ..billing.terms import AgreedTerms, Terms
from .fields import (
    REFERENCE_NUMBER_PATTERN,
    choices,
    customer_constraint,
    customer_pk_field,
    customer_type_field,
    money_field,
    never_deleted,
    one_of,
)

# What an agreement takes from its checkout when it is accepted.
TAKEN_TERMS = (
    "current_rate",
    "current_frequency",
    "current_link_limit",
    "current_link_limit_effective_timestamp",
    "schedule_start",
)
_SCHEDULED = ("scheduled_rate", "scheduled_link_limit", "scheduled_from")


# If a customer has several standing subscriptions (and is charged for each), the oldest is the one in force. A
# Canceled one that is running out gives way to one that is still charged.
FOREMOST_FIRST: list[models.Case | models.F] = [
    models.Case(models.When(status=Status.CANCELED, then=1), default=0),
    models.F("created_at"),
    models.F("id"),
]


class AgreementQuerySet(models.QuerySet["SubscriptionAgreement"]):
    def of(self, customer: Customer) -> "AgreementQuerySet":
        """The agreements of one customer."""
        return self.filter(customer_type=customer.type, customer_pk=customer.pk)

    def standing(self, now: datetime) -> "AgreementQuerySet":
        """The agreements that Perma.cc may see (billing.statuses.is_standing, in SQL), the foremost first."""
        return self.filter(
            Q(status__in=[Status.CURRENT, Status.HOLD]) | Q(status=Status.CANCELED, covered_until__gte=now)
        ).order_by(*FOREMOST_FIRST)


class FromColumns:
    """What follows from the columns of an agreement: of the model, and of status_reports.plan.Agreement."""

    __slots__ = ()

    @property
    def agreed_terms(self: Any) -> AgreedTerms:
        """Its terms, as of when they were written. It has been accepted once, so it has some."""
        in_force = Terms(self.current_rate, self.current_link_limit, self.current_link_limit_effective_timestamp)
        # Held by the constraints agreement_standing_is_complete and agreement_scheduled_terms.
        assert None not in in_force
        if self.scheduled_from is None:
            return AgreedTerms(in_force)
        return AgreedTerms(in_force, Terms(self.scheduled_rate, self.scheduled_link_limit, self.scheduled_from))

    @agreed_terms.setter
    def agreed_terms(self, terms: AgreedTerms) -> None:
        row: Any = self
        row.current_rate, row.current_link_limit, row.current_link_limit_effective_timestamp = terms.in_force
        row.scheduled_rate, row.scheduled_link_limit, row.scheduled_from = terms.scheduled or (None, None, None)

    @property
    def schedule(self: Any) -> Schedule:
        """When it is charged. It has been accepted once, so it has a schedule."""
        assert self.current_frequency is not None and self.schedule_start is not None
        return Schedule(Frequency(self.current_frequency), self.schedule_start)

    @property
    def coverage(self: Any) -> Coverage | None:
        """Until when it is paid for, as far as that is proven; None if it never was."""
        return None if self.covered_until is None else Coverage(self.covered_until, Proof(self.coverage_proof))

    @coverage.setter
    def coverage(self, coverage: Coverage) -> None:
        row: Any = self
        row.covered_until, row.coverage_proof = coverage


@pghistory.track(
    pghistory.InsertEvent(),
    pghistory.UpdateEvent(),
    append_only=True,
    model_name="SubscriptionAgreementEvent",
    # The token charges the card, so it is kept in one place. updated_at shows that it was replaced.
    exclude=["payment_token"],
)
class SubscriptionAgreement(FromColumns, models.Model):
    """One subscription of one customer, from the first checkout on.

    The ``current_…`` terms, the schedule and the coverage are empty until CyberSource accepts. The ``scheduled_…``
    terms are those of a downgrade: they follow the current ones at ``scheduled_from``. From then on they are in
    force, although they stay in their columns until the next change: read both through ``agreed_terms``.
    """

    customer_type = customer_type_field()
    customer_pk = customer_pk_field()
    status = models.CharField(max_length=20, choices=choices(Status), default=str(Status.PENDING))
    reference_number = models.CharField(max_length=15, unique=True)
    payment_token = models.CharField(
        max_length=32,
        blank=True,
        default="",
        help_text="CyberSource's name for the stored card, and the subscription's id there.",
    )
    current_rate = money_field("rate", null=True, blank=True)
    current_frequency = models.CharField(
        "frequency", max_length=20, choices=choices(Frequency), null=True, blank=True
    )
    current_link_limit = models.CharField("link limit", max_length=10, null=True, blank=True)
    current_link_limit_effective_timestamp = models.DateTimeField(
        "link limit in effect from", null=True, blank=True
    )
    scheduled_rate = money_field("rate after the scheduled change", null=True, blank=True)
    scheduled_link_limit = models.CharField(
        "link limit after the scheduled change", max_length=10, null=True, blank=True
    )
    scheduled_from = models.DateTimeField("scheduled change in effect from", null=True, blank=True)
    schedule_start = models.DateField(
        "first scheduled charge", null=True, blank=True, help_text="All due dates are counted from it."
    )
    covered_until = models.DateTimeField(
        "paid for until",
        null=True,
        blank=True,
        help_text="As far as it is proven. While the subscription is Current, Perma.cc sees a computed date.",
    )
    coverage_proof = models.CharField("proven by", max_length=10, choices=choices(Proof), blank=True, default="")
    next_charge_on = models.DateField(
        "next charge", null=True, blank=True, help_text="From the last status report that gave a date."
    )
    cancellation_requested_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)

    objects = AgreementQuerySet.as_manager()

    class Meta:
        permissions = [("correct_agreement", "Can correct a subscription's status and date")]
        constraints = [
            customer_constraint("agreement"),
            models.CheckConstraint(condition=one_of("status", Status), name="agreement_status"),
            models.CheckConstraint(
                condition=Q(reference_number__regex=REFERENCE_NUMBER_PATTERN),
                name="agreement_reference_number_form",
            ),
            models.CheckConstraint(
                condition=Q(payment_token__regex=tokens.PATTERN), name="agreement_payment_token_form"
            ),
            models.CheckConstraint(
                condition=Q(current_frequency__isnull=True) | one_of("current_frequency", Frequency),
                name="agreement_frequency",
            ),
            models.CheckConstraint(
                condition=Q(current_rate__isnull=True) | Q(current_rate__gte=0), name="agreement_rate"
            ),
            models.CheckConstraint(
                condition=Q(**{f"{column}__isnull": True for column in _SCHEDULED})
                | Q(
                    **{f"{column}__isnull": False for column in _SCHEDULED},
                    scheduled_rate__gte=0,
                    current_rate__isnull=False,
                ),
                name="agreement_scheduled_terms",
            ),
            # Perma.cc's client cannot read a subscription whose terms or paid-through date are null.
            models.CheckConstraint(
                condition=~one_of("status", WITH_TERMS)
                | Q(**{f"{column}__isnull": False for column in (*TAKEN_TERMS, "covered_until")}),
                name="agreement_standing_is_complete",
            ),
            models.CheckConstraint(
                condition=Q(covered_until__isnull=True, coverage_proof="")
                | (Q(covered_until__isnull=False) & one_of("coverage_proof", Proof)),
                name="agreement_coverage_has_proof",
            ),
        ]
        indexes = [
            models.Index(fields=["customer_type", "customer_pk", "created_at"], name="agreement_customer"),
            models.Index(fields=["created_at"], name="agreement_created_at"),
            models.Index(fields=["status", "created_at"], name="agreement_status"),
            models.Index(
                fields=["status", "created_at"],
                condition=Q(cancellation_requested_at__isnull=False),
                name="agreement_canceling",
            ),
            # What the front page adds up. No index has covered_until, or another column that status reports change
            # each month: PostgreSQL would write to all indexes then.
            models.Index(
                fields=["status", "customer_type", "current_frequency"],
                include=["current_rate", "scheduled_rate", "scheduled_from"],
                condition=one_of("status", ALIVE),
                name="agreement_alive",
            ),
            # The search for the end of a reference number.
            models.Index(Right("reference_number", 4), name="agreement_last_digits"),
        ]
        triggers = [never_deleted()]

    def __str__(self) -> str:
        return self.reference_number

    def take_terms(self, terms: dict[str, Any]) -> None:
        """Put the terms of a new subscription in force; see OutgoingTransaction.new_terms. Saves nothing."""
        for column, value in terms.items():
            setattr(self, column, value)

    def terms_in_force(self, now: datetime) -> Terms | None:
        """Its terms now; None if it has never been accepted."""
        return None if self.current_rate is None else self.agreed_terms.as_of(now).in_force

    def paid_through(self, now: datetime) -> datetime:
        """The ``paid_through`` for Perma.cc. It has been accepted once, so it has one."""
        assert self.covered_until is not None  # held by agreement_standing_is_complete
        return paid_through_for_perma(self.status, self.schedule, self.covered_until, self.next_charge_on, now)

    def was_due(self, *, since: datetime, now: datetime) -> bool:
        """Whether one of its due dates, by its schedule or as a report gave it, has come between two moments."""
        scheduled = midnight(self.schedule.first_due_after(since.astimezone(UTC).date()))
        return any(since < due <= now for due in (scheduled, self.paid_through(since)))

    def is_standing(self, now: datetime) -> bool:
        """Whether Perma.cc may see the agreement, as in ``AgreementQuerySet.standing``."""
        return is_standing(self.status, self.covered_until, now)

    @property
    def customer(self) -> Customer:
        return Customer(CustomerType(self.customer_type), self.customer_pk)
