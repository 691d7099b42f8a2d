"""CyberSource's responses, and matching one by hand with its transaction."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from ..cybersource.reasons import explain
from ..metrics import DECISIONS
from ..models import Outcome, Response
from ..services.corrections import match_response, transaction_with
from ..services.recovery import candidates_for
from .base import ReadOnlyAdmin
from .columns import CustomerTypeFilter, YesNoFilter, customer, moment, subject
from .corrections import Correction, ReasonForm
from .search import FIELDS, HELP


class Applied(YesNoFilter):
    title, parameter_name, column = "applied", "applied", "applied_at"


class DecisionFilter(admin.SimpleListFilter):
    """The decisions that we know. One of another name opens a staff task."""

    title, parameter_name = "decision", "decision"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(decision, decision) for decision in sorted(DECISIONS)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Response]) -> QuerySet[Response]:
        return queryset if self.value() is None else queryset.filter(decision=self.value())


class ResponseCustomerTypeFilter(CustomerTypeFilter):
    prefix = "outgoing__"


class ResponseForm(ReasonForm):
    transaction_uuid = forms.UUIDField(label="Our transaction's uuid")
    field_order = ("transaction_uuid", "reason")


@admin.register(Response)
class ResponseAdmin(ReadOnlyAdmin):
    list_display = (
        moment("received_at", "received"),
        "decision",
        subject,
        "outcome",
        "reason",
        customer,
        "amount",
        moment("applied_at", "applied"),
    )
    csv_columns = (
        "received_at",
        "decision",
        "reason_code",
        "reason",
        "reference_number",
        "customer",
        "amount",
        "currency",
        "auth_amount",
        "transaction_type",
        "transaction_id",
        "transaction_uuid",
        "outcome",
        "applied_at",
    )
    list_filter = (DecisionFilter, "outcome", Applied, ResponseCustomerTypeFilter)
    list_select_related = ("outgoing__agreement", "outgoing__purchase")
    date_hierarchy = "received_at"
    ordering = ("-received_at",)
    search_fields, search_help_text = FIELDS, HELP
    exclude = ("payment_token", "sealed", "fingerprint")
    readonly_fields = ("reason",)
    correction = Correction(
        "correct_response",
        ResponseForm,
        lambda response: {"transaction_uuid": response.transaction_uuid},
        match_response,
        is_possible=lambda response: response.outcome == Outcome.UNMATCHED,
        label="Match",
        customer_of=lambda response, data: transaction_with(data["transaction_uuid"]).customer,
    )
    change_form_template = "perma_payments/admin/response.html"

    @admin.display(description="reason in words")
    def reason(self, row: Response) -> str:
        return explain(row.reason_code)

    @admin.display(description="customer")
    def customer(self, row: Response) -> str:
        return str(row.outgoing.customer) if row.outgoing else ""

    def get_context(self, request: HttpRequest, row: Response) -> dict[str, Any]:
        """The checkouts that an unmatched response could belong to."""
        is_unmatched = row.outcome == Outcome.UNMATCHED
        return {"is_unmatched": is_unmatched, "candidates": candidates_for(row) if is_unmatched else []}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Response]:
        """Without the sealed responses, which are big and never shown."""
        return super().get_queryset(request).defer("sealed")
