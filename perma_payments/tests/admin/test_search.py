"""One search for everything: what a text names, and where the search page leads."""

from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from perma_payments.admin import search_page
from perma_payments.admin.search import Query, find, read_query
from perma_payments.billing.customers import Customer, CustomerType
from perma_payments.billing.transactions import Kind
from perma_payments.models import OutgoingTransaction, Purchase, Response, StaffTask, SubscriptionAgreement

from .. import records
from ..accounts import log_in
from ..pages import words
from ..records import INDIVIDUAL, REGISTRAR
from .test_records import response

REGISTRAR_8, INDIVIDUAL_12 = Customer(CustomerType.REGISTRAR, 8), Customer(CustomerType.INDIVIDUAL, 12)
UUID_TEXT = "0f8b7cf8-13c6-4db7-82e2-08b51f069dbe"
TRANSACTION_ID = "7408214003316000001111"


# --- What a text names --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "PERMA-1943-7227",
        "perma-1943-7227",
        "PERMA 1943-7227",
        "PERMA 1943 7227",
        "Perma1943 7227",
        "PERMA_1943_7227",
        "#PERMA-1943-7227",
        "# 1943-7227",
        "1943-7227",
        "1943 7227",
        "19437227",
        "1943.7227",
        " 1943 - 7227 ",
        "1943 7227.",
        "“PERMA-1943-7227”,",
        "(PERMA-1943-7227)",
        "perma-1943–7227",
        "PERMA—1943—7227",
        "PERMA−1943−7227",
        "PERMA‑1943‑7227",
        "PERMA\N{NO-BREAK SPACE}1943\N{NO-BREAK SPACE}7227",
        "PERMA-1943\N{NARROW NO-BREAK SPACE}7227",
        "PERMA-\N{ZERO WIDTH SPACE}1943-\N{SOFT HYPHEN}7227",
        "\ufeffPERMA-1943-7227\r\n",
        "Cancel a subscription in CyberSource: PERMA-1943-7227",
        "Reference number: PERMA-1943-7227 (Registrar 7)",
    ],
)
def test_a_reference_number_is_read_in_any_spelling(text):
    assert read_query(text).reference_number == "PERMA-1943-7227"


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("7227", "7227"),
        ("-7227", "7227"),
        ("#7227", "7227"),
        ("PERMA-1943", "1943"),
        ("perma 1943", "1943"),
        ("1943-72", "194372"),
        ("43–7227", "437227"),
        ("437 227", "437227"),
    ],
)
def test_part_of_a_reference_number_has_at_least_four_digits(text, digits):
    query = read_query(text)

    assert (query.digits, query.reference_number) == (digits, "")


@pytest.mark.parametrize("text", ["227", "PERMA-", "perma", "PERMA-194", "1943-72279"])
def test_anything_shorter_or_longer_is_no_part_of_one(text):
    query = read_query(text)

    assert (query.digits, query.reference_number) == ("", "")


@pytest.mark.parametrize(
    ("text", "customer"),
    [
        *(
            (text, REGISTRAR_8)
            for text in ("Registrar 8", "registrar-8", "REGISTRAR8", "Registrar #8", "Registrar: 8")
        ),
        *((text, REGISTRAR_8) for text in ("R8", "r 8", "R-8", "R#8", "reg. 8", "Reg 8", "Registrar–8", "R 008")),
        *(
            (text, INDIVIDUAL_12)
            for text in ("Individual 12", "Individual #12", "I12", "i 12", "ind. 12", "Ind-12")
        ),
        ("Registrar\N{NO-BREAK SPACE}8", REGISTRAR_8),
    ],
)
def test_a_customer_is_read_in_any_spelling(text, customer):
    assert read_query(text).customers == (customer,)


@pytest.mark.parametrize("text", ["8", "#8", " 8 ", "08", "customer 8", "Customer #8"])
def test_a_number_alone_may_be_of_either_type(text):
    assert set(read_query(text).customers) == {REGISTRAR_8, Customer(CustomerType.INDIVIDUAL, 8)}


@pytest.mark.parametrize(
    "text", ["Registrar 0", "R9223372036854775808", "Registrar", "Reg8istrar", "R8a", "²", "8 9"]
)
def test_what_can_be_no_customer_is_not_read_as_one(text):
    assert read_query(text).customers == ()


@pytest.mark.parametrize(
    "text", [UUID_TEXT, UUID_TEXT.upper(), UUID_TEXT.replace("-", ""), UUID_TEXT.replace("-", "–")]
)
def test_a_uuid_is_read_with_or_without_hyphens(text):
    assert read_query(text).uuid == UUID(UUID_TEXT)


@pytest.mark.parametrize(
    "text", [TRANSACTION_ID, f" {TRANSACTION_ID}\n", f"#{TRANSACTION_ID}", f"“{TRANSACTION_ID}”"]
)
def test_a_transaction_id_is_read(text):
    assert read_query(text).code == TRANSACTION_ID


@pytest.mark.parametrize("text", ["7227", "19437227"])
def test_a_number_may_be_several_things(text):
    query = read_query(text)

    assert query.customers and query.code and (query.digits or query.reference_number)


@pytest.mark.parametrize(
    "text",
    ["", " ", "Jane Doe", "O'Neil", "jane@example.org", "jane7@example.org", "12 Main Street", "\0", "PERMA", "–"],
)
def test_names_and_addresses_are_not_looked_up(text):
    assert read_query(text) == Query()


# --- The search page ----------------------------------------------------------------------------------


def paid(checkout: OutgoingTransaction | None) -> Response:
    """CyberSource's response to a checkout, or one that matches none."""
    unmatched = {"transaction_uuid": UUID_TEXT.upper(), "reference_number": "DONATION-77"}
    return response(checkout, transaction_id=TRANSACTION_ID, **({} if checkout else unmatched))


def leads_to(client: Client, text: str) -> str:
    """Where the search page leads at once."""
    page = client.get("/admin/search/", {"q": text})
    assert page.status_code == 302, words(page)
    return page["Location"]


def groups(client: Client, text: str) -> dict[str, list[str]]:
    """What the search page lists."""
    page = client.get("/admin/search/", {"q": text})
    assert page.status_code == 200
    return {group.title: [hit.text for hit in group.hits] for group in page.context["groups"]}


@pytest.mark.django_db
@pytest.mark.parametrize("make", [records.agreement, records.standing_agreement, records.purchase])
def test_a_reference_number_leads_to_its_place_on_the_customers_page(admin_client, make):
    row = make(REGISTRAR_8, reference_number="PERMA-1943-7227")
    checkout = records.outgoing(Kind.PURCHASE if make == records.purchase else Kind.UPDATE, row)
    StaffTask.objects.create(kind="unmatched", response=paid(checkout))

    for text in ("1943 7227", "7227", "PERMA-1943", "1943-72", "43 7227"):
        assert leads_to(admin_client, text) == "/admin/customer/Registrar/8/#PERMA-1943-7227"


@pytest.mark.django_db
def test_a_customer_leads_to_the_customers_page(admin_client):
    records.standing_agreement(REGISTRAR_8)
    records.purchase(REGISTRAR_8)

    assert {leads_to(admin_client, text) for text in ("R8", "Registrar #8", "8")} == {
        "/admin/customer/Registrar/8/"
    }
    assert leads_to(admin_client, "Individual 8") == "/admin/customer/Individual/8/"


@pytest.mark.django_db
def test_a_number_of_two_customers_lists_both(admin_client):
    records.standing_agreement(REGISTRAR)
    records.purchase(INDIVIDUAL)

    assert groups(admin_client, "7") == {"Customers": ["Registrar 7", "Individual 7"]}


@pytest.mark.django_db
def test_an_id_of_a_payment_leads_to_its_record(admin_client):
    checkout = records.outgoing(Kind.SUBSCRIBE)
    found = paid(checkout)
    base = "/admin/perma_payments"

    assert leads_to(admin_client, TRANSACTION_ID) == f"{base}/response/{found.pk}/change/"
    uuid = str(checkout.transaction_uuid)
    assert leads_to(admin_client, uuid.upper()) == f"{base}/outgoingtransaction/{checkout.pk}/change/"


@pytest.mark.django_db
@pytest.mark.parametrize("text", [TRANSACTION_ID, UUID_TEXT, "DONATION-77"])
def test_a_response_that_matches_nothing_is_found(admin_client, text):
    unmatched = paid(None)

    assert leads_to(admin_client, text) == f"/admin/perma_payments/response/{unmatched.pk}/change/"


@pytest.mark.django_db
def test_several_hits_are_grouped_with_their_open_tasks(admin_client):
    one = records.standing_agreement(REGISTRAR_8, reference_number="PERMA-7227-0001")
    records.purchase(REGISTRAR_8, reference_number="PERMA-0002-7227")
    records.purchase(INDIVIDUAL_12, reference_number="PERMA-1722-7000")
    records.agreement(Customer(CustomerType.INDIVIDUAL, 7227), reference_number="PERMA-0003-0000")
    StaffTask.objects.create(kind="cancellation", agreement=one)
    StaffTask.objects.create(kind="token missing", agreement=one, done_at=timezone.now(), resolution="done")

    assert groups(admin_client, "7227") == {
        "Customers": ["Individual 7227"],
        "Subscription agreements": ["PERMA-7227-0001"],
        "Purchases": ["PERMA-0002-7227"],
        "Open tasks": ["Cancel a subscription in CyberSource"],
    }


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["Jane Doe", "jane@example.org", "PERMA-0000-0000", "<b>x</b>", "\0", "9" * 300])
def test_what_is_not_found_is_answered_with_what_can_be(admin_client, text):
    page = admin_client.get("/admin/search/", {"q": text})

    said = words(page)
    assert page.status_code == 200
    assert "Nothing was found" in said and "Names, addresses and email addresses are not kept here." in said
    assert b"<b>x" not in page.content


@pytest.mark.django_db
def test_the_page_says_where_names_are_kept(admin_client, settings):
    settings.CS_MODE = "test"
    settings.PERMA_REGISTRAR_ADMIN_URL = "https://perma.test/admin/registrar/{pk}/change/"
    page = admin_client.get("/admin/search/").content.decode()

    assert 'href="https://perma.test/admin/registrar/"' in page
    assert 'href="https://businesscentertest.cybersource.com"' in page
    assert "Nothing was found" not in page


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["search/", "customer/Registrar/7/", "perma_payments/purchase/", ""])
def test_the_box_is_once_on_every_page(admin_client, path):
    page = admin_client.get(f"/admin/{path}").content.decode()

    assert page.count('id="search-everything"') == 1


@pytest.mark.django_db
def test_only_what_a_user_may_view_is_found(client):
    log_in(client, "view_purchase")
    records.standing_agreement(REGISTRAR_8, reference_number="PERMA-1943-7227")
    bought = records.purchase(INDIVIDUAL_12, reference_number="PERMA-1943-0000")
    paid(records.outgoing(Kind.PURCHASE, bought))

    assert groups(client, "PERMA-1943-7227") == groups(client, "8") == groups(client, TRANSACTION_ID) == {}
    assert leads_to(client, "1943") == "/admin/customer/Individual/12/#PERMA-1943-0000"


@pytest.mark.django_db
def test_a_response_is_found_without_permission_to_view_its_checkout(client):
    log_in(client, "view_response")
    found = paid(records.outgoing(Kind.SUBSCRIBE, records.agreement(reference_number="PERMA-1943-7227")))

    for text in ("1943 7227", TRANSACTION_ID):
        assert leads_to(client, text) == f"/admin/perma_payments/response/{found.pk}/change/"


@pytest.mark.django_db
def test_the_box_is_only_for_users_who_may_search(client):
    log_in(client)

    assert b"search-everything" not in client.get("/admin/").content
    assert client.get("/admin/search/").status_code == 403


# --- Speed --------------------------------------------------------------------------------------------

MANY = 3000


@pytest.fixture
def many_rows() -> None:
    """Enough rows of each table for PostgreSQL to prefer an index, if there is one."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH agreement AS (
                INSERT INTO perma_payments_subscriptionagreement
                    (customer_type, customer_pk, status, reference_number, payment_token, coverage_proof,
                     created_at, updated_at)
                SELECT 'Registrar', n, 'Pending', 'PERMA-5000-' || lpad(n::text, 4, '0'), '', '', now(), now()
                FROM generate_series(1, %(many)s) n RETURNING id
            ), purchase AS (
                INSERT INTO perma_payments_purchase
                    (customer_type, customer_pk, status, reference_number, amount, link_quantity,
                     created_at, updated_at)
                SELECT 'Individual', n, 'Pending', 'PERMA-6000-' || lpad(n::text, 4, '0'), 10, 1, now(), now()
                FROM generate_series(1, %(many)s) n RETURNING id
            ), checkout AS (
                INSERT INTO perma_payments_outgoingtransaction
                    (kind, transaction_uuid, transaction_type, agreement_id, message_nonce, created_at)
                SELECT 'update', gen_random_uuid(), 'x', id, sha224(id::text::bytea), now() FROM agreement
                RETURNING id, transaction_uuid
            ), response AS (
                INSERT INTO perma_payments_response
                    (fingerprint, outgoing_id, transaction_uuid, transaction_id, decision, reason_code, message,
                     transaction_type, reference_number, amount, currency, auth_amount, payment_token,
                     brought_token, token_is_unusable, is_ambiguous, signed_at, sealed, archive_key_id,
                     received_at, failure, outcome)
                SELECT sha256(id::text::bytea), id, transaction_uuid, 740000 + id, 'ACCEPT', '', '', 'x',
                       'PERMA-5000-' || id, '', '', '', '', false, false, false, now(), 'x', 'k', now(), '', ''
                FROM checkout RETURNING id
            )
            INSERT INTO perma_payments_stafftask
                (kind, response_id, opened_at, note, resolution, done_at)
            SELECT 'unmatched', id, now(), '', 'done', now() FROM response
            """,
            {"many": MANY},
        )
        cursor.execute("ANALYZE")


@pytest.mark.django_db
def test_what_names_one_thing_is_found_by_an_index(admin_client, many_rows):
    with CaptureQueriesContext(connection) as statements:
        for text in ("PERMA-5000-0007", "19437227", "Registrar 7", "7", TRANSACTION_ID, UUID_TEXT, str(uuid4())):
            assert admin_client.get("/admin/search/", {"q": text}).status_code in (200, 302)
            for model in (SubscriptionAgreement, Purchase, OutgoingTransaction, Response, StaffTask):
                list(find(model._default_manager.all(), text))
        assert admin_client.get("/admin/customer/Registrar/7/").status_code == 200

    read = [each["sql"] for each in statements if "perma_payments_" in each["sql"]]
    assert len(read) > 50
    with connection.cursor() as cursor:
        for statement in read:
            cursor.execute(f"EXPLAIN {statement}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "Seq Scan on perma_payments_" not in plan, f"{statement}\n{plan}"


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["PERMA-5000-0007", "Registrar 7", "7227", TRANSACTION_ID, UUID_TEXT])
def test_a_search_takes_few_statements(admin_client, text, django_assert_max_num_queries):
    for number in range(30):
        row = records.standing_agreement(REGISTRAR, reference_number=f"PERMA-{number:04}-7227")
        StaffTask.objects.create(kind="cancellation", agreement=row)
        paid(records.outgoing(Kind.UPDATE, row))
        paid(None)

    with django_assert_max_num_queries(16):
        admin_client.get("/admin/search/", {"q": text})


@pytest.mark.django_db
def test_many_hits_are_cut_short_with_a_link_to_all(admin_client, monkeypatch):
    monkeypatch.setattr(search_page, "SHOWN", 2)
    for number in range(3):
        records.purchase(reference_number=f"PERMA-000{number}-7227")
    page = admin_client.get("/admin/search/", {"q": "7227"})

    (group,) = page.context["groups"]
    assert len(group.hits) == 2
    assert f'href="{group.list_url}"' in page.content.decode()
    assert len(admin_client.get(group.list_url).context["cl"].result_list) == 3


@pytest.mark.django_db
@pytest.mark.parametrize("digits", ["17227", "21-7227", "321 7227"])
def test_more_than_the_last_four_digits_find_only_numbers_that_end_with_all_of_them(admin_client, digits):
    rows = [records.agreement(reference_number=f"PERMA-{first}-7227") for first in ("4321", "4322")]
    page = admin_client.get("/admin/search/", {"q": digits})

    assert page.status_code == 302 and rows[0].reference_number in page["Location"]
