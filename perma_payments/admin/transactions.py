"""Checkouts that we sent customers to."""

from django.contrib import admin

from ..models import OutgoingTransaction
from .base import ReadOnlyAdmin
from .columns import CustomerTypeFilter, customer, moment, subject
from .search import FIELDS, HELP, Search, through_transactions


@admin.register(OutgoingTransaction)
class OutgoingTransactionAdmin(ReadOnlyAdmin):
    list_display = (
        "transaction_uuid",
        "kind",
        subject,
        customer,
        "amount",
        "recurring_amount",
        moment("created_at", "created"),
    )
    list_filter = ("kind", CustomerTypeFilter)
    list_select_related = ("agreement", "purchase")
    date_hierarchy = "created_at"
    ordering = ("-created_at",)
    search_fields, search_help_text = FIELDS, HELP
    search = Search(
        through_transactions("pk"),
        reference_numbers=("agreement__reference_number", "purchase__reference_number"),
        customers=("agreement__", "purchase__"),
    )
    exclude = ("message_nonce",)
    change_form_template = "perma_payments/admin/record.html"
