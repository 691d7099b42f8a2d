"""What no one needs of status reports is deleted, and nothing else can be."""

from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.http import HttpResponse
from django.test import Client

from perma_payments.models import StatusReport, StatusReportLine
from perma_payments.services.status_reports import purge
from perma_payments.services.status_reports.apply import CannotBeDone
from perma_payments.services.status_reports.purge import purge_reports

from ...accounts import log_in
from ...business_center import report
from ...pages import words
from .steps import NOW, apply, discard, plan, revert, standing, unpaid

pytestmark = pytest.mark.django_db

DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)
LATER = datetime(2027, 1, 2, 12, tzinfo=NOW.tzinfo)


def monthly(now: datetime = NOW) -> StatusReport:
    """A confirmed report that changes a status and a date, and says of a third subscription what we have."""
    held, paid, settled = standing(1), standing(2, covered_until=NOW - DAY), standing(3, status="Hold")
    return apply(plan(report((held, "HOLD"), (paid, "CURRENT"), (settled, "HOLD")), now=now), now=now)


def next_one(now: datetime = LATER) -> StatusReport:
    """A later report, of another subscription."""
    return apply(plan(report((standing(4, status="Hold"), "HOLD")), now=now), now=now)


def kept(of: StatusReport) -> list[str]:
    lines = of.lines.order_by("agreement__customer_pk")
    return [line.after.get("status", "date") if line.after else "nothing" for line in lines]


def page_of(about: StatusReport, path: str = "change/") -> HttpResponse:
    client = Client()
    User.objects.filter(username="someone").delete()
    log_in(client, "view_statusreport", "upload_statusreport")
    return client.get(f"/admin/perma_payments/statusreport/{about.pk}/{path}")


@pytest.mark.parametrize(("age", "left"), [(DAY + HOUR, 1), (DAY + HOUR + SECOND, 0)])
def test_a_preview_that_was_never_confirmed_is_deleted_after_a_day_and_an_hour(age, left):
    plan(report((unpaid(), "CURRENT")))  # A line of it holds a token.
    purge_reports(now=NOW + age)

    assert (StatusReport.objects.count(), StatusReportLine.objects.count()) == (left, left)


def test_the_last_confirmed_report_keeps_all_lines():
    last = monthly()
    discard(plan(report((standing(4), "HOLD")), now=LATER), now=LATER)

    assert purge_reports(now=LATER + 100 * DAY) == (0, 0)
    assert kept(last) == ["Hold", "date", "nothing"]


def test_what_changes_nothing_is_deleted_once_a_later_report_is_confirmed(monkeypatch):
    monkeypatch.setattr(purge, "BATCH", 1)
    first, last = monthly(), next_one()
    said = words(page_of(first))

    assert purge_reports(now=LATER) == (0, 1)
    assert (kept(first), kept(last)) == (["Hold", "date"], ["nothing"])
    assert words(page_of(first)) == said
    assert purge_reports(now=LATER) == (0, 0)


def test_what_changes_dates_only_is_deleted_when_the_report_can_no_longer_be_undone():
    first = monthly()
    next_one()
    purge_reports(now=NOW + 90 * DAY)
    assert kept(first) == ["Hold", "date"]

    purge_reports(now=NOW + 90 * DAY + SECOND)
    assert kept(first) == ["Hold"]
    said = words(page_of(first))
    assert "Current the last charge succeeded: paid for until the next one 1 Hold a charge failed" in said
    assert "Current Hold 1 Current Current, paid for until a later date 1" in said
    assert "1 subscription kept its status and terms, and is no longer listed here" in said
    assert "This report can no longer be undone" in said
    assert "Undo: " not in said
    assert "Only the date changes,(1 no longer listed)" in page_of(first, "changes.csv").getvalue().decode()
    with pytest.raises(CannotBeDone, match="older than 90 days"):
        revert(StatusReport.objects.get(pk=first.pk))


def test_a_report_is_not_undone_before_a_later_one_whose_lines_are_gone():
    """The later one may have had a line about the same subscriptions."""
    first, second = monthly(), next_one(NOW + DAY)
    last = next_one(LATER)
    purge_reports(now=LATER)
    revert(last)
    with pytest.raises(CannotBeDone, match="undo that one first"):
        revert(StatusReport.objects.get(pk=first.pk))

    revert(second)
    assert revert(StatusReport.objects.get(pk=first.pk)).state == "reverted"


def test_an_unusual_line_is_kept_for_good():
    usual, otherwise_charged = standing(1, status="Hold"), standing(2, status="Hold", current_rate=20)
    first = apply(plan(report((usual, "HOLD"), (otherwise_charged, "HOLD"))))
    next_one()
    purge_reports(now=NOW + 100 * DAY)

    assert [line.agreement for line in first.lines.all()] == [otherwise_charged]


@pytest.mark.parametrize(
    ("is_superseded", "rows"),
    [
        (False, "perma_payments_statusreportline"),
        (True, "perma_payments_statusreportline WHERE after ? 'status'"),
        (True, "perma_payments_statusreport WHERE state = 'applied'"),
    ],
)
def test_what_is_kept_cannot_be_deleted(is_superseded, rows):
    monthly()
    if is_superseded:
        next_one()
        purge_reports(now=NOW + 100 * DAY)

    with pytest.raises(DatabaseError, match=r"this line is kept|Cannot delete"), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {rows}")


@pytest.mark.parametrize(
    "change",
    [
        "perma_payments_statusreport SET state = 'planned', applied_at = NULL",
        "perma_payments_statusreportline SET before = NULL, after = NULL",
    ],
)
def test_what_is_kept_cannot_be_made_into_what_is_not(change):
    monthly()
    with pytest.raises(DatabaseError, match=r"this line is final|Cannot update"), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {change}")
