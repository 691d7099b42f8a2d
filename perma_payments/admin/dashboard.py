"""The admin's front page: open tasks, the numbers that matter, and the last year.

Django's list of tables comes below. Each part is shown to users who may view the table that it is about. All staff
see that checkouts are frozen.
"""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.utils import timezone

from ..models import CheckoutFreeze
from . import figures
from .base import may_view
from .figures import MonthEnd

# Past months do not change, and counting them takes reading the whole history.
PAST_MONTHS_ARE_KEPT = timedelta(days=1)


def overview(user: Any) -> dict[str, Any]:
    """The template's context: the parts of the page that a user may see."""
    now = timezone.now()
    shown: dict[str, Any] = {
        "overdue_days": settings.OVERDUE_DAYS,
        "freeze": CheckoutFreeze.objects.in_force().select_related("began_by").first(),
        "frozen_by_setting": settings.CHECKOUTS_FROZEN,
    }
    if may_view(user, "stafftask"):
        shown["work"] = figures.work_list(now=now)
    if may_view(user, "subscriptionagreement"):
        shown["subscriptions"] = figures.subscriptions(now=now)
        shown["months"] = _past_months(now)
        # The bars of the chart start at zero, so their lengths can be compared.
        shown["most"] = max(1, shown["subscriptions"].total, *(month.standing for month in shown["months"]))
    if may_view(user, "purchase"):
        shown["purchases"] = figures.purchases(now=now)
    if may_view(user, "response"):
        shown["responses_not_applied"] = figures.responses_not_applied()
    if may_view(user, "statusreport"):
        shown["report"] = figures.last_report(now=now)
    return shown


def _past_months(now: datetime) -> list[MonthEnd]:
    count = partial(figures.year_of_standing, now=now)
    return cache.get_or_set(f"year-of-standing-{now:%Y-%m}", count, PAST_MONTHS_ARE_KEPT.total_seconds()) or []
