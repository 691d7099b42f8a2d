"""Subscriptions: what Perma.cc sees, the timeline, and corrections of status and date."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from ..billing.coverage import midnight
from ..billing.statuses import Status
from ..billing.transactions import Kind
from ..models import SubscriptionAgreement
from ..models.fields import choices
from ..services import perma_queries
from ..services.corrections import correct_agreement
from ..services.recovery import without_payment
from . import timeline
from .base import ReadOnlyAdmin
from .columns import YesNoFilter, customer, moment
from .corrections import Correction, RowForm
from .search import FIELDS, HELP

# The customer may have left many checkouts of changes.
UNPAID_SHOWN = 5


class CancellationRequested(YesNoFilter):
    title, parameter_name, column = "cancellation requested", "canceling", "cancellation_requested_at"


class AgreementForm(RowForm):
    status = forms.TypedChoiceField(choices=choices(Status), coerce=Status)
    covered_until = forms.DateField(
        label="Paid for until",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text="The date of the first charge that has not been paid: what is paid for ends as that day begins "
        "(UTC). While a subscription is Current, Perma.cc sees the date of its next charge instead.",
    )
    field_order = ("status", "covered_until", "reason")

    def clean_covered_until(self) -> datetime | None:
        day: date | None = self.cleaned_data["covered_until"]
        return midnight(day) if day else None


def current_values(agreement: SubscriptionAgreement) -> dict[str, Any]:
    checkout = agreement.transactions.filter(kind=Kind.SUBSCRIBE).first()
    # What its checkout would have paid for, if nothing is paid for yet.
    start = checkout.recurring_start_date if checkout else None
    covered_until = agreement.covered_until.date() if agreement.covered_until else start
    return {"status": agreement.status, "covered_until": covered_until}


@admin.register(SubscriptionAgreement)
class SubscriptionAgreementAdmin(ReadOnlyAdmin):
    list_display = (
        "reference_number",
        customer,
        "status",
        "rate",
        moment("covered_until", "paid for until"),
        "link_limit",
        moment("cancellation_requested_at", "cancellation requested"),
        moment("created_at", "created"),
    )
    csv_columns = (
        "reference_number",
        "customer_type",
        "customer_pk",
        "status",
        "rate_in_force",
        "current_frequency",
        "link_limit",
        "covered_until",
        "next_charge_on",
        "cancellation_requested_at",
        "created_at",
    )
    list_filter = ("status", "customer_type", CancellationRequested)
    date_hierarchy = "created_at"
    ordering = ("-created_at",)
    search_fields, search_help_text = FIELDS, HELP
    # A key to money: the reference number finds the subscription at CyberSource as well.
    exclude = ("payment_token",)
    correction = Correction("correct_agreement", AgreementForm, current_values, correct_agreement)
    change_form_template = "perma_payments/admin/agreement.html"

    @admin.display(description="rate")
    def rate(self, row: SubscriptionAgreement) -> str | None:
        terms = row.terms_in_force(timezone.now())
        return f"${terms.rate:,.2f} {row.current_frequency}" if terms else None

    @admin.display(description="rate")
    def rate_in_force(self, row: SubscriptionAgreement) -> Decimal | None:
        terms = row.terms_in_force(timezone.now())
        return terms.rate if terms else None

    @admin.display(description="link limit")
    def link_limit(self, row: SubscriptionAgreement) -> str | None:
        terms = row.terms_in_force(timezone.now())
        return terms.link_limit if terms else None

    def get_context(self, request: HttpRequest, row: SubscriptionAgreement) -> dict[str, Any]:
        """What Perma.cc sees for the customer now, which may be another subscription, and the timeline."""
        shown = perma_queries.standing_subscription(row.customer, now=timezone.now())
        other = None
        if shown is not None and shown.reference_number != row.reference_number:
            other = SubscriptionAgreement.objects.filter(reference_number=shown.reference_number).first()
        unpaid = without_payment().filter(agreement=row)[:UNPAID_SHOWN]
        return {"shown": shown, "shown_instead": other, "unpaid": unpaid, **timeline.context(row, request.user)}
