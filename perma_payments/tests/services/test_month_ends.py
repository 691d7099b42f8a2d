"""How many subscriptions stood at the end of each of the last twelve months."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from perma_payments.management.jobs import purge_expired
from perma_payments.models import MonthEnd, SubscriptionAgreement
from perma_payments.postgres import base
from perma_payments.services import month_ends
from perma_payments.services.month_ends import count_months, last_months

from .. import records
from .test_locks import elsewhere, running  # noqa: F401 (a fixture for all)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def history(agreement: SubscriptionAgreement, *spans: tuple[datetime, str, datetime | None]) -> None:
    """Give an agreement another past: when it was how, and paid through when."""
    events = SubscriptionAgreement.pgh_event_model
    with connection.cursor() as cursor:
        # The history is protected, also from tests.
        cursor.execute("ALTER TABLE perma_payments_subscriptionagreementevent DISABLE TRIGGER USER")
        events.objects.filter(pgh_obj=agreement).delete()
        for since, status, paid_through in spans:
            event = events.objects.create(
                pgh_obj=agreement,
                pgh_label="update",
                id=agreement.pk,
                customer_type="Registrar",
                customer_pk=7,
                status=status,
                reference_number=agreement.reference_number,
                covered_until=paid_through,
            )
            events.objects.filter(pk=event.pk).update(pgh_created_at=since)
        cursor.execute("ALTER TABLE perma_payments_subscriptionagreementevent ENABLE TRIGGER USER")


def at(month: int, day: int, *time: int, year: int = 2026) -> datetime:
    return datetime(year, month, day, *time, tzinfo=UTC)


def by_month(now: datetime = NOW) -> dict[int, int | None]:
    return {month.month.month: month.standing for month in last_months(now=now)}


@pytest.mark.django_db
def test_the_year_is_the_last_twelve_past_months():
    months = [month.month for month in last_months(now=NOW)]

    assert (months[0], months[-1], len(months)) == (date(2026, 10, 1), date(2025, 11, 1), 12)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("spans", "months"),
    [
        ([(at(3, 10), "Pending", None), (at(5, 10), "Current", None)], {5, 6, 7, 8, 9, 10}),
        ([(at(3, 10), "Current", None), (at(5, 10), "Hold", None), (at(7, 1), "Superseded", None)], {3, 4, 5, 6}),
        ([(at(3, 10), "Current", None), (at(5, 10), "Canceled", at(7, 31, 23, 59, 59))], {3, 4, 5, 6, 7}),
        ([(at(3, 10), "Current", None), (at(5, 10), "Canceled", at(7, 31, 23, 59, 58))], {3, 4, 5, 6}),
        ([(at(3, 10), "Current", None), (at(5, 10), "Canceled", None)], {3, 4}),
        ([(at(3, 10), "Canceled", at(6, 1)), (at(4, 10), "Completed", at(6, 1))], {3}),
        # It was Canceled after what was paid for had run out.
        ([(at(3, 10), "Current", None), (at(5, 10), "Canceled", at(1, 1))], {3, 4}),
        # Long ago, and as it was then ever since.
        ([(at(1, 1, year=2020), "Current", None)], set(range(1, 13))),
        # Twice in one month: the last one counts.
        ([(at(9, 1), "Current", None), (at(9, 2), "Canceled", None), (at(9, 3), "Current", None)], {9, 10}),
        # What happens as the next month begins belongs to that.
        ([(at(9, 1), "Current", None), (at(10, 1), "Superseded", None)], {9}),
        ([(at(10, 1), "Current", None)], {10}),
        # It began earlier, but waited for what is before it.
        (
            [(at(3, 10), "Pending", None), (at(5, 10), "Hold", None), (at(4, 20), "Current", None)],
            {5, 6, 7, 8, 9, 10},
        ),
    ],
)
def test_a_month_counts_what_stood_at_its_end(spans, months):
    history(records.agreement(), *spans)

    assert count_months(now=NOW) == 12
    assert {month for month, standing in by_month().items() if standing} == months


@pytest.mark.django_db
def test_agreements_are_read_a_batch_at_a_time(monkeypatch):
    monkeypatch.setattr(month_ends, "BATCH", 2)
    for _ in range(5):
        history(records.agreement(), (at(9, 10), "Current", None))
    with CaptureQueriesContext(connection) as statements:
        count_months(now=NOW)

    assert (by_month()[8], by_month()[9], by_month()[10]) == (0, 5, 5)
    assert sum("lead(since" in each["sql"] for each in statements) >= 3


@pytest.mark.django_db
def test_a_month_that_was_counted_is_not_read_again():
    history(records.agreement(), (at(9, 10), "Current", None))
    count_months(now=NOW)
    with CaptureQueriesContext(connection) as statements:
        assert count_months(now=NOW) == 0

    assert not [each for each in statements if "event" in each["sql"]]
    assert by_month()[10] == 1


@pytest.mark.django_db
def test_the_next_month_is_added_an_hour_after_its_end():
    count_months(now=at(10, 1, 2))

    assert count_months(now=at(11, 1, 0, 59)) == 0
    assert by_month(at(11, 1, 0, 59))[10] is None
    assert count_months(now=at(11, 1, 1)) == 1
    assert by_month(at(11, 1, 1))[10] == 0


@pytest.mark.django_db
def test_the_scheduler_counts_them_with_its_purge():
    purge_expired(now=NOW)

    assert by_month()[10] == 0


@pytest.mark.django_db
def test_a_scheduler_whose_clock_is_ahead_counts_no_month_that_goes_on():
    ahead = timezone.now() + timedelta(days=70)
    count_months(now=ahead)

    this_month = timezone.now().date().replace(day=1)
    assert not MonthEnd.objects.filter(month__gte=this_month).exists()
    assert {month.standing for month in last_months(now=ahead) if month.month >= this_month} == {None}


@pytest.mark.django_db
@pytest.mark.parametrize("columns", [{"month": date(2026, 9, 2), "standing": 1}, {"month": date(2026, 9, 1)}])
def test_a_row_is_a_month_and_a_number(columns: dict[str, Any]):
    with pytest.raises(IntegrityError), transaction.atomic():
        MonthEnd.objects.create(**columns)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("work", [lambda: count_months(now=NOW), month_ends.forget])
def test_no_scheduler_waits_for_another_or_for_an_import(running, monkeypatch, work):
    """Counting a large database takes longer than a lock is waited for, and would fail."""
    monkeypatch.setattr(base, "LOCK_SECONDS", 0.1)
    with transaction.atomic():
        work()
        assert elsewhere(lambda: count_months(now=NOW)).result() == 0

    count_months(now=NOW)
    assert MonthEnd.objects.count() == 12
