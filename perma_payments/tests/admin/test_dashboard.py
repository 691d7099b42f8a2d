"""The admin's front page: open tasks, the numbers that matter, a year of subscriptions."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from bs4 import BeautifulSoup
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from perma_payments.admin import figures
from perma_payments.billing.customers import Customer
from perma_payments.models import JobHeartbeat, MonthEnd, StaffTask, StatusReport
from perma_payments.services import health
from perma_payments.services.month_ends import last_months

from .. import records
from ..accounts import log_in
from ..pages import words
from ..records import INDIVIDUAL, REGISTRAR

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
EVERYTHING = [
    "view_stafftask",
    "view_subscriptionagreement",
    "view_purchase",
    "view_response",
    "view_statusreport",
]


@pytest.fixture(autouse=True)
def a_scheduler_runs(db):
    """Each test has a scheduler that runs."""
    scheduler_ran(timezone.now())


def scheduler_ran(at: datetime) -> None:
    for job in health.FREQUENT:
        JobHeartbeat.objects.update_or_create(job=job, defaults={"ran_at": at, "succeeded_at": at})


def task(days_ago: float = 0, **changes: Any) -> StaffTask:
    if not {"agreement", "purchase"} & set(changes):
        changes["agreement"] = records.standing_agreement()
    return StaffTask.objects.create(
        **{"kind": "token missing", "opened_at": timezone.now() - timedelta(days=days_ago), **changes}
    )


def upload(applied_at: datetime | None) -> StatusReport:
    user, _ = User.objects.get_or_create(username="uploader")
    return StatusReport.objects.create(
        digest="0" * 64,
        row_count=1,
        matched_count=1,
        uploaded_by=user,
        applied_by=user if applied_at else None,
        state="applied" if applied_at else "planned",
        applied_at=applied_at,
    )


# --- Open tasks --------------------------------------------------------------------------------------


def test_open_tasks_come_first_oldest_on_top(client):
    log_in(client, *EVERYTHING)
    new, old = task(0.5), task(4.5, kind="cancellation")
    task(9, done_at=timezone.now(), resolution="done")
    page = client.get("/admin/")

    said = words(page)
    assert "To do: 2, 1 overdue" in said
    assert f"Cancel a subscription in CyberSource Registrar 7 {old.agreement} 4 days overdue" in said
    assert f"Find the token of a paid subscription Registrar 7 {new.agreement} less than a day" in said
    assert said.index(str(old.agreement)) < said.index(str(new.agreement)) < said.index("At a glance")
    assert f"/admin/perma_payments/stafftask/{old.pk}/change/".encode() in page.content


def test_tasks_beyond_fifty_are_behind_a_link(client, monkeypatch):
    monkeypatch.setattr(figures, "TASKS_SHOWN", 3)
    log_in(client, *EVERYTHING)
    agreement = records.standing_agreement()
    for _ in range(5):
        task(agreement=agreement)
    page = client.get("/admin/")

    assert "and 2 more" in words(page)
    link = BeautifulSoup(page.content, "html.parser").find("a", string="and 2 more")["href"]
    assert "5 staff tasks" in words(client.get(link))


def test_a_page_without_tasks_says_so(client):
    log_in(client, *EVERYTHING)
    upload(timezone.now())

    assert "Everything is all right. To do There is nothing to do." in words(client.get("/admin/"))


def test_a_strangers_reference_number_is_only_text(client):
    log_in(client, *EVERYTHING)
    task(response=records.response(reference_number="<script>alert(1)</script>"), agreement=None, kind="unmatched")
    page = client.get("/admin/")

    assert b"<script>alert" not in page.content
    assert "(no reference number)" in words(page)


# --- The numbers -------------------------------------------------------------------------------------


def test_standing_subscriptions_are_counted():
    records.standing_agreement()
    records.standing_agreement(INDIVIDUAL)
    records.standing_agreement(Customer(REGISTRAR.type, 8), status="Hold")
    records.standing_agreement(Customer(REGISTRAR.type, 9), status="Canceled")
    records.standing_agreement(Customer(REGISTRAR.type, 10), status="Canceled", covered_until=timezone.now())
    records.standing_agreement(Customer(REGISTRAR.type, 11), status="Superseded")
    records.agreement()
    counted = figures.subscriptions(now=timezone.now() + timedelta(seconds=1))

    assert counted.customer_types == ["Registrar", "Individual"]
    assert counted.by_status == [("Current", [1, 1], 2), ("Hold", [1, 0], 1), ("Canceled", [1, 0], 1)]
    assert counted.total == 4


@pytest.mark.parametrize(
    ("frequency", "rate", "per_month"),
    [
        ("weekly", "12.00", "52.00"),
        ("bi-weekly", "12.00", "26.00"),
        ("quad-weekly", "12.00", "13.00"),
        ("semi-monthly", "12.00", "24.00"),
        ("monthly", "12.00", "12.00"),
        ("quarterly", "12.00", "4.00"),
        ("semi-annually", "12.00", "2.00"),
        ("annually", "100.00", "8.33"),
        ("annually", "0.06", "0.01"),
    ],
)
def test_every_frequency_is_converted_to_a_month(frequency, rate, per_month):
    value = figures.monthly_value({frequency: Decimal(rate)})

    assert (value, str(value)) == (Decimal(per_month), per_month)


def test_monthly_value_is_of_current_ones_and_rounded_once():
    for pk in range(1, 4):
        records.standing_agreement(
            Customer(REGISTRAR.type, pk), current_frequency="annually", current_rate=Decimal("100.00")
        )
    records.standing_agreement(INDIVIDUAL, status="Hold")

    # Three times 8.33 would be 24.99.
    assert figures.subscriptions(now=timezone.now()).monthly_value == Decimal("25.00")


def test_figures_are_on_the_page(client):
    log_in(client, *EVERYTHING)
    records.standing_agreement()
    records.paid_purchase()
    records.purchase()
    records.response()
    confirmed = upload(timezone.now())
    said = words(client.get("/admin/"))

    assert "Standing subscriptions 1 Monthly value $45.00 Pending for more than a day 0 " in said
    assert "Purchases not credited yet 1 Responses not applied 1 " in said
    assert f"Last status report {confirmed.applied_at:%Y-%m-%d}" in said


# --- Is everything all right? ------------------------------------------------------------------------


def concerns(client) -> dict[str, str]:
    """What the page asks to look into, with the addresses."""
    page = BeautifulSoup(client.get("/admin/").content, "html.parser")
    found = {link.get_text(): link["href"] for link in page.select(".state a")}
    assert ("everything is all right." in page.get_text().lower()) == (not found)
    return found


def test_all_is_right_while_nothing_has_waited_too_long(client):
    log_in(client, *EVERYTHING)
    now = timezone.now()
    records.agreement(INDIVIDUAL, created_at=now - timedelta(hours=23))
    records.paid_purchase(paid_at=now - timedelta(hours=23))
    records.paid_purchase(paid_at=now - timedelta(days=9), acknowledged_at=now)
    records.response(applied_at=now, outcome="no effect")
    task(2, notified_at=now)
    upload(now)

    assert concerns(client) == {}


def test_what_has_waited_too_long_is_named_and_listed(client):
    log_in(client, *EVERYTHING)
    now = timezone.now()
    pending = records.agreement(created_at=now - timedelta(hours=25))
    records.paid_purchase(paid_at=now - timedelta(days=9))  # the customer has not come back to Perma.cc
    records.response()
    records.response()
    overdue = task(4, agreement=pending)
    upload(now)
    found = concerns(client)

    assert list(found) == [
        "1 task overdue",
        "1 task not emailed yet (retried automatically)",
        "1 subscription Pending for more than a day",
        "2 responses not applied",
    ]
    listed = [client.get(url).context["cl"].result_list for url in found.values()]
    assert [list(rows) for rows in listed[:3]] == [[overdue], [overdue], [pending]]
    assert len(listed[3]) == 2


def test_the_page_says_when_the_scheduler_last_ran(client):
    log_in(client)
    scheduler_ran(timezone.now() - timedelta(minutes=4, seconds=1))

    assert "The scheduler last ran 4 minutes ago. Months and times are in UTC." in words(client.get("/admin/"))


def test_all_staff_are_told_that_the_scheduler_does_not_run(client):
    log_in(client, *EVERYTHING)
    upload(timezone.now())
    ran_at = timezone.now() - timedelta(minutes=12, seconds=1)
    scheduler_ran(ran_at)
    said = words(client.get("/admin/"))
    assert f"The scheduler has not run since {ran_at:%Y-%m-%d %H:%M} UTC: no mail is sent" in said
    assert "that the scheduler has not run for 12 minutes: they have to start manage.py run_scheduler" in said
    assert "Apart from that, everything is all right." in said
    assert "The scheduler last ran" not in said

    log_in(client, username="someone else")
    assert "no mail is sent" in words(client.get("/admin/"))
    JobHeartbeat.objects.all().delete()
    assert "The scheduler has never run: no mail is sent" in words(client.get("/admin/"))


def test_a_missing_report_is_a_concern(client, monkeypatch):
    log_in(client, *EVERYTHING)
    monkeypatch.setattr(figures, "REPORT_EXPECTED_BY", 0)

    assert list(concerns(client)) == ["no status report confirmed this month"]


@pytest.mark.parametrize(
    ("today", "confirmed", "is_missing"),
    [
        (datetime(2026, 11, 21, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC), False),
        (datetime(2026, 11, 21, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC), False),
        (datetime(2026, 11, 21, tzinfo=UTC), datetime(2026, 10, 31, 23, 59, tzinfo=UTC), True),
        (datetime(2026, 11, 3, 23, tzinfo=UTC), datetime(2026, 10, 2, tzinfo=UTC), False),
        (datetime(2026, 11, 4, tzinfo=UTC), datetime(2026, 10, 2, tzinfo=UTC), True),
        (datetime(2026, 11, 4, tzinfo=UTC), None, True),
        (datetime(2026, 11, 1, tzinfo=UTC), None, False),
    ],
)
def test_a_report_is_missing_once_the_third_is_over(today, confirmed, is_missing):
    upload(None)
    if confirmed:
        upload(confirmed - timedelta(days=40))
        upload(confirmed)
    last = figures.last_report(now=today)

    assert (last.applied_at, last.is_missing) == (confirmed, is_missing)


# --- The last year -----------------------------------------------------------------------------------


def bars(client: Client) -> list[tuple[str, str]]:
    page = BeautifulSoup(client.get("/admin/").content, "html.parser")
    assert not page.select(".overview [style], .overview script, .overview style")
    return [(bar["max"], bar["value"]) for bar in page.select(".chart progress")]


def test_the_chart_has_a_bar_for_each_month_and_for_now(client):
    log_in(client, *EVERYTHING)
    records.standing_agreement()
    months = last_months(now=timezone.now())
    MonthEnd.objects.bulk_create(MonthEnd(month=month.month, standing=0) for month in months)

    assert bars(client) == [("1", "1")] + [("1", "0")] * 12


def test_a_month_that_is_not_counted_yet_says_so(client):
    log_in(client, *EVERYTHING)
    records.standing_agreement()

    assert bars(client) == [("1", "1")]
    assert words(client.get("/admin/")).count("not counted yet") == 12


# --- Who may look ------------------------------------------------------------------------------------


PARTS = {
    "view_stafftask": "To do: 1",
    "view_subscriptionagreement": "Monthly value",
    "view_purchase": "Purchases not credited",
    "view_response": "Responses not applied",
    "view_statusreport": "Last status report",
}


@pytest.mark.parametrize("permission", PARTS)
def test_each_part_takes_permission_to_view_its_table(client, permission):
    task()
    log_in(client, permission)
    said = words(client.get("/admin/"))

    assert {each for each, part in PARTS.items() if part in said} == {permission}
    assert ("the last twelve months" in said) == (permission == "view_subscriptionagreement")


def test_without_permissions_the_page_says_only_so(client):
    task()
    log_in(client)
    page = client.get("/admin/")

    assert page.status_code == 200
    assert "You don't have access to any of the tables." in words(page)
    assert "At a glance" not in words(page) and "all right" not in words(page)


def test_all_staff_are_told_that_checkouts_are_frozen(client):
    log_in(client)
    records.freeze(began_at=NOW, reason="Cards are being tested.")
    page = client.get("/admin/")

    assert "Since 2026-11-21 12:00 UTC, by freezer: Cards are being tested." in words(page)
    assert b"/admin/perma_payments/checkoutfreeze/" not in page.content  # they may not view it


def test_the_notice_of_a_freeze_comes_first_and_leads_to_the_freezes(client):
    log_in(client, *EVERYTHING, "view_checkoutfreeze")
    records.freeze()
    page = client.get("/admin/")

    said = words(page)
    assert said.index("Checkouts are frozen") < said.index("To do")
    link = BeautifulSoup(page.content, "html.parser").find("a", string="View the freezes")["href"]
    assert client.get(link).status_code == 200


def test_the_notice_names_the_setting(client, settings):
    settings.CHECKOUTS_FROZEN = True
    log_in(client)

    assert "By the setting CHECKOUTS_FROZEN" in words(client.get("/admin/"))


def test_there_is_no_notice_when_a_freeze_has_ended(client):
    log_in(client, *EVERYTHING)
    by = User.objects.create_user("ender")
    records.freeze(ended_at=NOW, ended_by=by, end_reason="Over.")

    assert "frozen" not in words(client.get("/admin/"))


def test_the_tables_that_a_user_may_view_are_linked_above_everything(client):
    log_in(client, "view_stafftask", "view_subscriptionagreement", "view_user")
    page = BeautifulSoup(client.get("/admin/").content, "html.parser")

    links = page.select(".overview a")[:3]
    assert [link.get_text() for link in links] == ["Subscription agreements", "Staff tasks", "Users"]
    assert {client.get(link["href"]).status_code for link in links} == {200}


def test_the_page_takes_few_statements_however_much_there_is(client, django_assert_max_num_queries):
    log_in(client, *EVERYTHING)
    for pk in range(1, 12):
        task(agreement=records.standing_agreement(Customer(REGISTRAR.type, pk)))
    # Nine of the overview; the others are the session's, the user's, permissions, and Django's log.
    with django_assert_max_num_queries(15):
        assert client.get("/admin/").status_code == 200


def test_the_front_page_takes_a_login(client):
    assert client.get("/admin/").status_code == 302
