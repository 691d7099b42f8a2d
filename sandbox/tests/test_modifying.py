"""The settings page of customers who have a subscription: what is offered, and what is not."""

import pytest

from sandbox.perma.store import PACKAGES

from .builders import NOW, of_2024, of_both
from .forms import Form
from .replies import DOWNGRADING, SUBSCRIPTION, answers, history_reply, payments_box, reply, sealed, show

MODIFYING = "form.change, form.update, form.cancel-request"
MANAGING = "form.update, form.cancel-request"


@pytest.fixture
def shown(client, merchant):
    """Show the page for a subscription that differs in some fields; None for no subscription."""

    def shown(customer_type="Registrar", **changes):
        subscription = None if changes.get("status", "") is None else {**SUBSCRIPTION, **changes}
        about = {"customer_type": customer_type}
        merchant.answer = answers(
            status=sealed(reply(subscription=subscription, **about)), history=sealed(history_reply(**about))
        )
        return show(client, f"/settings/usage-plan/?customer={customer_type}-1")

    return shown


def offered(soup, selector):
    """The forms that the page offers: those not folded away as what would not be offered."""
    return [tag for tag in soup.select(selector) if not tag.find_parent(attrs={"aria-labelledby": "try-heading"})]


def message_of(tag):
    """What a form of the page would send, opened."""
    return payments_box().open(tag.select_one("input[name=encrypted_data]")["value"])


def names(tags):
    """The routes of forms."""
    return [tag["class"][0] for tag in tags]


@of_both
def test_another_plan_is_offered_to_a_current_subscription(shown):
    changes = offered(shown(), "form.change")
    assert [(tag["data-kind"], tag["data-link-limit"]) for tag in changes] == [
        ("downgrade", "10"),
        ("upgrade", "500"),
        ("upgrade", "unlimited"),
    ]


@of_both
@pytest.mark.parametrize("status", ["Hold", "Cancellation Requested", "Canceled", "Odd", None])
def test_another_plan_can_only_be_tried_otherwise(shown, status):
    soup = shown(status=status)
    assert offered(soup, "form.change") == []
    assert soup.select("form.change")


@of_2024
@pytest.mark.parametrize("status", ["Current", "Hold"])
def test_in_2024_a_standing_subscription_has_a_card_and_can_be_canceled(shown, status):
    assert names(offered(shown(status=status), MANAGING)) == ["update", "cancel-request"]


@of_2024
@pytest.mark.parametrize("status", ["Cancellation Requested", "Canceled", "Odd", None])
def test_in_2024_that_can_only_be_tried_otherwise(shown, status):
    soup = shown(status=status)
    assert offered(soup, MANAGING) == []
    assert names(soup.select(MANAGING)) == ["update", "cancel-request"]


@pytest.mark.parametrize("status", ["Current", "Hold", "Cancellation Requested", "Canceled", "Odd"])
def test_in_2026_any_subscription_on_record_can_be_managed(shown, status):
    soup = shown(status=status)
    assert names(offered(soup, MANAGING)) == ["update"]
    assert offered(soup, "form.update")[0].button.text == "Manage subscription"


def test_in_2026_there_is_no_cancel_button_to_be_found(shown):
    soup = shown(status=None)
    assert offered(soup, MANAGING) == []
    assert names(soup.select(MANAGING)) == ["update"]


@pytest.mark.parametrize("status", ["Current", "Canceled", None])
def test_in_2026_individuals_have_payments_and_receipts(shown, status):
    (form,) = offered(shown("Individual", status=status), "form.billing")
    assert form.button.text == "Payments and receipts"
    assert message_of(form) == {"timestamp": NOW.timestamp(), "customer_pk": 1, "customer_type": "Individual"}
    assert shown("Registrar", status=status).select("form.billing") == []


@of_2024
def test_in_2024_nobody_has(shown):
    assert shown("Individual").select("form.billing") == []


@of_both
@pytest.mark.parametrize(
    "customer_type, changes, plans",
    [
        ("Registrar", {}, 3),
        ("Registrar", {"status": "Canceled"}, 3),
        ("Registrar", {"status": None}, 1),
        ("Registrar", DOWNGRADING, 1),
        ("Individual", {}, 4),
    ],
)
def test_each_form_is_on_the_page_once(shown, perma_client, customer_type, changes, plans):
    tags = shown(customer_type, **changes).select("input[name=encrypted_data]")
    values = [tag["value"] for tag in tags]
    in_both = 8 + plans + len(["update"]) + len(PACKAGES)
    in_one = 1 if perma_client.year == "2024" or customer_type == "Individual" else 0
    assert len(values) == len(set(values)) == in_both + in_one


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
@of_2024
def test_a_form_sends_nothing_but_the_message(shown, config, route, fields):
    tag = shown().select_one(f"form.{route}")
    form = Form(tag)
    assert (form.method, form.action) == ("post", f"{config.payments_url}/{route}/")
    assert list(form.fields) == fields
    assert len(tag.select("button")) == 1


@of_2024
@pytest.mark.parametrize("route", ["update", "cancel-request"])
def test_updates_and_cancellations_only_name_the_customer(shown, route):
    assert message_of(shown().select_one(f"form.{route}")) == {
        "timestamp": NOW.timestamp(),
        "customer_pk": 1,
        "customer_type": "Registrar",
    }


@of_2024
def test_a_cancellation_takes_two_steps(shown):
    (form,) = offered(shown(), "form.cancel-request")
    assert form.find_parent("details").summary.text == "Cancel the subscription …"
    assert form.button.text == "Yes, cancel it"


# A scheduled downgrade


def in_force(soup):
    """The link limit that the page says is in force."""
    return soup.find(id="in-force")["data-link-limit"]


@of_both
def test_a_scheduled_downgrade_is_shown_beside_the_plan_in_force(shown):
    assert shown().find(id="pending") is None
    soup = shown(**DOWNGRADING)
    assert in_force(soup) == "100"
    assert "$45.00 monthly" in soup.text
    assert soup.find(id="pending")["data-link-limit"] == "10"
    assert soup.find(id="pending").text.startswith("from 2026-04-10:")


@of_both
def test_a_scheduled_downgrade_can_only_be_taken_back(shown):
    shown()
    soup = shown(**DOWNGRADING)
    (form,) = offered(soup, "form.change")
    assert (form["data-kind"], form["data-link-limit"]) == ("take-back", "100")
    message = message_of(form)
    assert (message["amount"], message["recurring_amount"], message["link_limit"]) == ("0.00", "45.00", "100")
    assert message["link_limit_effective_timestamp"] == message["timestamp"] == NOW.timestamp()
    assert len(soup.select('form.change:not([data-kind="take-back"])')) == 3
    assert offered(soup, "form.update")


@of_both
def test_it_can_only_be_tried_while_the_card_is_declined(shown):
    shown()
    soup = shown(**{**DOWNGRADING, "status": "Hold"})
    assert offered(soup, "form.change") == []
    assert soup.select_one('form.change[data-kind="take-back"]')


@of_both
def test_nothing_can_be_taken_back_where_nothing_is_scheduled(shown):
    assert shown().select('form.change[data-kind="take-back"]') == []


@of_both
def test_a_reply_replaces_what_is_known_of_the_plan(shown):
    shown()
    shown(**DOWNGRADING)
    assert in_force(shown(**{**DOWNGRADING, "status": "Canceled"})) == "100"
    begun = {"link_limit_effective_timestamp": "2026-03-10T09:30:00.000000Z", "pending_change": None}
    assert in_force(shown(**{**DOWNGRADING, **begun})) == "10"
    assert in_force(shown(**DOWNGRADING)) == "10"


@of_both
def test_what_is_known_of_the_plan_ends_with_the_subscription(shown):
    shown()
    shown(status=None)
    soup = shown(**DOWNGRADING)
    assert "not known" in soup.text
    assert offered(soup, "form.change") == []
    assert len(soup.select("form.change")) == 1


def test_each_customer_has_a_separate_plan(shown):
    shown("Registrar")
    assert "not known" in shown("Individual", **DOWNGRADING).text


def test_the_client_of_2026_goes_by_pending_change(shown):
    shown()
    assert shown(**{**DOWNGRADING, "pending_change": None}).find(id="pending") is None
    coming = {"rate": "10.00", "link_limit": "5", "effective": "2026-05-01T00:00:00.000000Z"}
    pending = shown(**{**DOWNGRADING, "pending_change": coming}).find(id="pending")
    assert pending["data-link-limit"] == "5"
    assert "$10.00" in pending.text


@of_2024
@pytest.mark.parametrize("pending_change", [..., None, 7])
def test_the_client_of_2024_goes_by_the_time(shown, pending_change):
    fields = {**DOWNGRADING, "pending_change": pending_change}
    if pending_change is ...:
        del fields["pending_change"]
    shown()
    assert shown(**fields).find(id="pending")["data-link-limit"] == "10"


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
