"""Tables that are searched by what people have at hand, filtered, and only looked at."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bs4 import BeautifulSoup
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from perma_payments.billing.customers import Customer
from perma_payments.billing.transactions import Kind
from perma_payments.models import OutgoingTransaction, Purchase, Response, SubscriptionAgreement

from .. import records
from ..pages import heading, words
from ..records import INDIVIDUAL, REGISTRAR

pytestmark = pytest.mark.django_db

TABLES = ["subscriptionagreement", "purchase", "outgoingtransaction", "response"]
SECRETS = ["payment token", "message nonce", "sealed", "fingerprint"]


def response(outgoing: OutgoingTransaction | None, **changes: Any) -> Response:
    return Response.objects.create(
        **{
            "outgoing": outgoing,
            "fingerprint": secrets.token_bytes(32),
            "decision": "ACCEPT",
            "reason_code": "100",
            "transaction_uuid": str(outgoing.transaction_uuid) if outgoing else "x",
            "transaction_type": "sale",
            "reference_number": outgoing.reference_number if outgoing else "?",
            "sealed": b"x",
            "archive_key_id": "k",
            **changes,
        }
    )


def found(client: Client, table: str, **query: str) -> set[int]:
    """The ids of the rows that a list shows."""
    page = client.get(f"/admin/perma_payments/{table}/", query)
    assert page.status_code == 200
    return {row.pk for row in page.context["cl"].result_list}


@pytest.fixture
def rows() -> dict[str, tuple[Any, Any]]:
    """Of each table a row of Registrar 7, and another one of Individual 8."""
    other = Customer(INDIVIDUAL.type, 8)
    agreements = records.standing_agreement(REGISTRAR), records.standing_agreement(other, status="Hold")
    purchases = records.purchase(REGISTRAR), records.paid_purchase(other)
    outgoing = tuple(records.outgoing(Kind.UPDATE, agreement) for agreement in agreements)
    bought = tuple(records.outgoing(Kind.PURCHASE, purchase) for purchase in purchases)
    responses = tuple(
        response(checkout, transaction_id=f"{number}" * 22, decision=decision)
        for number, checkout, decision in [(1, outgoing[0], "ACCEPT"), (2, outgoing[1], "DECLINE")]
    )
    for number, checkout in [(3, bought[0]), (4, bought[1])]:
        response(checkout, transaction_id=f"{number}" * 22)
    return {
        "subscriptionagreement": agreements,
        "purchase": purchases,
        "outgoingtransaction": outgoing,
        "response": responses,
    }


def outgoing_of(row: Any) -> OutgoingTransaction:
    match row:
        case SubscriptionAgreement():
            return row.transactions.get()
        case Purchase():
            return row.transaction
        case Response():
            return row.outgoing
        case _:
            return row


@pytest.mark.parametrize(
    ("table", "term"),
    [
        *[
            (table, term)
            for table in TABLES
            for term in ("{reference}", "{uuid}", "{transaction_id}", "7", "Registrar 7")
        ],
        ("subscriptionagreement", "{reference.lower}"),
        ("subscriptionagreement", " {reference.last_nine} "),
        ("response", "{uuid.upper}"),
        ("outgoingtransaction", "{uuid.hex}"),
        ("purchase", "registrar-7"),
        ("response", "REGISTRAR7"),
    ],
)
def test_a_table_is_searched_by_what_people_have_at_hand(admin_client, rows, table, term):
    row, other = rows[table]
    outgoing = outgoing_of(row)
    reference, uuid = outgoing.reference_number, str(outgoing.transaction_uuid)
    values = {
        "{reference}": reference,
        "{reference.lower}": reference.lower(),
        " {reference.last_nine} ": f" {reference[6:]} ",
        "{uuid}": uuid,
        "{uuid.upper}": uuid.upper(),
        "{uuid.hex}": uuid.replace("-", ""),
        "{transaction_id}": outgoing.responses.get().transaction_id,
    }
    hits = found(admin_client, table, q=values.get(term, term))

    assert (row.pk in hits, other.pk in hits) == (True, False)


@pytest.mark.parametrize(
    ("table", "term"),
    [
        *[(table, "Individual 7") for table in TABLES],
        ("subscriptionagreement", "registrar-8"),
        ("subscriptionagreement", "no such thing"),
        ("purchase", "9" * 40),
        ("purchase", "\N{SUPERSCRIPT TWO}"),
        ("outgoingtransaction", "x'--"),
        ("response", "%"),
    ],
)
def test_a_search_for_anything_else_does_not_find_the_row(admin_client, rows, table, term):
    assert rows[table][0].pk not in found(admin_client, table, q=term)


@pytest.mark.parametrize("table", TABLES)
def test_part_of_a_reference_number_is_enough(admin_client, rows, table):
    first, last = (outgoing_of(row).reference_number for row in rows[table])

    assert rows[table][0].pk in found(admin_client, table, q=first[6:12])
    assert rows[table][1].pk in found(admin_client, table, q=last[-4:])


@pytest.mark.parametrize(
    ("table", "query", "which"),
    [
        ("subscriptionagreement", {"status__exact": "Hold"}, {1}),
        ("subscriptionagreement", {"customer_type__exact": "Registrar"}, {0}),
        ("subscriptionagreement", {"canceling": "no"}, {0, 1}),
        ("subscriptionagreement", {"canceling": "yes"}, set()),
        ("subscriptionagreement", {"canceling": "nonsense"}, {0, 1}),
        ("purchase", {"status__exact": "Paid", "acknowledged": "no"}, {1}),
        ("outgoingtransaction", {"customer_type": "Individual", "kind__exact": "update"}, {1}),
        ("response", {"customer_type": "Registrar", "decision": "ACCEPT"}, {0}),
        ("response", {"applied": "no", "decision": "DECLINE"}, {1}),
        ("response", {"applied": "yes"}, set()),
    ],
)
def test_a_table_is_filtered(admin_client, rows, table, query, which):
    hits = found(admin_client, table, **query)

    assert {index for index, row in enumerate(rows[table]) if row.pk in hits} == which


def test_a_requested_cancellation_is_found(admin_client):
    agreement = records.standing_agreement(cancellation_requested_at=timezone.now())
    records.standing_agreement(INDIVIDUAL)

    assert found(admin_client, "subscriptionagreement", canceling="yes") == {agreement.pk}


@pytest.mark.parametrize("table", TABLES)
def test_a_table_is_browsed_by_date(admin_client, rows, table):
    column = "received_at" if table == "response" else "created_at"

    def found_on(day: datetime) -> set[int]:
        return found(
            admin_client,
            table,
            **{
                f"{column}__year": str(day.year),
                f"{column}__month": str(day.month),
                f"{column}__day": str(day.day),
            },
        )

    row, _ = rows[table]
    made_at = getattr(row, column)
    assert row.pk in found_on(made_at)
    assert row.pk not in found_on(made_at - timedelta(days=1))


@pytest.mark.parametrize("table", TABLES)
def test_a_long_list_takes_few_statements(admin_client, rows, table, django_assert_max_num_queries):
    for pk in range(20, 30):
        agreement = records.standing_agreement(Customer(REGISTRAR.type, pk))
        response(records.outgoing(Kind.UPDATE, agreement))
        response(records.outgoing(Kind.PURCHASE, records.purchase(Customer(REGISTRAR.type, pk))))
    with django_assert_max_num_queries(10):
        assert len(found(admin_client, table)) >= 12


def test_a_list_does_not_read_the_sealed_responses(admin_client, rows):
    with CaptureQueriesContext(connection) as statements:
        assert found(admin_client, "response")

    assert [each["sql"] for each in statements if '"sealed"' in each["sql"]] == []


@pytest.mark.parametrize("table", TABLES)
def test_no_secret_is_on_any_page(admin_client, rows, table):
    row, _ = rows[table]
    listed = admin_client.get(f"/admin/perma_payments/{table}/")
    shown = admin_client.get(f"/admin/perma_payments/{table}/{row.pk}/change/")
    assert (listed.status_code, shown.status_code) == (200, 200)
    said = (listed.content + shown.content).decode()
    assert records.TOKEN not in said
    # The name of a kind of transaction is not a secret.
    said = said.lower().replace("update_payment_token", "").replace("_", " ")
    assert [secret for secret in SECRETS if secret in said] == []


@pytest.mark.parametrize("table", TABLES)
def test_even_a_superuser_can_write_nothing(admin_client, rows, table):
    row, _ = rows[table]
    path = f"/admin/perma_payments/{table}/{row.pk}"

    assert admin_client.get(f"/admin/perma_payments/{table}/add/").status_code == 403
    assert admin_client.post(f"{path}/change/", {"status": "Current"}).status_code == 403
    assert admin_client.post(f"{path}/delete/", {"post": "yes"}).status_code == 403
    page = BeautifulSoup(admin_client.get(f"{path}/change/").content, "html.parser")
    assert not page.select("#content input:not([type=hidden]), #content textarea, #content select")


def test_lists_name_customers_and_say_once_that_times_are_in_utc(admin_client, rows):
    said = words(admin_client.get("/admin/perma_payments/subscriptionagreement/"))

    assert " Registrar 7 Current $45.00 monthly " in said
    assert f" {rows['subscriptionagreement'][0].covered_until:%Y-%m-%d %H:%M} 100 " in said
    assert said.count("UTC") == 1


def test_a_list_is_named_after_its_table(admin_client):
    assert heading(admin_client.get("/admin/perma_payments/subscriptionagreement/")) == "Subscription agreements"


def test_a_filter_says_what_is_chosen(admin_client):
    def filters(query: str) -> list[str]:
        page = BeautifulSoup(admin_client.get(f"/admin/perma_payments/purchase/{query}").content, "html.parser")
        return [" ".join(each.get_text().split()) for each in page.select(".filters summary")]

    assert filters("") == ["By status", "By customer type", "By acknowledged by Perma.cc"]
    assert filters("?status__exact=Paid") == ["By status: Paid", "By customer type", "By acknowledged by Perma.cc"]


def test_times_have_one_format_everywhere(admin_client):
    agreement = records.standing_agreement(covered_until=datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC))
    said = words(admin_client.get(f"/admin/perma_payments/subscriptionagreement/{agreement.pk}/change/"))

    assert "2026-03-31 23:59:59" in said and "March" not in said


def test_an_unmatched_response_is_listed_and_shown(admin_client):
    unmatched = response(None, decision="<b>x</b>")

    listed = admin_client.get("/admin/perma_payments/response/")
    assert b"none of ours" in listed.content and b"<b>x" not in listed.content
    assert admin_client.get(f"/admin/perma_payments/response/{unmatched.pk}/change/").status_code == 200


def test_djangos_dates_and_times_have_labels(admin_client):
    user = User.objects.get()
    page = BeautifulSoup(admin_client.get(f"/admin/auth/user/{user.pk}/change/").content, "html.parser")

    fields = {each["name"]: each.find_parent("label") for each in page.select(".datetime input")}
    assert {name: label and label.get_text(strip=True) for name, label in fields.items()} == {
        "last_login_0": "Date:",
        "last_login_1": "Time:",
        "date_joined_0": "Date:",
        "date_joined_1": "Time:",
    }


@pytest.mark.parametrize(
    ("table", "query"),
    [
        ("subscriptionagreement", "status__exact=%00"),
        ("subscriptionagreement", "status__in=a%00b"),
        ("subscriptionagreement", "created_at__year=99999999999999999999"),
        ("subscriptionagreement", "created_at__year=0"),
        ("subscriptionagreement", "e=1&status__exact=%00"),
        ("subscriptionagreement", "nothing__exact=1"),
        ("subscriptionagreement", "q=%00"),
        ("subscriptionagreement", "p=99999999999999999999"),
        ("subscriptionagreement", "o=x"),
        ("purchase", "status__exact=%00"),
        ("purchase", "created_at__year=0"),
        ("outgoingtransaction", "kind__exact=%00"),
        ("outgoingtransaction", "created_at__year=0"),
        ("response", "outcome__exact=%00"),
        ("response", "received_at__year=0"),
        ("stafftask", "kind__exact=%00"),
        ("stafftask", "opened_at__year=0"),
        ("statusreport", "state__exact=%00"),
        ("statusreport", "uploaded_at__year=0"),
        ("checkoutfreeze", "began_at__year=0"),
    ],
)
def test_an_invalid_query_string_leads_to_a_page(admin_client, table, query):
    assert admin_client.get(f"/admin/perma_payments/{table}/?{query}", follow=True).status_code == 200
