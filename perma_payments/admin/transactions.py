"""Checkouts that we sent customers to."""

from typing import Any

from django import forms
from django.contrib import admin

from ..billing.money import DECIMAL_PLACES, MAX_DIGITS
from ..billing.transactions import Kind
from ..cybersource.transaction_search import Unreadable, read_transaction
from ..models import OutgoingTransaction
from ..services.recovery import record_payment
from .base import ReadOnlyAdmin
from .columns import CustomerTypeFilter, customer, moment, subject
from .corrections import Correction, ReasonForm
from .search import FIELDS, HELP


class PaymentForm(ReasonForm):
    """A payment as the Business Center shows it. What is pasted fills in the rest, and is dropped."""

    pasted = forms.CharField(
        label="Paste the transaction",
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60}),
        help_text="From the Business Center's exported transaction search: the row with the names of the columns, "
        "and the row of the transaction. The name in it is not kept. Or leave this empty, and type the rest.",
    )
    transaction_id = forms.RegexField(r"^[0-9]{16,26}$", label="Request ID", required=False, strip=True)
    amount = forms.DecimalField(max_digits=MAX_DIGITS, decimal_places=DECIMAL_PLACES, min_value=0, required=False)
    paid_on = forms.DateField(label="Paid on", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    reference_number = forms.CharField(required=False, widget=forms.HiddenInput)
    field_order = ("pasted", "transaction_id", "amount", "paid_on", "reason")

    def full_clean(self) -> None:
        """Read what was pasted, as if its values had been typed."""
        if self.is_bound and self.data.get("pasted", "").strip():
            self._fill_in(self.data["pasted"])
        super().full_clean()

    def _fill_in(self, text: str) -> None:
        values = {**self.data.dict(), "pasted": ""}  # type: ignore[attr-defined] # it is a QueryDict
        try:
            found = read_transaction(text)
        except Unreadable as problem:
            self._problem: str = str(problem)
        else:
            values |= {
                "transaction_id": found.request_id,
                "amount": str(found.amount),
                "paid_on": found.day.isoformat(),
                "reference_number": found.reference_number,
            }
        self.data = values

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if problem := getattr(self, "_problem", ""):
            self.add_error("pasted", f"{problem} Nothing was recorded.")
        else:
            for name in ("transaction_id", "amount", "paid_on"):
                if data.get(name) in (None, "") and name not in self.errors:
                    self.add_error(name, "This field is required.")
        data.pop("pasted", None)
        return data


def current_values(transaction: OutgoingTransaction) -> dict[str, Any]:
    return {"amount": transaction.amount, "paid_on": transaction.created_at.date()}


@admin.register(OutgoingTransaction)
class OutgoingTransactionAdmin(ReadOnlyAdmin):
    list_display = (
        moment("created_at", "created"),
        "kind",
        subject,
        customer,
        "amount",
        "recurring_amount",
        "transaction_uuid",
    )
    csv_columns = (
        "created_at",
        "kind",
        "change_kind",
        "reference_number",
        "customer",
        "amount",
        "recurring_amount",
        "recurring_frequency",
        "recurring_start_date",
        "link_limit",
        "transaction_type",
        "transaction_uuid",
    )
    list_filter = ("kind", CustomerTypeFilter)
    list_select_related = ("agreement", "purchase")
    date_hierarchy = "created_at"
    ordering = ("-created_at",)
    search_fields, search_help_text = FIELDS, HELP
    exclude = ("message_nonce",)
    correction = Correction(
        "correct_transaction",
        PaymentForm,
        current_values,
        record_payment,
        is_possible=lambda transaction: (
            transaction.kind != Kind.UPDATE and not transaction.responses.granted().exists()
        ),
        label="Record as paid",
        title_of=lambda transaction: transaction.label,
        shown_by=lambda transaction: transaction.subject,
    )
    change_form_template = "perma_payments/admin/record.html"
