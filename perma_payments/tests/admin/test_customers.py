"""A customer's page: all that staff need while the customer is on the phone."""

import json
from datetime import timedelta

import pytest
from bs4 import BeautifulSoup
from django.utils import timezone

from perma_payments.admin import customers
from perma_payments.billing.transactions import Kind
from perma_payments.models import StaffTask

from .. import perma_cc, records
from ..accounts import log_in
from ..pages import heading, words
from ..records import INDIVIDUAL

pytestmark = pytest.mark.django_db

PAGE = "/admin/customer/Registrar/7/"


def order_of(page, *texts):
    """The texts in the order in which the page has them."""
    said = page.content.decode()
    return sorted(texts, key=said.index)


def test_subscriptions_and_purchases_are_listed_newest_first(admin_client):
    now = timezone.now()
    old = records.agreement(status="Aborted", created_at=now - timedelta(days=9))
    new = records.standing_agreement(created_at=now)
    first, second = records.paid_purchase(created_at=now - timedelta(days=2)), records.purchase()
    others = records.standing_agreement(INDIVIDUAL), records.paid_purchase(INDIVIDUAL)
    page = admin_client.get(PAGE)

    assert heading(page) == "Registrar 7"
    listed = [f'id="{row.reference_number}"' for row in (new, old, second, first)]
    assert order_of(page, *listed) == listed
    assert "$45.00 monthly, link limit 100" in words(page) and "10 for $15.00" in words(page)
    assert not any(other.reference_number in words(page) for other in others)


def test_each_record_links_to_its_own_page(admin_client):
    row, bought = records.standing_agreement(), records.purchase()
    page = admin_client.get(PAGE).content.decode()

    assert f"/admin/perma_payments/subscriptionagreement/{row.pk}/change/" in page
    assert f"/admin/perma_payments/purchase/{bought.pk}/change/" in page


def test_payments_that_are_not_known_lead_to_recording_them(admin_client):
    lost, others = records.outgoing(Kind.PURCHASE), records.outgoing(Kind.PURCHASE, records.purchase(INDIVIDUAL))
    page = admin_client.get(PAGE)

    assert f"Purchase {lost.reference_number}, $15.00, begun on" in words(page)
    assert f"/admin/perma_payments/outgoingtransaction/{lost.pk}/correct/" in page.content.decode()
    assert others.reference_number not in words(page)


def test_open_tasks_are_listed_oldest_first_and_ended_ones_are_not(admin_client):
    now = timezone.now()
    row, bought = records.standing_agreement(), records.purchase()
    StaffTask.objects.create(kind="duplicate charge", purchase=bought)
    StaffTask.objects.create(kind="cancellation", agreement=row, opened_at=now - timedelta(days=3))
    StaffTask.objects.create(kind="token missing", agreement=row, done_at=now, resolution="done")
    StaffTask.objects.create(kind="no longer stands", agreement=records.standing_agreement(INDIVIDUAL))
    page = admin_client.get(PAGE)

    assert [task.kind for task, _ in page.context["tasks"]] == ["cancellation", "duplicate charge"]
    assert f"{row.reference_number}, open for 3 days" in words(page)


def test_the_reply_is_the_one_that_perma_gets(admin_client, post):
    records.standing_agreement(cancellation_requested_at=timezone.now())
    bought = records.paid_purchase()
    records.paid_purchase()
    page = admin_client.get(PAGE)
    shown = json.loads(BeautifulSoup(page.content, "html.parser").find("pre").get_text())
    sent = perma_cc.open_reply(post("subscription").json())

    assert {**shown, "timestamp": None} == {**sent, "timestamp": None}
    assert shown["subscription"]["status"] == "Cancellation Requested"
    assert f"10 links to be credited (purchase {bought.pk})" in words(page)


def test_a_customer_without_anything_standing_is_shown_as_perma_sees_them(admin_client):
    records.agreement()

    said = words(admin_client.get(PAGE))
    assert "This customer has no subscription." in said and '"subscription": null' in said
    assert "never heard" not in said


def test_the_page_leads_to_perma_and_to_the_business_center(admin_client, settings):
    settings.CS_MODE = "live"
    settings.PERMA_REGISTRAR_ADMIN_URL = "https://perma.test/registrar/{pk}/change/"
    records.agreement()
    page = admin_client.get(PAGE).content.decode()

    assert 'href="https://perma.test/registrar/7/change/"' in page
    assert 'href="https://businesscenter.cybersource.com"' in page


def test_a_customer_that_was_never_seen_is_said_to_be(admin_client):
    records.standing_agreement(INDIVIDUAL)

    said = words(admin_client.get(PAGE))
    assert "We have never heard of Registrar 7" in said and "Business Center" not in said


@pytest.mark.parametrize(
    "path",
    [
        *(f"Registrar/{pk}" for pk in ("0", "-1", "x", "1.5", "9223372036854775808", "9" * 50, "²", "٣", "%00")),
        *("registrar/7", "Court/7", "Individuals/7"),
    ],
)
def test_a_customer_that_there_cannot_be_gets_a_page_in_words(admin_client, path):
    page = admin_client.get(f"/admin/customer/{path}/")

    assert (page.status_code, heading(page)) == (404, "There is no such customer")
    assert "search-everything" in page.content.decode()


def test_the_largest_id_is_a_customer(admin_client):
    assert admin_client.get("/admin/customer/Individual/9223372036854775807/").status_code == 200


@pytest.mark.parametrize(
    ("permission", "visible"),
    [
        ("view_subscriptionagreement", {"subscriptions"}),
        ("view_purchase", {"purchases"}),
        ("view_stafftask", {"tasks"}),
        ("view_response", set()),
    ],
)
def test_each_part_is_for_those_who_may_view_it(client, permission, visible):
    log_in(client, permission)
    StaffTask.objects.create(kind="cancellation", agreement=records.standing_agreement())
    records.paid_purchase()
    page = BeautifulSoup(client.get(PAGE).content, "html.parser")

    assert {section["aria-labelledby"] for section in page.find_all("section")} == visible


def test_users_who_may_view_nothing_are_refused(client):
    log_in(client, "view_statusreport")

    assert client.get(PAGE).status_code == 403


def test_a_customer_with_many_purchases_has_a_link_to_all_of_them(admin_client, monkeypatch):
    monkeypatch.setattr(customers, "PURCHASES_SHOWN", 2)
    rows = [records.purchase() for _ in range(3)]
    page = admin_client.get(PAGE)

    assert [each.pk for each in page.context["purchases"]] == [rows[2].pk, rows[1].pk]
    listed = admin_client.get("/admin/perma_payments/purchase/", {"q": "Registrar 7"})
    assert 'href="/admin/perma_payments/purchase/?q=Registrar%207"' in page.content.decode()
    assert {row.pk for row in listed.context["cl"].result_list} == {row.pk for row in rows}


def test_a_customer_with_many_subscriptions_has_the_latest_and_all_that_stand(admin_client, monkeypatch):
    monkeypatch.setattr(customers, "SUBSCRIPTIONS_SHOWN", 2)
    now = timezone.now()
    standing, _, *latest = (
        make(created_at=now - timedelta(days=days))
        for make, days in (
            (records.standing_agreement, 9),
            (records.agreement, 8),
            (records.agreement, 7),
            (records.standing_agreement, 6),
        )
    )
    page = admin_client.get(PAGE)

    shown = [agreement.pk for agreement, _ in page.context["subscriptions"]]
    assert shown == [latest[1].pk, latest[0].pk, standing.pk]
    listed = admin_client.get("/admin/perma_payments/subscriptionagreement/", {"q": "Registrar 7"})
    assert 'href="/admin/perma_payments/subscriptionagreement/?q=Registrar%207"' in page.content.decode()
    assert listed.context["cl"].result_count == 4


def test_no_secret_is_on_the_page(admin_client):
    records.standing_agreement()

    assert records.TOKEN not in admin_client.get(PAGE).content.decode()


def test_the_page_takes_few_statements_however_much_there_is(admin_client, django_assert_max_num_queries):
    for _ in range(20):
        StaffTask.objects.create(kind="cancellation", agreement=records.standing_agreement())
        StaffTask.objects.create(kind="duplicate charge", purchase=records.paid_purchase())

    with django_assert_max_num_queries(10):
        assert admin_client.get(PAGE).status_code == 200


@pytest.mark.parametrize("table", ["subscriptionagreement", "purchase", "outgoingtransaction", "stafftask"])
def test_records_link_to_their_customer(admin_client, table):
    row = records.standing_agreement()
    bought = records.outgoing(Kind.PURCHASE).purchase
    checkout = records.outgoing(Kind.UPDATE, row)
    task = StaffTask.objects.create(kind="cancellation", agreement=row)
    pks = {
        "subscriptionagreement": row.pk,
        "purchase": bought.pk,
        "outgoingtransaction": checkout.pk,
        "stafftask": task.pk,
    }
    page = admin_client.get(f"/admin/perma_payments/{table}/{pks[table]}/change/").content.decode()

    assert f'href="{PAGE}"' in page


def test_lists_link_to_customers(admin_client):
    records.standing_agreement()

    listed = admin_client.get("/admin/perma_payments/subscriptionagreement/").content.decode()
    assert f'<a href="{PAGE}">Registrar 7</a>' in listed
