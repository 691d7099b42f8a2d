"""Bad forms, boxes, and messages on every route: refused without a 5xx, a change, or a payload in the log."""

import base64
import json
import math
from io import BytesIO
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.core.signals import request_started
from django.http import HttpResponse
from django.test import RequestFactory
from hypothesis import given, strategies as st
from nacl.public import Box, PrivateKey, PublicKey

from perma_payments.views.wsgi_request import Application

from .. import perma_cc
from ..conftest import FORM
from ..pages import checkout_form
from ..parameters import in_turn
from . import traces
from .conftest import EXAMPLES, Refused, assert_is_page_for_a_person, valid_form
from .routes import (
    ACKNOWLEDGE_PURCHASE,
    BROWSER_ROUTES,
    CALLBACK,
    CHANGE,
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

every_route = pytest.mark.parametrize("route", ROUTES, ids=str)
every_message_route = pytest.mark.parametrize("route", MESSAGE_ROUTES, ids=str)
typical_routes = pytest.mark.parametrize("route", TYPICAL_ROUTES, ids=str)
typical_message_routes = pytest.mark.parametrize("route", TYPICAL_MESSAGE_ROUTES, ids=str)


# --- What the tests below break is valid ------------------------------------------------------------


@every_route
def test_a_valid_form_is_accepted(client, stock, route):
    response = client.generic("POST", route.path, urlencode(valid_form(route, stock)), FORM)

    assert response.status_code == route.post


@in_turn(
    "route, parameter",
    TYPICAL_ROUTES,
    [
        "; charset=UTF-8",
        "; charset=utf-16",
        "; charset=base64",
        "; charset=no-such-charset",
        "; charset=",
        "; charset=\xe9",
        ";;;=",
    ],
)
def test_a_form_is_read_as_utf_8_whatever_it_claims(client, stock, route, parameter):
    body = urlencode(valid_form(route, stock))
    response = client.generic("POST", route.path, body, FORM.upper() + parameter)

    assert response.status_code == 200


@in_turn(
    "route, others",
    TYPICAL_MESSAGE_ROUTES,
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


@in_turn(
    "route, body",
    TYPICAL_ROUTES,
    [
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
    ],
)
def test_a_body_that_is_not_one_of_our_forms_is_refused(refused, route, body):
    refused(route, body)


@in_turn(
    "route, content_type",
    ROUTES,
    [
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
    ],
)
def test_a_form_with_another_content_type_is_refused(refused, stock, route, content_type):
    refused(route, urlencode(valid_form(route, stock)), content_type, reason="not a form")


def multipart(fields: dict[str, str], boundary: str = "boundary") -> bytes:
    """The body of a well-formed multipart form."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    return "".join([*parts, f"--{boundary}--\r\n"]).encode()


@typical_routes
@pytest.mark.parametrize(
    "damage, parameter",
    [
        (lambda body: body, "form-data; boundary=boundary"),
        (lambda body: body, "form-data; boundary=other"),
        (lambda body: body, f"form-data; boundary={'b' * 300}"),
        (lambda body: body, "form-data; boundary="),
        (lambda body: body, "form-data"),
        (lambda body: body, "form-data; boundary=\x00"),
        (lambda body: body, "mixed; boundary=boundary"),
        (lambda body: body[:-20], "form-data; boundary=boundary"),
        (lambda body: body.replace(b"\r\n\r\n", b"\r\n"), "form-data; boundary=boundary"),
        (lambda body: b"--" + body, "form-data; boundary=boundary"),
    ],
)
def test_a_multipart_form_is_refused(refused, stock, route, damage, parameter):
    body = damage(multipart(valid_form(route, stock)))
    refused(route, body, f"multipart/{parameter}", reason="not a form")


@in_turn("route, same", ROUTES, [True, False])
def test_a_repeated_key_is_refused(refused, stock, route, same):
    fields = valid_form(route, stock)
    name, value = next(iter(fields.items()))
    body = urlencode([*fields.items(), (name, value if same else MARKER)])
    refused(route, body, reason="callback refused" if route is CALLBACK else "encrypted_data came 2 times")


@in_turn("route, number", TYPICAL_ROUTES, [501, 2000])
def test_hundreds_of_fields_are_refused(refused, stock, route, number):
    fields = valid_form(route, stock)
    fields |= {f"{MARKER}{index}": "" for index in range(number - len(fields))}
    refused(route, urlencode(fields), reason="too many fields")


@typical_routes
@pytest.mark.parametrize(
    "start, size", [(MARKER, 300 * 1024), (f"&{MARKER}", 1024**2), (f"&{MARKER}=", 3 * 1024**2)]
)
def test_a_long_body_is_refused(refused, stock, route, start, size):
    refused(route, urlencode(valid_form(route, stock)) + start + "x" * size, reason="the body is too long")


@in_turn("route, content_type", TYPICAL_ROUTES, ["application/json", "multipart/form-data; boundary=boundary"])
def test_three_megabytes_of_anything_else_are_refused(refused, route, content_type):
    refused(route, multipart({MARKER: "x" * 3 * 1024**2}), content_type)


JUNK = ["%00", "\x00", "%ff", "\xff", "%ed%a0%80", "%F0%9F%92%B3", "%20", "%0A", "%0D%0A.", "+", "%"]


@in_turn("route, junk", TYPICAL_MESSAGE_ROUTES, JUNK)
def test_a_box_followed_by_junk_is_refused(refused, stock, route, junk):
    refused(route, (urlencode(valid_form(route, stock)) + junk).encode("latin-1"))


@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_a_signature_followed_by_junk_is_refused(refused, stock, junk):
    refused(CALLBACK, (urlencode(valid_form(CALLBACK, stock)) + junk).encode("latin-1"))


@in_turn("route, junk", TYPICAL_ROUTES, ["%00", "%ff", "%20", "%C3%A9", "[]"])
def test_a_name_followed_by_junk_is_another_name(refused, stock, route, junk):
    *others, (name, value) = valid_form(route, stock).items()
    refused(route, "&".join(filter(None, [urlencode(others), f"{name}{junk}={quote(value, safe='')}"])))


@in_turn(
    "route, parameter",
    TYPICAL_ROUTES,
    ["charset*=utf-8''a%00b", "x*=bogus''%41", "x*=idna''%41", 'charset="\x00"'],
)
def test_an_unreadable_content_type_is_refused(monkeypatch, stock, route, parameter):
    """Django reads it before any middleware or view, and the test client does so without our application."""
    # It would close the test's connection, as at the start of any request.
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
    environ = {"wsgi.input": BrokenOff(), "CONTENT_LENGTH": "1000", "CONTENT_TYPE": FORM}
    response = client.generic("POST", route.path, b"", FORM, **environ)

    assert response.status_code == 400
    assert traces.rows() == before
    assert any("the body broke off" in reason for reason in traces.reasons(caplog))


@every_route
def test_half_a_body_is_refused(refused, stock, route):
    body = urlencode(valid_form(route, stock))
    refused(route, body[: len(body) // 2])


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


@in_turn("route, index", TYPICAL_MESSAGE_ROUTES, [0, 23, 24, 40, -1])
def test_a_box_with_one_changed_byte_is_refused(refused, route, index):
    box = bytearray(sealed(route))
    box[index] ^= 1
    refuse_box(refused, route, base64.b64encode(box).decode(), reason="none of our keys opens it")


@every_message_route
def test_a_box_sealed_with_another_key_is_refused(refused, route):
    stranger = Box(PrivateKey.generate(), PublicKey(perma_cc.PERMA_PAYMENTS_PUBLIC))
    box = perma_cc.seal(perma_cc.fields(route.name), box=stranger)
    refuse_box(refused, route, box, reason="none of our keys opens it")


@typical_message_routes
def test_a_box_for_another_service_is_refused(refused, route):
    elsewhere = Box(PrivateKey(perma_cc.PERMA_SECRET), PrivateKey.generate().public_key)
    box = perma_cc.seal(perma_cc.fields(route.name), box=elsewhere)
    refuse_box(refused, route, box, reason="none of our keys opens it")


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


@in_turn("route, answered", MESSAGE_ROUTES, [SUBSCRIPTION, PURCHASE_HISTORY])
def test_our_own_reply_sent_back_to_us_is_refused(refused, post, stock, route, answered):
    refused(route, urlencode(post(answered.name).json()), reason="WrongShape")


@pytest.mark.parametrize("route", BROWSER_ROUTES, ids=str)
def test_a_page_that_was_open_too_long_says_so(refused, route):
    response = refuse_contents(refused, route, perma_cc.fields(route.name, timestamp=0), reason="Stale")

    assert_is_page_for_a_person(response)
    assert "This page has expired" in response.content.decode()


def test_perma_ccs_servers_are_refused_in_json(refused):
    response = refused(SUBSCRIPTION, b"")

    assert response.json() == {"status": "refused"}


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
def test_a_random_body_is_refused(refused, route, body, content_type):
    refused(route, body, content_type)


@typical_message_routes
@EXAMPLES
@given(contents=st.binary() | anything_in_json.map(lambda value: json.dumps(value).encode()))
def test_random_contents_of_a_box_are_refused(refused, route, contents):
    refuse_contents(refused, route, contents)


@every_message_route
@EXAMPLES
@given(data=st.data())
def test_a_random_value_is_valid_or_changes_nothing(client, stock, caplog, route, data):
    fields = perma_cc.fields(route.name)
    fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(anything_in_json)
    before = traces.rows()
    response = client.generic("POST", route.path, urlencode({"encrypted_data": perma_cc.seal(fields)}), FORM)

    assert response.status_code in (200, 400)
    if response.status_code == 400 or route in (SUBSCRIPTION, PURCHASE_HISTORY):
        assert traces.rows() == before
