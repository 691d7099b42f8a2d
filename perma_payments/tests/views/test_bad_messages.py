"""Bad forms, boxes, and messages on every route: refused without a 5xx, a change, or a payload in the log."""

import base64
import json
import math
from typing import Any
from urllib.parse import urlencode

import pytest
from django.http import HttpResponse

from .. import perma_cc
from ..conftest import FORM
from ..pages import checkout_form
from ..parameters import in_turn
from .conftest import Refused, valid_form
from .routes import (
    ACKNOWLEDGE_PURCHASE,
    CHANGE,
    MESSAGE_ROUTES,
    PURCHASE,
    ROUTES,
    SUBSCRIBE,
    SUBSCRIPTION,
    TYPICAL_MESSAGE_ROUTES,
    TYPICAL_ROUTES,
    Route,
)
from .traces import MARKER

every_route = pytest.mark.parametrize("route", ROUTES, ids=str)
every_message_route = pytest.mark.parametrize("route", MESSAGE_ROUTES, ids=str)
typical_routes = pytest.mark.parametrize("route", TYPICAL_ROUTES, ids=str)
typical_message_routes = pytest.mark.parametrize("route", TYPICAL_MESSAGE_ROUTES, ids=str)


# --- What the tests below break is valid ------------------------------------------------------------


@every_route
def test_a_valid_form_is_accepted(client, stock, route):
    response = client.generic("POST", route.path, urlencode(valid_form(route, stock)), FORM)

    assert response.status_code == route.post


# --- Boxes ------------------------------------------------------------------------------------------


def sealed(route: Route) -> bytes:
    """The bytes of a valid message's box."""
    return base64.b64decode(perma_cc.form(route.name)["encrypted_data"])


def refuse_box(refused: Refused, route: Route, encrypted_data: str, *, reason: str) -> None:
    refused(route, urlencode({"encrypted_data": encrypted_data}), reason=reason)


@in_turn(
    "route, text",
    TYPICAL_MESSAGE_ROUTES,
    [
        "",
        " ",
        "=",
        "====",
        "a",
        "AAAA=",
        "!!!!",
        f"{MARKER}!",
        "\x00",
        "AAAA\x00",
        "ÄÖÜß",
        "\U0001f4b3" * 9,
        "\ufffd",
        "-_-_" * 20,
        "AAAA" * 9 + "\n",
        "AAAA AAAA",
        "[]",
        "null",
        "x" * 16_385,
        "A" * 200_000,
    ],
)
def test_text_that_is_not_a_box_is_refused(refused, route, text):
    refuse_box(refused, route, text, reason="Unreadable")


@in_turn("route, length", TYPICAL_MESSAGE_ROUTES, [0, 1, 23, 24, 25, 39, 40, 41, -1])
def test_a_truncated_box_is_refused(refused, route, length):
    refuse_box(refused, route, base64.b64encode(sealed(route)[:length]).decode(), reason="Unreadable")


@typical_message_routes
def test_a_box_without_its_base64_padding_is_refused(refused, route):
    plaintext = json.dumps(perma_cc.fields(route.name)).encode()
    boxes = (perma_cc.seal(plaintext + b" " * spaces) for spaces in range(3))
    padded = next(box for box in boxes if box.endswith("="))
    refuse_box(refused, route, padded.rstrip("="), reason="not base64")


# --- Messages (all rules for their values are tested in tests/perma) --------------------------------


def refuse_contents(refused: Refused, route: Route, contents: Any, *, reason: str = "WrongShape") -> HttpResponse:
    return refused(route, urlencode({"encrypted_data": perma_cc.seal(contents)}), reason=reason)


@in_turn(
    "route, contents",
    MESSAGE_ROUTES,
    [
        b"",
        b" ",
        b"null",
        b"true",
        b"1",
        b"NaN",
        b"[]",
        b'"%s"' % MARKER.encode(),
        b"{}",
        b"[{}]",
        b"{",
        b"{'timestamp': 1}",
        MARKER.encode(),
        b"\xff",
        b"\xed\xa0\x80",
        b"\x00",
        b'{"timestamp": 1}\x00',
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b'{"timestamp": %s}' % (b"9" * 5000),
        b"[" * 6000 + b"]" * 6000,
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
    ],
)
def test_a_box_without_a_message_is_refused(refused, route, contents):
    refuse_contents(refused, route, contents)


@in_turn("route, deep", MESSAGE_ROUTES, ['{"a":' * 1500 + "1" + "}" * 1500, "[" * 5000 + "]" * 5000])
def test_a_deeply_nested_value_is_refused(refused, route, deep):
    fields = json.dumps({**perma_cc.fields(route.name), "timestamp": "HERE"}).replace('"HERE"', deep)
    refuse_contents(refused, route, fields.encode())


@every_message_route
def test_a_repeated_field_is_refused(refused, route):
    fields = perma_cc.fields(route.name)
    text = json.dumps(fields)[:-1] + f', "timestamp": {fields["timestamp"]}}}'
    refuse_contents(refused, route, text.encode())


@in_turn(
    "route, timestamp, reason",
    MESSAGE_ROUTES,
    [
        (0, "Stale"),
        (-1, "Stale"),
        (-1e300, "Stale"),
        (-(10**300), "Stale"),
        (1e300, "FromTheFuture"),
        (10**300, "FromTheFuture"),
        (2**63, "FromTheFuture"),
    ],
)
def test_a_timestamp_far_from_now_is_refused(refused, route, timestamp, reason):
    refuse_contents(refused, route, perma_cc.fields(route.name, timestamp=timestamp), reason=reason)


@every_message_route
def test_a_message_without_a_timestamp_is_refused(refused, route):
    fields = perma_cc.fields(route.name, timestamp=...)
    refuse_contents(refused, route, fields, reason="fields missing: timestamp; unexpected fields: 0")


@in_turn(
    "route, name",
    MESSAGE_ROUTES,
    [MARKER, "", "\x00", "timestamp\x00", "Timestamp", "\ud800", "x" * 5000, "__class__"],
)
def test_a_message_with_a_field_too_many_is_refused(refused, route, name):
    fields = perma_cc.fields(route.name, **{name: MARKER})
    refuse_contents(refused, route, fields, reason="unexpected fields: 1")


# A change ignores the two fields that only a new subscription needs.
FIELDS = [
    (route, name)
    for route in MESSAGE_ROUTES
    for name in perma_cc.fields(route.name)
    if name not in {"timestamp", *(["recurring_frequency", "recurring_start_date"] if route is CHANGE else [])}
]


@in_turn(
    "route, name, value",
    FIELDS,
    [
        None,
        True,
        False,
        -1,
        -0.5,
        10**30,
        -(10**30),
        1e300,
        "",
        " ",
        "\x00",
        "7\x00",
        "\ud800",
        MARKER,
        "9" * 5000,
        "١٢.٥٠",
        [],
        ["7"],
        {},
        {"$ne": 1},
    ],
)
def test_a_senseless_value_is_refused(refused, route, name, value):
    fields = perma_cc.fields(route.name, **{name: value})
    refuse_contents(refused, route, fields, reason=f"WrongValue: {name}")


@pytest.mark.parametrize(
    "route, name, value",
    [
        (SUBSCRIBE, "customer_pk", 2**63),
        (SUBSCRIBE, "customer_type", "Organization"),
        (SUBSCRIBE, "amount", "-12.50"),
        (SUBSCRIBE, "recurring_amount", "12.5"),
        (SUBSCRIBE, "recurring_frequency", "daily"),
        (SUBSCRIBE, "recurring_start_date", "2020-01-01"),
        (SUBSCRIBE, "link_limit", "Unlimited"),
        (SUBSCRIBE, "link_limit_effective_timestamp", 253402300800),
        (PURCHASE, "amount", "0.00"),
        (PURCHASE, "link_quantity", 2**31),
        (ACKNOWLEDGE_PURCHASE, "purchase_pk", 2**63),
    ],
    ids=str,
)
def test_an_impossible_value_is_refused(refused, route, name, value):
    refuse_contents(refused, route, perma_cc.fields(route.name, **{name: value}), reason=f"WrongValue: {name}")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_have_is_refused(refused, value):
    fields = perma_cc.fields("subscribe", link_limit_effective_timestamp=value)
    refuse_contents(refused, SUBSCRIBE, fields, reason="WrongShape: not plain JSON")


@pytest.mark.parametrize("purchase_pk", [10**6, 2**31, 2**63 - 1])
def test_acknowledging_an_unknown_purchase_is_refused(refused, purchase_pk):
    fields = perma_cc.fields("acknowledge-purchase", purchase_pk=purchase_pk)
    refuse_contents(refused, ACKNOWLEDGE_PURCHASE, fields, reason="unknown")


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": "0.00"},
        {"amount": "9999999999.99"},
        {"recurring_amount": "9999999999.99"},
        {"customer_pk": 2**63 - 1},
        {"recurring_start_date": "9999-12-31"},
        {"link_limit": "unlimited"},
        {"link_limit": "999999999"},
        {"link_limit_effective_timestamp": 0},
        {"link_limit_effective_timestamp": 253402300799.9999},
        {"recurring_frequency": "weekly"},
        {"recurring_frequency": "bi-weekly"},
        {"recurring_frequency": "quad-weekly"},
        {"recurring_frequency": "monthly"},
        {"recurring_frequency": "semi-monthly"},
        {"recurring_frequency": "quarterly"},
        {"recurring_frequency": "semi-annually"},
        {"recurring_frequency": "annually"},
    ],
    ids=str,
)
def test_the_most_extreme_values_that_are_valid_work(db, post, call_back, changes):
    page = post("subscribe", **changes)
    assert page.status_code == 200
    assert call_back(checkout_form(page)).status_code == 200
    customer = {name: value for name, value in changes.items() if name == "customer_pk"}
    status = post("subscription", **customer)
    assert perma_cc.open_reply(status.json())["subscription"]["status"] == "Current"


def test_perma_ccs_servers_are_refused_in_json(refused):
    response = refused(SUBSCRIPTION, b"")

    assert response.json() == {"status": "refused"}
