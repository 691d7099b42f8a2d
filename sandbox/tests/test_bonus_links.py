"""Bonus links: crediting purchases once, and the purchase history."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from hypothesis import given, settings, strategies as st
from werkzeug.wrappers import Response

from sandbox.perma.replies import read_history_reply
from sandbox.perma.store import DEFAULT_CUSTOMER

from .builders import NOW, of_2024, of_both
from .forms import Form
from .replies import HISTORY, answers, history_reply, payments_box, reply, sealed, show

PURCHASES = [{"id": 5, "link_quantity": 10}, {"id": 6, "link_quantity": 100}]
OFFERED = sealed(reply(purchases=PURCHASES))


def credited(soup):
    """How many bonus links the page says were credited."""
    return int(soup.find(id="bonus-links")["data-links"])


def calls(client, kind):
    """The calls of a kind in the traffic."""
    return [entry for entry in client.get("/traffic.json").json if entry["kind"] == kind]


# Crediting


@of_both
def test_what_is_acknowledged_is_credited(client, merchant):
    merchant.answer = answers(status=OFFERED)
    soup = show(client)
    assert credited(soup) == 110
    assert [tag.text.strip() for tag in soup.select(".crediting")] == [
        "Just credited: 10 links of purchase 5.",
        "Just credited: 100 links of purchase 6.",
    ]


def test_an_acknowledgement_does_not_name_the_customer(client, merchant):
    merchant.answer = answers(status=OFFERED)
    show(client)
    first, second = calls(client, "acknowledge-call")
    assert first["sent"] == {"timestamp": NOW.timestamp(), "purchase_pk": 5}
    assert second["sent"]["purchase_pk"] == 6
    assert (first["status"], first["reply"], first["problem"]) == (200, {"status": "ok"}, None)
    _path, body = next(
        pair
        for pair in zip(merchant.paths, merchant.responses, strict=True)
        if pair[0] == "POST /acknowledge-purchase/"
    )
    assert payments_box().open(body["encrypted_data"]) == first["sent"]


@pytest.mark.parametrize(
    "answer, words",
    [
        (Response('{"status": "refused"}', 400), "it answered 400"),
        (Response("", 302, {"Location": "/"}), "it answered 302"),
        (Response("", 500), "it answered 500"),
    ],
)
def test_what_is_not_acknowledged_is_not_credited(client, merchant, answer, words):
    merchant.answer = answers(status=OFFERED, acknowledge=answer)
    soup = show(client)
    assert credited(soup) == 0
    assert words in soup.select_one(".crediting.note").text
    assert "Not credited: 10 links of purchase 5" in soup.select_one(".crediting").text


def test_any_2xx_counts_whatever_it_says(client, merchant):
    merchant.answer = answers(status=OFFERED, acknowledge=Response("", 204))
    assert credited(show(client)) == 110


def test_a_late_answer_to_an_acknowledgement_does_not_count(client, merchant, monkeypatch):
    merchant.answer = answers(status=OFFERED)
    post = requests.Session.post

    def impatient_post(session, url, **options):
        if url.endswith("/acknowledge-purchase/"):
            raise requests.Timeout
        return post(session, url, **options)

    monkeypatch.setattr("requests.Session.post", impatient_post)
    soup = show(client)
    assert credited(soup) == 0
    assert "no answer within" in soup.select_one(".crediting").text


def test_each_customer_has_a_separate_counter(client, merchant):
    merchant.answer = answers(status=OFFERED)
    show(client)
    merchant.answer = answers()
    assert credited(show(client)) == 110
    assert credited(show(client, "/settings/usage-plan/?customer=Individual-1")) == 0


@of_both
def test_pages_that_load_at_once_credit_once(app, merchant):
    both_have_it, lock, taken = threading.Barrier(2, timeout=30), threading.Lock(), []

    def acknowledge(request):
        both_have_it.wait()
        with lock:
            taken.append(request.path)
            return Response("", 200 if len(taken) == 1 else 400)

    def answer(request):
        if request.path == "/acknowledge-purchase/":
            return acknowledge(request)
        return answers(status=sealed(reply(purchases=PURCHASES[:1])))(request)

    merchant.answer = answer
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(show, [app.test_client(), app.test_client()]))
    assert len(taken) == 2
    merchant.answer = answers()
    assert credited(show(app.test_client())) == 10


def test_two_accepted_acknowledgements_credit_twice(client, merchant):
    merchant.answer = answers(status=OFFERED)
    show(client)
    assert credited(show(client)) == 220


# The history


@of_2024
def test_the_history_lists_purchases(client, merchant):
    merchant.answer = answers(history=sealed(history_reply(HISTORY)))
    (line,) = show(client).select("#history li")
    assert [span.text for span in line.select("span")] == ["2026-03-09 08:00 UTC", "10 links", "PERMA-0000-0005"]
    (call,) = calls(client, "history-call")
    assert call["sent"] == {"timestamp": NOW.timestamp(), "customer_pk": 1, "customer_type": "Registrar"}
    assert call["reply"]["purchase_history"] == HISTORY


@of_2024
def test_an_empty_history_says_so(client, merchant):
    merchant.answer = answers()
    assert "Nothing has been bought yet." in show(client).text


@of_2024
@pytest.mark.parametrize(
    "answer, words",
    [
        (Response("", 500), "it answered 500"),
        (sealed(history_reply([{**HISTORY[0], "date": "2026-03-09T08:00:00Z"}])), "its date"),
        (sealed(reply()), "its purchase_history is not a list"),
    ],
)
def test_an_unreadable_history_leaves_the_rest_of_the_page(client, merchant, answer, words):
    merchant.answer = answers(history=answer)
    soup = show(client)
    assert words in soup.find(id="history-unavailable").text
    assert soup.find(id="status")


def test_the_client_of_2026_has_no_history(client, merchant):
    merchant.answer = answers(history=sealed(history_reply(HISTORY)))
    assert show(client).find(id="history-heading") is None
    assert calls(client, "history-call") == []


@of_2024
def test_without_a_status_the_history_is_not_requested(client, merchant):
    merchant.answer = answers(status=Response("", 500), history=Response("", 500))
    assert show(client).find(id="history-unavailable") is None
    assert calls(client, "history-call") == []


@pytest.mark.parametrize("name", list(HISTORY[0]))
def test_a_purchase_without_any_of_its_fields_is_not_read(name):
    purchase = {n: v for n, v in HISTORY[0].items() if n != name}
    with pytest.raises(ValueError, match=name):
        read_history_reply(history_reply([purchase]), DEFAULT_CUSTOMER, NOW)


@pytest.mark.parametrize(
    "changes", [{"timestamp": NOW.timestamp() - 121}, {"customer_pk": 2}, {"customer_type": "Individual"}]
)
def test_an_old_or_another_customers_history_is_not_read(changes):
    with pytest.raises(ValueError):
        read_history_reply(history_reply(HISTORY, **changes), DEFAULT_CUSTOMER, NOW)


@settings(max_examples=50)
@given(
    name=st.sampled_from(list(HISTORY[0])),
    value=st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just([])),
)
def test_no_history_raises_anything_but_a_value_error(name, value):
    try:
        read_history_reply(history_reply([{**HISTORY[0], name: value}]), DEFAULT_CUSTOMER, NOW)
    except ValueError as error:
        assert str(error)


# Acknowledging again


def acknowledge_again(client, **changes):
    """Press the button beside the first purchase that was offered."""
    form = Form(show(client).select_one("form.acknowledge"))
    return client.post(form.path, data={**form.fields, **changes})


def test_a_refused_second_acknowledgement_credits_nothing(client, merchant):
    merchant.answer = answers(status=OFFERED, acknowledge=Response("", 400))
    page = acknowledge_again(client)
    assert page.status_code == 200
    assert "Nothing was credited: it answered 400." in page.text
    assert 'data-links="0"' in page.text
    assert [call["sent"]["purchase_pk"] for call in calls(client, "acknowledge-call")] == [5, 6, 5]


def test_an_accepted_second_acknowledgement_is_a_mistake(client, merchant):
    merchant.answer = answers(status=OFFERED)
    page = acknowledge_again(client)
    assert 'data-links="120"' in page.text
    assert "this is a mistake" in page.text


@pytest.mark.parametrize(
    "changes, status",
    [
        ({"customer": "nobody"}, 404),
        ({"purchase_pk": "x"}, 400),
        ({"purchase_pk": "²"}, 400),
        ({"link_quantity": "-1"}, 400),
        ({"link_quantity": "9" * 19}, 400),
    ],
)
def test_a_meaningless_acknowledgement_is_refused(client, merchant, changes, status):
    merchant.answer = answers(status=OFFERED)
    assert acknowledge_again(client, **changes).status_code == status
    assert len(calls(client, "acknowledge-call")) == 2
