"""Lists that filter by what they offer, and by nothing else.

Django's lists filter by any column that an address names: with ``?payment_token__startswith=7``, someone who may
only look could find out a secret letter by letter. The site (site.py) gives these lists to every table, even
those of other packages.
"""

from typing import Any

from django.contrib.admin import ModelAdmin
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest


class ListWithListedFilters(ChangeList):
    def get_filters(self, request: HttpRequest) -> Any:
        """Django's. Raises IncorrectLookupParameters, as for any wrong query, if something else is filtered by."""
        try:
            filters = super().get_filters(request)
        except DisallowedModelAdminLookup as error:
            raise IncorrectLookupParameters from error
        # Each filter has taken its own parameters. The date hierarchy has made two of its own.
        _, _, remaining, *_ = filters
        if remaining.keys() - {f"{self.date_hierarchy}__gte", f"{self.date_hierarchy}__lt"}:
            raise IncorrectLookupParameters
        return filters


class ListedFilters(ModelAdmin):  # type: ignore[type-arg] # no generic class when it runs
    # How many rows a table has is not said beside how many were found (search_form.html), so it isn't counted.
    show_full_result_count = False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return getattr(self, "list_class", ListWithListedFilters)
