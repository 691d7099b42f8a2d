"""Perma.cc's settings page, and how it reads the answers of Perma Payments."""

import json
import threading

import pytest
import requests
from bs4 import BeautifulSoup
from hypothesis import HealthCheck, given, settings, strategies as st
from werkzeug.wrappers import Request, Response

from sandbox.app import create_app
from sandbox.config import Config
from sandbox.perma.replies import read_status_reply
from sandbox.perma.store import CUSTOMERS, DEFAULT_CUSTOMER

from .builders import NOW, OF_2024, OF_2026, of_2024, of_both
from .forms import Form
from .replies import DOWNGRADING, SUBSCRIPTION, payments_box, reply, sealed, show
from .servers import closed_port


def assert_unavailable(soup, *words):
    """Assert that the page says that Perma Payments is not available, and why."""
    text = soup.find(id="unavailable").get_text(" ", strip=True)
    assert text.startswith("Perma Payments is not available.")
    for word in words:
        assert word in text


# The call


def test_the_status_is_requested_with_a_sealed_post(client, merchant):
    asked = []

    def answer(request: Request):
        asked.append((request.method, request.path, request.form.to_dict()))
        return sealed(reply())

    merchant.answer = answer
    show(client)
    method, path, form = asked[0]
    assert (method, path, set(form)) == ("POST", "/subscription/", {"encrypted_data"})
    assert payments_box().open(form["encrypted_data"]) == {
        "timestamp": NOW.timestamp(),
        "customer_pk": 1,
        "customer_type": "Registrar",
    }


def test_the_call_is_in_the_traffic_with_status_and_reply(client, merchant):
    merchant.answer = sealed(reply(subscription=SUBSCRIPTION))
    show(client)
    (entry,) = [e for e in client.get("/traffic.json").json if e["kind"] == "status-call"]
    assert entry["status"] == 200
    assert entry["sent"]["customer_pk"] == 1
    assert entry["reply"]["subscription"] == SUBSCRIPTION
    assert entry["problem"] is None


# Showing a good reply


def test_without_a_subscription_the_plans_are_offered(client, merchant):
    merchant.answer = sealed(reply())
    soup = show(client)
    assert soup.find(id="status").get_text(strip=True) == "No subscription."
    assert len(soup.select("form.subscribe")) == 8
    assert not soup.select("details form.subscribe")


@of_both
@pytest.mark.parametrize("status", ["Current", "Hold", "Canceled", "Cancellation Requested"])
def test_a_subscription_is_shown_and_the_plans_are_folded_away(client, merchant, status):
    merchant.answer = sealed(reply(subscription={**SUBSCRIPTION, "status": status}))
    soup = show(client)
    assert soup.find(id="status")["data-status"] == status
    assert "does not know" not in soup.text
    for words in ("$45.00 monthly", "2026-04-10 00:00 UTC", "PERMA-1234-5678"):
        assert words in soup.text
    assert len(soup.select("form.subscribe")) == len(soup.select("details form.subscribe")) == 8


def test_an_unknown_status_is_shown_as_such(client, merchant):
    merchant.answer = sealed(reply(subscription={**SUBSCRIPTION, "status": "<i>Odd"}))
    soup = show(client)
    assert soup.find(id="status")["data-status"] == "<i>Odd"
    assert "does not know" in soup.text


def test_the_opened_reply_is_shown(client, merchant):
    merchant.answer = sealed(reply(subscription=SUBSCRIPTION, extra="ü"))
    assert json.loads(show(client).find(id="opened-reply").text)["extra"] == "ü"


# Answers that are off


@pytest.mark.parametrize(
    "answer, words",
    [
        (Response("oops", 400), "answered 400"),
        (Response("oops", 500), "answered 500"),
        (Response("", 301, {"Location": "/"}), "answered 301"),
        (Response("<html>"), "not JSON"),
        (Response(b"\xff\xfe\xff"), "not JSON"),
        (Response("[" * 100_000), "not JSON"),
        (Response("x" * 2_000_000), "too long"),
        (Response("{}"), "no encrypted_data"),
        (Response('{"encrypted_data": 7}'), "no encrypted_data"),
        (Response('{"encrypted_data": "eHh4"}'), "cannot be opened"),
        (Response("{}", headers={"Content-Encoding": "gzip"}), "could not be reached"),
    ],
)
def test_an_unusable_answer_is_shown_with_the_reason(client, merchant, answer, words):
    merchant.answer = answer
    soup = show(client)
    assert_unavailable(soup, words)
    assert soup.find(id="status") is None
    assert len(soup.select("details form.subscribe")) == 8


@pytest.mark.parametrize(
    "changes",
    [
        {"timestamp": ...},
        {"timestamp": NOW.timestamp() - 121},
        {"timestamp": NOW.timestamp() + 121},
        {"timestamp": "1773135000"},
        {"timestamp": 10**400},
        {"customer_pk": "1"},
        {"customer_pk": 2},
        {"customer_pk": True},
        {"customer_type": "Individual"},
        {"subscription": ...},
        {"subscription": []},
        {"purchases": ...},
        {"purchases": {}},
        {"purchases": [{}]},
        {"purchases": [{"id": 1, "link_quantity": "10"}]},
        {"purchases": [{"id": None, "link_quantity": 10}]},
    ],
)
def test_an_unreadable_reply_is_not_available(client, merchant, changes):
    merchant.answer = sealed(reply(**changes))
    soup = show(client)
    assert_unavailable(soup, "cannot be read")
    assert soup.find(id="opened-reply") is not None


@pytest.mark.parametrize(
    "name, value",
    [
        ("status", ""),
        ("status", 7),
        ("rate", 45.0),
        ("rate", "45"),
        ("rate", "1e999999999"),
        ("frequency", "semi-annually"),
        ("link_limit", 100),
        ("link_limit", "many"),
        ("link_limit_effective_timestamp", "2026-03-10T09:30:00Z"),
        ("paid_through", None),
        ("paid_through", "2026-03-31"),
        ("paid_through", 1773135000.0),
        ("reference_number", None),
    ],
)
@of_both
def test_an_unreadable_subscription_is_not_available(client, merchant, name, value):
    merchant.answer = sealed(reply(subscription={**SUBSCRIPTION, name: value}))
    assert_unavailable(show(client), name)


def read(perma_client, subscription):
    """Read a reply about a subscription."""
    return read_status_reply(reply(subscription=subscription), DEFAULT_CUSTOMER, NOW, perma_client=perma_client)


@pytest.mark.parametrize(
    "perma_client, name",
    [
        (client, name)
        for client in (OF_2024, OF_2026)
        for name in SUBSCRIPTION
        if (client, name) != (OF_2024, "pending_change")
    ],
)
def test_a_subscription_without_any_of_its_fields_is_not_read(perma_client, name):
    subscription = {n: v for n, v in SUBSCRIPTION.items() if n != name}
    with pytest.raises(ValueError, match=name):
        read(perma_client, subscription)


@pytest.mark.parametrize("value", [..., {}, [], "", 7, False])
@pytest.mark.parametrize("name", list(DOWNGRADING["pending_change"]))
def test_a_pending_change_is_read_strictly(name, value):
    pending = {**DOWNGRADING["pending_change"], name: value}
    if value is ...:
        del pending[name]
    with pytest.raises(ValueError, match=f"in its pending_change, its {name} is"):
        read(OF_2026, {**DOWNGRADING, "pending_change": pending})


@pytest.mark.parametrize("value", [False, 0, "", [], "null"])
def test_a_pending_change_is_null_or_an_object(value):
    with pytest.raises(ValueError, match="neither null nor an object"):
        read(OF_2026, {**DOWNGRADING, "pending_change": value})


def test_only_the_client_of_2026_can_do_without_the_limits_time():
    subscription = {**SUBSCRIPTION, "link_limit_effective_timestamp": None}
    assert read(OF_2026, subscription).subscription.link_limit_effective is None
    with pytest.raises(ValueError, match="link_limit_effective_timestamp"):
        read(OF_2024, subscription)


def test_a_subscription_without_that_time_is_shown(client, merchant):
    merchant.answer = sealed(reply(subscription={**SUBSCRIPTION, "link_limit_effective_timestamp": None}))
    assert show(client).find(id="in-force").text.strip() == "100"


def test_the_page_says_why_the_client_of_2026_fails_without_pending_change(client, merchant):
    subscription = {name: value for name, value in SUBSCRIPTION.items() if name != "pending_change"}
    merchant.answer = sealed(reply(subscription=subscription))
    assert_unavailable(show(client), "it has no pending_change, not even null")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(
    st.sampled_from([OF_2024, OF_2026]),
    st.one_of(
        st.dictionaries(st.sampled_from(sorted(reply())), json_values, max_size=1),
        st.builds(
            lambda name, value: {"subscription": {**SUBSCRIPTION, name: value}},
            st.sampled_from(sorted(SUBSCRIPTION)),
            json_values,
        ),
    ),
)
def test_no_reply_raises_anything_but_a_value_error(perma_client, changes):
    try:
        read_status_reply(reply(**changes), DEFAULT_CUSTOMER, NOW, perma_client=perma_client)
    except ValueError as error:
        assert str(error)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(body=st.binary(max_size=200), status=st.integers(200, 599))
def test_every_answer_leads_to_a_page(client, merchant, body, status):
    merchant.answer = Response(body, status)
    assert_unavailable(show(client))


def test_an_answer_that_comes_too_late_is_not_available(client, merchant, monkeypatch):
    monkeypatch.setattr("sandbox.perma.client.TIMEOUT_SECONDS", 0.05)
    gone = threading.Event()

    def answer(request):
        assert gone.wait(30)
        return sealed(reply())

    merchant.answer = answer
    try:
        assert_unavailable(show(client), "no answer within")
    finally:
        gone.set()


@pytest.mark.parametrize("perma_client, seconds", [(OF_2024, 2), (OF_2026, 3)])
def test_each_client_waits_as_long_as_it_does(app, monkeypatch, seconds):
    waited = []

    def post(session, url, *, timeout, **options):
        waited.append(timeout)
        raise requests.Timeout

    monkeypatch.setattr("sandbox.perma.client.TIMEOUT_SECONDS", None)
    monkeypatch.setattr("requests.Session.post", post)
    assert_unavailable(show(app.test_client()), f"no answer within {seconds} seconds")
    assert waited == [seconds]


def test_a_service_that_is_down_is_not_available(clock):
    config = Config(payments_url=f"http://127.0.0.1:{closed_port()}")
    assert_unavailable(show(create_app(config, clock).test_client()), "could not be reached")


# Choosing a customer


def test_the_list_has_all_customers_and_selects_the_current(client, merchant):
    soup = show(client, "/settings/usage-plan/?customer=Individual-7")
    options = soup.select("#customer option")
    assert [option["value"] for option in options] == [customer.key for customer in CUSTOMERS]
    assert [o["value"] for o in options if o.has_attr("selected")] == ["Individual-7"]


def test_a_customer_beyond_the_list_can_be_chosen(client):
    soup = show(client, "/settings/usage-plan/?customer=Registrar-4711")
    assert soup.select_one("#customer option[selected]")["value"] == "Registrar-4711"


def test_the_customer_chosen_last_stays_selected(client):
    def chosen():
        soup = show(client, "/settings/usage-plan/")
        return soup.select_one("#customer option[selected]")["value"]

    assert chosen() == "Registrar-1"
    show(client, "/settings/usage-plan/?customer=Individual-3")
    assert chosen() == "Individual-3"


def test_a_malformed_cookie_is_ignored(client):
    client.set_cookie("sandbox_customer", "Registrar-x")
    soup = show(client, "/settings/usage-plan/")
    assert soup.select_one("#customer option[selected]")["value"] == "Registrar-1"


@pytest.mark.parametrize("key", ["", "Registrar-0", "nobody", "%FF", "'%22><script>"])
def test_an_unknown_customer_is_a_404_with_a_sentence(client, key):
    page = client.get(f"/settings/usage-plan/?customer={key}")
    assert page.status_code == 404
    assert "There is no such customer." in page.text


# Coming back


@pytest.mark.parametrize(
    "query, parameter",
    [
        ("subscription=success", "subscription=success"),
        ("subscription=canceled", "subscription=canceled"),
        ("purchase=success", "purchase=success"),
        ("purchase=canceled", "purchase=canceled"),
        ("change=success", "change=success"),
        ("change=canceled", "change=canceled"),
        ("update=success", "update=success"),
        ("customer=Registrar-1&update=success", "update=success"),
        ("update=canceled", None),
        ("subscription=bogus&foo=success", None),
        ("Subscription=success", None),
        ("subscription=", None),
        ("", None),
    ],
)
def test_a_returning_customer_is_told_what_the_page_knows(client, query, parameter):
    told = show(client, f"/settings/usage-plan/?{query}").select_one("#returned")
    assert (told and told["data-parameter"]) == parameter
    assert told is None or told.text.strip()


@of_2024
def test_the_client_of_2024_tells_a_returning_customer_nothing(client):
    assert show(client, "/settings/usage-plan/?subscription=success").select_one("#returned") is None


@of_both
def test_the_older_address_redirects_without_the_query(client):
    answer = client.get("/settings/subscription/?subscription=success")
    assert (answer.status_code, answer.location) == (302, "/settings/usage-plan/")


@of_both
@pytest.mark.parametrize(
    "path", ["/", "/settings/usage-plan/", "/subscriptions/", "/mailbox/", "/traffic/", "/none"]
)
def test_every_page_says_which_client_is_played(client, perma_client, path):
    header = BeautifulSoup(client.get(path).text, "html.parser").header
    assert f"client of {perma_client.year}" in header.text


# The forms


def test_each_plan_is_a_form_with_its_own_message(client, merchant, config):
    merchant.answer = sealed(reply())
    forms = [Form(tag) for tag in show(client).select("form.subscribe")]
    assert {form.action for form in forms} == {f"{config.payments_url}/subscribe/"}
    assert {form.method for form in forms} == {"post"}
    assert all(list(form.fields) == ["encrypted_data"] for form in forms)
    values = [form.fields["encrypted_data"] for form in forms]
    assert len({value[:32] for value in values}) == 8
    messages = [payments_box().open(value) for value in values]
    assert len({(m["recurring_frequency"], m["link_limit"]) for m in messages}) == 8
    assert {(m["customer_pk"], m["customer_type"]) for m in messages} == {(1, "Registrar")}
    assert {m["timestamp"] for m in messages} == {NOW.timestamp()}


def test_a_reloaded_page_has_new_messages(client, merchant):
    merchant.answer = sealed(reply())
    pages = [{tag["value"] for tag in show(client).select("input[name=encrypted_data]")} for _ in range(2)]
    assert not pages[0] & pages[1]


def test_the_opened_messages_of_a_page_are_in_the_traffic(client, merchant):
    merchant.answer = sealed(reply())
    values = {tag["value"] for tag in show(client).select("input[name=encrypted_data]")}
    entry = client.get("/traffic.json").json[-1]
    assert (entry["kind"], entry["customer"]) == ("page-messages", "Registrar-1")
    assert {message["encrypted_data"] for message in entry["messages"]} == values
    assert all(
        payments_box().open(message["encrypted_data"]) == message["message"] for message in entry["messages"]
    )


def test_the_page_is_not_cached(client):
    assert client.get("/settings/usage-plan/").headers["Cache-Control"] == "no-store"
