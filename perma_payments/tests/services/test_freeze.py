"""While checkouts are frozen, nobody is sent to CyberSource, and everything else goes on."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection
from django.utils import timezone

from perma_payments.billing.transactions import Kind
from perma_payments.models import CheckoutFreeze, StaffTask
from perma_payments.models.history import HistorySource
from perma_payments.services.freeze import (
    NothingToSwitch,
    checkouts_are_frozen,
    freeze_checkouts,
    resume_checkouts,
)

from .. import perma_cc, records
from ..business_center import report
from ..conftest import FORM
from ..pages import heading, words
from ..records import INDIVIDUAL
from ..views import traces
from .status_reports.steps import apply, plan

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
CHECKOUTS: dict[str, dict[str, Any]] = {
    "subscribe": {},
    "purchase": {},
    "change": {"customer_type": "Individual"},
    "update": {"customer_type": "Individual"},
}


@pytest.fixture
def staff() -> User:
    return User.objects.create_user("staff")


@pytest.fixture(params=["staff", "the setting"])
def frozen(request, settings, staff) -> None:
    if request.param == "staff":
        freeze_checkouts(by=staff, reason="A move.", now=NOW)
    else:
        settings.CHECKOUTS_FROZEN = True


# --- The switch -------------------------------------------------------------------------------------


def test_checkouts_are_frozen_until_they_are_resumed(staff):
    assert not checkouts_are_frozen()
    freeze_checkouts(by=staff, reason="A move.", now=NOW)
    assert checkouts_are_frozen()
    resume_checkouts(by=staff, reason="We have moved.", now=NOW)
    assert not checkouts_are_frozen()


def test_the_setting_freezes_whatever_staff_do(settings, staff):
    settings.CHECKOUTS_FROZEN = True
    freeze_checkouts(by=staff, reason="A move.", now=NOW)
    resume_checkouts(by=staff, reason="We have moved.", now=NOW)

    assert checkouts_are_frozen()


def test_what_is_frozen_cannot_be_frozen_again_nor_what_is_not_be_resumed(staff):
    with pytest.raises(NothingToSwitch):
        resume_checkouts(by=staff, reason="x", now=NOW)
    freeze_checkouts(by=staff, reason="A move.", now=NOW)
    with pytest.raises(NothingToSwitch):
        freeze_checkouts(by=staff, reason="x", now=NOW)

    assert CheckoutFreeze.objects.get().reason == "A move."


@pytest.mark.django_db(transaction=True)
def test_of_two_at_once_one_freezes_and_one_resumes(staff):
    def switch(service: Any, number: int) -> bool:
        try:
            service(by=staff, reason=f"{number}", now=timezone.now())
        except NothingToSwitch:
            return False
        finally:
            connection.close()
        return True

    for service in (freeze_checkouts, resume_checkouts):
        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(switch, [service] * 8, range(8))) == 1
    freeze = CheckoutFreeze.objects.get()
    assert freeze.ended_at is not None
    assert freeze.events.count() == 2


def test_the_history_says_who_and_why(staff):
    freeze_checkouts(by=staff, reason="A move.", now=NOW)
    resume_checkouts(by=staff, reason="We have moved.", now=NOW)

    contexts = CheckoutFreeze.objects.get().events.order_by("pgh_id").values_list("pgh_context", flat=True)
    assert list(contexts) == [
        {"source": HistorySource.STAFF, "user": staff.pk, "reason": reason}
        for reason in ("A move.", "We have moved.")
    ]


@pytest.mark.parametrize(
    "columns", [{"reason": ""}, {"ended_at": NOW}, {"ended_at": NOW, "reason_to_end": "x"}, {"reason_to_end": "x"}]
)
def test_a_freeze_that_makes_no_sense_is_refused_by_the_database(staff, columns):
    with pytest.raises(IntegrityError):
        CheckoutFreeze.objects.create(**{"began_by": staff, "reason": "A move.", **columns})


# --- What stops -------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", CHECKOUTS)
def test_no_checkout_begins(post, frozen, route):
    records.standing_agreement(INDIVIDUAL)
    before = traces.rows()
    response = post(route, **CHECKOUTS[route])

    assert (response.status_code, heading(response)) == (200, "Payments are paused right now")
    assert "Nothing was started, and nothing was charged." in words(response)
    assert "A move." not in words(response)
    assert traces.rows() == before


def test_a_checkout_that_was_begun_before_is_not_resumed(client, staff):
    begun = records.outgoing(Kind.SUBSCRIBE)
    box = perma_cc.seal(perma_cc.fields("subscribe"), nonce=bytes(begun.message_nonce))
    freeze_checkouts(by=staff, reason="A move.", now=NOW)
    response = client.post("/subscribe/", urlencode({"encrypted_data": box}), content_type=FORM)

    assert heading(response) == "Payments are paused right now"


# --- What goes on -----------------------------------------------------------------------------------


def test_perma_is_told_statuses_and_its_acknowledgements_count(post, frozen):
    records.standing_agreement()
    purchase = records.paid_purchase()

    reply = perma_cc.open_reply(post("subscription").json())
    assert reply["subscription"]["status"] == "Current"
    assert post("acknowledge-purchase", purchase_pk=purchase.pk).status_code == 200


def test_what_was_paid_before_takes_effect(call_back, frozen):
    outgoing = records.outgoing(Kind.SUBSCRIBE)

    assert call_back(records.form(outgoing)).status_code == 200
    outgoing.agreement.refresh_from_db()
    assert outgoing.agreement.status == "Current"


def test_customers_can_cancel(post, frozen):
    records.standing_agreement()

    assert post("cancel-request").status_code == 302
    assert StaffTask.objects.get().kind == "cancellation"


def test_reports_are_applied(frozen):
    agreement = records.standing_agreement()
    apply(plan(report((agreement, "HOLD"))))

    agreement.refresh_from_db()
    assert agreement.status == "Hold"
