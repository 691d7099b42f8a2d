"""The ledger's tables, to be looked at: lists that are searched and filtered, and pages that tell a story."""

import contextlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ERROR_FLAG
from django.db import DataError
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import capfirst

from ..billing.customers import CustomerType
from ..billing.statuses import PurchaseStatus
from ..cybersource.reasons import explain
from ..models import OutgoingTransaction, Purchase, Response, SubscriptionAgreement
from ..services import perma_queries
from .timeline import Entry, EntryKind, story_of

_CUSTOMER = re.compile(r"(registrar|individual)[\s-]*([0-9]{1,18})", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)

# Whose permission it takes to be told of what.
_TABLE_OF = {
    EntryKind.REQUEST: "outgoingtransaction",
    EntryKind.RESPONSE: "response",
    EntryKind.TASK: "stafftask",
    EntryKind.REPORT: "statusreport",
}


class LedgerAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # no generic class when it runs
    """A table that may be looked at, and nothing else."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Django's list. Nonsense in the address that Django does not expect gets what other nonsense gets."""
        try:
            return super().changelist_view(request, extra_context)
        except (ValueError, OverflowError, DataError):
            if set(request.GET) == {ERROR_FLAG}:
                raise
            return HttpResponseRedirect(f"{request.path}?{ERROR_FLAG}=1")

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The row's own page, which tells what happened: Django's log knows only of what its forms change."""
        return self.change_view(request, object_id, extra_context=extra_context)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """No."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False


# --- Searching ---------------------------------------------------------------------------------------


class SearchableAdmin(LedgerAdmin):
    """A table that is searched by what people have at hand when somebody calls.

    A reference number or part of it, a customer ("7", "Registrar 7"), one of our transaction uuids, or
    one of CyberSource's transaction ids.
    """

    # Django shows its search box for it; what is searched is below.
    search_fields = ("reference_number",)
    search_help_text = (
        "Reference number, customer (7, or Registrar 7), transaction uuid, or CyberSource's transaction id."
    )
    # Where this table has them: reference numbers, and the columns of the customer.
    references: tuple[str, ...] = ("reference_number",)
    customers: tuple[str, ...] = ("",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """What a search finds, each row once."""
        term = search_term.strip()
        if not term:
            return queryset, False
        return queryset.filter(self._search(term)), False

    def _search(self, term: str) -> Q:
        if customer := _CUSTOMER.fullmatch(term):
            return self._of_customer(customer_type=customer[1].capitalize(), customer_pk=int(customer[2]))
        found = self.with_transaction_id(term)
        # Every second reference number has a 7 in it, and who types a 7 means a customer.
        if not (term.isdecimal() and len(term) < 4):
            for reference in self.references:
                found |= Q(**{f"{reference}__icontains": term})
        if _NUMBER.fullmatch(term):
            found |= self._of_customer(customer_pk=int(term))
        with contextlib.suppress(ValueError):
            found |= self.with_uuid(UUID(term))
        return found

    def _of_customer(self, **columns: str | int) -> Q:
        found = Q()
        for prefix in self.customers:
            found |= Q(**{f"{prefix}{column}": value for column, value in columns.items()})
        return found

    def with_transaction_id(self, transaction_id: str) -> Q:
        """The rows that CyberSource's transaction id leads to."""
        raise NotImplementedError

    def with_uuid(self, uuid: UUID) -> Q:
        """The rows that our transaction's uuid leads to."""
        raise NotImplementedError


def _responses(transaction_id: str) -> QuerySet[Response]:
    # An index finds them; a join for every row of a list would not.
    return Response.objects.filter(transaction_id=transaction_id)


# --- Filters -----------------------------------------------------------------------------------------


class YesNo(admin.SimpleListFilter):
    """Whether a date is set."""

    column: str

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Yes and no."""
        return [("yes", "Yes"), ("no", "No")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows with or without the date."""
        if self.value() not in ("yes", "no"):
            return queryset
        return queryset.filter(**{f"{self.column}__isnull": self.value() == "no"})


class CancellationRequested(YesNo):
    """Whether the customer has asked to cancel."""

    title, parameter_name, column = "cancellation requested", "cancelling", "cancellation_requested_at"


class Acknowledged(YesNo):
    """Whether Perma.cc has said that it credited the links."""

    title, parameter_name, column = "acknowledged by Perma.cc", "acknowledged", "acknowledged_at"


class Applied(YesNo):
    """Whether a response has been applied."""

    title, parameter_name, column = "applied", "applied", "applied_at"


class CustomerTypeFilter(admin.SimpleListFilter):
    """The type of customer, where a row belongs to a subscription or a purchase."""

    title, parameter_name = "customer type", "customer_type"
    prefix = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """The two types."""
        return [(str(type_), str(type_)) for type_ in CustomerType]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of that type's customers."""
        if self.value() not in list(CustomerType):
            return queryset
        return queryset.filter(
            Q(**{f"{self.prefix}agreement__customer_type": self.value()})
            | Q(**{f"{self.prefix}purchase__customer_type": self.value()})
        )


class CustomerTypeOfResponse(CustomerTypeFilter):
    """The same, for responses."""

    prefix = "outgoing__"


# --- Columns -----------------------------------------------------------------------------------------


def _moment(column: str, words: str) -> Any:
    """A column of a list: a moment in UTC, and it says so."""

    @admin.display(description=words, ordering=column)
    def moment(row: Model) -> str | None:
        value: datetime | None = getattr(row, column)
        return None if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"

    moment.__name__ = f"{column}_in_utc"
    return moment


@admin.display(description="subscription or purchase")
def _subject(row: OutgoingTransaction | Response) -> str:
    """A link to what a transaction or a response is about."""
    outgoing = row.outgoing if isinstance(row, Response) else row
    if outgoing is None:
        return "none of ours"
    subject = outgoing.subject
    page = reverse(f"admin:perma_payments_{subject._meta.model_name}_change", args=[subject.pk])
    return format_html('<a href="{}">{}</a>', page, subject)


@admin.display(description="customer")
def _customer(row: SubscriptionAgreement | Purchase | OutgoingTransaction | Response) -> str:
    """Whose row it is, as one says it."""
    whose = row.outgoing if isinstance(row, Response) else row
    return "–" if whose is None else str(whose.customer)


# --- Stories -----------------------------------------------------------------------------------------


class StoryAdmin(SearchableAdmin):
    """A table whose rows have a page that tells what Perma.cc is told now, and what happened so far."""

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The story first, Django's list of columns below."""
        subject = self.get_object(request, object_id)
        context: dict[str, Any] = {}
        if subject is not None and self.has_view_permission(request, subject):
            entries = story_of(subject)
            shown = [entry for entry in entries if _may_be_told(request, entry)]
            context = {
                "title": f"{capfirst(self.opts.verbose_name)} of {subject.customer}",
                "subtitle": str(subject),
                "entries": shown,
                "entries_hidden": len(entries) - len(shown),
                **self.told(subject),
            }
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def told(self, subject: Any) -> dict[str, Any]:
        """What Perma.cc is told right now, for the template."""
        raise NotImplementedError


def _may_be_told(request: HttpRequest, entry: Entry) -> bool:
    table = _TABLE_OF.get(entry.kind)
    return table is None or any(
        request.user.has_perm(f"perma_payments.{action}_{table}") for action in ("view", "change")
    )


class SubscriptionAgreementAdmin(StoryAdmin):
    """Subscriptions, the newest first."""

    list_display = (
        "reference_number",
        _customer,
        "status",
        "current_rate",
        "current_frequency",
        "current_link_limit",
        _moment("covered_until", "paid for until"),
        _moment("cancellation_requested_at", "cancellation requested"),
        _moment("created_at", "begun"),
    )
    list_filter = ("status", "customer_type", CancellationRequested)
    date_hierarchy = "created_at"
    ordering = ("-created_at",)
    # A key to money: the reference number finds the subscription at CyberSource as well.
    exclude = ("payment_token",)
    change_form_template = "perma_payments/admin/agreement.html"

    def with_transaction_id(self, transaction_id: str) -> Q:
        """See SearchableAdmin."""
        return Q(pk__in=_responses(transaction_id).values("outgoing__agreement"))

    def with_uuid(self, uuid: UUID) -> Q:
        """See SearchableAdmin."""
        return Q(pk__in=OutgoingTransaction.objects.filter(transaction_uuid=uuid).values("agreement"))

    def told(self, subject: SubscriptionAgreement) -> dict[str, Any]:
        """The customer's subscription, as Perma.cc is told of it: it may be another one than this."""
        told = perma_queries.standing_subscription(subject.customer, now=timezone.now())
        other = None
        if told is not None and told.reference_number != subject.reference_number:
            other = SubscriptionAgreement.objects.filter(reference_number=told.reference_number).first()
        return {"told": told, "told_of_other": other}


class PurchaseAdmin(StoryAdmin):
    """Purchases, the newest first."""

    list_display = (
        "reference_number",
        _customer,
        "status",
        "amount",
        "link_quantity",
        _moment("paid_at", "paid"),
        _moment("acknowledged_at", "acknowledged"),
        _moment("created_at", "begun"),
    )
    list_filter = ("status", "customer_type", Acknowledged)
    date_hierarchy = "created_at"
    ordering = ("-created_at",)
    change_form_template = "perma_payments/admin/purchase.html"

    def with_transaction_id(self, transaction_id: str) -> Q:
        """See SearchableAdmin."""
        return Q(pk__in=_responses(transaction_id).values("outgoing__purchase"))

    def with_uuid(self, uuid: UUID) -> Q:
        """See SearchableAdmin."""
        return Q(pk__in=OutgoingTransaction.objects.filter(transaction_uuid=uuid).values("purchase"))

    def told(self, subject: Purchase) -> dict[str, Any]:
        """Whether Perma.cc is offered the links, or sees the purchase among those of the past."""
        offered = {each.id for each in perma_queries.unacknowledged_purchases(subject.customer)}
        return {"is_offered": subject.pk in offered, "is_paid": subject.status == PurchaseStatus.PAID}


# --- Transactions and responses ------------------------------------------------------------------------


class OutgoingTransactionAdmin(SearchableAdmin):
    """Checkouts, the newest first."""

    list_display = (
        "transaction_uuid",
        "kind",
        _subject,
        _customer,
        "amount",
        "recurring_amount",
        _moment("created_at", "begun"),
    )
    list_filter = ("kind", CustomerTypeFilter)
    list_select_related = ("agreement", "purchase")
    date_hierarchy = "created_at"
    ordering = ("-created_at",)
    exclude = ("message_nonce",)
    change_form_template = "perma_payments/admin/ledger_row.html"
    references = ("agreement__reference_number", "purchase__reference_number")
    customers = ("agreement__", "purchase__")

    def with_transaction_id(self, transaction_id: str) -> Q:
        """See SearchableAdmin."""
        return Q(pk__in=_responses(transaction_id).values("outgoing"))

    def with_uuid(self, uuid: UUID) -> Q:
        """See SearchableAdmin."""
        return Q(transaction_uuid=uuid)


class ResponseAdmin(SearchableAdmin):
    """CyberSource's responses, the newest first."""

    list_display = (
        _moment("received_at", "received"),
        "decision",
        "reason",
        _subject,
        _customer,
        "reference_number",
        "amount",
        "outcome",
        _moment("applied_at", "applied"),
    )
    list_filter = ("decision", "outcome", Applied, CustomerTypeOfResponse)
    list_select_related = ("outgoing__agreement", "outgoing__purchase")
    date_hierarchy = "received_at"
    ordering = ("-received_at",)
    exclude = ("payment_token", "sealed", "fingerprint")
    readonly_fields = ("reason",)
    change_form_template = "perma_payments/admin/ledger_row.html"
    customers = ("outgoing__agreement__", "outgoing__purchase__")

    @admin.display(description="reason in words")
    def reason(self, row: Response) -> str:
        """What CyberSource's reason code means."""
        return explain(row.reason_code)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Response]:
        """Without the sealed responses: they are big, and never shown."""
        return super().get_queryset(request).defer("sealed")

    def with_transaction_id(self, transaction_id: str) -> Q:
        """See SearchableAdmin."""
        return Q(transaction_id=transaction_id)

    def with_uuid(self, uuid: UUID) -> Q:
        """See SearchableAdmin."""
        return Q(transaction_uuid__iexact=str(uuid)) | Q(outgoing__transaction_uuid=uuid)
