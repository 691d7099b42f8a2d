"""The traffic log, its page and its JSON, the landing page and refusals in general."""

import threading

import pytest
from bs4 import BeautifulSoup
from hypothesis import HealthCheck, example, given, settings, strategies as st

from sandbox.traffic import TrafficLog

from .builders import encoded, signed_form


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


def test_entries_of_many_threads_have_different_ids():
    log = TrafficLog()

    def add():
        for _ in range(50):
            log.add("form", "")

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.id for entry in log.entries()] == list(range(1, 401))


def test_an_entry_is_one_flat_object():
    entry = TrafficLog().add("form", "words", path="/pay").as_json()
    assert list(entry) == ["id", "at", "kind", "summary", "path"]
    assert entry["at"].endswith("Z")


def post_a_form(client, **changes):
    """Give the log something to show."""
    return client.post(
        "/pay", data=encoded({**signed_form(), **changes}), content_type="application/x-www-form-urlencoded"
    )


def test_a_client_can_read_what_came_after_an_entry(client):
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


def test_the_page_shows_the_newest_first_with_the_verdict(client):
    post_a_form(client)
    post_a_form(client, amount="0.01")
    soup = BeautifulSoup(client.get("/traffic/").text, "html.parser")
    refused, accepted = soup.select("li.entry")
    assert "accepted" in accepted.summary.text
    assert "refused 403: the signature does not match the fields" in refused.summary.text
    assert "0.01" in refused.table.text


def test_an_empty_log_is_said(client):
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
        ("delete", "/pay", 405),
        ("get", "/pay", 405),
        ("put", "/settings/usage-plan/", 405),
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


def test_an_address_without_its_last_slash_leads_on(client):
    assert client.get("/traffic").status_code == 308


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS", "PATCH", "TRACE"]),
    path=st.sampled_from(
        [
            "/",
            "/settings/subscription/",
            "/settings/usage-plan/",
            "/settings/subscription/acknowledge",
            "/subscriptions/",
            "/subscriptions/status",
            "/subscriptions/export.csv",
            "/mailbox/",
            "/mailbox.json",
            "/mailbox/mode",
            "/admin/perma/registrar/7/change/",
            "/traffic/",
            "/traffic.json",
            "/pay",
            "/oneclick/pay",
            "/token/update",
            "/checkout/x",
            "/checkout/x/result",
            "/\ud83d",
            "/%00",
        ]
    ),
    query=st.text(st.characters(codec="ascii", exclude_characters="\r\n"), max_size=40),
    body=st.binary(max_size=200),
    content_type=st.sampled_from(
        [
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "multipart/form-data",
            "application/json",
            "text/plain; charset=nonsense",
            "",
        ]
    ),
    cookie=st.text(st.characters(codec="ascii", exclude_characters="\r\n"), max_size=30),
)
@example(
    method="POST",
    path="/pay",
    query="",
    body=b"",
    cookie="",
    content_type="application/x-www-form-urlencoded; charset=utf-16",
)
def test_whatever_arrives_there_is_no_server_error(client, method, path, query, body, content_type, cookie):
    answer = client.open(
        path.encode("utf-8", "replace").decode(),
        method=method,
        query_string=query,
        data=body,
        content_type=content_type,
        headers={"Cookie": f"sandbox_customer={cookie}"},
    )
    assert answer.status_code < 500
