"""The settings page of customers who have a subscription: what is offered, and what is not."""

import pytest

from sandbox.perma.store import PACKAGES

from .builders import NOW
from .forms import Form
from .replies import SUBSCRIPTION, answers, payments_box, reply, sealed, show

MODIFYING = "form.change, form.update, form.cancel-request"


@pytest.fixture
def shown(client, merchant):
    """Show the page for a subscription that differs in some fields; None for no subscription."""

    def shown(**changes):
        subscription = None if changes.get("status", "") is None else {**SUBSCRIPTION, **changes}
        merchant.answer = answers(status=sealed(reply(subscription=subscription)))
        return show(client)

    return shown


def offered(soup, selector):
    """The forms that the page offers: those not folded away as what would not be offered."""
    return [tag for tag in soup.select(selector) if not tag.find_parent(attrs={"aria-labelledby": "try-heading"})]


def message_of(tag):
    """What a form of the page would send, opened."""
    return payments_box().open(tag.select_one("input[name=encrypted_data]")["value"])


@pytest.mark.parametrize("status", ["Current", "Hold"])
def test_a_current_or_held_subscription_can_be_modified(shown, status):
    soup = shown(status=status)
    assert [tag["data-link-limit"] for tag in offered(soup, "form.change")] == ["10", "500", "unlimited"]
    assert len(offered(soup, "form.update")) == len(offered(soup, "form.cancel-request")) == 1


@pytest.mark.parametrize("status", ["Cancellation Requested", "Canceled", "Odd", None])
def test_other_subscriptions_only_let_the_forms_be_tried(shown, status):
    soup = shown(status=status)
    assert offered(soup, MODIFYING) == []
    assert len(soup.select("form.update")) == len(soup.select("form.cancel-request")) == 1
    assert soup.select("form.change")


@pytest.mark.parametrize(
    "changes, plans",
    [
        ({}, 3),
        ({"status": "Canceled"}, 3),
        ({"status": None}, 1),
        ({"link_limit_effective_timestamp": "2026-04-01T00:00:00.000000Z"}, 3),
    ],
)
def test_each_form_is_on_the_page_once(shown, changes, plans):
    values = [tag["value"] for tag in shown(**changes).select("input[name=encrypted_data]")]
    assert len(values) == len(set(values)) == 8 + plans + 2 + len(PACKAGES)


def test_an_upgrade_costs_the_difference_and_a_downgrade_waits(shown):
    down, up, _ = offered(shown(), "form.change")
    message = message_of(up)
    assert (message["amount"], message["recurring_amount"]) == ("72.58", "120.00")
    assert message["link_limit_effective_timestamp"] == message["timestamp"] == NOW.timestamp()
    message = message_of(down)
    assert (message["amount"], message["recurring_amount"]) == ("0.00", "20.00")
    assert message["link_limit_effective_timestamp"] == 1775779200.0
    assert "Begins on 2026-04-10" in down.parent.text


def test_only_plans_with_the_same_schedule_are_offered(shown):
    tags = offered(shown(frequency="annually", rate="450.00"), "form.change")
    assert {tag["data-frequency"] for tag in tags} == {"annually"}
    assert len(tags) == 3
    soup = shown(frequency="weekly")
    assert "no other plan with this schedule" in soup.text


def test_the_same_limit_at_another_price_is_offered(shown):
    assert len(offered(shown(rate="40.00"), "form.change")) == 4


@pytest.mark.parametrize(
    "route, fields",
    [
        # Like the client's form, the one for changes also has the type of the account in clear.
        ("change", ["encrypted_data", "account_type"]),
        ("update", ["encrypted_data"]),
        ("cancel-request", ["encrypted_data"]),
        ("purchase", ["encrypted_data"]),
    ],
)
def test_a_form_sends_nothing_but_the_message(shown, config, route, fields):
    tag = shown().select_one(f"form.{route}")
    form = Form(tag)
    assert (form.method, form.action) == ("post", f"{config.payments_url}/{route}/")
    assert list(form.fields) == fields
    assert len(tag.select("button")) == 1


@pytest.mark.parametrize("route", ["update", "cancel-request"])
def test_updates_and_cancellations_only_name_the_customer(shown, route):
    assert message_of(shown().select_one(f"form.{route}")) == {
        "timestamp": NOW.timestamp(),
        "customer_pk": 1,
        "customer_type": "Registrar",
    }


def test_a_cancellation_takes_two_steps(shown):
    (form,) = offered(shown(), "form.cancel-request")
    assert form.find_parent("details").summary.text == "Cancel the subscription …"
    assert form.button.text == "Yes, cancel it"


def test_a_pending_change_is_shown_and_no_other_is_offered(shown):
    soup = shown(link_limit_effective_timestamp="2026-04-01T00:00:00.000000Z", link_limit="10", rate="20.00")
    assert soup.find(id="pending").text.startswith("from 2026-04-01:")
    assert "10 links" in soup.find(id="pending").text
    assert offered(soup, "form.change") == []
    assert len(soup.select("form.change")) == 3
    assert len(offered(soup, "form.update")) == 1
    assert shown().find(id="pending") is None


@pytest.mark.parametrize("status", ["Current", "Canceled", None])
def test_all_customers_can_buy_bonus_links(shown, status):
    forms = offered(shown(status=status), "form.purchase")
    assert [(message_of(form)["link_quantity"], message_of(form)["amount"]) for form in forms] == [
        (10, "15.00"),
        (100, "100.00"),
        (500, "400.00"),
    ]


def test_nothing_is_offered_while_perma_payments_is_down(client):
    soup = show(client)
    assert soup.find(id="unavailable")
    assert offered(soup, f"{MODIFYING}, form.purchase, form.subscribe") == []
    assert len(soup.select("form.purchase")) == len(PACKAGES)


@pytest.mark.parametrize("kind, customer", [("registrar", "Registrar-7"), ("linkuser", "Individual-7")])
def test_links_in_mails_lead_staff_to_the_customer(client, kind, customer):
    answer = client.get(f"/admin/perma/{kind}/7/change/")
    assert answer.location == f"/settings/usage-plan/?customer={customer}"
    assert client.get(f"/admin/perma/{kind}/0/change/").status_code == 404
