"""Staff freeze checkouts and resume them in the admin."""

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client

from perma_payments.models import CheckoutFreeze
from perma_payments.services.freeze import checkouts_are_frozen

from .. import records
from ..accounts import log_in
from ..pages import soup, words

pytestmark = pytest.mark.django_db

LIST = "/admin/perma_payments/checkoutfreeze/"
SWITCH = f"{LIST}switch/"


@pytest.fixture
def staff(client: Client) -> User:
    return log_in(client, "view_checkoutfreeze", "freeze_checkouts")


def press(client: Client, page: HttpResponse, reason: str) -> HttpResponse:
    """Give a reason, and press the button of a page that was opened before."""
    fields = {field["name"]: field.get("value", "") for field in soup(page).select("#content input[name]")}
    return client.post(SWITCH, {**fields, "reason": reason}, follow=True)


def test_staff_freeze_checkouts_and_resume_them(client, staff):
    assert soup(client.get(LIST)).find("a", href=SWITCH).get_text() == "Freeze checkouts"
    frozen = press(client, client.get(SWITCH), "Fraud.")
    assert "Checkouts are frozen." in words(frozen)
    assert soup(frozen).find("a", href=SWITCH).get_text() == "Resume checkouts"
    assert checkouts_are_frozen()

    page = client.get(SWITCH)
    assert "someone froze checkouts on" in words(page) and "Fraud." in words(page)
    assert "Checkouts have resumed." in words(press(client, page, "Over."))
    assert not checkouts_are_frozen()
    freeze = CheckoutFreeze.objects.get()
    assert (freeze.began_by, freeze.reason, freeze.ended_by, freeze.end_reason) == (
        staff,
        "Fraud.",
        staff,
        "Over.",
    )


@pytest.mark.parametrize("reason", ["", "   ", "x" * 1001])
@pytest.mark.parametrize("frozen", [True, False])
def test_a_proper_reason_is_required(client, staff, frozen, reason):
    if frozen:
        records.freeze()
    page = press(client, client.get(SWITCH), reason)

    assert soup(page).select(".errorlist")
    assert checkouts_are_frozen() == frozen


def test_the_page_says_what_stops_and_what_goes_on(client, staff):
    said = words(client.get(SWITCH))

    assert "What stops, at once and for everyone: subscribing, changing plans, buying links, and updating" in said
    assert "What goes on: CyberSource's charges of existing subscriptions, canceling" in said
    assert "customers who are already on CyberSource's page can still pay" in said
    assert "CHECKOUTS_FROZEN" not in said


def test_who_comes_second_to_freeze_is_told(client, staff):
    page = client.get(SWITCH)
    records.freeze(reason="The first.")

    assert "someone else had already frozen checkouts" in words(press(client, page, "The second."))
    assert CheckoutFreeze.objects.get().reason == "The first."
    assert checkouts_are_frozen()


def test_who_comes_second_to_resume_is_told_and_ends_no_other_freeze(client, staff):
    freeze = records.freeze()
    page = client.get(SWITCH)
    press(client, client.get(SWITCH), "The first.")
    records.freeze(reason="It is back.")

    assert "someone else had already ended this freeze" in words(press(client, page, "The second."))
    freeze.refresh_from_db()
    assert freeze.end_reason == "The first."
    assert checkouts_are_frozen()


@pytest.mark.parametrize("ends", ["x", "0", "9" * 30])
def test_no_other_number_ends_a_freeze(client, staff, ends):
    records.freeze()
    page = client.post(SWITCH, {"ends": ends, "reason": "x"}, follow=True)

    assert page.status_code == 200
    assert checkouts_are_frozen()


def test_the_page_does_not_claim_to_end_what_the_setting_freezes(client, staff, settings):
    settings.CHECKOUTS_FROZEN = True
    said = words(client.get(SWITCH))
    assert "Only the developers can change it ( developers@perma.example )" in said
    assert "customers can't pay until it is off" in said

    records.freeze()
    page = client.get(SWITCH)
    done = words(press(client, page, "Over."))
    assert "This freeze has ended, but checkouts stay frozen by the setting CHECKOUTS_FROZEN." in done
    assert "can pay again" not in words(page) + done


@pytest.mark.parametrize("permissions", [["view_checkoutfreeze"], ["freeze_checkouts"], []])
def test_the_switch_takes_both_permissions(client, permissions):
    log_in(client, *permissions)

    assert client.get(SWITCH).status_code == 403
    assert client.post(SWITCH, {"reason": "x"}).status_code == 403
    assert not checkouts_are_frozen()


def test_another_site_cannot_press_the_button(staff, client):
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(staff)

    assert careful.post(SWITCH, {"reason": "x"}).status_code == 403
    assert not checkouts_are_frozen()


def test_freezes_are_listed_with_who_and_why(client, staff):
    records.freeze(began_at="2026-11-21T12:00Z", reason="Stolen cards.")

    listed = words(client.get(LIST))
    assert "2026-11-21 12:00 Stolen cards. - freezer" in listed
    shown = client.get(f"{LIST}{CheckoutFreeze.objects.get().pk}/change/")
    assert "Stolen cards." in words(shown)
    assert soup(shown).select("#content textarea, #content [type=submit]") == []
