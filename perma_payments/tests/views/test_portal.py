"""The portal: opened by a message, carried by tokens, with actions that count once and cannot be forged."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from bs4 import Tag
from django.conf import settings as ours
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from perma_payments.billing.transactions import Kind
from perma_payments.models import OutgoingTransaction, StaffTask, SubscriptionAgreement
from perma_payments.services import staff_tasks
from perma_payments.services.cancellation import request_cancellation
from perma_payments.views import tokens
from perma_payments.views.tokens import LIFETIME, Purpose

from .. import cyber_source, perma_cc, records
from ..conftest import FORM
from ..pages import heading, soup
from ..records import INDIVIDUAL, REGISTRAR
from . import traces
from .conftest import assert_is_page_for_a_person

pytestmark = pytest.mark.django_db

ACTIONS = {"update-card/": Purpose.UPDATE_CARD, "cancel/confirm/": Purpose.CANCEL, "keep/": Purpose.KEEP}
every_action = pytest.mark.parametrize("action", ACTIONS)
PAGES = ["", "cancel/", "receipt/"]


@pytest.fixture(autouse=True)
def _page(settings):
    settings.UPDATE_LEADS_TO = "page"


@pytest.fixture
def agreement() -> SubscriptionAgreement:
    return records.standing_agreement()


def token(purpose: Purpose = Purpose.MANAGE, customer: Any = REGISTRAR, *, age: timedelta = timedelta()) -> str:
    return tokens.begin(customer, purpose, now=timezone.now() - age)


def see(client: Client, text: str | None = None, page: str = "", **query: str) -> HttpResponse:
    """Open a page of the portal."""
    return client.get(f"/portal/{page}", {"token": token() if text is None else text, **query})


def found(response: HttpResponse, selector: str) -> Tag:
    tag = soup(response).select_one(selector)
    assert tag is not None, selector
    return tag


def press(client: Client, response: HttpResponse, selector: str) -> HttpResponse:
    """Send a form of a page as a browser does; the answer."""
    form = found(response, selector)
    fields = {field["name"]: field["value"] for field in form.select("input[name]")}
    return client.post(str(form["action"]), urlencode(fields), content_type=FORM)


def act(client: Client, action: str, text: str, **other: str) -> HttpResponse:
    """Do something with a token, on a page that allows it."""
    csrf_token = "a" * 32
    client.cookies["csrftoken"] = csrf_token
    fields = {"token": text, "csrfmiddlewaretoken": csrf_token, **other}
    return client.post(f"/portal/{action}", urlencode(fields), content_type=FORM)


def follow(client: Client, response: HttpResponse) -> HttpResponse:
    assert response.status_code == 303
    return client.get(response["Location"])


# --- The way in -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("route", "purpose"), [("update", "manage"), ("billing", "billing")])
def test_a_message_leads_to_the_portal_with_a_token(client, post, route, purpose):
    response = post(route)

    address = urlsplit(response["Location"])
    assert (response.status_code, address.netloc, address.path) == (303, "", "/portal/")
    (text,) = parse_qs(address.query)["token"]
    read = tokens.read(text, Purpose(purpose), now=timezone.now())
    assert dict(zip(("customer_type", "customer_pk"), read.customer, strict=True)) == {
        name: value for name, value in perma_cc.fields(route).items() if name.startswith("customer")
    }
    assert follow(client, response).status_code == 200


def test_where_update_leads_is_a_setting(client, post, settings, agreement):
    settings.UPDATE_LEADS_TO = "card"

    response = post("update")
    assert (response.status_code, heading(response)) == (200, "Update your card")


def test_opening_it_begins_nothing_however_often(client, agreement):
    message = urlencode(perma_cc.form("update"))
    before = traces.rows()
    for _ in range(3):
        response = client.post("/update/", message, content_type=FORM)
        assert follow(client, response).status_code == 200

    assert traces.rows() == before


def test_a_message_that_has_opened_it_is_not_used_up(client, agreement):
    message = urlencode(perma_cc.form("update"))
    page = follow(client, client.post("/update/", message, content_type=FORM))
    press(client, page, "form.card")

    assert follow(client, client.post("/update/", message, content_type=FORM)).status_code == 200


@pytest.mark.parametrize("page", PAGES)
def test_no_page_is_kept_or_told_to_other_sites(client, agreement, page):
    response = see(client, page=page)

    assert response["Cache-Control"] == "no-store"
    assert response["Referrer-Policy"] == "same-origin"
    assert "sessionid" not in response.cookies


# --- What is shown ----------------------------------------------------------------------------------


def facts(response: HttpResponse) -> dict[str, str]:
    return {
        row.find("dt").get_text(" ", strip=True): row.find("dd").get_text(" ", strip=True)
        for row in soup(response).select("dl.facts div")
    }


def test_the_subscription_is_shown_in_plain_words(client):
    records.standing_agreement(
        reference_number="PERMA-1234-5678",
        schedule_start=datetime(2099, 12, 13),
        current_rate=Decimal("1250.00"),
        current_link_limit="1000",
    )

    response = see(client)
    assert heading(response) == "Your subscription"
    assert facts(response) == {
        "Plan": "1,000 links a month",
        "Price": "$1,250.00 a month",
        "Paid through": "Dec 13, 2099",
        "Reference number": "PERMA-1234-5678",
    }
    assert_is_page_for_a_person(response)


@pytest.mark.parametrize(
    ("columns", "status", "said"),
    [
        ({}, "Current", "Your subscription is active."),
        ({"status": "Hold"}, "Hold", "the last charge didn't go through"),
        (
            {"status": "Canceled"},
            "Canceled",
            "Your subscription has been canceled. You keep 100 links a month until",
        ),
        ({"cancellation_requested_at": timezone.now()}, "Cancellation Requested", "being canceled"),
        ({"cancellation_requested_at": timezone.now()}, "Cancellation Requested", "it can't be continued"),
        ({"status": "Pending", "covered_until": None, "coverage_proof": ""}, "Pending", "we haven't heard yet"),
        ({"status": "Rejected"}, "none", "You don't have a Perma.cc subscription right now"),
    ],
)
def test_each_status_is_said_in_words(client, columns, status, said):
    records.standing_agreement(**columns)

    response = see(client)
    section = found(response, "#subscription")
    assert section["data-status"] == status
    assert said in " ".join(section.get_text(" ", strip=True).split())


def test_a_scheduled_downgrade_is_shown_beside_the_plan_in_force(client):
    records.standing_agreement(
        scheduled_rate=Decimal("10.00"),
        scheduled_link_limit="10",
        scheduled_from=datetime(2099, 12, 13, tzinfo=UTC),
    )

    shown = facts(see(client))
    assert (shown["Plan"], shown["Price"]) == ("100 links a month", "$45.00 a month")
    assert shown["Starting Dec 13, 2099"] == "10 links a month, $10.00 a month"


def test_someone_who_has_never_paid_is_told_so_in_plain_words(client, post):
    response = follow(client, post("billing"))

    assert heading(response) == "Payments and receipts"
    assert "You haven't paid for anything on Perma.cc yet." in soup(response).get_text(" ", strip=True)
    assert_is_page_for_a_person(response)


def test_nothing_can_be_done_on_the_page_of_payments(client):
    records.standing_agreement(INDIVIDUAL)

    response = see(client, token(Purpose.BILLING, INDIVIDUAL))
    assert facts(response)["Plan"] == "100 links a month"
    assert soup(response).select("form, .cancel") == []
    assert "csrftoken" not in response.cookies


def test_a_pages_links_and_forms_are_of_its_own_customer(client, agreement):
    other = records.standing_agreement(INDIVIDUAL)

    assert other.reference_number not in see(client).content.decode()


# --- Payments and receipts --------------------------------------------------------------------------


@pytest.fixture
def payment(call_back) -> OutgoingTransaction:
    outgoing = records.outgoing(Kind.PURCHASE, records.purchase(INDIVIDUAL))
    call_back(records.form(outgoing), transaction_id="7000000000000000000001")
    return outgoing


def test_a_payment_is_listed_with_its_receipt(client, payment):
    page = see(client, token(Purpose.BILLING, INDIVIDUAL))

    (row,) = soup(page).select("#payments tbody tr")
    assert row["data-reference"] == payment.reference_number
    today = f"{timezone.now():%b} {timezone.now().day}, {timezone.now().year}"
    assert [cell.get_text(strip=True) for cell in row.find_all("td")] == [
        today,
        "10 bonus links",
        "$15.00",
        payment.reference_number,
        "Receipt",
    ]
    receipt = client.get("/portal/" + str(row.find("a")["href"]).removeprefix("/portal/"))
    assert heading(receipt) == "Receipt"
    assert facts(receipt) == {
        "Paid to": "Perma.cc",
        "Paid by": "Individual 7, by card",
        "Date": today,
        "For": "10 bonus links",
        "Amount": "$15.00 USD",
        "Reference number": payment.reference_number,
        "CyberSource's number": "7000000000000000000001",
    }
    assert cyber_source.personal_data_in([receipt.content.decode()]) == []


@pytest.mark.parametrize(
    "kind, words",
    [
        (Kind.SUBSCRIBE, "Subscription, first payment: 100 links a month"),
        (Kind.CHANGE, "Change of plan: 500 links a month"),
    ],
)
def test_a_payment_says_what_it_was_for(client, call_back, kind, words):
    call_back(records.form(records.outgoing(kind)))

    assert found(see(client), "#payments td:nth-child(2)").get_text(strip=True) == words


def test_a_payment_under_review_has_no_receipt(client, call_back):
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    call_back(records.form(outgoing), "REVIEW")

    assert "Under review" in found(see(client), "#payments").get_text()
    assert see(client, page="receipt/", payment=str(outgoing.transaction_uuid)).status_code == 404


@pytest.mark.parametrize("wanted", ["", "x", "\x00", "2f1c7c52-7a54-4a2f-9a0e-0f6f2f6b1c01"])
def test_there_is_no_receipt_for_what_is_no_payment(client, payment, wanted):
    response = see(client, token(Purpose.BILLING, INDIVIDUAL), "receipt/", payment=wanted)

    assert response.status_code == 404
    assert_is_page_for_a_person(response)


# --- Updating the card ------------------------------------------------------------------------------


def test_updating_the_card_leads_to_cybersource(client, agreement):
    response = press(client, see(client), "form.card")

    assert (response.status_code, heading(response)) == (200, "Update your card")
    outgoing = OutgoingTransaction.objects.get()
    assert (outgoing.kind, outgoing.agreement) == ("update", agreement)
    assert found(response, "[name=transaction_uuid]")["value"] == str(outgoing.transaction_uuid)
    names = {field["name"] for field in soup(response).select("form [name]")}
    assert not names & {"csrfmiddlewaretoken", "token"}


def test_a_second_click_leads_to_the_same_checkout(client, agreement):
    page = see(client)
    for _ in range(2):
        assert press(client, page, "form.card").status_code == 200

    assert OutgoingTransaction.objects.count() == 1


def test_the_page_that_is_opened_again_leads_to_another_checkout(client, agreement, call_back):
    press(client, see(client), "form.card")
    call_back(records.form(OutgoingTransaction.objects.get()), "DECLINE")

    assert press(client, see(client), "form.card").status_code == 200
    assert OutgoingTransaction.objects.count() == 2


def test_a_button_that_was_used_and_answered_starts_nothing_and_leads_back(client, agreement, call_back):
    page = see(client)
    press(client, page, "form.card")
    call_back(records.form(OutgoingTransaction.objects.get()))
    before = traces.rows()

    response = press(client, page, "form.card")
    assert (response.status_code, heading(response)) == (400, "You have already used this button")
    assert client.get(str(found(response, "a.button")["href"])).status_code == 200
    assert traces.rows() == before


# --- Canceling --------------------------------------------------------------------------------------


def test_canceling_is_confirmed_first(client):
    records.standing_agreement(schedule_start=datetime(2099, 12, 13))
    page = client.get(str(found(see(client), "a.cancel")["href"]))

    assert heading(page) == "Cancel your subscription?"
    said = " ".join(soup(page).get_text(" ", strip=True).split())
    assert "You keep 100 links a month until Dec 13, 2099. That is what you have paid for." in said
    assert not StaffTask.objects.exists()
    assert_is_page_for_a_person_but_without_perma(page)


def assert_is_page_for_a_person_but_without_perma(page: HttpResponse) -> None:
    """The way back is to the portal."""
    assert f"mailto:{ours.CONTACT_EMAIL}" in [link["href"] for link in soup(page).find_all("a")]
    assert any(str(link["href"]).startswith("/portal/?token=") for link in soup(page).find_all("a"))


def cancel(client: Client) -> HttpResponse:
    page = client.get(str(found(see(client), "a.cancel")["href"]))
    return follow(client, press(client, page, "form.cancel"))


def test_a_confirmed_cancellation_is_one_task_and_shown(client, agreement):
    page = cancel(client)

    assert found(page, ".notice").get_text(strip=True) == "We have received your request to cancel."
    assert found(page, "#subscription")["data-status"] == "Cancellation Requested"
    task = StaffTask.objects.get()
    assert (task.kind, task.agreement, task.done_at) == ("cancellation", agreement, None)


def test_a_second_click_cancels_once(client, agreement):
    page = client.get(str(found(see(client), "a.cancel")["href"]))
    for _ in range(2):
        follow(client, press(client, page, "form.cancel"))

    assert StaffTask.objects.count() == 1


def test_both_ways_to_cancel_are_one_task(client, post, agreement):
    cancel(client)
    post("cancel-request")

    assert StaffTask.objects.count() == 1


def test_what_is_being_canceled_is_not_asked_to_be_confirmed_again(client, agreement):
    cancel(client)

    assert found(follow(client, see(client, page="cancel/")), "form.keep")


def test_taking_it_back_withdraws_the_task(client, agreement):
    page = follow(client, press(client, cancel(client), "form.keep"))

    assert "Your subscription continues." in found(page, ".notice").get_text()
    assert found(page, "#subscription")["data-status"] == "Current"
    task = StaffTask.objects.get()
    assert (task.resolution, task.done_by) == ("taken back", None)
    agreement.refresh_from_db()
    assert agreement.cancellation_requested_at is None


def test_it_is_too_late_once_staff_have_canceled(client, agreement):
    page = cancel(client)
    staff_tasks.finish(StaffTask.objects.get().pk, by=User.objects.create(), note="Done.", now=timezone.now())
    before = traces.rows()

    response = press(client, page, "form.keep")
    assert heading(response) == "Your subscription has already been canceled"
    assert "start a new subscription" in " ".join(soup(response).get_text(" ").split())
    assert_is_page_for_a_person(response)
    assert traces.rows() == before
    assert soup(see(client)).select("form.keep") == []


def test_the_way_back_says_that_something_was_done(client, agreement):
    assert found(see(client), "a.back")["href"] == ours.PERMA_RETURN_PAGE
    assert found(cancel(client), "a.back")["href"] == f"{ours.PERMA_RETURN_PAGE}?update=success"


def test_a_notice_is_shown_only_if_it_is_true(client, agreement):
    for done in ("cancel", "x"):
        page = see(client, done=done)
        assert soup(page).select(".notice") == []
        assert found(page, "a.back")["href"] == ours.PERMA_RETURN_PAGE


# --- Tokens that are not good -----------------------------------------------------------------------


BAD_TOKENS = {
    "none": lambda purpose: "",
    "old": lambda purpose: token(purpose, age=LIFETIME + timedelta(seconds=1)),
    "cut": lambda purpose: token(purpose)[:-5],
    "for another purpose": lambda purpose: token(
        Purpose.BILLING if purpose is not Purpose.BILLING else Purpose.CANCEL
    ),
    "a sealed message": lambda purpose: perma_cc.form("update")["encrypted_data"],
}
every_bad_token = pytest.mark.parametrize("kind", BAD_TOKENS)


def assert_refused(response: HttpResponse, caplog: pytest.LogCaptureFixture, text: str) -> None:
    assert (response.status_code, heading(response)) == (400, "This page has expired")
    assert_is_page_for_a_person(response)
    assert len(traces.reasons(caplog)) == 1
    assert not text or text not in traces.log(caplog)


@every_action
@every_bad_token
def test_an_action_with_a_bad_token_changes_nothing(client, agreement, caplog, action, kind):
    request_cancellation(REGISTRAR, nonce=bytes(24), now=timezone.now())
    text = BAD_TOKENS[kind](ACTIONS[action])
    before = traces.rows()
    caplog.clear()

    assert_refused(act(client, action, text), caplog, text)
    assert traces.rows() == before


def test_a_token_with_half_a_character_is_refused():
    # A multipart form in UTF-7 can have one.
    with pytest.raises(tokens.TokenRefused):
        tokens.read("\ud800:x", Purpose.CANCEL, now=timezone.now())


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("kind", ["none", "old", "cut", "a sealed message"])
def test_a_page_with_a_bad_token_shows_nothing(client, agreement, caplog, page, kind):
    text = BAD_TOKENS[kind](Purpose.MANAGE)

    response = see(client, text, page)
    assert_refused(response, caplog, text)
    assert agreement.reference_number not in response.content.decode()


@pytest.mark.parametrize("page", PAGES)
@every_action
def test_the_token_of_an_action_opens_no_page(client, agreement, action, page):
    assert see(client, token(ACTIONS[action]), page).status_code == 400


def test_the_token_to_look_at_payments_does_not_open_the_page_to_cancel(client, agreement):
    assert see(client, token(Purpose.BILLING), "cancel/").status_code == 400


# --- Forgery and methods ----------------------------------------------------------------------------


@every_action
@pytest.mark.parametrize("cookie", [True, False])
def test_an_action_without_djangos_token_is_refused_with_a_page(client, agreement, action, cookie):
    page = see(client) if cookie else None
    assert page is None or page.cookies["csrftoken"].value
    before = traces.rows()
    body = urlencode({"token": token(ACTIONS[action])})

    response = client.post(f"/portal/{action}", body, content_type=FORM)
    assert (response.status_code, heading(response)) == (403, "Please try that again")
    assert_is_page_for_a_person(response)
    assert traces.rows() == before


@every_action
def test_an_action_is_never_a_get(client, agreement, action):
    response = client.get(f"/portal/{action}", {"token": token(ACTIONS[action])})

    assert (response.status_code, response["Allow"]) == (405, "POST")
    assert_is_page_for_a_person(response)
    assert not OutgoingTransaction.objects.exists() and not StaffTask.objects.exists()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_never_a_post(client, agreement, page):
    response = act(client, page, token())

    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")
