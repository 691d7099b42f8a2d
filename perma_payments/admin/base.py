"""What all of our tables have in common."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ERROR_FLAG
from django.core.exceptions import PermissionDenied
from django.db import DataError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.text import capfirst
from django.views.decorators.http import require_safe

from . import search
from .columns import customer_of
from .corrections import Correction
from .csv_export import csv_response
from .links import customer_url
from .long_lists import LongList, LongListPaginator


def may_view(user: Any, model: str) -> bool:
    """Whether a user may view a model's rows. As in Django's admin, permission to change them is enough."""
    return any(user.has_perm(f"perma_payments.{action}_{model}") for action in ("view", "change"))


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # no generic class when it runs
    """A table that staff can view but not edit: what they may change has pages of its own."""

    change_list_template = "perma_payments/admin/list.html"
    list_class = LongList
    paginator = LongListPaginator
    # Counting what each filter would show takes reading the table once for each.
    show_facets = admin.ShowFacets.NEVER
    # What the list's CSV has of each row: named here one by one, so that no secret gets there by itself.
    csv_columns: tuple[str, ...]
    # What staff may correct by hand.
    correction: Correction | None = None

    def get_urls(self) -> list[URLPattern]:
        csv = self.admin_site.admin_view(require_safe(self.csv_view))
        return [
            path("csv/", csv, name=f"perma_payments_{self.opts.model_name}_csv"),
            *([self.correction.path(self)] if self.correction else []),
            *super().get_urls(),
        ]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not self.search_fields:
            return super().get_search_results(request, queryset, search_term)
        return search.find(queryset, search_term), False

    def get_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """The extra context of a row's page."""
        return {}

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        context = self.get_context(request, row) if row and self.has_view_permission(request, row) else {}
        if row and self.correction and self.correction.may_correct(self, request):
            context["may_correct"] = self.correction.is_possible(row) and self.correction.label
        if row and (customer := customer_of(row)):
            context |= {"customer": customer, "customer_url": customer_url(customer)}
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Django's list. A query string that makes Django fail leads to the same page as one it refuses."""
        context = {"title": capfirst(self.opts.verbose_name_plural), **(extra_context or {})}
        try:
            return super().changelist_view(request, context)
        except (ValueError, OverflowError, DataError):
            if set(request.GET) == {ERROR_FLAG}:
                raise
            return self._to_invalid_query()

    def csv_view(self, request: HttpRequest) -> HttpResponseBase:
        """The list as CSV: all of its pages, with the search and the filters of the query string."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        try:
            rows = self.get_changelist_instance(request).queryset
        except (IncorrectLookupParameters, ValueError, OverflowError, DataError):
            return self._to_invalid_query()
        return csv_response(rows, self.csv_columns, self, now=timezone.now())

    def _to_invalid_query(self) -> HttpResponse:
        changelist = reverse(f"admin:perma_payments_{self.opts.model_name}_changelist")
        return HttpResponseRedirect(f"{changelist}?{ERROR_FLAG}=1")

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The row's own page: Django's log knows only of changes made in its own forms."""
        return self.change_view(request, object_id, extra_context=extra_context)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
