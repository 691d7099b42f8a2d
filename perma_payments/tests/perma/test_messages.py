"""A message is read as what its route expects, or refused: its shape, its age, its values."""

import json
from dataclasses import fields as dataclass_fields
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given, settings, strategies as st

from perma_payments.billing.customers import Customer, CustomerType
from perma_payments.billing.schedules import Frequency
from perma_payments.perma import messages, replies
from perma_payments.perma.box import KeyPair, PermaKeys, Refusal
from perma_payments.perma.messages import Freshness, FromTheFuture, Stale, WrongShape, WrongValue

from .. import perma_cc
from ..parameters import in_turn

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
REGISTRAR = Customer(CustomerType.REGISTRAR, 7)

SERVER_ROUTES = {
    "subscription": messages.SubscriptionMessage,
    "purchase-history": messages.PurchaseHistoryMessage,
    "acknowledge-purchase": messages.AcknowledgePurchaseMessage,
}
BROWSER_ROUTES = {
    "subscribe": messages.SubscribeMessage,
    "change": messages.ChangeMessage,
    "update": messages.UpdateMessage,
    "billing": messages.BillingMessage,
    "cancel-request": messages.CancelRequestMessage,
    "purchase": messages.PurchaseMessage,
}
ROUTES = {**SERVER_ROUTES, **BROWSER_ROUTES}
MEANINGLESS = {"change": {"recurring_frequency", "recurring_start_date"}}

# Every field that means something, of every route.
FIELDS = [
    (route, name) for route in ROUTES for name in perma_cc.fields(route) if name not in MEANINGLESS.get(route, ())
]

every_route = pytest.mark.parametrize("route", ROUTES)
every_field = pytest.mark.parametrize("route, name", FIELDS)


def json_with(floats):
    texts = st.text(st.characters())  # with halves of surrogate pairs, which JSON can spell
    return st.recursive(
        st.none() | st.booleans() | st.integers() | st.integers(10**300, 10**400) | floats | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=5,
    )


plain_json = json_with(st.floats(allow_nan=False, allow_infinity=False))
any_json = json_with(st.floats())


def read_bytes(route, plaintext, *, now=NOW, freshness=Freshness()):
    return messages.read(ROUTES[route], plaintext, now=now, freshness=freshness)


def read(route, *, made=NOW, now=NOW, freshness=Freshness(), **changes):
    plaintext = json.dumps(perma_cc.fields(route, now=made, **changes)).encode()
    return read_bytes(route, plaintext, now=now, freshness=freshness)


def raw(route, **texts):
    """A valid message with some values replaced by JSON as it is written here."""
    data = {name: json.dumps(value) for name, value in perma_cc.fields(route, now=NOW).items()} | texts
    return ("{" + ", ".join(f'"{name}": {text}' for name, text in data.items()) + "}").encode()


def cases(field, values):
    """The routes where a field means something, each with each of the values."""
    return [(route, name, value) for route, name in FIELDS if name == field for value in values]


# --- What is valid ----------------------------------------------------------------------------------

PLAN = {
    "customer": REGISTRAR,
    "amount": Decimal("12.50"),
    "recurring_amount": Decimal("45.00"),
    "link_limit": "100",
    "link_limit_effective_timestamp": NOW,
}


@pytest.mark.parametrize(
    "route, expected",
    [
        (
            "subscribe",
            {**PLAN, "recurring_frequency": Frequency.MONTHLY, "recurring_start_date": date(2026, 12, 1)},
        ),
        ("change", {**PLAN, "rendered_at": NOW}),
        ("update", {"customer": REGISTRAR}),
        ("billing", {"customer": Customer(CustomerType.INDIVIDUAL, 7)}),
        ("cancel-request", {"customer": REGISTRAR}),
        ("subscription", {"customer": REGISTRAR}),
        ("purchase", {"customer": REGISTRAR, "amount": Decimal("15.00"), "link_quantity": 10}),
        ("purchase-history", {"customer": REGISTRAR}),
        ("acknowledge-purchase", {"purchase_pk": 1}),
    ],
)
def test_a_valid_message_is_read_with_types_and_values(route, expected):
    message = read(route)

    found = {field.name: getattr(message, field.name) for field in dataclass_fields(message)}
    assert type(message) is ROUTES[route]
    assert found == expected
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in expected.items()
    }


@pytest.mark.parametrize(
    "type_, pk", [(CustomerType.REGISTRAR, 1), (CustomerType.INDIVIDUAL, 7), (CustomerType.INDIVIDUAL, 2**63 - 1)]
)
def test_the_customer_is_a_type_and_a_number(type_, pk):
    customer = read("update", customer_type=type_.value, customer_pk=pk).customer
    assert customer == (type_, pk)
    assert type(customer.type) is CustomerType


def test_registrar_7_and_individual_7_are_different_customers():
    assert read("update").customer != read("update", customer_type="Individual").customer


@pytest.mark.parametrize(
    "frequency",
    ["weekly", "bi-weekly", "quad-weekly", "monthly", "semi-monthly", "quarterly", "semi-annually", "annually"],
)
def test_every_frequency_of_cybersource_is_read(frequency):
    assert read("subscribe", recurring_frequency=frequency).recurring_frequency == frequency


@pytest.mark.parametrize("limit", ["0", "10", "999999999", "unlimited"])
def test_a_link_limit_is_digits_or_unlimited(limit):
    assert read("subscribe", link_limit=limit).link_limit == limit


@in_turn("route, amount", ["subscribe", "change"], ["0.00", "0.01", "9999999999.99"])
def test_an_amount_is_read_exactly(route, amount):
    assert read(route, amount=amount).amount == Decimal(amount)


@pytest.mark.parametrize("quantity", [1, 2**31 - 1])
def test_a_quantity_that_the_database_can_hold_is_read(quantity):
    assert read("purchase", link_quantity=quantity).link_quantity == quantity


@pytest.mark.parametrize(
    "value, moment",
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (1795262400, datetime(2026, 11, 21, 12, tzinfo=UTC)),
        (1795262400.5, datetime(2026, 11, 21, 12, 0, 0, 500_000, tzinfo=UTC)),
        (1861920000, datetime(2029, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_link_limit_takes_effect_at_any_time_past_or_future(value, moment):
    effective = read("change", link_limit_effective_timestamp=value).link_limit_effective_timestamp
    assert effective == moment
    assert effective.tzinfo is UTC


def test_a_timestamp_may_be_a_whole_number():
    assert read("update", timestamp=int(NOW.timestamp())).customer == REGISTRAR


# --- Shape ------------------------------------------------------------------------------------------


@every_field
def test_a_message_that_lacks_a_field_is_refused(route, name):
    with pytest.raises(WrongShape, match=f"fields missing: {name}; unexpected fields: 0"):
        read(route, **{name: ...})


@every_route
def test_a_message_with_a_field_too_many_is_refused(route):
    with pytest.raises(WrongShape, match="fields missing: none; unexpected fields: 1"):
        read(route, note="x")


@pytest.mark.parametrize("route", ["update", "cancel-request", "subscription", "purchase-history", "purchase"])
def test_fields_of_a_change_are_refused_elsewhere(route):
    with pytest.raises(WrongShape, match="unexpected fields: 1"):
        read(route, recurring_frequency="monthly")


@pytest.mark.parametrize(
    "absent", [["recurring_frequency"], ["recurring_start_date"], ["recurring_frequency", "recurring_start_date"]]
)
def test_a_change_may_lack_fields_without_meaning(absent):
    assert read("change", **dict.fromkeys(absent, ...)) == read("change")


@settings(deadline=None)
@given(frequency=plain_json, start=plain_json)
def test_a_changes_fields_without_meaning_may_hold_anything(frequency, start):
    assert read("change", recurring_frequency=frequency, recurring_start_date=start) == read("change")


@every_field
def test_a_field_that_is_null_is_refused(route, name):
    with pytest.raises((WrongShape, WrongValue), match=name):
        read(route, **{name: None})


@in_turn("route, name, value", FIELDS, [True, False, [], {}, [7], {"a": 1}, "", "x"])
def test_a_field_of_a_wrong_type_is_refused(route, name, value):
    with pytest.raises((WrongShape, WrongValue), match=name):
        read(route, **{name: value})


@pytest.mark.parametrize(
    "plaintext",
    [
        b"",
        b"null",
        b"7",
        b'"text"',
        b"true",
        b"[]",
        b"{}x",
        b"{",
        b"{'timestamp': 1}",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"{} {}",
    ],
)
def test_text_that_is_not_a_json_object_is_refused(plaintext):
    with pytest.raises(WrongShape, match=r"not plain JSON|not a JSON object"):
        read_bytes("subscribe", plaintext)


@every_route
def test_a_valid_message_in_an_array_is_refused(route):
    with pytest.raises(WrongShape, match=r"^not a JSON object$"):
        read_bytes(route, json.dumps([perma_cc.fields(route, now=NOW)]).encode())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_valid_message_in_another_encoding_is_refused(encoding):
    with pytest.raises(WrongShape, match=r"^not plain JSON$"):
        read_bytes("update", raw("update").decode().encode(encoding))


@pytest.mark.parametrize(
    "plaintext",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        raw("change", recurring_frequency="[" * 100_000 + "]" * 100_000),
    ],
)
def test_json_nested_too_deep_is_refused(plaintext):
    with pytest.raises(WrongShape, match=r"^not plain JSON$"):
        read_bytes("change", plaintext)


@every_field
def test_a_repeated_name_is_refused_also_with_the_same_value(route, name):
    value = json.dumps(perma_cc.fields(route, now=NOW)[name])
    plaintext = raw(route)[:-1] + f', "{name}": {value}}}'.encode()
    with pytest.raises(WrongShape, match=r"^not plain JSON$"):
        read_bytes(route, plaintext)


def test_a_repeated_name_inside_a_value_is_refused():
    with pytest.raises(WrongShape, match=r"^not plain JSON$"):
        read_bytes("change", raw("change", recurring_frequency='{"a": 1, "a": 1}'))


@in_turn("route, name, text", FIELDS, ["NaN", "Infinity", "-Infinity", "1" * 5_000])
def test_a_number_that_plain_json_cannot_have_is_refused(route, name, text):
    with pytest.raises(WrongShape, match=r"^not plain JSON$"):
        read_bytes(route, raw(route, **{name: text}))


@in_turn("route, name, text", FIELDS, ["1e400", "-1e400", "1" * 400, "-" + "1" * 400])
def test_a_number_beyond_all_bounds_is_refused(route, name, text):
    with pytest.raises((WrongShape, WrongValue), match=name):
        read_bytes(route, raw(route, **{name: text}))


# --- Values -----------------------------------------------------------------------------------------

AMOUNTS = [
    "1e2",
    "1E2",
    "NaN",
    "Infinity",
    "inf",
    "-1.00",
    "+1.00",
    "-0.00",
    "1",
    "1.",
    "1.0",
    "1.000",
    ".50",
    "01.00",
    "00.00",
    " 1.00",
    "1.00 ",
    "1.00\n",
    "1,00",
    "1,000.00",
    "1_000.00",
    "$1.00",
    "1.٠٠",
    "١.٠٠",
    "１.００",
    "1٫00",
    "0x1.00",
    "10000000000.00",
    "9" * 400 + ".00",
    "1.00\x00",
    1,
    1.0,
    12.5,
    0,
    10**30,
]
WHOLE_NUMBERS = [0, -1, 1.0, 1.5, 1e3, "10", "1", 2**63, 10**30, [1]]


@pytest.mark.parametrize(
    "route, name, value",
    [
        *cases("amount", AMOUNTS),
        *cases("recurring_amount", AMOUNTS),
        *cases("customer_pk", WHOLE_NUMBERS),
        *cases("purchase_pk", WHOLE_NUMBERS),
        *cases("link_quantity", [*WHOLE_NUMBERS, 2**31]),
        *cases(
            "customer_type",
            [
                "registrar",
                "INDIVIDUAL",
                "Registrar ",
                " Registrar",
                "CustomerType.REGISTRAR",
                "REGISTRAR",
                "Court",
                1,
                ["Registrar"],
                {"Registrar": 1},
            ],
        ),
        *cases(
            "recurring_frequency",
            [
                "Monthly",
                "monthly ",
                "yearly",
                "MONTHLY",
                "on-demand",
                "semi annually",
                1,
                ["monthly"],
                {"monthly": 1},
            ],
        ),
        *cases(
            "recurring_start_date",
            [
                "2026-02-30",
                "2027-02-29",
                "2026-13-01",
                "2026-12-32",
                "2026-00-01",
                "2026-12-00",
                "9999-99-99",
                "0000-12-01",
                "20261201",
                "2026-12-1",
                "26-12-01",
                "2026-W50-1",
                "2026-12-01T00:00:00",
                " 2026-12-01",
                "2026-12-01\n",
                "12/01/2026",
                "2026/12/01",
                "٢٠٢٦-١٢-٠١",
                "2026-11-20",
                "1999-12-31",
                "0001-01-01",
                20261201,
                1795262400.0,
            ],
        ),
        *cases(
            "link_limit",
            [
                "Unlimited",
                "unlimited ",
                "-1",
                "+1",
                "1.5",
                "1e3",
                " 10",
                "10\n",
                "١٠",
                "none",
                "1000000000",
                10,
                10.0,
            ],
        ),
        *cases(
            "link_limit_effective_timestamp",
            ["1795262400", "2026-11-21", -1, -0.5, 253402300800, 1e300, 2**63, 10**30],
        ),
        *cases("timestamp", ["1795262400", "now", "2026-11-21T12:00:00Z", 10**400]),
    ],
)
def test_a_bad_value_is_refused(route, name, value):
    with pytest.raises((WrongShape, WrongValue), match=f"^{name}: "):
        read(route, **{name: value})


def test_a_purchase_costs_something():
    with pytest.raises(WrongValue, match=r"^amount: a purchase costs something$"):
        read("purchase", amount="0.00")


@pytest.mark.parametrize("start", ["2026-11-21", "2026-11-22", "2027-11-21", "2028-02-29", "9999-12-31"])
def test_a_subscription_may_start_today_or_later(start):
    assert read("subscribe", recurring_start_date=start).recurring_start_date.isoformat() == start


def test_today_is_the_day_in_utc():
    late = datetime(2026, 11, 21, 23, 30, tzinfo=timezone(timedelta(hours=-5)))  # 04:30 of the 22nd

    assert read("subscribe", made=late, now=late, recurring_start_date="2026-11-22")
    with pytest.raises(WrongValue, match="has passed"):
        read("subscribe", made=late, now=late, recurring_start_date="2026-11-21")


# --- Freshness --------------------------------------------------------------------------------------

A_LITTLE = timedelta(milliseconds=1)
FRESH_FOR = [(route, timedelta(seconds=120)) for route in SERVER_ROUTES] + [
    (route, timedelta(hours=24)) for route in BROWSER_ROUTES
]


@pytest.mark.parametrize("route, limit", FRESH_FOR)
def test_a_message_is_fresh_up_to_the_limit_of_its_carrier(route, limit):
    assert read(route, now=NOW + limit)


@pytest.mark.parametrize("route, limit", FRESH_FOR)
def test_a_message_is_stale_beyond_the_limit_of_its_carrier(route, limit):
    with pytest.raises(Stale) as refusal:
        read(route, now=NOW + limit + A_LITTLE)
    assert abs(refusal.value.age - limit - A_LITTLE) < A_LITTLE
    assert str(refusal.value) == f"the message was made {refusal.value.age.total_seconds():.0f} seconds ago"


@every_route
def test_a_message_may_be_120_seconds_ahead_of_our_clock(route):
    assert read(route, now=NOW - timedelta(seconds=120))


@every_route
def test_a_message_further_ahead_is_refused(route):
    with pytest.raises(FromTheFuture) as refusal:
        read(route, now=NOW - timedelta(seconds=120) - A_LITTLE)
    assert abs(refusal.value.ahead - timedelta(seconds=120) - A_LITTLE) < A_LITTLE
    assert "seconds ahead of our clock" in str(refusal.value)


def test_the_caller_says_what_time_it_is():
    then = datetime(2001, 1, 1, tzinfo=UTC)
    assert read("subscribe", made=then, now=then).recurring_start_date == date(2001, 1, 11)


@pytest.mark.parametrize(
    "route, freshness",
    [
        ("update", Freshness(browser=timedelta(minutes=1))),
        ("subscription", Freshness(server=timedelta(minutes=1))),
    ],
)
def test_the_limits_are_what_the_caller_says(route, freshness):
    assert read(route, now=NOW + timedelta(minutes=1), freshness=freshness)
    with pytest.raises(Stale):
        read(route, now=NOW + timedelta(minutes=1) + A_LITTLE, freshness=freshness)


def test_how_far_ahead_a_message_may_be_is_what_the_caller_says():
    with pytest.raises(FromTheFuture):
        read("update", now=NOW - A_LITTLE, freshness=Freshness(ahead=timedelta()))


@in_turn(
    "route, timestamp, refusal",
    list(ROUTES),
    [
        (0, Stale),
        (-1, Stale),
        (-1e300, Stale),
        (-(10**300), Stale),
        (1e300, FromTheFuture),
        (10**300, FromTheFuture),
        (1.7976931348623157e308, FromTheFuture),
        (-1.7976931348623157e308, Stale),
    ],
)
def test_a_timestamp_of_any_size_has_an_age(route, timestamp, refusal):
    with pytest.raises(refusal):
        read(route, timestamp=timestamp)


def test_an_old_message_is_stale_even_if_its_dates_have_passed():
    with pytest.raises(Stale):
        read("subscribe", recurring_start_date="2026-11-21", now=NOW + timedelta(days=2))


def test_an_old_message_of_another_route_is_not_stale():
    with pytest.raises(WrongShape):
        read("subscribe", note="x", now=NOW + timedelta(days=2))


# --- Reflection and purpose -------------------------------------------------------------------------

REPLIES = {
    "status without a subscription": replies.subscription_status(
        REGISTRAR, subscription=None, purchases=[], now=NOW
    ),
    "status": replies.subscription_status(
        REGISTRAR,
        subscription=replies.Subscription(
            status="Current",
            rate=Decimal("45.00"),
            frequency="monthly",
            link_limit="100",
            link_limit_effective_timestamp=NOW,
            paid_through=NOW,
            pending_change=None,
            reference_number="PERMA-1234-5678",
        ),
        purchases=[replies.UnacknowledgedPurchase(id=1, link_quantity=10)],
        now=NOW,
    ),
    "history without purchases": replies.purchase_history(REGISTRAR, purchases=[], now=NOW),
    "history": replies.purchase_history(
        REGISTRAR,
        purchases=[replies.HistoricPurchase(id=1, link_quantity=10, date=NOW, reference_number="PERMA-1234-5678")],
        now=NOW,
    ),
}


@in_turn("route, reply", list(ROUTES), list(REPLIES))
def test_our_own_reply_is_refused(route, reply):
    keys = PermaKeys({"development": perma_cc.PERMA_PAYMENTS_SECRET}, {"development": perma_cc.PERMA_PUBLIC})
    # The box opens, because it is symmetric: the shape is what refuses it.
    opened = keys.open(keys.seal(REPLIES[reply], keys=KeyPair("development", "development")))
    with pytest.raises(WrongShape, match="fields missing"):
        read_bytes(route, opened.plaintext)


@pytest.mark.parametrize("checkout", ["subscribe", "change", "purchase"])
def test_a_checkout_message_sent_to_cancel_request_is_refused(checkout):
    with pytest.raises(WrongShape, match=r"fields missing: none; unexpected fields: [1-9]"):
        read_bytes("cancel-request", raw(checkout))


# Within a group the fields are the same: a message cannot tell which of these routes it is for.
ALIKE = [
    {"subscribe", "change"},
    {"update", "billing", "cancel-request", "subscription", "purchase-history"},
    {"purchase"},
    {"acknowledge-purchase"},
]


@pytest.mark.parametrize(
    "route, sent",
    [(route, sent) for group in ALIKE for route in sorted(group) for sent in sorted(ROUTES.keys() - group)],
)
def test_a_message_of_another_shape_than_its_routes_is_refused(route, sent):
    with pytest.raises(WrongShape, match="fields missing"):
        read_bytes(route, raw(sent))


# --- Whatever comes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["subscribe", "acknowledge-purchase"])
@settings(deadline=None)
@given(plaintext=st.binary())
def test_reading_any_bytes_raises_only_refusals(route, plaintext):
    with pytest.raises(Refusal):
        read_bytes(route, plaintext)


@pytest.mark.parametrize("route", ["subscribe", "acknowledge-purchase"])
@settings(deadline=None)
@given(value=any_json)
def test_reading_any_json_raises_only_refusals(route, value):
    with pytest.raises(Refusal):
        read_bytes(route, json.dumps(value).encode())


@every_route
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_reading_any_values_raises_only_refusals(route, data):
    names = data.draw(st.sets(st.sampled_from(sorted(perma_cc.fields(route))), min_size=1))
    changes = {name: data.draw(any_json, label=name) for name in sorted(names)}
    try:
        message = read(route, **changes)
    except Refusal:
        return
    assert type(message) is ROUTES[route]


# --- What refusals say ------------------------------------------------------------------------------


@in_turn(
    "route, name, value",
    FIELDS,
    ["Zaphod-424242", ["Zaphod-424242"], {"Zaphod-424242": "Zaphod-424242"}, -424242, -424242.5, "-424242.00"],
)
def test_a_refusal_does_not_say_what_a_field_held(route, name, value):
    with pytest.raises(Refusal) as refusal:
        read(route, **{name: value})
    assert_says_nothing(refusal.value)


@every_route
def test_a_refusal_does_not_say_what_fields_there_were_too_many(route):
    with pytest.raises(Refusal) as refusal:
        read(route, **{"Zaphod-424242": "Zaphod-424242"})
    assert_says_nothing(refusal.value)


@in_turn(
    "route, plaintext",
    list(ROUTES),
    [
        b'"Zaphod-424242"',
        b'{"Zaphod-424242": }',
        b'{"Zaphod-424242": 1, "Zaphod-424242": 1}',
        b"Zaphod-424242\xff",
    ],
)
def test_a_refusal_does_not_say_what_a_message_held(route, plaintext):
    with pytest.raises(Refusal) as refusal:
        read_bytes(route, plaintext)
    assert_says_nothing(refusal.value)


def assert_says_nothing(refusal):
    for text in (str(refusal), repr(refusal), repr(refusal.args)):
        assert "Zaphod" not in text and "424242" not in text
    # Nor may a log show what it was raised from.
    assert refusal.__cause__ is None
    assert refusal.__context__ is None or refusal.__suppress_context__


# --- The name of a registrar (2026) -----------------------------------------------------------------

NAMED_ROUTES = ["subscribe", "change", "purchase"]
NAMES = [
    "Example Law Library",
    "x" * 400,
    "\N{CYRILLIC CAPITAL LETTER BE}иблиотека",
    "مكتبة القانون",  # from right to left
    "\N{RIGHT-TO-LEFT MARK}ספרייה",
    "\N{BOOKS} & <Sons>",
]


@in_turn("route, name", NAMED_ROUTES, NAMES)
def test_a_name_is_accepted_and_not_kept(route, name):
    named = read(route, customer_name=name)

    assert named == read(route)
    assert name not in repr(named)


@in_turn(
    "route, name",
    NAMED_ROUTES,
    ["", " ", "x" * 401, "Exam\nple", "\x00", "\x85", "\ud800", None, 7, True, ["Example"], {"en": "Example"}],
)
def test_a_name_that_is_no_name_is_refused_without_quoting_it(route, name):
    with pytest.raises(WrongValue, match=r"^customer_name: ") as refusal:
        read(route, customer_name=name)
    assert not (isinstance(name, str) and name.strip() and name in str(refusal.value))


@pytest.mark.parametrize("route", sorted(ROUTES.keys() - NAMED_ROUTES))
def test_a_name_has_no_place_in_other_messages(route):
    with pytest.raises(WrongShape, match=r"unexpected fields: 1$"):
        read(route, customer_name="Example Law Library")


@pytest.mark.parametrize(
    "route, name", [("subscribe", "amount"), ("change", "amount"), ("change", "recurring_amount")]
)
@pytest.mark.parametrize("amount", ["-1.50", "-0.00", "-1000.00"])
def test_a_negative_amount_is_called_that(route, name, amount):
    with pytest.raises(WrongValue, match=rf"^{name}: negative$"):
        read(route, **{name: amount})
