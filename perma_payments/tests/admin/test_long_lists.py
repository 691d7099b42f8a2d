"""Lists of tables that grow: counted up to a limit, narrowed by date, sorted by what has an index."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bs4 import BeautifulSoup
from django.test import Client

from perma_payments.admin import long_lists
from perma_payments.admin.agreements import SubscriptionAgreementAdmin

from .. import records
from ..pages import words

pytestmark = pytest.mark.django_db

LIST = "/admin/perma_payments/subscriptionagreement/"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def five(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The reference numbers of five subscriptions, the newest first, of which three are counted, two on a page."""
    monkeypatch.setattr(long_lists, "COUNTED", 3)
    monkeypatch.setattr(SubscriptionAgreementAdmin, "list_per_page", 2)
    rows = [records.agreement(created_at=NOW - timedelta(days=days)) for days in range(5)]
    return [row.reference_number for row in rows]


def shown(client: Client, **query: Any) -> list[str]:
    return [row.reference_number for row in client.get(LIST, query).context["cl"].result_list]


def test_a_list_has_pages_up_to_what_is_counted(admin_client, five):
    said = words(admin_client.get(LIST))

    assert "More than 3 subscription agreements" in said
    assert "The pages end after the first 3." in said
    assert (shown(admin_client), shown(admin_client, p=2)) == (five[:2], five[2:3])
    assert admin_client.get(LIST, {"p": 3})["Location"].endswith("?e=1")


def test_what_is_left_out_is_found_and_exported(admin_client, five):
    assert shown(admin_client, q=five[4]) == [five[4]]
    assert shown(admin_client, o=7)[0] == five[4]
    lines = b"".join(admin_client.get(f"{LIST}csv/").streaming_content).decode().splitlines()
    assert {line.split(",")[0] for line in lines[1:]} == set(five)


@pytest.mark.parametrize(
    ("query", "results"),
    [
        ({}, ""),
        ({"q": "R7"}, "more than 3 results ( show all )"),
        ({"canceling": "yes"}, "0 results ( show all )"),
    ],
)
def test_a_list_says_how_much_was_found(admin_client, five, query, results):
    said = words(admin_client.get(LIST, query))

    assert results in said
    assert ("result" in said) == bool(results)


def test_a_list_whose_rows_are_all_counted_says_how_many_there_are(admin_client):
    records.agreement()
    said = words(admin_client.get(LIST))

    assert "1 subscription agreement" in said and "More than" not in said and "The pages end" not in said


@pytest.mark.parametrize("column", [0, 2, 4, 6])
def test_a_column_without_an_index_sorts_nothing(admin_client, five, column):
    assert shown(admin_client, o=column) == shown(admin_client, o=-column) == five[:2]


def test_a_list_whose_rows_are_all_counted_is_sorted_by_any_column(admin_client, five, monkeypatch):
    monkeypatch.setattr(long_lists, "COUNTED", 5)

    assert "More than" not in words(admin_client.get(LIST))
    assert shown(admin_client, o="0") == sorted(five)[:2]
    assert shown(admin_client, o="-0") == sorted(five, reverse=True)[:2]


# --- Dates --------------------------------------------------------------------------------------------


def date_links(client: Client, query: str) -> dict[str, str | None]:
    page = BeautifulSoup(client.get(LIST + query).content, "html.parser").select_one(".toplinks")
    return {each.get_text(strip=True): each.get("href") for each in page.select("a")} if page else {}


@pytest.mark.parametrize(
    ("query", "links"),
    [
        ("", ["2024", "2025", "2026"]),
        ("?created_at__year=2024", ["‹ All dates", "November 2024", "December 2024"]),
        ("?created_at__year=2026", ["‹ All dates", "January 2026"]),
        ("?created_at__year=2026&created_at__month=1", ["‹ 2026", "January 1", "January 2"]),
        ("?created_at__year=2026&created_at__month=1&created_at__day=2", ["‹ January 2026"]),
        # The address was typed.
        ("?created_at__year=2026&created_at__day=31", ["‹ All dates", "January 2026"]),
        # There is nothing, but the way back.
        ("?created_at__year=2019", ["‹ All dates"]),
    ],
)
def test_all_dates_from_the_first_to_the_last_are_offered(admin_client, query, links):
    for moment in (datetime(2024, 11, 30, tzinfo=UTC), datetime(2026, 1, 2, 23, 59, tzinfo=UTC)):
        records.agreement(created_at=moment)

    assert list(date_links(admin_client, query)) == links


def test_dates_lead_to_their_rows_and_back_and_keep_the_filters(admin_client):
    for moment in (datetime(2025, 1, 2, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)):
        records.agreement(created_at=moment)
    records.standing_agreement(created_at=datetime(2026, 1, 2, tzinfo=UTC))
    query = "?status__exact=Pending"
    for text in ("2026", "January 2026", "January 2", "‹ January 2026", "‹ 2026", "‹ All dates"):
        query = date_links(admin_client, query)[text]
        assert "status__exact=Pending" in query
        expected = 2 if text == "‹ All dates" else 1
        assert len(admin_client.get(LIST + query).context["cl"].result_list) == expected, text


def test_an_empty_list_offers_no_dates(admin_client):
    assert not date_links(admin_client, "")
