"""Whatever arrives: no 5xx, no change, nothing of it in the log. What CyberSource signed is always kept."""

import base64
import json
import math
from collections.abc import Callable
from io import BytesIO
from time import time
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.core.signals import request_started
from django.http import HttpResponse
from django.test import Client, RequestFactory
from hypothesis import HealthCheck, given, settings, strategies as st
from nacl.public import Box, PrivateKey, PublicKey, SealedBox

from perma_payments.billing.transactions import Kind
from perma_payments.models import Purchase, Response, StaffTask, SubscriptionAgreement, TaskKind
from perma_payments.views.wsgi_request import Application

from .. import cyber_source, perma_cc, records
from ..conftest import FORM
from ..pages import checkout_form
from . import traces
from .conftest import Refused, assert_is_page_for_a_person, valid_form
from .routes import (
    ACKNOWLEDGE_PURCHASE,
    BROWSER_ROUTES,
    CALLBACK,
    MESSAGE_ROUTES,
    PURCHASE,
    PURCHASE_HISTORY,
    ROUTES,
    SUBSCRIBE,
    SUBSCRIPTION,
    TYPICAL_MESSAGE_ROUTES,
    TYPICAL_ROUTES,
    Route,
)
from .traces import MARKER

ARCHIVE_SECRET_KEY = base64.b64decode("txmKQuPWYukMWn/wdZaMah47r4A86ojNThvBSmc2I2Q=")

# The uuid of no transaction of ours.
STRANGER = "0b8e6d3a-5c4e-4f0d-9a51-6f1f0c3e7d21"

# The fixtures hold through all examples, and the tests allow for it.
EXAMPLES = settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

every_route = pytest.mark.parametrize("route", ROUTES, ids=str)
every_message_route = pytest.mark.parametrize("route", MESSAGE_ROUTES, ids=str)
typical_routes = pytest.mark.parametrize("route", TYPICAL_ROUTES, ids=str)
typical_message_routes = pytest.mark.parametrize("route", TYPICAL_MESSAGE_ROUTES, ids=str)


# --- What the tests below break is valid ------------------------------------------------------------


@every_route
def test_a_valid_form_is_answered_with_200(client, stock, route):
    response = client.generic("POST", route.path, urlencode(valid_form(route, stock)), FORM)

    assert response.status_code == 200


@typical_routes
def test_a_valid_form_is_read_as_utf_8_whatever_charset_it_claims(client, stock, route):
    for content_type in [
        f"{FORM}; charset=UTF-8",
        f"{FORM}; charset=utf-16",
        f"{FORM}; charset=base64",
        f"{FORM}; charset=no-such-charset",
        f"{FORM}; charset=",
        f"{FORM}; charset=\xe9",
        f"{FORM};;;=",
        FORM.upper(),
    ]:
        response = client.generic("POST", route.path, urlencode(valid_form(route, stock)), content_type)

        assert response.status_code == 200


@typical_message_routes
@pytest.mark.parametrize(
    "others",
    [
        "account_type=Registrar",
        f"{MARKER}={MARKER}&{MARKER}={MARKER}",
        "%00=%00",
        "\xff=\xff",
        "%ff=%ed%a0%80",
        "&&=&;",
    ],
)
def test_other_fields_beside_a_message_are_ignored(client, stock, route, others):
    body = f"{others}&{urlencode(perma_cc.form(route.name))}&{others}".encode("latin-1")
    response = client.generic("POST", route.path, body, FORM)

    assert response.status_code == 200


# --- Forms ------------------------------------------------------------------------------------------


@typical_routes
def test_a_body_that_is_no_form_of_ours_is_refused(refused, route):
    for body in [
        b"",
        b"&",
        b"=",
        b"\x00",
        b"\xff\xfe",
        b"%",
        b"%00",
        b"%ff=%ff",
        b"encrypted_data",
        b"signature=&signed_field_names=",
        MARKER.encode(),
        f"{MARKER}={MARKER}".encode(),
        b'{"encrypted_data": "' + MARKER.encode() * 9 + b'"}',
    ]:
        refused(route, body)


@typical_routes
def test_a_valid_form_under_another_content_type_is_refused(refused, stock, route):
    for content_type in [
        "application/json",
        "text/plain",
        "text/plain; charset=utf-8",
        "application/octet-stream",
        "",
        "\x00",
        ";",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        f"{FORM}x",
        "form",
    ]:
        refused(route, urlencode(valid_form(route, stock)), content_type, reason="not a form")


@every_route
def test_the_valid_fields_as_json_are_refused(refused, stock, route):
    refused(route, json.dumps(valid_form(route, stock)), "application/json", reason="not a form")


def multipart(fields: dict[str, str], boundary: str = "boundary") -> bytes:
    """The body of a well-formed multipart form."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    return "".join([*parts, f"--{boundary}--\r\n"]).encode()


@typical_routes
@pytest.mark.parametrize(
    "damage",
    [
        lambda body: body,
        lambda body: body[:-20],
        lambda body: body.replace(b"\r\n\r\n", b"\r\n"),
        lambda body: b"--" + body,
    ],
    ids=["whole", "cut short", "no blank lines", "another boundary"],
)
def test_a_multipart_form_is_refused(refused, stock, route, damage):
    body = damage(multipart(valid_form(route, stock)))
    for content_type in (
        "multipart/form-data; boundary=boundary",
        "multipart/form-data; boundary=other",
        f"multipart/form-data; boundary={'b' * 300}",
        "multipart/form-data; boundary=",
        "multipart/form-data",
        "multipart/form-data; boundary=\x00",
        "multipart/mixed; boundary=boundary",
    ):
        refused(route, body, content_type, reason="not a form")


@every_route
@pytest.mark.parametrize("same", [True, False], ids=["the same value", "another value"])
def test_a_repeated_key_is_refused(refused, stock, route, same):
    fields = valid_form(route, stock)
    name, value = next(iter(fields.items()))
    body = urlencode([*fields.items(), (name, value if same else MARKER)])
    refused(route, body, reason="callback refused" if route is CALLBACK else "encrypted_data came 2 times")


@typical_routes
@pytest.mark.parametrize("number", [501, 2000])
def test_hundreds_of_fields_are_refused(refused, stock, route, number):
    fields = valid_form(route, stock)
    fields |= {f"{MARKER}{index}": "" for index in range(number - len(fields))}
    refused(route, urlencode(fields), reason="too many fields")


@typical_routes
@pytest.mark.parametrize("size", [300 * 1024, 1024**2, 3 * 1024**2], ids=["300 kB", "1 MB", "3 MB"])
def test_a_body_of_a_megabyte_is_refused(refused, stock, route, size):
    for where in ["value", "name", "field"]:
        body = urlencode(valid_form(route, stock))
        body += {"value": MARKER, "name": f"&{MARKER}", "field": f"&{MARKER}="}[where] + "x" * size
        refused(route, body, reason="the body is too long")


@typical_routes
@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=boundary"])
def test_three_megabytes_of_anything_else_are_refused(refused, route, content_type):
    refused(route, multipart({MARKER: "x" * 3 * 1024**2}), content_type)


@typical_routes
def test_a_value_with_bytes_that_do_not_belong_there_is_refused(refused, stock, route):
    """The last value is the signature of a callback, and the box of a message."""
    for junk in ["%00", "\x00", "%ff", "\xff", "%ed%a0%80", "%F0%9F%92%B3", "%20", "%0A", "%0D%0A.", "+", "%"]:
        body = urlencode(valid_form(route, stock)) + junk
        refused(route, body.encode("latin-1"))


@typical_routes
def test_a_name_with_bytes_that_do_not_belong_there_is_not_taken_for_the_name(refused, stock, route):
    for junk in ["%00", "%ff", "%20", "%C3%A9", "[]"]:
        name, value = list(valid_form(route, stock).items())[-1]
        others = list(valid_form(route, stock).items())[:-1]
        refused(route, "&".join(filter(None, [urlencode(others), f"{name}{junk}={quote(value, safe='')}"])))


@typical_routes
@pytest.mark.parametrize("parameter", ["charset*=utf-8''a%00b", "x*=bogus''%41", "x*=idna''%41", 'charset="\x00"'])
def test_a_content_type_that_cannot_be_read_is_refused(monkeypatch, stock, route, parameter):
    """Django reads it before any middleware or view comes into it, and the test client without our application."""
    # It would close the connection of the test, as at the beginning of any request.
    monkeypatch.setattr(request_started, "send", lambda **_: [])
    request = RequestFactory().generic("POST", route.path, urlencode(valid_form(route, stock)), FORM)
    before, statuses = traces.rows(), []
    environ = {**request.environ, "CONTENT_TYPE": f"{FORM}; {parameter}"}
    Application()(environ, lambda status, headers: statuses.append(status))

    assert statuses == ["400 Bad Request"]
    assert traces.rows() == before


class BrokenOff(BytesIO):
    """The body of a client that went away."""

    def read(self, *args: Any) -> bytes:
        raise OSError("the client went away")


@every_route
def test_a_body_that_breaks_off_is_refused(client, stock, caplog, route):
    before = traces.rows()
    response = client.generic(
        "POST",
        route.path,
        b"",
        FORM,
        **{"wsgi.input": BrokenOff(), "CONTENT_LENGTH": "1000", "CONTENT_TYPE": FORM},
    )

    assert response.status_code == 400
    assert traces.rows() == before
    assert any("the body broke off" in reason for reason in traces.reasons(caplog))


@every_route
def test_a_body_shorter_than_announced_is_refused(refused, stock, route):
    body = urlencode(valid_form(route, stock))
    refused(route, body[: len(body) // 2])


# --- Boxes ------------------------------------------------------------------------------------------


def sealed(route: Route) -> bytes:
    """The bytes of a valid message's box."""
    return base64.b64decode(perma_cc.form(route.name)["encrypted_data"])


def refuse_box(refused: Refused, route: Route, encrypted_data: str, *, reason: str) -> None:
    refused(route, urlencode({"encrypted_data": encrypted_data}), reason=reason)


@typical_message_routes
def test_what_is_no_box_is_refused(refused, route):
    for text in [
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
    ]:
        refuse_box(refused, route, text, reason="Unreadable")


@typical_message_routes
def test_a_truncated_box_is_refused(refused, route):
    for length in [0, 1, 23, 24, 25, 39, 40, 41, -1]:
        refuse_box(refused, route, base64.b64encode(sealed(route)[:length]).decode(), reason="Unreadable")


@typical_message_routes
def test_a_box_without_the_padding_of_its_base64_is_refused(refused, route):
    plaintext = json.dumps(perma_cc.fields(route.name)).encode()
    boxes = [perma_cc.seal(plaintext + b" " * spaces) for spaces in range(3)]
    for box in boxes:
        if box.endswith("="):
            refuse_box(refused, route, box.rstrip("="), reason="not base64")
    assert {box.endswith("=") for box in boxes} == {True, False}


@typical_message_routes
def test_a_box_with_one_changed_byte_is_refused(refused, route):
    for index in [0, 23, 24, 40, -1]:
        box = bytearray(sealed(route))
        box[index] ^= 1
        refuse_box(refused, route, base64.b64encode(box).decode(), reason="no key of ours opens it")


@every_message_route
def test_a_box_of_another_key_is_refused(refused, route):
    stranger = Box(PrivateKey.generate(), PublicKey(perma_cc.PERMA_PAYMENTS_PUBLIC))
    box = perma_cc.seal(perma_cc.fields(route.name), box=stranger)
    refuse_box(refused, route, box, reason="no key of ours opens it")


@every_message_route
def test_a_box_for_another_service_is_refused(refused, route):
    elsewhere = Box(PrivateKey(perma_cc.PERMA_SECRET), PrivateKey.generate().public_key)
    box = perma_cc.seal(perma_cc.fields(route.name), box=elsewhere)
    refuse_box(refused, route, box, reason="no key of ours opens it")


# --- What is in a box -------------------------------------------------------------------------------


def counting(name: str) -> set[str]:
    """The fields of a route's message that must be there, and right."""
    ignored = {"recurring_frequency", "recurring_start_date"} if name == "change" else set()
    return perma_cc.fields(name).keys() - ignored


def refuse_contents(refused: Refused, route: Route, contents: Any, *, reason: str = "WrongShape") -> HttpResponse:
    return refused(route, urlencode({"encrypted_data": perma_cc.seal(contents)}), reason=reason)


@typical_message_routes
def test_a_box_without_a_json_object_of_the_route_is_refused(refused, route):
    for contents in [
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
    ]:
        refuse_contents(refused, route, contents)


@every_message_route
def test_a_valid_message_with_a_deep_value_is_refused(refused, route):
    for deep in ['{"a":' * 1500 + "1" + "}" * 1500, "[" * 5000 + "]" * 5000]:
        for name in perma_cc.fields(route.name):
            fields = json.dumps({**perma_cc.fields(route.name), name: "HERE"}).replace('"HERE"', deep)
            refuse_contents(refused, route, fields.encode())


@every_message_route
def test_a_message_with_a_repeated_name_is_refused(refused, route):
    fields = perma_cc.fields(route.name)
    for name, value in fields.items():
        text = json.dumps(fields)[:-1] + f", {json.dumps(name)}: {json.dumps(value)}}}"
        refuse_contents(refused, route, text.encode())


@typical_message_routes
def test_a_timestamp_that_is_no_finite_number_is_refused(refused, route):
    for timestamp in [
        math.nan,
        math.inf,
        -math.inf,
        True,
        False,
        None,
        "",
        "1",
        "now",
        [],
        {},
        [1],
        "\x00",
        10**400,
    ]:
        refuse_contents(refused, route, perma_cc.fields(route.name, timestamp=timestamp))


@typical_message_routes
def test_a_timestamp_beyond_any_float_is_refused(refused, route):
    text = json.dumps(perma_cc.fields(route.name, timestamp=0)).replace('"timestamp": 0', '"timestamp": 1e999')
    assert "1e999" in text
    refuse_contents(refused, route, text.encode())


@typical_message_routes
@pytest.mark.parametrize(
    ("timestamp", "reason"),
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
def test_a_message_that_lacks_any_one_field_is_refused(refused, route):
    for name in counting(route.name):
        fields = perma_cc.fields(route.name, **{name: ...})
        refuse_contents(refused, route, fields, reason=f"fields missing: {name}; fields too many: 0")


@every_message_route
def test_a_message_with_a_field_too_many_is_refused(refused, route):
    for name in (MARKER, "", "\x00", "timestamp\x00", "Timestamp", "\ud800", "x" * 5000, "__class__"):
        fields = perma_cc.fields(route.name, **{name: MARKER})
        refuse_contents(refused, route, fields, reason="fields too many: 1")


# For none of the fields of any message.
SENSELESS = [
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
]


@every_message_route
def test_a_message_with_any_one_senseless_value_is_refused(refused, route):
    for value in SENSELESS:
        for name in counting(route.name):
            fields = perma_cc.fields(route.name, **{name: value})
            # A number as timestamp is one, if a wrong one.
            reason = "" if name == "timestamp" else f"WrongValue: {name}"
            refuse_contents(refused, route, fields, reason=reason)


@every_message_route
def test_numbers_that_json_does_not_know_are_refused_wherever_they_are(refused, route):
    for value in [math.nan, math.inf, -math.inf]:
        for name in perma_cc.fields(route.name):
            fields = perma_cc.fields(route.name, **{name: value})
            refuse_contents(refused, route, fields, reason="WrongShape: not plain JSON")


@pytest.mark.parametrize(
    ("route", "name", "value"),
    [
        (PURCHASE, "amount", "0.00"),
        (PURCHASE, "link_quantity", 0),
        (PURCHASE, "link_quantity", 2**31),
        (PURCHASE, "link_quantity", 10.0),
        (PURCHASE, "link_quantity", "10"),
        (ACKNOWLEDGE_PURCHASE, "purchase_pk", 0),
        (ACKNOWLEDGE_PURCHASE, "purchase_pk", 2**63),
        (ACKNOWLEDGE_PURCHASE, "purchase_pk", 1.0),
        (ACKNOWLEDGE_PURCHASE, "purchase_pk", "1"),
    ],
    ids=str,
)
def test_a_purchase_with_a_value_not_quite_right_is_refused(refused, route, name, value):
    refuse_contents(refused, route, perma_cc.fields(route.name, **{name: value}), reason=f"WrongValue: {name}")


def test_an_acknowledgement_of_a_purchase_that_is_not_there_is_refused(refused):
    for purchase_pk in (2**63 - 1, 2**31, Purchase.objects.get().pk + 1):
        fields = perma_cc.fields("acknowledge-purchase", purchase_pk=purchase_pk)
        refuse_contents(refused, ACKNOWLEDGE_PURCHASE, fields, reason="unknown")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("customer_pk", 0),
        ("customer_pk", 7.0),
        ("customer_pk", 7.5),
        ("customer_pk", "7"),
        ("customer_pk", 2**63),
        ("customer_type", "registrar"),
        ("customer_type", "Organization"),
        ("customer_type", "Registrar "),
        *[
            (name, amount)
            for name in ("amount", "recurring_amount")
            for amount in (
                12.5,
                12,
                "12",
                "12.5",
                "12.500",
                ".50",
                "12,50",
                "$12.50",
                "-12.50",
                "+12.50",
                " 12.50",
                "12.50\n",
                "1e3",
                "NaN",
                "Infinity",
                "012.50",
                "１２.５０",
                "12345678901.00",
                "1_0.00",
            )
        ],
        ("recurring_frequency", "Monthly"),
        ("recurring_frequency", "daily"),
        ("recurring_frequency", "MONTHLY"),
        ("recurring_start_date", "2020-01-01"),
        ("recurring_start_date", "2026-02-30"),
        ("recurring_start_date", "20991201"),
        ("recurring_start_date", "2099-1-1"),
        ("recurring_start_date", "9999-99-99"),
        ("recurring_start_date", "0000-01-01"),
        ("recurring_start_date", "2099-12-01T00:00:00"),
        ("recurring_start_date", "2099-W01-1"),
        ("recurring_start_date", 20991201),
        ("link_limit", 100),
        ("link_limit", "-1"),
        ("link_limit", "1.5"),
        ("link_limit", "Unlimited"),
        ("link_limit", "1234567890"),
        ("link_limit", "１００"),
        ("link_limit_effective_timestamp", "1700000000"),
        ("link_limit_effective_timestamp", 253402300800),
        ("link_limit_effective_timestamp", math.nan),
        ("link_limit_effective_timestamp", math.inf),
    ],
)
def test_a_subscription_with_a_value_not_quite_right_is_refused(refused, name, value):
    # JSON has neither NaN nor infinity, so those are refused before their field is known.
    reason = "WrongShape" if value in (math.inf, math.nan) else "WrongValue"
    refuse_contents(refused, SUBSCRIBE, perma_cc.fields("subscribe", **{name: value}), reason=reason)


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
        *(
            {"recurring_frequency": frequency}
            for frequency in (
                "weekly",
                "bi-weekly",
                "quad-weekly",
                "monthly",
                "semi-monthly",
                "quarterly",
                "semi-annually",
                "annually",
            )
        ),
    ],
    ids=str,
)
def test_values_at_the_edge_of_what_is_right_go_all_the_way(db, post, call_back, changes):
    page = post("subscribe", **changes)
    assert page.status_code == 200
    assert call_back(checkout_form(page)).status_code == 200
    customer = {name: value for name, value in changes.items() if name == "customer_pk"}
    status = post("subscription", **customer)
    assert perma_cc.open_reply(status.json())["subscription"]["status"] == "Current"


@every_message_route
def test_a_message_of_another_shape_is_refused(refused, route):
    for other in [
        "subscribe",
        "change",
        "update",
        "cancel-request",
        "subscription",
        "purchase",
        "purchase-history",
        "acknowledge-purchase",
    ]:
        # A message to change is one to subscribe, but for what it means.
        if perma_cc.fields(other).keys() != perma_cc.fields(route.name).keys():
            refuse_contents(refused, route, perma_cc.fields(other))


@every_message_route
@pytest.mark.parametrize("answered", [SUBSCRIPTION, PURCHASE_HISTORY], ids=str)
def test_our_own_reply_sent_back_to_us_is_refused(refused, post, stock, route, answered):
    reply = post(answered.name).json()
    refused(route, urlencode(reply), reason="WrongShape")


@pytest.mark.parametrize("route", BROWSER_ROUTES, ids=str)
def test_a_person_whose_page_lay_open_too_long_is_told_so(refused, route):
    response = refuse_contents(refused, route, perma_cc.fields(route.name, timestamp=0), reason="Stale")

    assert_is_page_for_a_person(response)
    assert "This page has expired" in response.content.decode()


def test_perma_ccs_servers_are_refused_in_json(refused):
    response = refused(SUBSCRIPTION, b"")

    assert response.json() == {"status": "refused"}


# --- Callbacks that are not signed by CyberSource ---------------------------------------------------


def callback(form: dict[str, str], decision: str = "ACCEPT", **changes: Any) -> dict[str, str]:
    """CyberSource's valid response, unless changed, with something to look for."""
    return cyber_source.response(form, decision, **{"req_merchant_defined_data1": MARKER, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"signature": None},
        {"signature": ""},
        {"signature": MARKER},
        {"signature": "\x00"},
        {"signature": "ü"},
        {"signature": "A" * 10_000},
        {"signature": "A" * 43 + "="},
        {"signed_field_names": None},
        {"signed_field_names": ""},
        {"signed_field_names": ","},
        {"signed_field_names": MARKER},
        {"signed_field_names": "signed_field_names"},
        {"signed_field_names": "decision,\x00"},
        {"signed_field_names": ",".join(f"n{index}" for index in range(10_000))},
        {"decision": "REVIEW"},
        {"decision": ""},
        {"req_amount": "0.01"},
        {"req_transaction_uuid": STRANGER},
        {"req_reference_number": "PERMA-0000-0000"},
        {"payment_token": "1"},
        {"message": MARKER},
        {"req_access_key": "\x00"},
        {"req_access_key": ""},
        {"req_access_key": "x" * 10_000},
        {"decision": None},
        {"req_transaction_uuid": None},
        {"req_bill_to_surname": "Someone Else"},
        {"signed_date_time": "2020-01-01T00:00:00Z"},
    ],
    ids=lambda changes: str(changes)[:50],
)
def test_a_response_that_was_changed_after_it_was_signed_is_refused(refused, stock, changes):
    fields = {name: value for name, value in {**callback(stock), **changes}.items() if value is not None}
    refused(CALLBACK, urlencode(fields), reason="callback refused")


@pytest.mark.parametrize("secret", ["", "c0ffee00", "d0ffee00" * 32, cyber_source.ACCESS_KEY])
def test_a_response_signed_with_another_secret_is_refused(refused, stock, secret):
    refused(CALLBACK, urlencode(callback(stock, secret=secret)), reason="the signature is wrong")


@pytest.mark.parametrize(
    "name",
    [
        "decision",
        "message",
        "req_access_key",
        "req_profile_id",
        "req_reference_number",
        "req_transaction_type",
        "req_transaction_uuid",
        "signed_date_time",
        "signed_field_names",
        "reason_code",
        "transaction_id",
    ],
)
def test_a_response_whose_signature_does_not_cover_what_matters_is_refused(refused, stock, name):
    names = ",".join(each for each in callback(stock)["signed_field_names"].split(",") if each != name)
    refused(
        CALLBACK,
        urlencode(callback(stock, signed_field_names=names)),
        reason=f"not covered by the signature: {name}",
    )


def test_a_response_for_another_profile_is_refused(refused, stock):
    fields = callback(stock, req_profile_id="A1B2C3D4-0000-4000-8000-ABCDEF012345")
    refused(CALLBACK, urlencode(fields), reason="for another profile")


def test_our_own_signed_form_sent_back_as_a_response_is_refused(refused, stock):
    refused(CALLBACK, urlencode({**stock, "decision": "ACCEPT", "message": MARKER}), reason="callback refused")


def test_of_many_refused_callbacks_the_log_shows_the_first_and_then_every_hundredth(
    client, stock, caplog, monkeypatch
):
    # All are of one minute, as the clock of what counts them stands still.
    now = time()
    monkeypatch.setattr("django_ratelimit.core.time", SimpleNamespace(time=lambda: now))
    for _ in range(120):
        assert client.generic("POST", CALLBACK.path, b"", FORM).status_code == 400

    assert len(traces.reasons(caplog)) == 11
    assert "(100 in this minute)" in traces.reasons(caplog)[-1]


# --- Callbacks that CyberSource signed, whatever they say -------------------------------------------

Kept = Callable[..., Response]


def the_agreement() -> SubscriptionAgreement:
    """The one that `stock` holds an unanswered checkout of."""
    return SubscriptionAgreement.objects.get(customer_type="Registrar")


@pytest.fixture
def kept(client: Client, caplog: pytest.LogCaptureFixture) -> Kept:
    """POST a signed response, and check that it is kept, sealed, and that nothing tells of the customer."""

    def kept(fields: dict[str, str]) -> Response:
        number = Response.objects.count()
        body = urlencode(fields).encode()
        answer = client.generic("POST", CALLBACK.path, body, FORM)
        assert (answer.status_code, answer.content) == (200, b"received\n")
        assert Response.objects.count() == number + 1
        response = Response.objects.latest("id")
        assert SealedBox(PrivateKey(ARCHIVE_SECRET_KEY)).decrypt(bytes(response.sealed)) == body
        assert response.applied_at is not None
        assert cyber_source.personal_data_in(traces.texts_in_database()) == []
        assert cyber_source.personal_data_in([traces.log(caplog)]) == []
        assert not [text for text in [*traces.texts_in_database(), traces.log(caplog)] if MARKER in text]
        return response

    return kept


def tasks() -> list[str]:
    return list(StaffTask.objects.order_by("kind").values_list("kind", flat=True))


def test_a_valid_response_is_kept_and_gives_no_task(kept, stock):
    response = kept(callback(stock))

    assert response.outcome == "took effect"
    assert the_agreement().status == "Current"
    assert tasks() == []


UUIDS_OF_NOTHING = [
    STRANGER,
    STRANGER.upper(),
    "0" * 32,
    "",
    " ",
    "-",
    "not-a-uuid",
    "7",
    "\x00",
    "\x00" * 36,
    "é" * 36,
    "x" * 10_000,
    "%s",
    "00000000-0000-0000-0000-00000000000g",
    "\U0001f4b3",
]


@pytest.mark.parametrize("uuid", UUIDS_OF_NOTHING, ids=lambda uuid: repr(uuid[:40]))
def test_a_response_to_no_transaction_of_ours_is_kept_for_a_person_to_place(kept, stock, uuid):
    response = kept(callback(stock, req_transaction_uuid=uuid))

    assert (response.outgoing, response.outcome) == (None, "unmatched")
    assert tasks() == [TaskKind.UNMATCHED]
    assert the_agreement().status == "Pending"


@pytest.mark.parametrize(
    "decision",
    [
        "",
        " ",
        "accept",
        "Accept",
        "ACCEPT ",
        "ACCEPT\x00",
        "\x00",
        "PARTIAL",
        "ACCEPTED",
        "АССЕРТ",
        "X" * 10_000,
        "ACCEPT" * 2000,
    ],
    ids=lambda decision: repr(decision[:20]),
)
def test_an_unknown_decision_is_kept_for_a_person_to_look_at(kept, stock, decision):
    kept(callback(stock, decision))

    assert tasks() == [TaskKind.UNKNOWN_DECISION]
    assert the_agreement().status == "Pending"


@pytest.mark.parametrize(
    "code", ["", " ", "99999", "-1", "1e2", "100.0", "abc", "\x00", "100\x00", "é", "X" * 10_000, ...]
)
def test_a_payment_counts_whatever_its_reason_code(kept, stock, code):
    kept(callback(stock, reason_code=code))

    assert the_agreement().status == "Current"
    assert tasks() == []


@pytest.mark.parametrize("code", ["", "99999", "\x00", "X" * 10_000, ...])
@pytest.mark.parametrize(
    ("decision", "status", "task"),
    [
        ("DECLINE", "Rejected", None),
        ("ERROR", "Rejected", TaskKind.CHECKOUT_FAILED),
        ("REVIEW", "Current", TaskKind.HELD_FOR_REVIEW),
        ("CANCEL", "Aborted", None),
    ],
)
def test_the_decision_decides_where_the_reason_code_is_unknown(kept, stock, decision, status, task, code):
    kept(callback(stock, decision, reason_code=code))

    assert the_agreement().status == status
    assert tasks() == ([task] if task else [])


NAMES = [
    "message",
    "reason_code",
    "transaction_id",
    "signed_date_time",
    "req_transaction_uuid",
    "req_transaction_type",
    "req_reference_number",
    "req_amount",
    "req_currency",
    "req_locale",
    "req_payment_method",
    "auth_amount",
    "auth_code",
    "payment_token",
    "request_token",
    "req_bill_to_surname",
    "req_bill_to_email",
    "req_card_number",
    "no_such_field",
]


@pytest.mark.parametrize(
    ("decision", "value"),
    [
        ("ACCEPT", "X" * 10_000),
        ("CANCEL", "9" * 10_000),
        ("ACCEPT", "\x00" * 10_000),
        ("ACCEPT", "a@b " * 2500),
        ("DECLINE", "a\x00b"),
        ("ACCEPT", "\U0001f4b3\r\n\u202e…é"),
        ("ACCEPT", ""),
    ],
    ids=lambda value: repr(value[:6]),
)
def test_a_signed_response_is_kept_whatever_is_in_any_of_its_fields(kept, db, decision, value):
    for name in NAMES:
        form = records.form(records.outgoing(Kind.SUBSCRIBE))
        kept(callback(form, decision, **{name: value}))


@pytest.mark.parametrize(
    "unsigned",
    [
        {"utf8": "✓"},
        {"merchant_id": MARKER},
        {"a\x00b": MARKER},
        {MARKER: "\x00"},
        {"": ""},
        {"é": "é"},
        {"x" * 10_000: "y" * 10_000},
        {"payment_tokens": "1"},
        {f"n{index}": "" for index in range(400)},
    ],
    ids=lambda unsigned: repr(unsigned)[:30],
)
def test_unsigned_fields_beside_a_signed_response_are_ignored(kept, stock, unsigned):
    kept(callback(stock, unsigned=unsigned))

    assert the_agreement().status == "Current"
    assert tasks() == []


def test_unsigned_money_and_an_unsigned_token_are_not_believed(kept, stock):
    fields = callback(stock, payment_token=..., auth_amount=...)
    kept({**fields, "payment_token": "123", "auth_amount": "0.01"})

    assert the_agreement().status == "Current"
    assert the_agreement().payment_token == ""
    assert tasks() == [TaskKind.TOKEN_MISSING]


@pytest.mark.parametrize(
    ("token", "taken"),
    [
        ("1", True),
        ("7408214003316000001234", True),
        ("A" * 32, True),
        ("a1" * 16, True),
        ("A" * 33, False),
        ("9" * 10_000, False),
        ("", False),
        (..., False),
        ("\x00", False),
        ("12 34", False),
        ("12\n", False),
        ("é", False),
        ("١٢٣", False),
        ("1234-5678", False),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_who_has_paid_is_current_whatever_the_token(kept, post, stock, token, taken):
    kept(callback(stock, payment_token=token))

    assert the_agreement().status == "Current"
    assert the_agreement().payment_token == (token if taken else "")
    assert tasks() == ([] if taken else [TaskKind.TOKEN_MISSING])
    assert perma_cc.open_reply(post("subscription").json())["subscription"]["status"] == "Current"


@pytest.mark.parametrize(
    ("amount", "task"),
    [
        *((amount, TaskKind.NOT_WHAT_WAS_SIGNED) for amount in ("0.01", "1250", "")),
        *(
            (amount, TaskKind.UNREADABLE_AMOUNT)
            for amount in (
                "abc",
                "12,50",
                "-12.50",
                "1e1",
                "NaN",
                "Infinity",
                "0x0c",
                " 12.50",
                "12.50\x00",
                "12.50 USD",
                "١٢.٥٠",
                "9" * 10_000,
                "\x00",
            )
        ),
    ],
    ids=lambda value: repr(value[:12]),
)
def test_a_response_about_another_amount_is_kept_without_effect(kept, stock, amount, task):
    response = kept(callback(stock, req_amount=amount))

    assert response.outcome == "no effect"
    assert the_agreement().status == "Pending"
    assert tasks() == [task]


@pytest.mark.parametrize("amount", ["12.5", "12.50", "12.50000", "0012.50"])
def test_the_same_amount_written_otherwise_is_the_same(kept, stock, amount):
    kept(callback(stock, req_amount=amount, auth_amount=amount))

    assert the_agreement().status == "Current"
    assert tasks() == []


@pytest.mark.parametrize(
    ("amount", "task"),
    [
        ("12.49", TaskKind.PARTIAL_APPROVAL),
        *(
            (amount, TaskKind.UNREADABLE_AMOUNT)
            for amount in ("abc", "-12.50", "NaN", "1e9", "\x00", "9" * 10_000)
        ),
    ],
    ids=lambda value: repr(value[:12]),
)
def test_who_has_not_surely_paid_in_full_is_not_current(kept, stock, amount, task):
    kept(callback(stock, auth_amount=amount))

    assert the_agreement().status == "Pending"
    assert tasks() == [task]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("req_reference_number", "PERMA-0000-0000"),
        ("req_reference_number", ""),
        ("req_reference_number", "x" * 10_000),
        ("req_transaction_type", "sale"),
        ("req_transaction_type", ""),
        ("req_transaction_type", "create_payment_token,sale"),
        ("req_currency", "EUR"),
        ("req_currency", ""),
        ("req_currency", "usd"),
        ("req_currency", "USD\x00"),
        ("req_currency", ...),
        ("req_amount", ...),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_response_about_another_order_is_kept_without_effect(kept, stock, name, value):
    kept(callback(stock, **{name: value}))

    assert the_agreement().status == "Pending"
    assert tasks() == [TaskKind.NOT_WHAT_WAS_SIGNED]


def test_a_response_with_a_decision_hidden_in_an_address_is_kept_without_effect(kept, stock):
    kept(callback(stock, "DECLINE", req_bill_to_address_line1="x,decision=ACCEPT"))

    assert the_agreement().status == "Pending"
    assert tasks() == [TaskKind.NOT_WHAT_WAS_SIGNED]


@pytest.mark.parametrize(
    "message",
    [
        "Declined for Erin Exámple, Jr. of 1 Main Street, Springfield, MA SW1A 0ZZ, US.",
        "ERIN@CUSTOMER.EXAMPLE has no account; write to other@customer.example",
        "The card xxxxxxxxxxxx1111 of erin exámple, jr. ended 12-2031, type 001",
    ],
)
def test_what_a_message_tells_of_the_customer_is_taken_out_of_it(kept, stock, message):
    response = kept(callback(stock, "DECLINE", message=message))

    assert cyber_source.personal_data_in([response.message, response.message.title()]) == []


def test_the_same_response_delivered_again_changes_nothing(client, kept, stock):
    fields = callback(stock)
    kept(fields)
    before = traces.rows()

    assert client.generic("POST", CALLBACK.path, urlencode(fields), FORM).status_code == 200
    assert traces.rows() == before


@pytest.mark.parametrize("uuid", UUIDS_OF_NOTHING[:4])
def test_an_unplaced_response_delivered_again_changes_nothing(client, kept, stock, uuid):
    fields = callback(stock, req_transaction_uuid=uuid, transaction_id=...)
    kept(fields)
    before = traces.rows()

    assert client.generic("POST", CALLBACK.path, urlencode(fields), FORM).status_code == 200
    assert traces.rows() == before


# --- Random input -----------------------------------------------------------------------------------

anything_in_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["7", "12.50", "Registrar", 7]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
content_types = st.sampled_from(
    [FORM, f"{FORM}; charset=utf-16", "application/json", "multipart/form-data; boundary=x", "text/plain", ""]
)
# Bytes that mean something to a parser of forms come often.
form_bytes = st.lists(
    st.binary(max_size=9)
    | st.sampled_from([b"encrypted_data", b"=", b"&", b"%", b"%00", b"+", b";", b"signature", b"decision"]),
    max_size=30,
).map(b"".join)


@typical_routes
@EXAMPLES
@given(body=form_bytes, content_type=content_types)
def test_no_random_body_gets_anywhere(refused, route, body, content_type):
    refused(route, body, content_type)


@typical_message_routes
@EXAMPLES
@given(contents=st.binary() | anything_in_json.map(lambda value: json.dumps(value).encode()))
def test_no_random_contents_of_a_box_get_anywhere(refused, route, contents):
    refuse_contents(refused, route, contents)


@every_message_route
@EXAMPLES
@given(data=st.data())
def test_a_random_value_in_a_message_either_is_valid_or_changes_nothing(client, stock, caplog, route, data):
    fields = perma_cc.fields(route.name)
    fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(anything_in_json)
    before = traces.rows()
    response = client.generic("POST", route.path, urlencode({"encrypted_data": perma_cc.seal(fields)}), FORM)

    assert response.status_code in (200, 400)
    if response.status_code == 400 or route in (SUBSCRIPTION, PURCHASE_HISTORY):
        assert traces.rows() == before


@EXAMPLES
@given(changes=st.dictionaries(st.sampled_from([*NAMES, "decision"]), st.text(), min_size=1, max_size=6))
def test_a_signed_response_with_random_values_is_kept(kept, db, changes):
    form = records.form(records.outgoing(Kind.SUBSCRIBE))

    kept(cyber_source.response(form, changes.pop("decision", "ACCEPT"), **changes))


@EXAMPLES
@given(changes=st.dictionaries(st.text(min_size=1), st.text(), min_size=1, max_size=6))
def test_random_fields_behind_the_signature_do_not_matter(kept, db, changes):
    form = records.form(records.outgoing(Kind.SUBSCRIBE))
    fields = cyber_source.response(form)

    kept({**changes, **fields})
