"""Lists as CSV: with the list's filters, without secrets, with nothing that a spreadsheet program would run."""

import csv
import io
from datetime import UTC, datetime

import pytest
from bs4 import BeautifulSoup
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from perma_payments.admin import csv_export
from perma_payments.admin.base import ReadOnlyAdmin
from perma_payments.billing.customers import Customer
from perma_payments.models import StaffTask

from .. import records
from ..accounts import log_in
from ..records import INDIVIDUAL, REGISTRAR
from .working_day import working_day

pytestmark = pytest.mark.django_db

TABLES = sorted(
    model._meta.model_name for model, table in admin.site._registry.items() if isinstance(table, ReadOnlyAdmin)
)
SECRETS = {"payment_token", "message_nonce", "sealed", "fingerprint", "mail_left_to", "subscription_id", "digest"}


def exported(client: Client, table: str, query: str = "") -> list[dict[str, str]]:
    response = client.get(f"/admin/perma_payments/{table}/csv/{query}")
    assert (response.status_code, response["Content-Type"]) == (200, "text/csv; charset=utf-8")
    return list(csv.DictReader(io.StringIO(b"".join(response).decode("utf-8-sig"))))


def test_a_row_has_plain_values_and_times_in_utc(admin_client):
    records.standing_agreement(
        REGISTRAR,
        reference_number="PERMA-1234-5678",
        covered_until=datetime(2026, 12, 7, tzinfo=UTC),
        created_at=datetime(2026, 11, 7, 12, 30, 5, tzinfo=UTC),
    )
    records.agreement(INDIVIDUAL)
    standing, pending = exported(admin_client, "subscriptionagreement")

    assert standing == {
        "Reference number": "PERMA-1234-5678",
        "Customer type": "Registrar",
        "Customer id": "7",
        "Status": "Current",
        "Rate": "45.00",
        "Frequency": "monthly",
        "Link limit": "100",
        "Paid for until (UTC)": "2026-12-07 00:00:00",
        "Next charge": "",
        "Cancellation requested at (UTC)": "",
        "Created at (UTC)": "2026-11-07 12:30:05",
    }
    assert (pending["Customer type"], pending["Rate"]) == ("Individual", "")


@pytest.mark.parametrize("table", TABLES)
def test_every_table_is_exported_without_secrets_in_few_statements(
    admin_client, table, django_assert_max_num_queries
):
    working_day(User.objects.get(), now=timezone.now())
    with django_assert_max_num_queries(8):
        rows = exported(admin_client, table)

    assert len(rows) == admin_client.get(f"/admin/perma_payments/{table}/").context["cl"].result_count > 0
    assert records.TOKEN not in str(rows)
    (columns,) = (
        table_.csv_columns for model, table_ in admin.site._registry.items() if model._meta.model_name == table
    )
    assert not SECRETS & set(columns)


def test_the_link_on_a_list_exports_what_the_list_shows_on_all_of_its_pages(admin_client):
    for pk in range(1, 4):
        records.standing_agreement(Customer(REGISTRAR.type, pk), status="Hold")
    records.standing_agreement(INDIVIDUAL, status="Hold")
    records.standing_agreement(REGISTRAR)
    page = admin_client.get(
        "/admin/perma_payments/subscriptionagreement/?status__exact=Hold&customer_type__exact=Registrar&p=1"
    )
    link = BeautifulSoup(page.content, "html.parser").find("a", string="Download as CSV")["href"]
    table, _, query = link.removeprefix("/admin/perma_payments/").partition("/csv/")

    assert [row["Customer id"] for row in exported(admin_client, table, query)] == ["1", "2", "3"]


def test_a_search_is_exported(admin_client):
    for pk in (41, 42):
        records.purchase(Customer(REGISTRAR.type, pk))

    assert [row["Customer id"] for row in exported(admin_client, "purchase", "?q=Registrar+42")] == ["42"]


def test_a_table_larger_than_a_batch_is_exported_once_and_whole(admin_client, monkeypatch):
    monkeypatch.setattr(csv_export, "ROWS_AT_A_TIME", 2)
    made = [records.standing_agreement(Customer(REGISTRAR.type, pk)).reference_number for pk in range(1, 6)]

    assert [row["Reference number"] for row in exported(admin_client, "subscriptionagreement")] == made


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_cell_is_a_formula(admin_client, start):
    note = f"{start}HYPERLINK(1)"
    StaffTask.objects.create(
        kind="token missing",
        agreement=records.standing_agreement(),
        note=note,
        done_at=timezone.now(),
        resolution="done",
    )
    (row,) = exported(admin_client, "stafftask")

    assert row["Note"].replace("\r", "\n") == f"'{note}".replace("\r", "\n")
    assert row["Kind"] == "Find the token of a paid subscription"


def test_sealed_responses_are_not_read(admin_client):
    working_day(User.objects.get(), now=timezone.now())
    with CaptureQueriesContext(connection) as statements:
        assert exported(admin_client, "response")

    assert [each["sql"] for each in statements if '"sealed"' in each["sql"]] == []


@pytest.mark.parametrize("query", ["status__exact=%00", "created_at__year=0", "nothing__exact=1", "e=1"])
def test_an_invalid_query_string_leads_to_the_list_or_is_ignored(admin_client, query):
    page = admin_client.get(f"/admin/perma_payments/purchase/csv/?{query}", follow=True)

    assert page.status_code == 200


def test_the_export_takes_permission_to_view_the_table(client):
    log_in(client, "view_purchase")

    assert client.get("/admin/perma_payments/subscriptionagreement/csv/").status_code == 403
    assert client.get("/admin/perma_payments/purchase/csv/").status_code == 200
    assert client.post("/admin/perma_payments/purchase/csv/").status_code == 405
