"""The admin's front page: what is to do, the numbers that matter, and below them Django's list of tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib.admin import AdminSite
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from . import figures as overview
from .figures import MonthEnd

# Months that have ended do not change, and the whole history is read for them.
MONTHS_ARE_KEPT = timedelta(days=1)

# The chart's own units; the browser scales it.
WIDTH, HEIGHT = 600, 190
TOP, BOTTOM = 24, 40
BAR = 34


@dataclass(frozen=True)
class Bar:
    """One month of the chart: a rectangle, and where its words stand."""

    end: MonthEnd
    x: int
    y: int
    height: int
    middle: int
    # The year stands below the first month, and below each January.
    names_year: bool
    # The last bar is no month's end, but today.
    is_now: bool


@dataclass(frozen=True)
class Chart:
    """The standing subscriptions at the end of each of the last months, and now, as bars."""

    bars: list[Bar]
    width: int = WIDTH
    height: int = HEIGHT
    base: int = HEIGHT - BOTTOM
    bar_width: int = BAR


def chart(ended: Sequence[MonthEnd], now: MonthEnd) -> Chart:
    """Where each month's bar stands. The scale begins at nought, so that lengths can be compared."""
    months = [*ended, now]
    highest = max([month.standing for month in months] + [1])
    room, step = HEIGHT - TOP - BOTTOM, WIDTH // len(months)
    bars = []
    for index, month in enumerate(months):
        # One subscription among thousands is seen, too.
        height = max(round(room * month.standing / highest), 1 if month.standing else 0)
        bars.append(
            Bar(
                end=month,
                x=index * step + (step - BAR) // 2,
                y=HEIGHT - BOTTOM - height,
                height=height,
                middle=index * step + step // 2,
                names_year=index == 0 or month.month.month == 1,
                is_now=month is now,
            )
        )
    return Chart(bars)


def add_to(site: AdminSite) -> None:
    """Make the overview the front page of an admin site."""
    index = site.index

    def overview_index(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return index(request, {**what_to_show(request), **(extra_context or {})})

    site.index_template = "perma_payments/admin/index.html"
    # The site is Django's own, or one that some package has put in its place: it is added to, not replaced.
    site.index = overview_index  # type: ignore[method-assign,assignment]


def what_to_show(request: HttpRequest) -> dict[str, Any]:
    """The parts of the overview that whoever is logged in may look at."""
    now = timezone.now()
    shown: dict[str, Any] = {"overdue_days": settings.OVERDUE_DAYS, "now": now}
    if _may_view(request, "stafftask"):
        shown["work"] = overview.work_list(now=now)
    if _may_view(request, "subscriptionagreement"):
        shown["subscriptions"] = overview.subscriptions(now=now)
        shown["chart"] = chart(_months_that_have_ended(now), MonthEnd(now.date(), shown["subscriptions"].total))
    if _may_view(request, "purchase"):
        shown["purchases"] = overview.purchases(now=now)
    if _may_view(request, "response"):
        shown["responses_not_applied"] = overview.responses_not_applied()
    if _may_view(request, "statusreport"):
        shown["report"] = overview.last_report(now=now)
    return shown


def _months_that_have_ended(now: datetime) -> list[MonthEnd]:
    key = f"year-of-standing-{now:%Y-%m}"
    count = partial(overview.year_of_standing, now=now)
    return cache.get_or_set(key, count, MONTHS_ARE_KEPT.total_seconds()) or []


def _may_view(request: HttpRequest, model: str) -> bool:
    # As Django's admin has it, who may change may look.
    return any(request.user.has_perm(f"perma_payments.{action}_{model}") for action in ("view", "change"))
