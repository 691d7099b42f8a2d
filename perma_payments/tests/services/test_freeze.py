"""While checkouts are frozen, nobody is sent to CyberSource, and everything else goes on."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from perma_payments.billing.transactions import Kind
from perma_payments.models import (
    CheckoutFreeze,
    OutgoingTransaction,
    Purchase,
    ReferenceNumber,
    StaffTask,
    SubscriptionAgreement,
    UsedMessage,
)
from perma_payments.models.history import HistorySource
from perma_payments.services.freeze import AlreadyFrozen, NotFrozen, begin_freeze, checkouts_are_frozen, end_freeze
from perma_payments.services.status_reports.apply import apply_report
from perma_payments.services.status_reports.plan import plan_report
from perma_payments.services.status_reports.warnings import required_checks

from .. import perma_cc, records
from ..business_center import report
from ..conftest import FORM
from ..pages import checkout_form, heading, words

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PAUSED = "Payments are paused right now"
CHECKOUTS = ["subscribe", "purchase", "change", "update"]


@pytest.fixture
def staff() -> User:
    return User.objects.create_user("staff")


@pytest.fixture(params=["setting", "staff"])
def frozen(request: pytest.FixtureRequest, settings: Any) -> None:
    """Checkouts are frozen, in each of the two ways."""
    if request.param == "setting":
        settings.CHECKOUTS_FROZEN = True
    else:
        records.freeze()


# --- The switch -------------------------------------------------------------------------------------


def test_staff_freeze_checkouts_and_resume_them(staff):
    assert not checkouts_are_frozen()
    freeze = begin_freeze(by=staff, reason="Fraud.", now=NOW)
    assert checkouts_are_frozen()
    end_freeze(freeze.pk, by=staff, reason="Over.", now=NOW + timedelta(hours=1))
    assert not checkouts_are_frozen()

    freeze.refresh_from_db()
    assert (freeze.began_at, freeze.began_by, freeze.reason) == (NOW, staff, "Fraud.")
    assert (freeze.ended_at, freeze.ended_by, freeze.end_reason) == (NOW + timedelta(hours=1), staff, "Over.")


def test_the_history_says_who_and_why(staff):
    other = User.objects.create_user("other")
    freeze = begin_freeze(by=staff, reason="Fraud.", now=NOW)
    end_freeze(freeze.pk, by=other, reason="Over.", now=NOW)

    assert [event.pgh_context for event in freeze.events.order_by("pgh_id")] == [
        {"source": HistorySource.STAFF, "user": staff.pk, "reason": "Fraud."},
        {"source": HistorySource.STAFF, "user": other.pk, "reason": "Over."},
    ]


def test_checkouts_are_frozen_only_once(staff):
    begin_freeze(by=staff, reason="Fraud.", now=NOW)

    with pytest.raises(AlreadyFrozen):
        begin_freeze(by=staff, reason="Again.", now=NOW)
    assert CheckoutFreeze.objects.get().reason == "Fraud."


def test_a_freeze_ends_only_once_and_leaves_a_later_one_in_force(staff):
    first = begin_freeze(by=staff, reason="Fraud.", now=NOW)
    end_freeze(first.pk, by=staff, reason="Over.", now=NOW)
    begin_freeze(by=staff, reason="It is back.", now=NOW)

    with pytest.raises(NotFrozen):
        end_freeze(first.pk, by=staff, reason="A page that was open for long.", now=NOW)
    assert checkouts_are_frozen()
    first.refresh_from_db()
    assert first.end_reason == "Over."


def test_a_freeze_of_staffs_does_not_end_that_of_the_setting(staff, settings):
    settings.CHECKOUTS_FROZEN = True
    freeze = begin_freeze(by=staff, reason="Fraud.", now=NOW)
    end_freeze(freeze.pk, by=staff, reason="Over.", now=NOW)

    assert checkouts_are_frozen()


def test_asking_takes_one_statement(django_assert_num_queries):
    with django_assert_num_queries(1):
        assert not checkouts_are_frozen()


def send(client: Client, route: str, form: dict[str, str]) -> HttpResponse:
    """POST a message that was made before."""
    return client.post(f"/{route}/", urlencode(form), content_type=FORM)


# --- What stops -------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", CHECKOUTS)
def test_no_checkout_begins_and_nothing_is_recorded(route, frozen, post):
    if route in ("change", "update"):
        records.standing_agreement()
    tables = (OutgoingTransaction, SubscriptionAgreement, Purchase, ReferenceNumber, UsedMessage)
    before = [table.objects.count() for table in tables]
    response = post(route)

    assert (response.status_code, heading(response)) == (200, PAUSED)
    assert b"<form" not in response.content
    assert [table.objects.count() for table in tables] == before


@pytest.mark.parametrize("kind", Kind)
def test_a_checkout_that_was_begun_before_is_not_resumed(kind, frozen, client):
    begun = records.outgoing(kind)
    box = perma_cc.seal(perma_cc.fields(kind), nonce=begun.message_nonce)

    assert heading(send(client, kind, {"encrypted_data": box})) == PAUSED


def test_a_message_that_was_refused_begins_its_checkout_afterward(client, staff):
    freeze = records.freeze()
    message = perma_cc.form("subscribe")
    assert heading(send(client, "subscribe", message)) == PAUSED
    end_freeze(freeze.pk, by=staff, reason="Over.", now=NOW)

    assert checkout_form(send(client, "subscribe", message))["transaction_uuid"]


def test_customers_are_told_what_goes_on_but_not_why(post):
    records.freeze(reason="Stolen cards.")
    said = words(post("purchase"))

    for promise in (
        "Nothing was started just now, and nothing was charged.",
        "your subscription continues, your links work, and any payment that you have already made counts",
        "you can still cancel it there",
        "Please try again later.",
        "Write to help@perma.example",
    ):
        assert promise in said
    assert "Stolen" not in said


# --- What goes on -----------------------------------------------------------------------------------


def test_perma_is_told_of_subscriptions_and_purchases(frozen, post):
    agreement, bought = records.standing_agreement(), records.paid_purchase()

    reply = perma_cc.open_reply(post("subscription").json())
    assert reply["subscription"]["reference_number"] == agreement.reference_number
    assert [purchase["id"] for purchase in reply["purchases"]] == [bought.pk]
    assert post("purchase-history").status_code == 200


def test_a_purchase_is_acknowledged(frozen, post):
    bought = records.paid_purchase()

    assert post("acknowledge-purchase", purchase_pk=bought.pk).status_code == 200
    bought.refresh_from_db()
    assert bought.acknowledged_at


def test_a_checkout_that_was_begun_before_can_be_paid(frozen, call_back):
    outgoing = records.outgoing(Kind.SUBSCRIBE)

    assert call_back(records.form(outgoing)).status_code == 200
    outgoing.agreement.refresh_from_db()
    assert outgoing.agreement.status == "Current"


def test_a_subscription_can_be_canceled(frozen, post):
    agreement = records.standing_agreement()

    assert post("cancel-request").status_code == 302
    assert StaffTask.objects.get().agreement == agreement


def test_a_status_report_is_applied(frozen, staff):
    agreement = records.standing_agreement()
    planned = plan_report(report((agreement, "HOLD")), by=staff, now=timezone.now())
    apply_report(planned.pk, revision=1, by=staff, checks=required_checks(planned), now=timezone.now())

    agreement.refresh_from_db()
    assert agreement.status == "Hold"
