"""The traffic log, its page and its JSON, the landing page and refusals in general."""

import re

import pytest
from bs4 import BeautifulSoup
from hypothesis import HealthCheck, example, given, settings, strategies as st

from sandbox.app import create_app
from sandbox.config import Config
from sandbox.traffic import TrafficLog

from .builders import FORM_DATA, encoded, signed_form


def test_ids_rise_by_one_and_entries_come_oldest_first():
    log = TrafficLog()
    for word in ("one", "two", "three"):
        log.add("form", word)
    assert [(entry.id, entry.summary) for entry in log.entries()] == [(1, "one"), (2, "two"), (3, "three")]
    assert [entry.id for entry in log.entries(after=2)] == [3]


def test_only_the_newest_entries_are_kept_and_ids_go_on():
    log = TrafficLog(limit=2)
    for _ in range(5):
        log.add("form", "")
    assert [entry.id for entry in log.entries()] == [4, 5]


def test_an_entry_is_one_flat_object():
    entry = TrafficLog().add("form", "words", path="/pay").as_json()
    assert list(entry) == ["id", "at", "kind", "summary", "path"]
    assert entry["at"].endswith("Z")


def post_a_form(client, **changes):
    """Give the log something to show."""
    return client.post("/pay", data=encoded({**signed_form(), **changes}), content_type=FORM_DATA)


def test_a_program_can_read_the_entries_after_a_given_one(client):
    post_a_form(client)
    post_a_form(client)
    first, second = client.get("/traffic.json").json
    assert client.get(f"/traffic.json?after={first['id']}").json == [second]
    assert client.get(f"/traffic.json?after={second['id']}").json == []


@pytest.mark.parametrize("after", ["", "x", "-1", "1.5", "²", "9" * 5000])
def test_after_must_be_a_number(client, after):
    page = client.get("/traffic.json", query_string={"after": after})
    assert page.status_code == 400
    assert "after must be" in page.text


def test_the_page_shows_the_newest_entry_first(client):
    post_a_form(client)
    post_a_form(client, amount="0.01")
    soup = BeautifulSoup(client.get("/traffic/").text, "html.parser")
    refused, accepted = soup.select("li.entry")
    assert "accepted" in accepted.summary.text
    assert "refused 403: the signature does not match the fields" in refused.summary.text
    assert "0.01" in refused.table.text


def test_an_empty_log_says_so(client):
    assert "Nothing has been sent or received yet." in client.get("/traffic/").text
    assert client.get("/traffic.json").json == []


def test_the_landing_page_leads_to_both(client):
    soup = BeautifulSoup(client.get("/").text, "html.parser")
    assert {
        "/settings/usage-plan/",
        "/subscriptions/",
        "/mailbox/",
        "/mailbox.json",
        "/traffic/",
        "/traffic.json",
    } <= {link["href"] for link in soup.select("main a")}


@pytest.mark.parametrize(
    "path", ["/", "/settings/usage-plan/", "/subscriptions/", "/mailbox/", "/traffic/", "/nowhere"]
)
def test_every_page_is_whole_html(client, path):
    page = client.get(path)
    soup = BeautifulSoup(page.text, "html.parser")
    assert page.text.startswith("<!doctype html>")
    assert soup.html["lang"] == "en"
    assert soup.title.text.strip() and len(soup.select("main h1")) == 1
    for control in soup.select("main input:not([type=hidden]), main select"):
        assert soup.select_one(f'label[for="{control["id"]}"]')


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("get", "/nowhere", 404),
        ("post", "/", 405),
        ("get", "/pay", 405),
        ("post", "/traffic.json", 405),
        ("get", "/static/../config.py", 404),
    ],
)
def test_a_wrong_address_or_method_is_refused_with_a_page(client, method, path, status):
    page = getattr(client, method)(path)
    assert page.status_code == status
    assert BeautifulSoup(page.text, "html.parser").select_one("main p").text
    if status == 405:
        assert page.headers["Allow"]


def test_an_address_without_its_trailing_slash_redirects(client):
    assert client.get("/traffic").status_code == 308


PATHS = [re.sub("<.*?>", "7", rule.rule) for rule in create_app(Config()).url_map.iter_rules()]
ASCII = st.characters(codec="ascii", exclude_characters="\r\n")


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS", "TRACE"]),
    path=st.sampled_from([*PATHS, "/%00", "/\ufffd"]),
    query=st.text(ASCII, max_size=40),
    body=st.binary(max_size=200),
    content_type=st.sampled_from([FORM_DATA, "multipart/form-data", "text/plain; charset=nonsense", ""]),
    cookie=st.text(ASCII, max_size=30),
)
@example(method="POST", path="/pay", query="", body=b"", cookie="", content_type=f"{FORM_DATA}; charset=utf-16")
def test_no_request_is_a_server_error(client, method, path, query, body, content_type, cookie):
    headers = {"Cookie": f"sandbox_customer={cookie}"}
    answer = client.open(
        path, method=method, query_string=query, data=body, content_type=content_type, headers=headers
    )
    assert answer.status_code < 500
