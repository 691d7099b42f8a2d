"""CyberSource's callbacks: what it did not sign is refused without a trace, and what it signed is always kept."""

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from hypothesis import given, strategies as st
from nacl.public import PrivateKey, SealedBox

from perma_payments.billing.transactions import Kind
from perma_payments.models import Response, StaffTask, SubscriptionAgreement, TaskKind

from .. import cyber_source, perma_cc, records
from ..conftest import FORM
from ..parameters import in_turn
from . import traces
from .conftest import EXAMPLES
from .routes import CALLBACK
from .traces import MARKER

ARCHIVE_SECRET_KEY = base64.b64decode("txmKQuPWYukMWn/wdZaMah47r4A86ojNThvBSmc2I2Q=")

# The uuid of no transaction of ours.
STRANGER = "0b8e6d3a-5c4e-4f0d-9a51-6f1f0c3e7d21"


# --- Not signed by CyberSource ---------------------------------------------------


def callback(form: dict[str, str], decision: str = "ACCEPT", **changes: Any) -> dict[str, str]:
    """CyberSource's valid response unless changed, with a marker to look for."""
    return cyber_source.response(form, decision, **{"req_merchant_defined_data1": MARKER, **changes})


# --- Signed by CyberSource -------------------------------------------

Kept = Callable[..., Response]


def the_agreement() -> SubscriptionAgreement:
    """The agreement whose checkout in `stock` has no response yet."""
    return SubscriptionAgreement.objects.get(customer_type="Registrar")


@pytest.fixture
def kept(client: Client, caplog: pytest.LogCaptureFixture) -> Kept:
    """POST a signed response, and check that it is kept and sealed, and that nothing names the customer."""

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
def test_a_response_to_an_unknown_transaction_is_kept_unmatched(kept, stock, uuid):
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
def test_an_unknown_decision_is_kept_for_a_person(kept, stock, decision):
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


@pytest.mark.parametrize(
    "decision, code, status, task",
    [
        ("DECLINE", "", "Rejected", None),
        ("DECLINE", "99999", "Rejected", None),
        ("ERROR", "99999", "Rejected", TaskKind.CHECKOUT_FAILED),
        ("ERROR", "\x00", "Rejected", TaskKind.CHECKOUT_FAILED),
        ("REVIEW", "X" * 10_000, "Current", TaskKind.HELD_FOR_REVIEW),
        ("REVIEW", ..., "Current", TaskKind.HELD_FOR_REVIEW),
        ("CANCEL", ..., "Aborted", None),
        ("CANCEL", "99999", "Aborted", None),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_the_decision_counts_if_the_reason_code_is_unknown(kept, stock, decision, code, status, task):
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


VALUES = ["X" * 10_000, "9" * 10_000, "\x00" * 10_000, "a@b " * 2500, "a\x00b", "\U0001f4b3\r\n\u202e…é", ""]


@in_turn("name, value", NAMES, VALUES)
def test_a_signed_response_is_kept_whatever_a_field_holds(kept, stock, name, value):
    kept(callback(stock, **{name: value}))


@pytest.mark.parametrize("decision", ["CANCEL", "DECLINE", "ERROR", "REVIEW"])
def test_a_signed_response_is_kept_whatever_its_decision(kept, stock, decision):
    kept(callback(stock, decision, message="X" * 10_000, req_bill_to_surname="a\x00b"))


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
def test_a_customer_who_paid_is_current_whatever_the_token(kept, post, stock, token, taken):
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
def test_the_same_amount_written_differently_is_accepted(kept, stock, amount):
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
def test_a_customer_who_may_not_have_paid_in_full_is_not_current(kept, stock, amount, task):
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


@pytest.mark.parametrize(
    "message",
    [
        "Declined for Erin Exámple, Jr. of 1 Main Street, Springfield, MA SW1A 0ZZ, US.",
        "ERIN@CUSTOMER.EXAMPLE has no account; write to other@customer.example",
        "The card xxxxxxxxxxxx1111 of erin exámple, jr. ended 12-2031, type 001",
        "E-r-i-n",
    ],
)
def test_a_message_that_may_quote_the_customer_is_withheld(kept, stock, message):
    assert kept(callback(stock, "DECLINE", message=message)).message == "(withheld)"


# --- Random input -----------------------------------------------------------------------------------


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
