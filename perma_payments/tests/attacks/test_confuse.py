"""Confuse: send what two parsers read differently, so that one of them checks something else than the other does.

The attacker has a browser and what they may send: messages and responses of their own, in any form, and perhaps a
file that staff will upload. They want a proxy, Django, our checks and PostgreSQL to disagree about what was sent,
or one of them to break. They fail because forms, JSON and files are read once, strictly, as UTF-8, and what is
read is what is verified. What could be read in two ways is refused.
"""

import json
from io import BytesIO
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.signals import request_started
from django.test import Client, RequestFactory

from perma_payments.models import StatusReport
from perma_payments.views.wsgi_request import Application

from .. import perma_cc, records
from ..business_center import report
from ..conftest import FORM
from ..fuzz.cases import MULTIPART, multipart
from ..parameters import in_turn
from ..views import traces
from ..views.conftest import valid_form
from ..views.routes import CALLBACK, ROUTES, SUBSCRIBE, SUBSCRIPTION, TYPICAL_MESSAGE_ROUTES, TYPICAL_ROUTES
from ..views.traces import MARKER

every_route = pytest.mark.parametrize("route", ROUTES, ids=str)
typical_routes = pytest.mark.parametrize("route", TYPICAL_ROUTES, ids=str)


# --- Forms ------------------------------------------------------------------------------------------


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
    refused(route, body, reason="refused: CallbackRefused" if route is CALLBACK else "encrypted_data came 2 times")


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


# --- Encodings ----------------------------------------------------------------------------------------


def answered(monkeypatch: pytest.MonkeyPatch, method: str, path: str, body: bytes, content_type: str) -> int:
    """The status from our application, of which the test client uses all but its requests."""
    # It would close the test's connection, as at the start of any request.
    monkeypatch.setattr(request_started, "send", lambda **_: [])
    request = RequestFactory().generic(method, path, body, content_type)
    request.environ["HTTP_COOKIE"] = f"csrftoken={'a' * 32}"
    statuses: list[str] = []
    Application()(request.environ, lambda status, headers: statuses.append(status)).close()
    return int(statuses[-1][:3])


# Half a character, in an encoding that nobody uses.
HALF = "+2AA-"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path, fields, status",
    [
        ("login/", {"username": HALF, "password": "x"}, 200),
        ("login/", {"username": "x", "password": HALF}, 200),
        ("login/", {"username": "x", "password": "x", "unsent": f"{HALF}:x"}, 200),
        ("password_reset/", {"email": f"{HALF}@perma.example"}, 302),
        (f"second-factor/?invitation={quote(HALF)}:x", {}, 400),
    ],
    ids=str,
)
def test_no_form_is_read_in_an_encoding_that_the_client_chooses(monkeypatch, path, fields, status):
    body = multipart({**fields, "csrfmiddlewaretoken": "a" * 32})

    assert answered(monkeypatch, "POST", f"/admin/{path}", body, f"{MULTIPART}; charset=utf-7") == status


# --- JSON -------------------------------------------------------------------------------------------


@in_turn(
    "route, written",
    [SUBSCRIBE, SUBSCRIPTION],
    [
        "7.0",
        "7e0",
        "1e400",
        "-0",
        "-7",
        "07",
        "+7",
        "0x7",
        "7_0",
        '"7"',
        '"\u0667"',
        "true",
        "NaN",
        "-Infinity",
        "9223372036854775808",
        "[7]",
        '7, "customer_pk": 8',
        '7, "customer_\\u0070k": 8',
        "7 /* 8 */",
        "7}{",
    ],
)
def test_a_number_that_others_would_read_differently_is_refused(refused, route, written):
    text = json.dumps(perma_cc.fields(route.name)).replace('"customer_pk": 7', f'"customer_pk": {written}')
    refused(route, urlencode({"encrypted_data": perma_cc.seal(text.encode())}))


# --- Status reports ---------------------------------------------------------------------------------

SAME = {
    "as it is": lambda data: data,
    "with a mark": lambda data: b"\xef\xbb\xbf" + data,
    "with other ends": lambda data: data.replace(b"\n", b"\r\n"),
}
AMBIGUOUS = {
    "two columns of that name": lambda data: data.replace(b",Amount,", b",Status,"),
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "UTF-7": lambda data: data.replace(b"HOLD", b"+AEgATwBMAEQ-"),
    "NUL": lambda data: data.replace(b"HOLD", b"HOLD\x00"),
    "a quote that does not end": lambda data: data.replace(b"HOLD", b'"HOLD'),
    "a column too many": lambda data: data.replace(b",45.00,", b",45,00,"),
    "a formula": lambda data: data.replace(b"HOLD", b'=T("HOLD")'),
    "letters that look like others": lambda data: data.replace(b"HOLD", "НОLD".encode()),
}


def planned(client: Client, data: bytes) -> list[dict[str, Any]]:
    """What an uploaded report would do. Its page can be opened, and no cell of its CSV begins like a formula."""
    client.force_login(User.objects.create_superuser("staff"))
    before = traces.rows()
    page = client.post(
        "/admin/perma_payments/statusreport/upload/",
        {"report": SimpleUploadedFile("report.csv", data)},
        follow=True,
    )
    assert page.status_code == 200
    if not (report := StatusReport.objects.first()):
        assert traces.rows() == before
        return []
    table = client.get(f"/admin/perma_payments/statusreport/{report.pk}/changes.csv").getvalue().decode()
    assert "\n=" not in table and ",=" not in table
    return [line.after for line in report.changes()]


@pytest.mark.django_db
@pytest.mark.parametrize("written", SAME)
def test_a_report_means_the_same_however_it_is_written(written):
    data = report((records.standing_agreement(), "HOLD"))

    assert [after["status"] for after in planned(Client(), SAME[written](data))] == ["Hold"]


@pytest.mark.django_db
@pytest.mark.parametrize("written", AMBIGUOUS)
def test_what_a_report_says_in_two_ways_changes_nothing(written):
    data = report((records.standing_agreement(), "HOLD"))

    assert planned(Client(), AMBIGUOUS[written](data)) == []
