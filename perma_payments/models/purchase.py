"""One-time purchases of bonus links."""

import pghistory
from django.db import models
from django.db.models import Q
from django.db.models.functions import Right
from django.utils import timezone

from ..billing.customers import Customer, CustomerType
from ..billing.statuses import PurchaseStatus
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


class PurchaseQuerySet(models.QuerySet["Purchase"]):
    def of(self, customer: Customer) -> "PurchaseQuerySet":
        """The purchases of one customer."""
        return self.filter(customer_type=customer.type, customer_pk=customer.pk)

    def unacknowledged(self) -> "PurchaseQuerySet":
        """Paid, and not yet credited by Perma.cc; the oldest first."""
        return self.filter(status=PurchaseStatus.PAID, acknowledged_at__isnull=True).order_by("id")


@pghistory.track(pghistory.InsertEvent(), pghistory.UpdateEvent(), append_only=True, model_name="PurchaseEvent")
class Purchase(models.Model):
    """One purchase of ``link_quantity`` links. Its id is Perma.cc's ``purchase_pk``."""

    customer_type = customer_type_field()
    customer_pk = customer_pk_field()
    status = models.CharField(max_length=10, choices=choices(PurchaseStatus), default=str(PurchaseStatus.PENDING))
    reference_number = models.CharField(max_length=15, unique=True)
    amount = money_field("amount")
    link_quantity = models.PositiveIntegerField()
    paid_at = models.DateTimeField(null=True, blank=True)
    acknowledged_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When Perma.cc said that it had credited the links, or when that became uncertain.",
    )
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)

    objects = PurchaseQuerySet.as_manager()

    class Meta:
        permissions = [("correct_purchase", "Can mark a purchase as credited, or offer it again")]
        constraints = [
            customer_constraint("purchase"),
            models.CheckConstraint(condition=one_of("status", PurchaseStatus), name="purchase_status"),
            models.CheckConstraint(
                condition=Q(reference_number__regex=REFERENCE_NUMBER_PATTERN),
                name="purchase_reference_number_form",
            ),
            models.CheckConstraint(
                condition=Q(amount__gt=0) & Q(link_quantity__gte=1), name="purchase_something_for_something"
            ),
            models.CheckConstraint(
                condition=Q(status=str(PurchaseStatus.PAID), paid_at__isnull=False)
                | (~Q(status=str(PurchaseStatus.PAID)) & Q(paid_at__isnull=True)),
                name="purchase_paid_has_date",
            ),
            models.CheckConstraint(
                condition=Q(acknowledged_at__isnull=True) | Q(status=str(PurchaseStatus.PAID)),
                name="purchase_acknowledged_is_paid",
            ),
        ]
        indexes = [
            models.Index(fields=["customer_type", "customer_pk"], name="purchase_customer"),
            models.Index(fields=["created_at"], name="purchase_created_at"),
            models.Index(fields=["status", "created_at"], name="purchase_status"),
            models.Index(
                fields=["customer_type", "customer_pk", "id"],
                condition=Q(status=str(PurchaseStatus.PAID), acknowledged_at__isnull=True),
                name="purchase_to_acknowledge",
            ),
            # The search for the end of a reference number.
            models.Index(Right("reference_number", 4), name="purchase_last_digits"),
        ]
        triggers = [never_deleted()]

    def __str__(self) -> str:
        return self.reference_number

    @property
    def customer(self) -> Customer:
        return Customer(CustomerType(self.customer_type), self.customer_pk)
