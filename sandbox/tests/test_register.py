"""What CyberSource knows of its subscriptions."""

import pytest
from bs4 import BeautifulSoup

from .builders import PATH_BY_TYPE, signed_form
from .test_checkout import finish, submit

CREATE, UPDATE, SALE_AND_UPDATE = (
    "sale,create_payment_token",
    "update_payment_token",
    "sale,update_payment_token",
)


def transact(client, transaction_type, outcome="accept", finishing=None, **fields):
    """Go through a checkout; the result page. Each has a transaction_uuid of its own."""
    number = len(client.get("/traffic.json").json)
    fields = {"transaction_uuid": f"uuid-{number}", **fields}
    page = submit(client, signed_form(transaction_type, **fields), PATH_BY_TYPE[transaction_type])
    return finish(client, page, outcome, **(finishing or {}))


def registered(client):
    """Reference number, status, rate and token of each subscription, newest first."""
    soup = BeautifulSoup(client.get("/subscriptions/").text, "html.parser")
    return [
        (card.h2.text, *(value.text.strip() for value in card.select("dd")))
        for card in soup.select("#subscriptions li")
    ]


def test_there_are_no_subscriptions_at_first(client):
    assert registered(client) == []
    assert "There are no subscriptions yet." in client.get("/subscriptions/").text


@pytest.mark.parametrize("outcome", ["accept", "review-480"])
def test_an_approved_create_makes_a_subscription(client, merchant, outcome):
    transact(client, CREATE, outcome)
    token = merchant.responses[0]["payment_token"]
    assert registered(client) == [("PERMA-1234-5678", "Current", "45.00 monthly", token)]


@pytest.mark.parametrize(
    "transaction_type, outcome",
    [
        (CREATE, "decline-203"),
        (CREATE, "cancel"),
        (CREATE, "error-150"),
        (CREATE, "review-480-no-token"),
        ("sale", "accept"),
    ],
)
def test_nothing_else_makes_a_subscription(client, transaction_type, outcome):
    transact(client, transaction_type, outcome)
    assert registered(client) == []


def test_a_lost_response_still_makes_a_subscription(client, merchant):
    transact(client, CREATE, finishing={"times": "0"})
    assert merchant.bodies == []
    assert len(registered(client)) == 1


def test_an_update_changes_the_rate_if_it_has_one(client, merchant):
    transact(client, CREATE)
    token = merchant.responses[0]["payment_token"]
    transact(client, SALE_AND_UPDATE, "decline-203", payment_token=token)
    assert registered(client)[0][2] == "45.00 monthly"
    transact(client, SALE_AND_UPDATE, payment_token=token)
    assert registered(client) == [("PERMA-1234-5678", "Current", "120.00 monthly", token)]
    transact(client, UPDATE, payment_token=token)
    assert registered(client) == [("PERMA-1234-5678", "Current", "120.00 monthly", token)]


def test_a_new_token_supersedes_the_old_subscription(client, merchant):
    transact(client, CREATE)
    old = merchant.responses[0]["payment_token"]
    transact(client, SALE_AND_UPDATE, payment_token=old, finishing={"token": "replaced"})
    new = merchant.responses[1]["payment_token"]
    assert registered(client) == [
        ("PERMA-1234-5678", "Current", "120.00 monthly", new),
        ("PERMA-1234-5678", "Superseded", "45.00 monthly", old),
    ]


def test_a_token_older_than_the_sandbox_is_accepted(client):
    transact(client, UPDATE)
    assert registered(client) == [("PERMA-1234-5678", "Current", "unknown", "7408214003316000001234")]
