"""Lists of tables that grow for years: no page of them reads a table whole, however long it has become.

They are counted, and have pages, up to COUNTED rows. If there are more, they are sorted only by the columns of
their own order, which an index has. To narrow them by date, they offer all dates between the first and the last,
where Django's look up which dates have rows.
"""

from calendar import monthrange
from datetime import UTC, date, datetime
from functools import cached_property
from itertools import takewhile
from typing import Any, NamedTuple

from django.core.paginator import Paginator
from django.db.models import Max, Min, QuerySet
from django.http import HttpRequest
from django.utils.dates import MONTHS

from .listed_filters import ListWithListedFilters

COUNTED = 10_000


class LongListPaginator(Paginator):  # type: ignore[type-arg] # no generic class when it runs
    """Pages of the first COUNTED rows."""

    @cached_property
    def _counted(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        return _counted(rows)

    @property
    def has_more(self) -> bool:
        """Whether there are more rows than were counted."""
        return self._counted > COUNTED

    @cached_property
    def count(self) -> int:
        return min(self._counted, COUNTED)


class DateLink(NamedTuple):
    title: str
    link: str = ""


class DateLinks(NamedTuple):
    """The dates to narrow a list to, and the link back to a longer time."""

    choices: list[DateLink]
    back: DateLink | None = None


class LongList(ListWithListedFilters):
    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """Django's. More rows than are counted are sorted by no column but those of the list's own order."""
        if _counted(queryset) > COUNTED:
            own = {column.removeprefix("-") for column in self.model_admin.ordering or ()}
            columns: Any = self.list_display
            self.sortable_by = [column for column in columns if self.get_ordering_field(column) in own]
        return super().get_ordering(request, queryset)

    def get_ordering_field(self, field_name: Any) -> Any:
        """Django's, which sorts by a column of the address even if the list does not offer it."""
        assert self.sortable_by is not None  # ModelAdmin.get_sortable_by
        return super().get_ordering_field(field_name) if field_name in self.sortable_by else None

    @property
    def dates(self) -> DateLinks | None:
        """In place of Django's date_hierarchy, with the same parameters."""
        column = self.date_hierarchy
        ends = self.root_queryset.order_by().aggregate(first=Min(column), last=Max(column))
        if ends["first"] is None:
            return None
        first, last = (_day(ends[each]) for each in ("first", "last"))
        parts = [f"{column}__{part}" for part in ("year", "month", "day")]
        # Addresses can be typed: a day without its month narrows nothing further.
        chosen = [int(self.params[part]) for part in takewhile(self.params.__contains__, parts)]

        def link(title: str, *values: int) -> DateLink:
            chosen = dict(zip(parts, map(str, values), strict=False))
            return DateLink(title, self.get_query_string(chosen, [f"{column}__"]))

        match chosen:
            case [year, month, day]:
                back = link(f"{MONTHS[month]} {year}", year, month)
                return DateLinks([DateLink(f"{MONTHS[month]} {day}")], back)
            case [year, month]:
                days = [date(year, month, day + 1) for day in range(monthrange(year, month)[1])]
                shown = [day for day in days if first <= day <= last]
                choices = [link(f"{MONTHS[month]} {day.day}", year, month, day.day) for day in shown]
                return DateLinks(choices, link(str(year), year))
            case [year]:
                months = [date(year, month, 1) for month in MONTHS]
                shown = [month for month in months if first.replace(day=1) <= month <= last]
                choices = [link(f"{MONTHS[month.month]} {year}", year, month.month) for month in shown]
                return DateLinks(choices, link("All dates"))
        return DateLinks([link(str(year), year) for year in range(first.year, last.year + 1)])


def _counted(rows: QuerySet[Any]) -> int:
    """How many rows there are, or COUNTED + 1 if there are more than COUNTED."""
    return rows.order_by()[: COUNTED + 1].count()


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()
