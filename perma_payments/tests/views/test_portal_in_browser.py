"""The portal in a real browser: in every state, on a desk and on a phone, with and without scripts."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import expect

from perma_payments.billing.transactions import Kind
from perma_payments.models import OutgoingTransaction, StaffTask, SubscriptionAgreement
from perma_payments.services import staff_tasks
from perma_payments.services.callbacks.receive import receive_callback
from perma_payments.services.cancellation import request_cancellation

from .. import cyber_source, perma_cc, records
from ..in_browser import Visit, post
from ..records import REGISTRAR

pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
def _page(settings):
    settings.UPDATE_LEADS_TO = "page"


def paid(kind: Kind, *subject: SubscriptionAgreement) -> None:
    response = cyber_source.response(records.form(records.outgoing(kind, *subject)))
    receive_callback(b"body", list(response.items()), now=timezone.now())


def canceling() -> None:
    records.standing_agreement()
    request_cancellation(REGISTRAR, nonce=bytes(24), now=timezone.now())


def canceled_by_staff() -> None:
    canceling()
    staff_tasks.finish(
        StaffTask.objects.get().pk, by=User.objects.create_user("staff"), note="Done.", now=timezone.now()
    )


def downgraded() -> None:
    records.standing_agreement(
        scheduled_rate=Decimal("10.00"),
        scheduled_link_limit="10",
        scheduled_from=datetime.now(UTC) + timedelta(days=9),
    )


def with_payments() -> None:
    paid(Kind.SUBSCRIBE)
    paid(Kind.CHANGE, SubscriptionAgreement.objects.get())
    paid(Kind.PURCHASE)


# What each state is made by, and the words by which it is known.
STATES: dict[str, tuple[Callable[[], object], str]] = {
    "none": (lambda: None, "You don't have a Perma.cc subscription right now"),
    "pending": (records.agreement, "we haven't heard yet how that ended"),
    "Current": (records.standing_agreement, "Your subscription is active."),
    "with payments": (with_payments, "Change of plan: 500 links a month"),
    "scheduled downgrade": (downgraded, "10 links a month, $10.00 a month"),
    "cancellation pending": (canceling, "Until then, you can still keep it."),
    "canceled by staff": (canceled_by_staff, "so it can't be continued"),
    "Hold": (lambda: records.standing_agreement(status="Hold"), "Your subscription is on hold,"),
    "Canceled": (lambda: records.standing_agreement(status="Canceled"), "Your subscription has been canceled."),
}


def open_portal(visit: Visit, route: str = "update", heading: str = "Your subscription") -> None:
    post(visit, perma_cc.form(route, **perma_cc.CUSTOMER), route=route)
    visit.heading(heading)


def says(visit: Visit, words: str) -> None:
    expect(visit.page.locator("main")).to_contain_text(words)


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_in_order(visitor, state):
    make, words = STATES[state]
    make()
    visit = visitor()
    open_portal(visit)

    says(visit, words)
    visit.is_in_order()


def test_those_who_may_only_look_have_a_page_in_order(visitor):
    visit = visitor()
    open_portal(visit, "billing", "Payments and receipts")
    says(visit, "You haven't paid for anything on Perma.cc yet.")
    visit.is_in_order()

    with_payments()
    open_portal(visit, "billing", "Payments and receipts")
    says(visit, "Change of plan: 500 links a month")
    visit.is_in_order()


def test_the_pages_behind_it_are_in_order(visitor):
    with_payments()
    visit = visitor()
    open_portal(visit)
    visit.page.get_by_role("link", name="Receipt for $15.00").click()
    visit.heading("Receipt")
    visit.is_in_order()
    visit.page.get_by_role("link", name="Back to your payments").click()
    visit.page.get_by_role("link", name="Cancel subscription").click()
    visit.heading("Cancel your subscription?")
    visit.is_in_order()
    visit.page.goto(f"{visit.payments}/portal/")
    visit.heading("This page has expired")
    visit.is_accessible()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_customer_cancels_and_keeps_the_subscription(visitor, scripts):
    records.standing_agreement()
    visit = visitor(java_script_enabled=scripts)
    visit.page.goto(f"{visit.sandbox}/")
    visit.page.goto(portal_address(visit))
    visit.page.get_by_role("link", name="Cancel subscription").click()
    visit.page.get_by_role("button", name="Yes, cancel my subscription").click()
    expect(visit.page.get_by_role("status")).to_have_text("We have received your request to cancel.")
    visit.page.get_by_role("button", name="Keep my subscription").click()
    expect(visit.page.get_by_role("status")).to_contain_text("Your subscription continues.")
    visit.page.get_by_role("link", name="Back to Perma.cc").click()

    expect(visit.page).to_have_url(re.compile(r"/settings/usage-plan/\?update=success$"))
    assert StaffTask.objects.get().resolution == "taken back"
    assert visit.complaints == []


def portal_address(visit: Visit) -> str:
    """The address to which the message leads; a browser without scripts cannot be made to post it."""
    answer = visit.page.request.post(f"{visit.payments}/update/", form=perma_cc.form("update"), max_redirects=0)
    return visit.payments + answer.headers["location"]


def test_a_double_click_cancels_once(visitor):
    records.standing_agreement()
    visit = visitor()
    open_portal(visit)
    visit.page.get_by_role("link", name="Cancel subscription").click()
    visit.page.get_by_role("button", name="Yes, cancel my subscription").dblclick()
    visit.page.get_by_role("button", name="Keep my subscription").dblclick()

    expect(visit.page.get_by_role("status")).to_contain_text("Your subscription continues.")
    assert StaffTask.objects.count() == 1


def test_a_customer_who_comes_back_from_cybersource_can_go_there_again(visitor):
    records.standing_agreement()
    visit = visitor()
    open_portal(visit)
    for _ in range(2):
        visit.page.get_by_role("button", name="Update your card").click()
        visit.heading("Checkout")
        # Our page with the form, which submits itself, lies between the two.
        visit.page.evaluate("history.go(3 - history.length)")
        visit.heading("Your subscription")

    visit.page.get_by_role("button", name="Update your card").click()
    visit.heading("Checkout")
    visit.page.get_by_role("button", name="Pay").click()
    expect(visit.page).to_have_url(re.compile(r"/settings/usage-plan/\?update=success$"))
    assert OutgoingTransaction.objects.count() <= 3


def test_back_after_canceling_shows_how_things_are(visitor):
    records.standing_agreement()
    visit = visitor()
    open_portal(visit)
    visit.page.get_by_role("link", name="Cancel subscription").click()
    visit.page.get_by_role("button", name="Yes, cancel my subscription").click()
    expect(visit.page.get_by_role("button", name="Keep my subscription")).to_be_visible()
    visit.page.go_back()

    # The page that asks to confirm leads on, since there is nothing to confirm.
    visit.heading("Your subscription")
    expect(visit.page.get_by_role("button", name="Keep my subscription")).to_be_visible()
    visit.page.go_back()
    says(visit, "Your subscription is being canceled.")


def test_a_second_tab_does_not_break_the_first(visitor):
    records.standing_agreement()
    visit = visitor()
    open_portal(visit)
    second = visit.page.context.new_page()
    second.goto(portal_address(visit))
    visit.page.get_by_role("button", name="Update your card").click()

    visit.heading("Checkout")


def test_a_receipt_prints_without_what_is_for_the_screen(visitor):
    paid(Kind.PURCHASE)
    visit = visitor()
    open_portal(visit)
    visit.page.get_by_role("link", name="Receipt for $15.00").click()
    visit.page.emulate_media(media="print")

    expect(visit.page.get_by_text("10 bonus links")).to_be_visible()
    expect(visit.page.get_by_role("link", name="Back to your payments")).to_be_hidden()
