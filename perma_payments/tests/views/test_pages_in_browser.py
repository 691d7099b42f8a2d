"""Customers' ways through our pages, clicked in a real browser, with the sandbox as Perma.cc and CyberSource."""

import re
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Route, expect

from perma_payments.billing.transactions import Kind
from perma_payments.models import OutgoingTransaction, Response, SubscriptionAgreement

from .. import cyber_source, perma_cc, records
from ..in_browser import Visit, post

pytestmark = pytest.mark.browser


def stay(visit: Visit) -> None:
    """Let CyberSource answer with nothing, so that the checkout page stays where it is."""

    def no_content(route: Route) -> None:
        route.fulfill(status=204)

    visit.page.route(re.compile("/(pay|token/update)$"), no_content)


def assert_returned(visit: Visit, parameter: str | None) -> None:
    """Wait for Perma.cc's page, and look at what it says to who comes back."""
    query = "" if parameter is None else rf"\?{parameter}"
    expect(visit.page).to_have_url(re.compile(f"/settings/usage-plan/{query}$"))
    visit.heading("Subscription settings")
    told = visit.page.locator("#returned")
    if parameter is None:
        expect(told).to_have_count(0)
    else:
        expect(told).to_have_attribute("data-parameter", parameter)


# --- The way of a customer --------------------------------------------------------------------------


def test_a_customer_clicks_through_and_has_a_subscription(visitor):
    visit = visitor()
    visit.subscribe()
    reference = visit.reference()  # Our page has submitted itself.
    visit.page.get_by_role("button", name="Pay").click()
    visit.heading("Payment accepted")

    # CyberSource's page has submitted itself, and our return address has led on.
    assert_returned(visit, "subscription=success")
    expect(visit.page.locator("#status")).to_have_attribute("data-status", "Current")
    agreement = SubscriptionAgreement.objects.get()
    assert (agreement.reference_number, agreement.status) == (reference, "Current")
    assert Response.objects.count() == 1
    assert visit.complaints == []


def test_without_scripts_the_button_does_it(visitor):
    visit = visitor(java_script_enabled=False)
    visit.subscribe()
    visit.heading("Continue to payment")
    assert "Press the button below to continue." in visit.page.inner_text("main")
    visit.page.get_by_role("button", name="Continue to CyberSource").click()
    visit.heading("Checkout")
    visit.page.get_by_role("button", name="Pay").click()

    visit.heading("Payment accepted")
    visit.page.get_by_role("button", name="Back to Perma.cc").click()
    assert_returned(visit, "subscription=success")
    assert SubscriptionAgreement.objects.get().status == "Current"
    assert visit.complaints == []


def test_a_script_that_does_not_load_leaves_the_button(visitor):
    visit = visitor()
    visit.page.route("**/checkout.js", lambda route: route.abort())
    visit.subscribe()
    visit.heading("Continue to payment")
    visit.page.get_by_role("button", name="Continue to CyberSource").click()

    visit.reference()


def test_a_customer_who_cancels_is_back_without_a_subscription(visitor):
    visit = visitor()
    visit.subscribe()
    visit.heading("Checkout")
    visit.page.get_by_role("button", name="Cancel").click()
    visit.heading("Checkout canceled")

    assert_returned(visit, "subscription=canceled")
    expect(visit.page.locator("#status")).to_have_attribute("data-status", "")
    assert SubscriptionAgreement.objects.get().status == "Aborted"


def test_a_customer_whose_card_is_declined_gets_no_message(visitor):
    visit = visitor()
    visit.subscribe()
    visit.heading("Checkout")
    visit.page.get_by_role("button", name="Decline").click()
    visit.heading("Payment declined")
    visit.page.get_by_role("button", name="Back to Perma.cc").click()

    assert_returned(visit, None)
    assert SubscriptionAgreement.objects.get().status == "Rejected"
    assert visit.complaints == []


def test_a_browser_sent_to_the_callback_is_led_back(visitor):
    visit = visitor()
    form = records.form(records.outgoing(Kind.SUBSCRIBE))
    post(visit, cyber_source.response(form), route="cybersource-callback")

    assert_returned(visit, "subscription=success")
    assert [cookie for cookie in visit.page.context.cookies() if visit.payments in cookie["domain"]] == []


def test_back_after_the_return_leads_past_our_address(visitor):
    visit = visitor()
    visit.subscribe()
    visit.heading("Checkout")
    visit.page.get_by_role("button", name="Pay").click()
    assert_returned(visit, "subscription=success")
    visit.page.reload()
    assert_returned(visit, "subscription=success")
    visit.page.go_back(wait_until="commit")

    # CyberSource's page, which submits itself again: the same response, and nothing new.
    assert_returned(visit, "subscription=success")
    assert Response.objects.count() == 1


def test_a_double_click_begins_one_checkout(visitor):
    visit = visitor()
    visit.page.goto(visit.settings_page)
    visit.page.get_by_role("button", name="Subscribe: 100 links, monthly").dblclick()
    visit.reference()

    assert OutgoingTransaction.objects.count() == 1


def test_the_button_is_off_while_cybersource_is_awaited(visitor):
    visit = visitor()
    stay(visit)
    visit.subscribe()
    visit.heading("Continue to payment")

    expect(visit.page.get_by_role("button", name="Continue to CyberSource")).to_be_disabled()
    expect(visit.page.get_by_role("status")).to_have_text("Taking you to CyberSource…")


def test_a_customer_can_try_again_if_cybersource_does_not_answer(visitor):
    visit = visitor()
    visit.page.clock.install()
    stay(visit)
    visit.subscribe()
    button = visit.page.get_by_role("button", name="Continue to CyberSource")
    expect(button).to_be_disabled()
    visit.page.clock.fast_forward(10_000)

    expect(button).to_be_enabled()
    expect(visit.page.get_by_role("status")).to_contain_text("CyberSource hasn't answered yet.")
    visit.page.unroute_all()
    button.click()
    visit.reference()


# --- Back -------------------------------------------------------------------------------------------


def press_back(visit: Visit) -> None:
    """Go back from CyberSource's page to Perma.cc's, as Chromium's own button does, which no script can press.

    The button passes over our page between them, which has moved on by itself. As a rule that isn't even in the
    tab's history; but on a busy machine, when its form is sent only after it has loaded to the end, it is.
    """
    blank_and_perma_ccs_page = 2
    visit.page.evaluate(f"history.go({blank_and_perma_ccs_page} - history.length)")


def test_a_customer_can_go_back_from_cybersource_and_on_again(visitor):
    visit = visitor()
    visit.subscribe()
    visit.reference()
    press_back(visit)
    visit.heading("Subscription settings")
    visit.page.get_by_role("button", name="Subscribe: 100 links, monthly").click()
    visit.reference()
    visit.page.get_by_role("button", name="Pay").click()
    visit.heading("Payment accepted")
    assert sorted(SubscriptionAgreement.objects.values_list("status", flat=True)) == ["Current", "Pending"]


def test_a_message_sent_again_leads_to_the_same_checkout(visitor):
    """As when a browser restores Perma.cc's page as it was, and the customer presses the button again."""
    visit = visitor()
    box = perma_cc.form("subscribe")
    references = []
    for _ in range(2):
        post(visit, box)
        references.append(visit.reference())
        visit.page.goto("about:blank")

    assert references[0] == references[1]
    assert OutgoingTransaction.objects.count() == 1


def test_a_reload_of_cybersources_page_charges_once(visitor):
    visit = visitor()
    visit.subscribe()
    reference = visit.reference()
    visit.page.reload()
    assert visit.reference() == reference
    visit.page.get_by_role("button", name="Pay").click()
    visit.heading("Payment accepted")

    assert list(Response.objects.values_list("decision", flat=True)) == ["ACCEPT"]


# --- All pages --------------------------------------------------------------------------------------


PAGES = {
    "checkout": "Continue to payment",
    "card": "Update your card",
    "nothing to alter": "There is no subscription to change",
    "already subscribed": "You already have a subscription",
    "expired": "This page has expired",
    "out of date": "That isn't possible right now",
    "refused": "We couldn't read that request",
    "nothing here": "This page can't be opened directly",
    "root": "Payments for Perma.cc",
    "not found": "Page not found",
}


def show(visit: Visit, name: str) -> None:
    """Bring one of our pages into the tab."""
    match name:
        case "checkout":
            stay(visit)
            post(visit, perma_cc.form("subscribe"))
        case "card":
            records.standing_agreement()
            stay(visit)
            post(visit, perma_cc.form("update"), route="update")
        case "nothing to alter":
            post(visit, perma_cc.form("change"), route="change")
        case "already subscribed":
            records.standing_agreement()
            post(visit, perma_cc.form("subscribe"))
        case "expired":
            post(visit, perma_cc.form("subscribe", timestamp=0))
        case "out of date":
            post(visit, perma_cc.form("change", amount="-1.50"), route="change")
        case "refused":
            post(visit, {"encrypted_data": "x"})
        case "nothing here":
            visit.page.goto(f"{visit.payments}/subscribe/")
        case "root":
            visit.page.goto(f"{visit.payments}/")
        case "not found":
            visit.page.goto(f"{visit.payments}/{'x' * 200}/?{urlencode({'y': 'z' * 200})}")
    visit.heading(PAGES[name])


def focus_by_tab(visit: Visit, name: str) -> None:
    """Press Tab until the focus is on the button or link of that name; at every stop it can be seen."""
    visit.settles("document.readyState === 'complete'")
    for _ in range(10):
        visit.page.keyboard.press("Tab")
        outline = visit.page.evaluate("""() => {
            const style = getComputedStyle(document.activeElement);
            return [style.outlineStyle, parseFloat(style.outlineWidth)];
        }""")
        assert outline[0] == "solid"
        assert outline[1] >= 2
        if visit.page.evaluate("document.activeElement.textContent") == name:
            return
    raise AssertionError(f"Tab does not lead to {name}")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_narrow_and_wide_windows_and_leads_back_by_keyboard(visitor, name):
    visit = visitor()
    show(visit, name)

    for width in (390, 1280):
        visit.page.set_viewport_size({"width": width, "height": 800})
        visit.fits(width)
        # The stylesheet is there.
        visit.settles(f"document.querySelector('main').getBoundingClientRect().width === {min(width, 608)}")
        visit.is_accessible()
    assert visit.complaints == []
    if name not in ("checkout", "card"):
        focus_by_tab(visit, "Back to Perma.cc")
        visit.page.keyboard.press("Enter")
        visit.heading("Subscription settings")


def test_the_checkout_can_be_continued_by_keyboard(visitor):
    visit = visitor(java_script_enabled=False)
    visit.subscribe()
    visit.heading("Continue to payment")
    focus_by_tab(visit, "Continue to CyberSource")
    visit.page.keyboard.press("Enter")

    visit.heading("Checkout")
