"""Purchases: what Perma.cc sees, the timeline, and corrections of whether the links were credited."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from ..billing.statuses import PurchaseStatus
from ..models import Purchase
from ..services import perma_queries
from ..services.corrections import correct_purchase
from ..services.recovery import without_payment
from . import timeline
from .base import ReadOnlyAdmin
from .columns import YesNoFilter, customer, moment
from .corrections import Correction, RowForm
from .search import FIELDS, HELP


class AcknowledgedFilter(YesNoFilter):
    title, parameter_name, column = "acknowledged by Perma.cc", "acknowledged", "acknowledged_at"


class PurchaseForm(RowForm):
    credited = forms.TypedChoiceField(
        label="The links",
        choices=[
            ("yes", "are credited: do not offer them again"),
            ("no", "are not credited: offer them to Perma.cc again"),
        ],
        coerce=lambda choice: choice == "yes",
    )
    field_order = ("credited", "reason")


@admin.register(Purchase)
class PurchaseAdmin(ReadOnlyAdmin):
    list_display = (
        "reference_number",
        customer,
        "status",
        "amount",
        "link_quantity",
        moment("paid_at", "paid"),
        moment("acknowledged_at", "acknowledged"),
        moment("created_at", "created"),
    )
    csv_columns = (
        "reference_number",
        "customer_type",
        "customer_pk",
        "status",
        "amount",
        "link_quantity",
        "paid_at",
        "acknowledged_at",
        "created_at",
    )
    list_filter = ("status", "customer_type", AcknowledgedFilter)
    date_hierarchy = "created_at"
    ordering = ("-created_at",)
    search_fields, search_help_text = FIELDS, HELP
    correction = Correction(
        "correct_purchase",
        PurchaseForm,
        lambda purchase: {"credited": "yes" if purchase.acknowledged_at else "no"},
        correct_purchase,
        is_possible=lambda purchase: purchase.status == PurchaseStatus.PAID,
    )
    change_form_template = "perma_payments/admin/purchase.html"

    def get_context(self, request: HttpRequest, row: Purchase) -> dict[str, Any]:
        """Whether Perma.cc is offered the links or sees the purchase in its history, and the timeline."""
        waiting = perma_queries.unacknowledged_purchases(row.customer)
        return {
            "is_offered": row.pk in {purchase.id for purchase in waiting},
            "is_paid": row.status == PurchaseStatus.PAID,
            "unpaid": without_payment().filter(purchase=row),
            **timeline.context(row, request.user),
        }
