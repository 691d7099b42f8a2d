"""Checkouts that we sent customers to."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from ..models import OutgoingTransaction
from . import search
from .base import ReadOnlyAdmin
from .columns import CustomerTypeFilter, customer, moment, subject


@admin.register(OutgoingTransaction)
class OutgoingTransactionAdmin(ReadOnlyAdmin):
    list_display = (
        "transaction_uuid",
        "kind",
        subject,
        customer,
        "amount",
        "recurring_amount",
        moment("created_at", "begun"),
    )
    list_filter = ("kind", CustomerTypeFilter)
    list_select_related = ("agreement", "purchase")
    date_hierarchy = "created_at"
    ordering = ("-created_at",)
    search_fields, search_help_text = search.FIELDS, search.HELP
    exclude = ("message_nonce",)
    change_form_template = "perma_payments/admin/record.html"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        found = search.search(
            queryset,
            search_term,
            by_transaction=search.through_transactions("pk"),
            reference_numbers=("agreement__reference_number", "purchase__reference_number"),
            customers=("agreement__", "purchase__"),
        )
        return found, False
