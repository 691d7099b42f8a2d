"""What the old service has comes here whole, once, and Perma.cc notices nothing."""

import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pghistory
import pytest
from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.models import User
from django.db import connection

from perma_payments.admin.timeline import timeline_of
from perma_payments.models import (
    MonthEnd,
    OutgoingTransaction,
    Purchase,
    ReferenceNumber,
    Response,
    StaffTask,
    SubscriptionAgreement,
)
from perma_payments.services import perma_queries
from perma_payments.services.checkouts.abandon import abandon_checkouts
from perma_payments.services.moving import read
from perma_payments.services.moving.read import CannotRead, old_database
from perma_payments.services.moving.report import Report
from perma_payments.services.moving.write import CannotImport, Stopped, import_everything, survey

from ... import records
from .old_world import BEGAN, NOW, TOKEN, OldWorld

DEC_1 = datetime(2026, 12, 1, tzinfo=UTC)


def looked_at(settings: Any, agreements: set[int] = frozenset(), purchases: set[int] = frozenset()) -> Report:
    with old_database(settings.LEGACY_DATABASE) as database:
        return survey(database, leave_out={read.AGREEMENTS: agreements, read.PURCHASES: purchases}, now=NOW)


def moved(settings: Any, agreements: set[int] = frozenset(), purchases: set[int] = frozenset()) -> Report:
    leave_out = {read.AGREEMENTS: agreements, read.PURCHASES: purchases}
    with old_database(settings.LEGACY_DATABASE) as database:
        return import_everything(database, leave_out=leave_out, now=NOW)


def found(report: Report) -> dict[str, list[int]]:
    """What a report says about rows, without the beginning of each table's name."""
    return {
        f"{group.severity.name} {group.table.removeprefix('perma_payments_')}.{group.column}: {group.reason}": ids
        for group, ids in report.groups.items()
    }


def stopped(settings: Any, **leave_out: Any) -> dict[str, list[int]]:
    with pytest.raises(Stopped) as stop:
        moved(settings, **leave_out)
    assert not SubscriptionAgreement.objects.exists() and not Purchase.objects.exists()
    return {text: ids for text, ids in found(stop.value.report).items() if text.startswith("STOPS")}


# --- What becomes of what ---------------------------------------------------------------------------


def test_an_agreement_takes_its_terms_from_its_row_and_the_rest_from_its_request_and_response(old, settings):
    old.agreement(request={"reference_number": "PERMA-1234-5678"}, current_rate=Decimal("30.00"))

    assert not moved(settings).groups
    agreement = SubscriptionAgreement.objects.get()
    assert {
        name: getattr(agreement, name)
        for name in (
            "customer_type customer_pk status reference_number payment_token current_rate current_frequency "
            "current_link_limit current_link_limit_effective_timestamp schedule_start covered_until "
            "coverage_proof created_at updated_at cancellation_requested_at next_charge_on scheduled_from"
        ).split()
    } == {
        "customer_type": "Registrar",
        "customer_pk": 7,
        "status": "Current",
        "reference_number": "PERMA-1234-5678",
        "payment_token": TOKEN,
        "current_rate": Decimal("30.00"),
        "current_frequency": "monthly",
        "current_link_limit": "100",
        "current_link_limit_effective_timestamp": BEGAN - timedelta(minutes=2),
        "schedule_start": date(2026, 7, 1),
        "covered_until": DEC_1,
        "coverage_proof": "report",
        "created_at": BEGAN,
        "updated_at": BEGAN + timedelta(minutes=5),
        "cancellation_requested_at": None,
        "next_charge_on": None,
        "scheduled_from": None,
    }
    assert not StaffTask.objects.exists()


def test_checkouts_and_responses_of_all_kinds_come_with_what_is_known_of_them(old, settings):
    agreement_id = old.agreement()
    upgrade = old.change(agreement_id, BEGAN + timedelta(days=1))
    old.change(agreement_id, BEGAN + timedelta(days=2), "DECLINE", amount=Decimal(0), link_limit="10")
    old.update(agreement_id, BEGAN + timedelta(days=3))
    old.purchase()
    old.set("subscriptionagreement", agreement_id, current_link_limit="500", current_rate=100)
    old.set("outgoingtransaction", upgrade, transaction_uuid="34fc0da0-2faf-4b4c-86d3-039a92b3fdfe")
    old.rows("UPDATE perma_payments_response SET message = 'Erin Example', full_response = 'x' WHERE id > 0")

    moved(settings)

    checkouts = OutgoingTransaction.objects.order_by("kind", "created_at")
    assert [(each.kind, each.change_kind, each.amount, each.transaction_type) for each in checkouts] == [
        ("change", "upgrade", Decimal("30.00"), "sale,update_payment_token"),
        ("change", "downgrade", Decimal("0.00"), "sale,update_payment_token"),
        ("purchase", None, Decimal("15.00"), "sale"),
        ("subscribe", None, Decimal("17.50"), "sale,create_payment_token"),
        ("update", None, None, "update_payment_token"),
    ]
    assert checkouts[0].transaction_uuid == uuid.UUID("34fc0da0-2faf-4b4c-86d3-039a92b3fdfe")
    assert checkouts[0].created_at == BEGAN + timedelta(days=1)
    responses = Response.objects.order_by("outgoing__kind", "received_at")
    assert [(each.outgoing.kind, each.decision, each.outcome) for each in responses] == [
        ("change", "ACCEPT", "took effect"),
        ("change", "DECLINE", "no effect"),
        ("purchase", "ACCEPT", "took effect"),
        ("subscribe", "ACCEPT", "took effect"),
        ("update", "ACCEPT", "took effect"),
    ]
    for each in responses:
        assert (each.message, bytes(each.sealed), each.archive_key_id) == ("(withheld)", b"x", "old-3")
        assert each.received_at == each.signed_at == each.applied_at == each.outgoing.created_at
        assert (each.transaction_id, each.amount, each.payment_token) == ("", "", "")


@pytest.mark.parametrize(
    "status, decision, here",
    [
        ("Pending", ..., "Pending"),
        ("Pending", None, "Abandoned"),
        ("Rejected", "DECLINE", "Rejected"),
        ("Aborted", "CANCEL", "Aborted"),
        ("Hold", "ACCEPT", "Hold"),
        ("Canceled", "REVIEW", "Canceled"),
        ("Completed", "ACCEPT", "Completed"),
        ("Superseded", "ACCEPT", "Superseded"),
    ],
)
def test_an_agreement_keeps_its_status_unless_nobody_has_decided(old, settings, status, decision, here):
    old.agreement(status, response=None if decision is ... else {"decision": decision})

    assert not moved(settings).groups
    assert SubscriptionAgreement.objects.get().status == here


def test_what_is_pending_for_years_is_abandoned_by_the_scheduler(old, settings):
    old.agreement("Pending", created_date=BEGAN.replace(year=2021))
    old.purchase(answered=False, created_date=BEGAN.replace(year=2021))

    moved(settings)

    assert abandon_checkouts(now=NOW) == 2


def test_a_customer_type_that_is_empty_is_a_registrar(old, settings):
    old.agreement(customer_type="")
    old.purchase(customer_type="", response={"perma_acknowledged_at": None})

    moved(settings)

    assert SubscriptionAgreement.objects.get().customer_type == "Registrar"
    assert Purchase.objects.get().customer_type == "Registrar"


def with_scheduled_downgrade(old: OldWorld, effective: datetime, status: str) -> int:
    """An agreement that will have 10 links instead of 100."""
    agreement_id = old.agreement(status, updated_date=NOW - timedelta(days=3))
    old.change(
        agreement_id,
        NOW - timedelta(days=3),
        amount=Decimal(0),
        recurring_amount=Decimal("10.00"),
        link_limit="10",
        link_limit_effective_timestamp=effective,
    )
    old.set(
        "subscriptionagreement",
        agreement_id,
        current_rate=10,
        current_link_limit="10",
        current_link_limit_effective_timestamp=effective,
    )
    return agreement_id


def test_a_scheduled_downgrade_is_told_apart_from_the_terms_in_force(old, settings):
    effective = datetime(2026, 12, 1, 9, tzinfo=UTC)
    with_scheduled_downgrade(old, effective, "Current")

    assert not moved(settings).groups
    agreement = SubscriptionAgreement.objects.get()
    assert (agreement.current_rate, agreement.current_link_limit) == (Decimal("25.00"), "100")
    assert (agreement.scheduled_rate, agreement.scheduled_from) == (Decimal("10.00"), effective)
    told = perma_queries.subscription_for_perma(agreement, now=NOW)
    assert (told.rate, told.link_limit_effective_timestamp) == (Decimal("10.00"), effective)
    assert told.pending_change is not None


def test_a_canceled_subscription_keeps_the_terms_in_force_until_its_end(old, settings):
    row = with_scheduled_downgrade(old, datetime(2026, 12, 1, 9, tzinfo=UTC), "Canceled")

    why = "would be told to Perma.cc differently: the terms in force, not those after the end"
    assert found(moved(settings)) == {
        f"DIFFERS subscriptionagreement.{column}: {why}": [row]
        for column in ("rate", "link_limit", "link_limit_effective_timestamp")
    }
    told = perma_queries.standing_subscription(records.REGISTRAR, now=NOW)
    assert told is not None and told.link_limit == "100"


def test_a_scheduled_downgrade_without_a_known_request_is_reported(old, settings):
    agreement_id = old.agreement(current_link_limit="10", current_link_limit_effective_timestamp=DEC_1)

    assert found(moved(settings)) == {
        "DIFFERS subscriptionagreement.current_link_limit_effective_timestamp: is later than the row, but the "
        "terms that hold until then are not known": [agreement_id]
    }
    assert SubscriptionAgreement.objects.get().scheduled_rate is None


@pytest.mark.parametrize("status", ["Current", "Hold"])
def test_a_requested_cancellation_has_a_task_that_staff_know_of(old, settings, status):
    asked, said = BEGAN + timedelta(days=40), {"cancellation_requested": True}
    old.agreement(
        status,
        history=[
            {"history_date": asked - timedelta(days=9), **said},
            {"history_date": asked - timedelta(days=8), "cancellation_requested": False},
            {"history_date": asked, **said},
            {"history_date": asked + timedelta(days=1), **said},
        ],
        **said,
    )
    old.set(
        "historicalsubscriptionagreement",
        BEGAN + timedelta(minutes=5),
        "history_date",
        cancellation_requested=False,
    )

    assert not moved(settings).groups
    task = StaffTask.objects.get()
    assert (task.kind, task.opened_at, task.notified_at, task.done_at) == ("cancellation", asked, asked, None)
    assert task.agreement.cancellation_requested_at == asked


def test_a_canceled_subscription_has_nothing_left_to_cancel(old, settings):
    old.agreement("Canceled", cancellation_requested=True)

    moved(settings)

    assert SubscriptionAgreement.objects.get().cancellation_requested_at is None
    assert not StaffTask.objects.exists()


@pytest.mark.parametrize(
    "response, status, acknowledged",
    [
        ({"perma_acknowledged_at": None}, "Paid", False),
        ({}, "Paid", True),
        ({"inform_perma": False}, "Paid", True),
        ({"inform_perma": False, "perma_acknowledged_at": None, "decision": "DECLINE"}, "Refused", False),
        ({"inform_perma": False, "perma_acknowledged_at": None, "decision": "CANCEL"}, "Aborted", False),
        ({"inform_perma": False, "perma_acknowledged_at": None, "decision": None}, "Abandoned", False),
    ],
)
def test_a_purchase_has_the_id_that_perma_knows(old, settings, response, status, acknowledged):
    _, response_id = old.purchase(response=response)

    assert not moved(settings).groups
    purchase = Purchase.objects.get(pk=response_id)
    assert (purchase.status, purchase.acknowledged_at is not None) == (status, acknowledged)
    assert purchase.paid_at == (BEGAN if status == "Paid" else None)


def test_new_purchases_get_ids_above_all_old_ones(old, settings):
    old.purchase(answered=False)
    _, highest = old.purchase()
    old.set("response", highest, id=2_999_999)
    old.set("purchaserequestresponse", highest, "response_ptr_id", response_ptr_id=2_999_999)

    moved(settings)

    assert min(Purchase.objects.values_list("pk", flat=True)) == 2_999_999
    assert Purchase.objects.get(status="Pending").pk > 3_000_000
    assert records.purchase().pk > 3_000_000


def test_the_history_comes_before_the_import_with_its_dates_and_users(old, settings):
    staff = old.user(username="erin")
    old.agreement(
        "Hold",
        history=[
            {
                "history_date": BEGAN + timedelta(days=30),
                "history_user_id": staff,
                "history_change_reason": "from the report",
                "current_rate": Decimal("31.00"),
            }
        ],
    )

    moved(settings)

    agreement = SubscriptionAgreement.objects.get()
    events = agreement.pgh_event_model.objects.filter(pgh_obj=agreement).order_by("pgh_id")
    assert [each.status for each in events] == ["Pending", "Hold", "Hold", "Hold"]
    assert [each.pgh_created_at for each in events][:3] == [
        BEGAN,
        BEGAN + timedelta(minutes=5),
        BEGAN + timedelta(days=30),
    ]
    assert {each.pgh_context["source"] for each in events} == {"import"}
    texts = [(each.text, each.details) for each in timeline_of(agreement) if each.kind == "change"]
    assert [text for text, _ in texts] == [
        "Created as Pending.",
        "Changed in the old service.",
        "Changed in the old service by erin.",
        "Imported from the old service.",
    ]
    assert texts[2][1][0] == "Reason: from the report"


def test_past_months_are_counted_again_with_what_was_imported(old, settings):
    MonthEnd.objects.create(month=date(2020, 1, 1), standing=1)
    moved(settings)

    assert not MonthEnd.objects.exists()


def test_users_keep_their_passwords_and_rights_and_nothing_else(old, settings):
    old.user(username="a", password=make_password("correct horse"), is_superuser=True, first_name="Erin")
    inactive = old.user(username="b", is_active=False, is_staff=False)
    odd = old.user(username="c", password="crypt$$xyz")
    here = old.user(username="d", is_superuser=True)
    User.objects.create(username="d", password="mine")

    report = found(moved(settings))

    a, b, c, d = (User.objects.get(username=name) for name in "abcd")
    assert check_password("correct horse", a.password)
    assert (a.is_superuser, a.is_staff, a.is_active, a.first_name, a.date_joined) == (True, True, True, "", BEGAN)
    assert (b.is_active, b.is_staff) == (False, False)
    assert not c.has_usable_password()
    assert (d.password, d.is_superuser) == ("mine", False)
    assert report == {
        "DIFFERS auth_user.password: cannot be checked here: the user has to reset it": [odd],
        "DIFFERS auth_user.username: exists here, and stays as it is": [here],
    }
    assert inactive


def test_all_reference_numbers_are_taken(old, settings):
    left_out = old.agreement(request={"reference_number": "PERMA-1111-1111"})
    old.purchase(reference_number="PERMA-2222-2222")

    moved(settings, agreements={left_out})

    taken = ReferenceNumber.objects.values_list("value", flat=True)
    assert {"PERMA-1111-1111", "PERMA-2222-2222"} <= set(taken)


# --- Dirty data -------------------------------------------------------------------------------------

SHARED = {"reference_number": "PERMA-7777-7777"}
UNKNOWN = "is none of the values that it can have"
STORED = "cannot be stored here: it is too long, or not in the form that it has here"


@pytest.mark.parametrize(
    "dirty, column, reason",
    [
        (
            {"without": "request"},
            "",
            "has no subscription request, and so neither a reference number nor a schedule",
        ),
        ({"customer_type": "registrar"}, "customer_type", UNKNOWN),
        ({"customer_pk": 0}, "customer_pk", "is not positive"),
        ({"current_frequency": "hourly"}, "current_frequency", UNKNOWN),
        ({"current_link_limit": "100 links a month"}, "current_link_limit", STORED),
        ({"current_rate": Decimal("12345678901.00")}, "current_rate", STORED),
        ({"current_rate": Decimal("NaN")}, "current_rate", STORED),
        ({"current_rate": Decimal("1.005")}, "current_rate", "has fractions of a cent"),
        ({"request": {"reference_number": "PERMA-12345-678901"}}, "reference_number", STORED),
    ],
)
@pytest.mark.parametrize("pays", [True, False])
def test_a_row_that_cannot_be_mapped_stops_the_import_only_if_the_customer_pays(
    old, settings, dirty, column, reason, pays
):
    row = old.agreement(**dirty)
    what = f".{column}: {reason}"
    if not pays:
        old.set("subscriptionagreement", row, status="Canceled", paid_through=BEGAN)
        assert found(moved(settings)) == {f"LEFT_OUT subscriptionagreement{what}": [row]}
        return
    assert stopped(settings) == {f"STOPS subscriptionagreement{what}": [row]}
    report = moved(settings, agreements={row})
    assert found(report) == {"LEFT_OUT subscriptionagreement.: is left out, as you said": [row]}
    assert not SubscriptionAgreement.objects.exists()


def test_a_status_that_is_unknown_stops_the_import(old, settings):
    row = old.agreement("Active", paid_through=BEGAN)

    assert stopped(settings) == {f"STOPS subscriptionagreement.status: {UNKNOWN}": [row]}


@pytest.mark.parametrize(
    "status, text", [("Current", "infinity"), ("Hold", "0044-03-15 12:00 BC"), ("Canceled", "12026-01-01")]
)
def test_a_time_that_cannot_be_stored_stops_the_import_of_what_may_be_paid(old, settings, status, text):
    row = old.agreement(status, paid_through=text)

    assert stopped(settings) == {
        "STOPS subscriptionagreement.paid_through: is no time or day that can be stored here": [row]
    }


def test_times_without_a_time_zone_are_taken_to_be_in_utc(old, settings):
    old.agreement()
    column = "ALTER TABLE perma_payments_subscriptionagreement ALTER created_date TYPE"
    old.rows(f"{column} timestamp USING created_date AT TIME ZONE 'UTC'")
    try:
        report = moved(settings)
    finally:
        old.rows(f"{column} timestamptz USING created_date AT TIME ZONE 'UTC'")

    assert SubscriptionAgreement.objects.get().created_at == BEGAN
    assert list(found(report)) == [
        "DIFFERS subscriptionagreement.created_date: has times without a time zone, which are taken to be in UTC"
    ]


def test_terms_that_are_missing_are_taken_from_the_request(old, settings):
    columns = ("current_rate", "current_frequency", "current_link_limit", "current_link_limit_effective_timestamp")
    old.agreement(request={"recurring_amount": 40, "link_limit": "unlimited"}, **dict.fromkeys(columns))

    report = moved(settings)

    agreement = SubscriptionAgreement.objects.get()
    assert (agreement.current_rate, agreement.current_link_limit) == (Decimal("40.00"), "unlimited")
    assert sum("is taken from the subscription request" in each for each in found(report)) == 4


@pytest.mark.parametrize("status", ["Current", "Hold"])
def test_without_a_date_it_is_paid_for_until_its_first_scheduled_charge(old, settings, status):
    old.agreement(status, paid_through=None)

    report = moved(settings)

    agreement = SubscriptionAgreement.objects.get()
    assert (agreement.covered_until, agreement.coverage_proof) == (datetime(2026, 7, 1, tzinfo=UTC), "checkout")
    assert (
        "DIFFERS subscriptionagreement.paid_through: is empty: paid for until the first scheduled charge"
        in found(report)
    )


@pytest.mark.parametrize(
    "paid_through, told",
    [
        (datetime(2026, 12, 1, tzinfo=UTC), DEC_1),
        (datetime(2026, 12, 12, tzinfo=UTC), datetime(2026, 12, 12, tzinfo=UTC)),
        (datetime(2026, 11, 1, tzinfo=UTC), DEC_1),
        (datetime(2031, 1, 1, tzinfo=UTC), DEC_1),
    ],
)
def test_perma_is_told_the_same_date_unless_it_is_past_or_impossible(old, settings, paid_through, told):
    old.agreement(paid_through=paid_through, updated_date=NOW - timedelta(days=20))

    report = moved(settings)

    assert SubscriptionAgreement.objects.get().paid_through(NOW) == told
    assert bool(report.groups) == (paid_through != told)


@pytest.mark.parametrize("token", ["", "with space", "1" * 26])
def test_a_standing_agreement_without_a_usable_token_has_a_task(old, settings, token):
    old.agreement(response={"payment_token": token})

    moved(settings)

    tasks = list(StaffTask.objects.values_list("kind", flat=True))
    assert tasks == ([] if token.isalnum() else ["token missing"])


def test_several_subscriptions_of_one_customer_are_all_here_and_have_a_task(old, settings):
    first = old.agreement()
    second = old.agreement(created_date=BEGAN + timedelta(days=1), current_link_limit="500")

    report = moved(settings)

    assert found(report) == {
        "DIFFERS subscriptionagreement.: is not the customer's only one that is charged: staff get a task": [
            second
        ]
    }
    assert StaffTask.objects.get().kind == "second subscription"
    assert perma_queries.standing_subscription(records.REGISTRAR, now=NOW).link_limit == "100"
    assert first


def test_the_agreement_that_was_paid_keeps_a_shared_reference_number(old, settings):
    unpaid = old.agreement("Rejected", request=SHARED, customer_pk=8)
    paid = old.agreement(request=SHARED)
    ended = old.agreement("Completed", request=SHARED, customer_pk=9)

    report = moved(settings)

    assert SubscriptionAgreement.objects.get().customer_pk == 7
    assert list(found(report).values()) == [[unpaid, ended]]
    assert paid


def test_a_reference_number_of_two_that_were_paid_stops_the_import(old, settings):
    one, two = old.agreement(request=SHARED), old.agreement(request=SHARED, customer_pk=9)

    assert list(stopped(settings).values()) == [[one, two]]
    moved(settings, agreements={two})
    assert SubscriptionAgreement.objects.get().customer_pk == 7


def test_a_reference_number_of_a_subscription_and_a_purchase_harms_nobody(old, settings):
    old.agreement(request=SHARED)
    old.purchase(**SHARED, response={"perma_acknowledged_at": None})

    assert not moved(settings).groups


def test_a_reference_number_of_two_paid_purchases_stops_the_import(old, settings):
    one, _ = old.purchase(**SHARED, response={"perma_acknowledged_at": None})
    two, _ = old.purchase(**SHARED, response={"perma_acknowledged_at": None})
    unpaid, _ = old.purchase(**SHARED, answered=False)

    assert list(stopped(settings).values()) == [[one, two]]
    report = moved(settings, purchases={two})
    assert Purchase.objects.count() == 1
    assert sorted(each for ids in found(report).values() for each in ids) == [two, unpaid]


def test_a_shared_uuid_stays_with_the_request_that_was_answered(old, settings):
    shared = str(uuid.uuid4())
    unanswered = old.agreement("Pending", request={"transaction_uuid": shared}, customer_pk=9)
    old.agreement(request={"transaction_uuid": shared})

    report = moved(settings)

    assert OutgoingTransaction.objects.get().agreement.status == "Current"
    assert SubscriptionAgreement.objects.count() == 2
    assert list(found(report)) == [
        "LEFT_OUT subscriptionrequest.transaction_uuid: is also that of another request, which keeps it"
    ]
    assert unanswered


@pytest.mark.parametrize("kind", ["subscription", "purchase"])
def test_a_payment_that_the_old_service_ignored_has_a_task(old, settings, kind):
    if kind == "subscription":
        old.agreement("Pending", response={"decision": "ACCEPT", "payment_token": TOKEN})
    else:
        old.purchase(response={"inform_perma": False, "perma_acknowledged_at": None})

    report = moved(settings)

    task = StaffTask.objects.get()
    assert (task.kind, task.notified_at, task.response.outcome) == ("indeterminate", None, "no effect")
    assert task.response.payment_token == (TOKEN if kind == "subscription" else "")
    assert len(report.groups) == 1


def test_a_change_that_cannot_be_stored_is_left_out_alone(old, settings):
    change = old.change(old.agreement(), BEGAN, link_limit="several", transaction_uuid=str(uuid.uuid4()))

    assert found(moved(settings)) == {f"LEFT_OUT changerequest.link_limit: {STORED}": [change]}
    assert OutgoingTransaction.objects.get().kind == "subscribe"


def test_history_that_cannot_be_stored_is_left_out_alone(old, settings):
    old.agreement(history=[{"history_id": 55, "current_link_limit": "as many as you want"}])

    assert found(moved(settings)) == {
        f"LEFT_OUT historicalsubscriptionagreement.current_link_limit: {STORED}": [55]
    }


def test_an_empty_response_is_left_out_alone(old, settings):
    old.agreement(response={"full_response": b""})

    assert len(found(moved(settings))) == 1
    assert SubscriptionAgreement.objects.get().payment_token == TOKEN


def test_rows_that_belong_to_nothing_are_left_out(old, settings):
    agreement = old.agreement()
    change = old.change(agreement, BEGAN)
    old.rows("DELETE FROM perma_payments_changerequest")
    update = old.update(999_999, BEGAN)
    old.rows("DELETE FROM perma_payments_updaterequestresponse")
    old.insert("outgoingtransaction", {"id": 5, "transaction_uuid": str(uuid.uuid4()), "request_datetime": BEGAN})
    old.rows("UPDATE perma_payments_historicalsubscriptionagreement SET id = 999999")

    report = found(moved(settings))

    assert {text.split(":")[0] for text in report} == {
        "LEFT_OUT changerequestresponse.related_request_id",
        "LEFT_OUT updaterequest.subscription_agreement_id",
        "LEFT_OUT response.",
        "LEFT_OUT outgoingtransaction.",
        "LEFT_OUT historicalsubscriptionagreement.id",
    }
    assert report["LEFT_OUT outgoingtransaction.: has no request"] == [5, change]
    assert report["LEFT_OUT updaterequest.subscription_agreement_id: names none that exists"] == [update]


def test_a_paid_purchase_whose_request_is_missing_stops_the_import(old, settings):
    _, credited = old.purchase()
    _, owed = old.purchase(response={"perma_acknowledged_at": None})
    old.rows("DELETE FROM perma_payments_purchaserequest")

    (stop,) = stopped(settings).items()
    assert stop == (
        "STOPS purchaserequestresponse.related_request_id: names a request that does not exist",
        [owed],
    )
    assert credited


@pytest.mark.parametrize(
    "changes", [{"amount": Decimal(0)}, {"link_quantity": 0}, {"reference_number": "PERMA-1"}]
)
@pytest.mark.parametrize("is_owed", [True, False])
def test_a_purchase_that_cannot_be_mapped_stops_the_import_until_perma_has_credited_it(
    old, settings, changes, is_owed
):
    row, _ = old.purchase(response={"perma_acknowledged_at": None} if is_owed else {}, **changes)

    if is_owed:
        assert list(stopped(settings).values()) == [[row]]
    else:
        assert list(found(moved(settings)).values()) == [[row]]


def test_a_token_that_changes_with_the_card_is_reported(old, settings):
    row = old.agreement(response={"payment_token": "1234567890123456"})

    assert found(moved(settings)) == {
        "DIFFERS subscriptionagreement.: has a token that changes with the card": [row]
    }


# --- All or nothing ---------------------------------------------------------------------------------


def test_a_survey_writes_nothing(old, settings):
    old.agreement()
    old.user()

    looked_at(settings)

    assert not SubscriptionAgreement.objects.exists() and not User.objects.exists()


def test_if_perma_would_be_told_something_else_nothing_is_imported(old, settings):
    old.agreement()
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION damage() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.current_rate := NEW.current_rate + 1; RETURN NEW; END $$; "
            "CREATE TRIGGER damage BEFORE INSERT ON perma_payments_subscriptionagreement "
            "FOR EACH ROW EXECUTE FUNCTION damage()"
        )

    with pytest.raises(CannotImport, match="Perma.cc would not be told what was planned about Registrar 7"):
        moved(settings)
    assert not SubscriptionAgreement.objects.exists()


def test_if_a_row_is_lost_nothing_is_imported(old, settings):
    old.agreement("Rejected")
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; "
            "CREATE TRIGGER lose BEFORE INSERT ON perma_payments_response FOR EACH ROW EXECUTE FUNCTION lose()"
        )

    with pytest.raises(CannotImport, match="Response has another number of rows than planned"):
        moved(settings)
    assert not SubscriptionAgreement.objects.exists()


def test_a_role_that_does_not_own_the_tables_is_told_so(old, settings):
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE the_service")
        cursor.execute("SET LOCAL ROLE the_service")
        with pytest.raises(CannotImport, match="Use the role that owns the tables"):
            moved(settings)
        cursor.execute("RESET ROLE")


def test_the_old_database_cannot_be_written_to(old, settings):
    with (
        old_database(settings.LEGACY_DATABASE) as database,
        pytest.raises(CannotRead, match="cannot be read: ReadOnlySqlTransaction"),
    ):
        database.rows("DELETE FROM auth_user")


def test_everything_is_read_as_it_was_at_one_moment(old, settings):
    old.agreement()
    with old_database(settings.LEGACY_DATABASE) as database:
        old.agreement(customer_pk=9)

        assert [len(chunk) for chunk in database.customers()] == [1]


def test_another_database_is_not_taken_for_the_old_one(old, settings):
    settings.LEGACY_DATABASE = connection.settings_dict

    with pytest.raises(
        CannotRead, match="It has no perma_payments_subscriptionagreement.cancellation_requested, "
    ):
        looked_at(settings)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"NAME": "not_there"}, "there is no such database"),
        ({"USER": "not_there"}, "the user name or the password is wrong"),
        ({"HOST": "not-there.invalid"}, "the name of its host is unknown"),
        ({"OPTIONS": {"sslmode": "verify-nothing"}}, ""),
    ],
    ids=["database", "user", "host", "sslmode"],
)
def test_an_address_that_cannot_be_reached_is_said(old, settings, changes, reason):
    settings.LEGACY_DATABASE = {**settings.LEGACY_DATABASE, **changes}

    with pytest.raises(CannotRead, match=f"The database in LEGACY_DATABASE_URL cannot be reached: {reason}"):
        looked_at(settings)


# --- Again ------------------------------------------------------------------------------------------


def counts() -> list[int]:
    models = (SubscriptionAgreement, Purchase, OutgoingTransaction, Response, StaffTask, User, ReferenceNumber)
    events = [SubscriptionAgreement.pgh_event_model, Purchase.pgh_event_model]
    return [model._default_manager.count() for model in (*models, *events)]


def test_a_second_import_takes_what_is_new_and_what_has_changed(old, settings):
    agreement = old.agreement()
    late = old.agreement("Pending", customer_pk=9, request={"transaction_uuid": str(uuid.uuid4())})
    _, purchase = old.purchase(response={"perma_acknowledged_at": None})
    moved(settings)
    first = counts()
    assert not moved(settings).groups
    assert counts() == first

    request = old.rows(
        "SELECT * FROM perma_payments_subscriptionrequest WHERE subscription_agreement_id = %s", late
    )
    old.response(
        "subscription", request[0]["outgoingtransaction_ptr_id"], {"decision": "DECLINE", "payment_token": ""}
    )
    old.set("subscriptionagreement", late, status="Rejected")
    old.set("subscriptionagreement", agreement, cancellation_requested=True)
    old.set("purchaserequestresponse", purchase, "response_ptr_id", perma_acknowledged_at=NOW)
    old.agreement(customer_pk=10)
    moved(settings)

    assert SubscriptionAgreement.objects.count() == 3
    assert SubscriptionAgreement.objects.get(customer_pk=9).status == "Rejected"
    assert SubscriptionAgreement.objects.get(customer_pk=7).tasks.get().kind == "cancellation"
    assert Purchase.objects.get().acknowledged_at == NOW
    assert Response.objects.count() == 4

    old.set("subscriptionagreement", agreement, cancellation_requested=False)
    moved(settings)
    assert StaffTask.objects.get().resolution == "withdrawn"


def test_what_has_changed_here_since_is_not_undone(old, settings):
    old.agreement()
    _, purchase = old.purchase(response={"perma_acknowledged_at": None})
    moved(settings)
    with pghistory.context(source="staff"):
        SubscriptionAgreement.objects.update(status="Hold")
        Purchase.objects.update(acknowledged_at=NOW)
    records.standing_agreement(records.INDIVIDUAL)

    report = moved(settings)

    assert not report.groups
    assert report.does["agreements", "moved on here"] == report.does["purchases", "moved on here"] == 1
    assert SubscriptionAgreement.objects.get(customer_type="Registrar").status == "Hold"
    assert Purchase.objects.get().acknowledged_at == NOW
    assert purchase


def test_what_has_changed_in_both_services_stops_the_import(old, settings):
    row = old.agreement()
    moved(settings)
    with pghistory.context(source="staff"):
        SubscriptionAgreement.objects.update(status="Hold")
    old.set("subscriptionagreement", row, status="Canceled")

    with pytest.raises(Stopped) as stop:
        moved(settings)
    assert found(stop.value.report) == {
        "STOPS subscriptionagreement.: was imported, and has changed in both services since": [row]
    }
    moved(settings, agreements={row})
    assert SubscriptionAgreement.objects.get().status == "Hold"


def test_a_purchase_that_was_paid_after_the_first_import_cannot_get_the_id_that_perma_knows(old, settings):
    row, _ = old.purchase(answered=False)
    moved(settings)
    old.response("purchase", row, {"inform_perma": True, "perma_acknowledged_at": None})

    with pytest.raises(Stopped) as stop:
        moved(settings)
    assert [ids for text, ids in found(stop.value.report).items() if "under another id" in text] == [[row]]


def test_what_the_new_service_has_given_away_stops_the_import(old, settings):
    here = records.purchase()
    agreement = records.standing_agreement(records.INDIVIDUAL)
    row, response = old.purchase()
    old.set("response", response, id=here.pk)
    old.set("purchaserequestresponse", response, "response_ptr_id", response_ptr_id=here.pk)
    number = old.agreement(request={"reference_number": agreement.reference_number})

    with pytest.raises(Stopped) as stop:
        moved(settings)
    assert found(stop.value.report) == {
        "STOPS purchaserequest.: has an id that another one has here": [row],
        "STOPS subscriptionagreement.reference_number: belongs to another one here": [number],
    }


def test_nobody_can_write_while_it_is_imported(old, settings):
    moved(settings)

    # The test's transaction goes on, and still has the locks.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relation::regclass::text FROM pg_locks "
            "WHERE mode = 'ShareRowExclusiveLock' AND pid = pg_backend_pid()"
        )
        assert {"perma_payments_subscriptionagreement", "perma_payments_purchase", "perma_payments_response"} <= {
            table for (table,) in cursor.fetchall()
        }
