"""Columns and filters that several lists have."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from ..billing.customers import Customer, CustomerType
from ..models import OutgoingTransaction, Response, StaffTask
from .links import customer_url


def moment(column: str, description: str) -> Any:
    """A list's column of times in UTC, which the page says. A narrow one breaks between the date and the time."""

    @admin.display(description=description, ordering=column)
    def in_utc(row: Model) -> str | None:
        value: datetime | None = getattr(row, column)
        if value is None:
            return None
        date, time = f"{value.astimezone(UTC):%Y-%m-%d %H:%M}".split()
        return format_html('<span class="whole">{}</span> {}', date, time)

    in_utc.__name__ = f"{column}_in_utc"
    return in_utc


@admin.display(description="subscription or purchase")
def subject(row: OutgoingTransaction | Response | StaffTask) -> str:
    """A link to what a transaction, a response or a task is about."""
    owner = row.outgoing if isinstance(row, Response) else row
    about = owner and (owner.agreement or owner.purchase)
    if about is None:
        return "none of ours"
    url = reverse(f"admin:perma_payments_{about._meta.model_name}_change", args=[about.pk])
    return format_html('<a href="{}">{}</a>', url, about)


@admin.display(description="customer")
def customer(row: Model) -> str:
    """A link to the page of a row's customer."""
    owner = customer_of(row)
    return "–" if owner is None else format_html('<a href="{}">{}</a>', customer_url(owner), owner)


def customer_of(row: Model) -> Customer | None:
    """Whose a row of one of our tables is, if it is anyone's."""
    owned: Any = row.outgoing if isinstance(row, Response) else row
    owner: Customer | None = getattr(owned, "customer", None)
    return owner


class YesNoFilter(admin.SimpleListFilter):
    """Whether a column is set."""

    column: str

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [("yes", "Yes"), ("no", "No")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in ("yes", "no"):
            return queryset
        return queryset.filter(**{f"{self.column}__isnull": self.value() == "no"})


class CustomerTypeFilter(admin.SimpleListFilter):
    """The type of customer, of a subscription or a purchase."""

    title, parameter_name = "customer type", "customer_type"
    prefix = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(str(type_), str(type_)) for type_ in CustomerType]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in list(CustomerType):
            return queryset
        return queryset.filter(
            Q(**{f"{self.prefix}agreement__customer_type": self.value()})
            | Q(**{f"{self.prefix}purchase__customer_type": self.value()})
        )
