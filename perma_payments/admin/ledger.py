"""Read-only views of the ledger's tables."""
from typing import Any

from django.contrib import admin
from django.http import HttpRequest


class LedgerAdmin(admin.ModelAdmin):
    """A table that may be looked at, and nothing else."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """No."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False


class SubscriptionAgreementAdmin(LedgerAdmin):
    """Subscriptions, the newest first."""

    list_display = ("reference_number", "customer", "status", "current_rate", "current_link_limit", "paid_through")
    list_filter = ("status", "customer_type")
    search_fields = ("reference_number", "=customer_pk")
    ordering = ("-created_at",)
    # A key to money: the reference number finds the subscription at CyberSource as well.
    exclude = ("payment_token",)


class PurchaseAdmin(LedgerAdmin):
    """Purchases, the newest first."""

    list_display = (
        "reference_number", "customer", "status", "amount", "link_quantity", "paid_at", "acknowledged_at",
    )
    list_filter = ("status", "customer_type")
    search_fields = ("reference_number", "=customer_pk")
    ordering = ("-created_at",)


class OutgoingTransactionAdmin(LedgerAdmin):
    """Checkouts, the newest first."""

    list_display = ("transaction_uuid", "kind", "reference_number", "amount", "created_at")
    list_filter = ("kind",)
    list_select_related = ("agreement", "purchase")
    search_fields = ("transaction_uuid", "agreement__reference_number", "purchase__reference_number")
    ordering = ("-created_at",)
    exclude = ("message_nonce",)


class ResponseAdmin(LedgerAdmin):
    """CyberSource's responses, the newest first."""

    list_display = ("received_at", "decision", "reason_code", "reference_number", "amount", "outcome")
    list_filter = ("decision", "outcome")
    search_fields = ("transaction_id", "transaction_uuid", "reference_number")
    ordering = ("-received_at",)
    exclude = ("payment_token", "sealed", "fingerprint")
