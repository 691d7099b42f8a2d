"""The Business Center: statuses that are set there, and the list that it exports."""

import csv
import io

import pytest
from bs4 import BeautifulSoup

from .builders import NOW
from .test_register import CREATE, UPDATE, registered, transact

EXPORT = "/subscriptions/export.csv"
HEADER = ["Subscription ID", "Merchant Reference Code", "Customer Name", "Amount", "Currency", "Status"]


def lines(client, query=""):
    """The lines of an export, taken apart."""
    answer = client.get(EXPORT + query)
    assert answer.status_code == 200
    return list(csv.reader(io.StringIO(answer.get_data().decode("utf-8"), newline="")))


def set_status(client, token, status):
    return client.post("/subscriptions/status", data={"token": token, "status": status})


@pytest.fixture
def token(client, merchant):
    """The id of a subscription that has just been made."""
    transact(client, CREATE)
    return merchant.responses[0]["payment_token"]


@pytest.mark.parametrize("status", ["HOLD", "CANCELED", "COMPLETED", "SUPERSEDED", "CURRENT"])
def test_a_status_that_is_set_is_shown_and_exported(client, token, status):
    answer = set_status(client, token, status)
    assert (answer.status_code, answer.location) == (303, "/subscriptions/")
    assert registered(client) == [("PERMA-1234-5678", status.title(), "45.00 monthly", token)]
    assert lines(client)[-1][-1] == status


def test_the_form_shows_the_current_status(client, token):
    set_status(client, token, "HOLD")
    form = BeautifulSoup(client.get("/subscriptions/").text, "html.parser").select_one("form")
    assert form.select_one("option[selected]")["value"] == "HOLD"
    assert form.select_one("[name=token]")["value"] == token
    assert form["action"] == "/subscriptions/status"


def test_a_status_stays_when_the_card_is_updated(client, token):
    set_status(client, token, "HOLD")
    transact(client, UPDATE, payment_token=token)
    assert registered(client)[0][1] == "Hold"


def test_setting_a_status_tells_perma_payments_nothing(client, merchant, token):
    set_status(client, token, "HOLD")
    assert len(merchant.responses) == 1


@pytest.mark.parametrize(
    "fields, status, words",
    [
        ({"token": "1", "status": "HOLD"}, 404, "no such subscription"),
        ({"status": "HOLD"}, 404, "no such subscription"),
        ({"token": "1", "status": "Gone"}, 400, "status must be one of CURRENT, HOLD"),
        ({}, 400, "status must be one of"),
    ],
)
def test_an_impossible_status_is_refused_with_a_sentence(client, fields, status, words):
    answer = client.post("/subscriptions/status", data=fields)
    assert answer.status_code == status
    assert words in answer.text


def test_the_export_has_four_lines_before_the_header(client, token):
    answer = client.get(EXPORT)
    assert answer.content_type == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="subscriptions.csv"'
    assert lines(client) == [
        ["Subscription Search Results"],
        ["Merchant ID: sandbox_merchant"],
        [f"Date: {NOW:%b %d %Y}"],
        [],
        HEADER,
        [token, "PERMA-1234-5678", "Example, Erin", "45.00", "USD", "CURRENT"],
    ]


def test_without_subscriptions_the_export_has_only_a_header(client):
    assert lines(client)[4:] == [HEADER]


def test_the_statuses_can_be_in_title_case(client, token):
    set_status(client, token, "CANCELED")
    assert lines(client, "?case=title")[-1][-1] == "Canceled"
    assert lines(client, "?case=upper")[-1][-1] == "CANCELED"


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 7, 100])
def test_the_number_of_lines_before_the_header_can_be_chosen(client, count):
    assert lines(client, f"?preamble={count}").index(HEADER) == count


@pytest.mark.parametrize("count", [1, 50_000])
def test_extra_rows_are_distinct_unknown_subscriptions(client, token, count):
    rows = lines(client, f"?extra={count}")[5:]
    assert rows[0][0] == token
    assert len(rows) == count + 1
    assert len({row[0] for row in rows}) == len({row[1] for row in rows}) == count + 1
    assert not any(row[1].startswith("PERMA-") for row in rows[1:])


@pytest.mark.parametrize(
    "query, words",
    [
        ("case=lower", "case must be one of upper, title."),
        ("preamble=-1", "preamble must be a whole number from 0 to 100."),
        ("preamble=101", "preamble must be a whole number from 0 to 100."),
        ("extra=50001", "extra must be a whole number from 0 to 50000."),
        ("extra=", "extra must be a whole number"),
        ("extra=%C2%B2", "extra must be a whole number"),
        ("extra=" + "9" * 5000, "extra must be a whole number"),
    ],
)
def test_an_impossible_export_is_refused_with_a_sentence(client, query, words):
    answer = client.get(f"{EXPORT}?{query}")
    assert answer.status_code == 400
    assert words in answer.text


def test_every_link_to_an_export_leads_to_one(client, token):
    soup = BeautifulSoup(client.get("/subscriptions/").text, "html.parser")
    links = [link["href"] for link in soup.select("main a")]
    assert len(links) == 6
    for link in links:
        assert HEADER in lines(client, link.removeprefix(EXPORT))


def test_the_landing_page_calls_it_the_business_center(client):
    soup = BeautifulSoup(client.get("/").text, "html.parser")
    assert soup.find("a", string="Business Center")["href"] == "/subscriptions/"
