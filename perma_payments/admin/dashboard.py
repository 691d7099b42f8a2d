"""The admin's front page: open tasks, the numbers that matter, and a chart of the last year.

Django's list of tables comes below. Each part is shown to users who may view the table that it is about.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.utils import timezone

from . import figures
from .base import may_view
from .figures import MonthEnd

# Past months do not change, and counting them takes reading the whole history.
MONTHS_ARE_KEPT = timedelta(days=1)

# In the chart's own units: the browser scales it.
WIDTH, HEIGHT = 600, 190
TOP, BOTTOM = 24, 40
BAR_WIDTH = 34


@dataclass(frozen=True)
class Bar:
    """A month of the chart. ``middle`` is where its labels stand."""

    end: MonthEnd
    x: int
    y: int
    height: int
    middle: int
    # The first month and each January have the year below them.
    has_year: bool
    # The last bar is not the end of a month, but today.
    is_now: bool


@dataclass(frozen=True)
class Chart:
    """The standing subscriptions at the end of each past month, and now."""

    bars: list[Bar]
    width: int = WIDTH
    height: int = HEIGHT
    base: int = HEIGHT - BOTTOM
    bar_width: int = BAR_WIDTH


def overview(user: Any) -> dict[str, Any]:
    """The template's context: the parts of the page that a user may see."""
    now = timezone.now()
    shown: dict[str, Any] = {"overdue_days": settings.OVERDUE_DAYS, "now": now}
    if may_view(user, "stafftask"):
        shown["work"] = figures.work_list(now=now)
    if may_view(user, "subscriptionagreement"):
        shown["subscriptions"] = figures.subscriptions(now=now)
        shown["chart"] = chart(_past_months(now), MonthEnd(now.date(), shown["subscriptions"].total))
    if may_view(user, "purchase"):
        shown["purchases"] = figures.purchases(now=now)
    if may_view(user, "response"):
        shown["responses_not_applied"] = figures.responses_not_applied()
    if may_view(user, "statusreport"):
        shown["report"] = figures.last_report(now=now)
    return shown


def chart(past: Sequence[MonthEnd], now: MonthEnd) -> Chart:
    """The bars of the months. Their scale starts at zero, so that lengths can be compared."""
    months = [*past, now]
    highest = max(1, *(month.standing for month in months))
    space, step = HEIGHT - TOP - BOTTOM, WIDTH // len(months)
    bars = []
    for index, month in enumerate(months):
        # Even one subscription among thousands is visible.
        height = max(round(space * month.standing / highest), 1 if month.standing else 0)
        bars.append(
            Bar(
                end=month,
                x=index * step + (step - BAR_WIDTH) // 2,
                y=HEIGHT - BOTTOM - height,
                height=height,
                middle=index * step + step // 2,
                has_year=index == 0 or month.month.month == 1,
                is_now=month is now,
            )
        )
    return Chart(bars)


def _past_months(now: datetime) -> list[MonthEnd]:
    count = partial(figures.year_of_standing, now=now)
    return cache.get_or_set(f"year-of-standing-{now:%Y-%m}", count, MONTHS_ARE_KEPT.total_seconds()) or []
