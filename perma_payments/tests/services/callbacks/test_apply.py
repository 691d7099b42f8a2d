"""What CyberSource's responses do to agreements and purchases: the table of docs/statuses.md."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from perma_payments.admin.mails import task_mail
from perma_payments.billing.coverage import midnight
from perma_payments.billing.customers import Customer
from perma_payments.billing.transactions import Kind
from perma_payments.cybersource.decisions import Verdict
from perma_payments.models import Outcome, OutgoingTransaction, Response, StaffTask
from perma_payments.models.history import HistorySource
from perma_payments.services.callbacks import apply
from perma_payments.services.callbacks.receive import receive_callback

from ... import cyber_source, records
from ...records import REGISTRAR

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DECISIONS = ["ACCEPT", "REVIEW", "DECLINE", "ERROR", "CANCEL"]


def respond(
    outgoing: OutgoingTransaction, decision: str = "ACCEPT", *, now: datetime = NOW, **changes: Any
) -> Response:
    """CyberSource responds to a checkout; see cyber_source.response for the changes."""
    fields = cyber_source.response(records.form(outgoing), decision, **changes)
    response = receive_callback(b"body", list(fields.items()), now=now)
    response.refresh_from_db()
    assert response.applied_at == now
    return response


def tasks() -> list[str]:
    """The kinds of all staff tasks, sorted."""
    return sorted(StaffTask.objects.values_list("kind", flat=True))


def fresh(instance: Any) -> Any:
    """What the database holds now."""
    return type(instance).objects.get(pk=instance.pk)


# --- The table --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decision", "changes", "status", "opened"),
    [
        ("ACCEPT", {}, "Current", []),
        ("REVIEW", {}, "Current", ["held for review"]),
        ("DECLINE", {}, "Rejected", []),
        ("ERROR", {}, "Rejected", ["checkout failed"]),
        ("CANCEL", {}, "Aborted", []),
        ("MAYBE", {}, "Pending", ["unknown decision"]),
        ("ACCEPT", {"reason_code": "110", "auth_amount": "5.00"}, "Pending", ["partial approval"]),
        ("ACCEPT", {"auth_amount": "12.49"}, "Pending", ["partial approval"]),
        ("ACCEPT", {"reason_code": "999"}, "Current", []),
        ("ERROR", {"reason_code": "104"}, "Pending", ["indeterminate"]),
        ("ERROR", {"reason_code": "150"}, "Pending", ["indeterminate"]),
        ("ERROR", {"reason_code": "151"}, "Pending", ["indeterminate"]),
        ("ERROR", {"reason_code": "152"}, "Pending", ["indeterminate"]),
        ("ERROR", {"reason_code": ..., "transaction_id": ...}, "Rejected", ["checkout failed"]),
    ],
)
def test_a_response_to_subscribe(decision, changes, status, opened):
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    respond(outgoing, decision, **changes)

    agreement = fresh(outgoing.agreement)
    assert (agreement.status, tasks()) == (status, opened)
    assert (agreement.current_rate is not None) == (status == "Current")
    assert bool(agreement.payment_token) == (status == "Current")


@pytest.mark.parametrize(
    ("decision", "changes", "takes", "opened"),
    [
        ("ACCEPT", {}, True, []),
        ("REVIEW", {}, True, ["held for review"]),
        ("DECLINE", {}, False, []),
        ("ERROR", {}, False, ["checkout failed"]),
        ("CANCEL", {}, False, []),
        ("MAYBE", {}, False, ["unknown decision"]),
        ("ACCEPT", {"reason_code": "110"}, False, ["partial approval"]),
        ("ERROR", {"reason_code": "150"}, False, ["indeterminate"]),
    ],
)
def test_a_response_to_change(decision, changes, takes, opened):
    outgoing = records.outgoing(Kind.CHANGE)
    before = fresh(outgoing.agreement)
    respond(outgoing, decision, **changes)

    after = fresh(outgoing.agreement)
    assert tasks() == opened
    assert (after.current_rate, after.current_link_limit) == ((90, "500") if takes else (45, "100"))
    assert (after.current_link_limit_effective_timestamp == NOW) == takes
    unchanged = ("status", "covered_until", "current_frequency", "payment_token", "cancellation_requested_at")
    assert [getattr(after, name) for name in unchanged] == [getattr(before, name) for name in unchanged]


@pytest.mark.parametrize(
    ("decision", "changes", "takes", "opened"),
    [
        ("ACCEPT", {}, True, []),
        ("REVIEW", {}, False, ["held for review"]),
        ("DECLINE", {}, False, []),
        ("ERROR", {}, False, ["checkout failed"]),
        ("CANCEL", {}, False, []),
        ("MAYBE", {}, False, ["unknown decision"]),
        ("ERROR", {"reason_code": "152"}, False, ["indeterminate"]),
    ],
)
def test_a_response_to_update(decision, changes, takes, opened):
    outgoing = records.outgoing(Kind.UPDATE)
    before = fresh(outgoing.agreement)
    respond(outgoing, decision, payment_token="9999", **changes)

    after = fresh(outgoing.agreement)
    assert tasks() == opened
    assert after.payment_token == ("9999" if takes else records.TOKEN)
    unchanged = ("status", "covered_until", "current_rate", "current_link_limit")
    assert [getattr(after, name) for name in unchanged] == [getattr(before, name) for name in unchanged]


@pytest.mark.parametrize(
    ("decision", "changes", "status", "opened"),
    [
        ("ACCEPT", {}, "Paid", []),
        ("REVIEW", {}, "Paid", ["held for review"]),
        ("DECLINE", {}, "Refused", []),
        ("ERROR", {}, "Refused", ["checkout failed"]),
        ("CANCEL", {}, "Aborted", []),
        ("MAYBE", {}, "Pending", ["unknown decision"]),
        ("ACCEPT", {"reason_code": "110"}, "Pending", ["partial approval"]),
        ("ERROR", {"reason_code": "151"}, "Pending", ["indeterminate"]),
    ],
)
def test_a_response_to_purchase(decision, changes, status, opened):
    outgoing = records.outgoing(Kind.PURCHASE)
    respond(outgoing, decision, **changes)

    purchase = fresh(outgoing.purchase)
    assert (purchase.status, tasks()) == (status, opened)
    assert purchase.paid_at == (NOW if status == "Paid" else None)


def test_only_an_unpaid_change_or_update_has_no_effect():
    cells = {(kind, verdict) for kind in Kind for verdict in Verdict if verdict not in apply._TASKS}
    assert cells - apply._STEPS.keys() == {
        (Kind.CHANGE, Verdict.DECLINED),
        (Kind.CHANGE, Verdict.ABANDONED),
        (Kind.UPDATE, Verdict.DECLINED),
        (Kind.UPDATE, Verdict.ABANDONED),
    }


# --- What an accepted subscription takes ------------------------------------------------------------


def test_an_accepted_subscription_has_the_requested_terms():
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    response = respond(outgoing)

    agreement = fresh(outgoing.agreement)
    assert agreement.current_rate == Decimal("45.00")
    assert agreement.current_frequency == "monthly"
    assert agreement.current_link_limit == "100"
    assert agreement.current_link_limit_effective_timestamp == outgoing.link_limit_effective_timestamp
    assert agreement.schedule_start == outgoing.recurring_start_date
    assert agreement.coverage == (midnight(outgoing.recurring_start_date), "checkout")
    assert agreement.payment_token == response.transaction_id
    # A key to money is kept in one place.
    assert response.payment_token == ""


def test_a_token_is_taken_under_either_name_if_it_is_signed():
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    respond(outgoing, payment_token=..., req_payment_token="0A1B", unsigned={"payment_token": "666"})

    assert fresh(outgoing.agreement).payment_token == "0A1B"


@pytest.mark.parametrize("token", [..., "", "a b", "12-34", "1" * 33, "1" * 10_000, "١٢٣", "\x00"])
def test_a_paid_subscription_without_a_token_opens_a_task(token):
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    respond(outgoing, payment_token=token)

    agreement = fresh(outgoing.agreement)
    assert (agreement.status, agreement.payment_token) == ("Current", "")
    assert tasks() == ["token missing"]


@pytest.mark.parametrize(("kind", "old"), [(Kind.SUBSCRIBE, ""), (Kind.CHANGE, "1"), (Kind.UPDATE, "1")])
def test_a_token_that_comes_later_ends_the_task_about_it(kind, old):
    agreement = records.standing_agreement(payment_token=old)
    task = StaffTask.objects.create(kind="token missing", agreement=agreement)
    respond(records.outgoing(kind, agreement), payment_token="0A1B")

    assert (fresh(agreement).payment_token, fresh(task).resolution) == ("0A1B", "withdrawn")


def test_a_format_preserving_token_is_taken_with_a_task():
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    respond(outgoing, payment_token="4111111111111111")

    assert fresh(outgoing.agreement).payment_token == "4111111111111111"
    assert tasks() == ["token changes"]


def test_a_hexadecimal_token_is_taken_like_any_other():
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    respond(outgoing, payment_token="ABCDEF0123456789ABCDEF0123456789")

    assert fresh(outgoing.agreement).payment_token == "ABCDEF0123456789ABCDEF0123456789"
    assert tasks() == []


@pytest.mark.parametrize("kind", list(Kind))
def test_an_ambiguous_response_is_kept_and_has_no_effect(kind):
    outgoing = records.outgoing(kind)
    response = respond(outgoing, req_bill_to_address_line1="Box 3,message=leave at door")

    assert (response.is_ambiguous, response.outcome, tasks()) == (True, Outcome.NO_EFFECT, ["not what was signed"])
    assert fresh(outgoing.subject).updated_at == outgoing.subject.updated_at


@pytest.mark.parametrize("decision", ["ACCEPT", "REVIEW"])
def test_a_partly_authorized_purchase_is_not_granted(decision):
    outgoing = records.outgoing(Kind.PURCHASE)
    respond(outgoing, decision, auth_amount="1.00")

    assert (fresh(outgoing.purchase).status, tasks()) == ("Pending", ["partial approval"])


# --- The order of arrival ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.SUBSCRIBE, Kind.PURCHASE])
@pytest.mark.parametrize("other", ["DECLINE", "ERROR", "CANCEL", "MAYBE"])
@pytest.mark.parametrize("accept_first", [True, False])
def test_accept_wins_whatever_the_order_of_arrival(kind, other, accept_first):
    outgoing = records.outgoing(kind)
    for decision in ("ACCEPT", other) if accept_first else (other, "ACCEPT"):
        respond(outgoing, decision)

    assert fresh(outgoing.subject).status == ("Current" if kind == Kind.SUBSCRIBE else "Paid")


@pytest.mark.parametrize("decline_first", [True, False])
def test_a_declined_checkout_that_is_given_up_is_aborted(decline_first):
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    for decision in ("DECLINE", "CANCEL") if decline_first else ("CANCEL", "DECLINE"):
        respond(outgoing, decision)

    assert fresh(outgoing.agreement).status == "Aborted"


@pytest.mark.parametrize("status", ["Hold", "Canceled", "Completed", "Superseded"])
@pytest.mark.parametrize("decision", DECISIONS)
def test_no_response_changes_a_status_set_by_a_report(status, decision):
    agreement = records.standing_agreement(status=status)
    respond(records.outgoing(Kind.SUBSCRIBE, agreement), decision)

    after = fresh(agreement)
    assert (after.status, after.covered_until) == (status, agreement.covered_until)


def test_an_accept_after_a_report_still_brings_the_token():
    agreement = records.standing_agreement(payment_token="", current_rate=Decimal("77.00"))
    response = respond(records.outgoing(Kind.SUBSCRIBE, agreement))

    after = fresh(agreement)
    assert (after.payment_token, after.current_rate) == (response.transaction_id, Decimal("77.00"))


def test_a_review_that_is_accepted_later_is_one_charge():
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    review = respond(outgoing, "REVIEW", payment_token=...)
    respond(outgoing, "ACCEPT", transaction_id=review.transaction_id, payment_token="777")

    assert fresh(outgoing.agreement).payment_token == "777"
    assert tasks() == ["held for review", "token missing"]


def test_a_held_update_takes_its_token_when_accepted():
    outgoing = records.outgoing(Kind.UPDATE)
    review = respond(outgoing, "REVIEW", payment_token="8888")
    respond(outgoing, "ACCEPT", transaction_id=review.transaction_id, payment_token="8888")

    assert fresh(outgoing.agreement).payment_token == "8888"


EARLIER, LATER = "2026-11-21T11:50:00Z", "2026-11-21T11:55:00Z"


@pytest.mark.parametrize("asked_first", [0, 1])
def test_what_cybersource_did_last_is_in_force(asked_first):
    agreement = records.standing_agreement()
    begun = [NOW - timedelta(minutes=9), NOW - timedelta(minutes=5)]
    small = records.outgoing(Kind.CHANGE, agreement, created_at=begun[asked_first], link_limit="10")
    large = records.outgoing(Kind.CHANGE, agreement, created_at=begun[1 - asked_first], link_limit="500")
    respond(large, signed_date_time=LATER, payment_token="500")
    response = respond(small, signed_date_time=EARLIER, payment_token="10")

    assert (fresh(agreement).current_link_limit, fresh(agreement).payment_token) == ("500", "500")
    assert (response.outcome, tasks()) == (Outcome.NO_EFFECT, ["out of order"])
    # It is not lost: a person may have to know it.
    assert response.payment_token == "10"


def test_of_two_changes_of_one_second_the_last_to_come_counts():
    agreement = records.standing_agreement()
    for link_limit in ("500", "900"):
        respond(records.outgoing(Kind.CHANGE, agreement, link_limit=link_limit), signed_date_time=LATER)

    assert (fresh(agreement).current_link_limit, tasks()) == ("900", [])


def test_two_changes_in_order_open_no_task():
    agreement = records.standing_agreement()
    for signed_at, link_limit in ((EARLIER, "200"), (LATER, "500")):
        respond(records.outgoing(Kind.CHANGE, agreement, link_limit=link_limit), signed_date_time=signed_at)

    assert (fresh(agreement).current_link_limit, tasks()) == ("500", [])


@pytest.mark.parametrize(
    ("later", "of_another_customer"),
    [(Kind.UPDATE, False), (Kind.CHANGE, True)],
    ids=["update", "other agreement"],
)
def test_only_a_later_change_of_the_same_agreement_blocks_a_change(later, of_another_customer):
    agreement = records.standing_agreement()
    other = records.standing_agreement(records.INDIVIDUAL) if of_another_customer else agreement
    respond(records.outgoing(later, other), signed_date_time=LATER)
    respond(records.outgoing(Kind.CHANGE, agreement, link_limit="900"), signed_date_time=EARLIER)

    assert (fresh(agreement).current_link_limit, tasks()) == ("900", [])


def test_a_later_change_blocks_an_older_token():
    agreement = records.standing_agreement()
    respond(records.outgoing(Kind.CHANGE, agreement), signed_date_time=LATER, payment_token="1")
    respond(records.outgoing(Kind.UPDATE, agreement), signed_date_time=EARLIER, payment_token="2")

    assert (fresh(agreement).payment_token, tasks()) == ("1", ["out of order"])


def test_an_older_change_does_not_replace_a_newer_card():
    agreement = records.standing_agreement()
    respond(records.outgoing(Kind.UPDATE, agreement), signed_date_time=LATER, payment_token="1")
    respond(records.outgoing(Kind.CHANGE, agreement), signed_date_time=EARLIER, payment_token="2")

    after = fresh(agreement)
    assert (after.payment_token, after.current_link_limit, tasks()) == ("1", "500", [])


def test_a_newer_change_replaces_an_older_card():
    agreement = records.standing_agreement()
    respond(records.outgoing(Kind.UPDATE, agreement), signed_date_time=EARLIER, payment_token="1")
    respond(records.outgoing(Kind.CHANGE, agreement), signed_date_time=LATER, payment_token="2")

    assert fresh(agreement).payment_token == "2"


def test_the_same_change_paid_from_two_tabs_is_a_duplicate_charge():
    agreement = records.standing_agreement()
    first, second = (records.outgoing(Kind.CHANGE, agreement) for _ in range(2))
    respond(first)
    assert tasks() == []
    respond(second)

    assert tasks() == ["duplicate charge"]
    task = StaffTask.objects.get()
    assert task.response.outgoing == second
    body = " ".join(task_mail(task).body.split())
    assert "paid twice for the same change of plan" in body
    kept, refunded = (each.responses.get().transaction_id for each in (first, second))
    assert f"Keep {kept}, and refund {refunded}." in body


@pytest.mark.parametrize("changes", [{"link_limit": "600"}, {"recurring_amount": Decimal("95.00")}])
def test_another_change_after_one_is_no_duplicate(changes):
    agreement = records.standing_agreement()
    respond(records.outgoing(Kind.CHANGE, agreement))
    respond(records.outgoing(Kind.CHANGE, agreement, **changes))

    assert tasks() == []


def test_what_costs_nothing_is_no_duplicate():
    agreement = records.standing_agreement()
    for _ in range(2):
        respond(records.outgoing(Kind.CHANGE, agreement, amount=Decimal("0.00")))

    assert tasks() == []


def test_a_checkout_does_not_block_its_own_later_response():
    outgoing = records.outgoing(Kind.CHANGE)
    respond(outgoing, "REVIEW", signed_date_time=LATER, transaction_id="1")
    respond(outgoing, "ACCEPT", signed_date_time=EARLIER, transaction_id="1")

    assert tasks() == ["held for review"]


def test_an_accept_takes_away_nothing_that_staff_have_granted():
    until = midnight(date.today() + timedelta(days=400))
    agreement = records.agreement(covered_until=until, coverage_proof="staff")
    respond(records.outgoing(Kind.SUBSCRIBE, agreement))

    assert (fresh(agreement).status, fresh(agreement).covered_until) == ("Current", until)


def test_a_later_declined_change_does_not_block_an_earlier_one():
    agreement = records.standing_agreement()
    respond(records.outgoing(Kind.CHANGE, agreement, link_limit="500"), "DECLINE", signed_date_time=LATER)
    respond(records.outgoing(Kind.CHANGE, agreement, link_limit="900"), signed_date_time=EARLIER)

    assert (fresh(agreement).current_link_limit, tasks()) == ("900", [])


def test_a_token_is_not_replaced_by_an_older_one_that_comes_late():
    agreement = records.standing_agreement()
    respond(records.outgoing(Kind.UPDATE, agreement), signed_date_time=LATER, payment_token="2222")
    respond(records.outgoing(Kind.UPDATE, agreement), signed_date_time=EARLIER, payment_token="1111")

    assert (fresh(agreement).payment_token, tasks()) == ("2222", ["out of order"])


@pytest.mark.parametrize("kind", [Kind.CHANGE, Kind.UPDATE])
@pytest.mark.parametrize("later", [Kind.CHANGE, Kind.UPDATE])
def test_a_later_response_without_a_token_does_not_lose_an_earlier_token(kind, later):
    agreement = records.standing_agreement()
    respond(records.outgoing(later, agreement), signed_date_time=LATER)
    respond(records.outgoing(kind, agreement), signed_date_time=EARLIER, payment_token="1111")

    if (kind, later) == (Kind.CHANGE, Kind.CHANGE):
        assert (fresh(agreement).payment_token, tasks()) == (records.TOKEN, ["out of order"])
    else:
        assert (fresh(agreement).payment_token, tasks()) == ("1111", [])


# --- Money that needs a person ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.SUBSCRIBE, Kind.CHANGE, Kind.PURCHASE])
def test_two_accepts_of_one_checkout_have_one_effect(kind):
    outgoing = records.outgoing(kind)
    respond(outgoing)
    once = fresh(outgoing.subject)
    second = respond(outgoing, payment_token="666")

    twice = fresh(outgoing.subject)
    assert (second.outcome, tasks()) == (Outcome.NO_EFFECT, ["duplicate charge"])
    assert twice.updated_at == once.updated_at


def test_of_two_accepts_of_a_card_update_the_last_token_counts():
    outgoing = records.outgoing(Kind.UPDATE)
    respond(outgoing, payment_token="1111")
    respond(outgoing, payment_token="2222")

    assert (fresh(outgoing.agreement).payment_token, tasks()) == ("2222", [])


def test_of_two_cards_given_in_one_checkout_the_newer_counts():
    """With the browser's Back button, a customer can give two; the first response may come last."""
    outgoing = records.outgoing(Kind.UPDATE)
    respond(outgoing, signed_date_time=LATER, payment_token="2222")
    respond(outgoing, signed_date_time=EARLIER, payment_token="1111")

    assert outgoing.agreement is not None
    assert (fresh(outgoing.agreement).payment_token, tasks()) == ("2222", ["out of order"])


def test_a_part_paid_first_and_all_later_is_paid():
    outgoing = records.outgoing(Kind.PURCHASE)
    respond(outgoing, reason_code="110")
    respond(outgoing)

    # The part is refunded, says its task; the whole is kept.
    assert fresh(outgoing.purchase).status == "Paid"
    assert tasks() == ["partial approval"]


def test_a_second_paid_subscription_opens_a_task():
    first = records.standing_agreement()
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    respond(outgoing)

    assert [fresh(first).status, fresh(outgoing.agreement).status] == ["Current", "Current"]
    (task,) = StaffTask.objects.all()
    assert (task.kind, task.agreement) == ("second subscription", outgoing.agreement)


@pytest.mark.parametrize(
    "other",
    [
        {"status": "Pending"},
        {"status": "Canceled", "covered_until": NOW - timedelta(days=1)},
        {"customer": Customer(REGISTRAR.type, 8)},
    ],
)
def test_a_subscription_beside_an_ended_one_opens_no_task(other):
    records.standing_agreement(**other)
    respond(records.outgoing(Kind.SUBSCRIBE))

    assert tasks() == []


@pytest.mark.parametrize("kind", [Kind.CHANGE, Kind.UPDATE])
@pytest.mark.parametrize(
    "ended",
    [
        {"status": "Canceled", "covered_until": NOW - timedelta(seconds=1)},
        {"status": "Completed"},
        {"status": "Superseded"},
        {"status": "Rejected"},
    ],
)
def test_an_accept_for_an_ended_subscription_has_no_effect(kind, ended):
    agreement = records.standing_agreement(**ended)
    response = respond(records.outgoing(kind, agreement), payment_token="666")

    assert (response.outcome, tasks()) == (Outcome.NO_EFFECT, ["no longer stands"])
    assert fresh(agreement).updated_at == agreement.updated_at


@pytest.mark.parametrize(
    "standing",
    [
        {"status": "Hold"},
        {"status": "Current", "cancellation_requested_at": NOW},
        {"status": "Canceled", "covered_until": NOW},
    ],
)
def test_a_change_of_any_standing_subscription_takes_effect(standing):
    agreement = records.standing_agreement(**standing)
    respond(records.outgoing(Kind.CHANGE, agreement))

    assert (fresh(agreement).current_link_limit, fresh(agreement).status) == ("500", standing["status"])


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize(
    "difference", [{"req_reference_number": "PERMA-0000-0000"}, {"req_transaction_type": "authorization"}]
)
def test_a_response_about_another_order_has_no_effect(kind, decision, difference):
    outgoing = records.outgoing(kind)
    response = respond(outgoing, decision, **difference)

    assert (response.outcome, tasks()) == (Outcome.NO_EFFECT, ["not what was signed"])
    assert fresh(outgoing.subject).updated_at == outgoing.subject.updated_at


@pytest.mark.parametrize("kind", [Kind.SUBSCRIBE, Kind.CHANGE, Kind.PURCHASE])
@pytest.mark.parametrize(
    "difference",
    [
        {"req_amount": "0.01"},
        {"req_amount": "1500"},
        {"req_amount": ...},
        {"req_amount": ""},
        {"req_currency": "EUR"},
        {"req_currency": ...},
    ],
)
def test_an_accept_of_another_amount_or_currency_takes_no_effect(kind, difference):
    outgoing = records.outgoing(kind)
    respond(outgoing, **difference)

    assert tasks() == ["not what was signed"]
    assert fresh(outgoing.subject).updated_at == outgoing.subject.updated_at


@pytest.mark.parametrize("kind", [Kind.SUBSCRIBE, Kind.CHANGE, Kind.PURCHASE])
@pytest.mark.parametrize("decision", ["ACCEPT", "REVIEW"])
@pytest.mark.parametrize(
    "amounts",
    [
        {"auth_amount": "1,000.00"},
        {"auth_amount": "15.00 "},
        {"auth_amount": "-1"},
        {"req_amount": "1,000.00"},
        {"req_amount": " 15.00"},
        {"req_amount": "1e2"},
        {"req_amount": "9" * 40},
    ],
)
def test_an_unreadable_amount_opens_its_own_task(kind, decision, amounts):
    outgoing = records.outgoing(kind)
    respond(outgoing, decision, **amounts)

    assert tasks() == ["unreadable amount"]
    assert fresh(outgoing.subject).updated_at == outgoing.subject.updated_at


def test_a_partial_approval_may_have_an_unreadable_amount():
    respond(records.outgoing(Kind.PURCHASE), reason_code="110", auth_amount="1,000.00")

    assert tasks() == ["partial approval"]


def test_a_decline_may_have_an_unreadable_amount():
    outgoing = records.outgoing(Kind.PURCHASE)
    respond(outgoing, "DECLINE", req_amount="1,000.00")

    assert (fresh(outgoing.purchase).status, tasks()) == ("Refused", [])


def test_amounts_are_compared_as_numbers():
    outgoing = records.outgoing(Kind.PURCHASE)
    respond(outgoing, req_amount="15", auth_amount="15.0")

    assert (fresh(outgoing.purchase).status, tasks()) == ("Paid", [])


def test_a_response_to_a_free_change_may_lack_an_amount():
    outgoing = records.outgoing(Kind.CHANGE, amount=Decimal("0.00"))
    respond(outgoing, req_amount=...)

    assert (fresh(outgoing.agreement).current_link_limit, tasks()) == ("500", [])


# --- The history ------------------------------------------------------------------------------------


def test_the_history_tells_which_response_changed_an_agreement():
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    response = respond(outgoing)

    inserted, updated = outgoing.agreement.events.order_by("pgh_id")
    assert (inserted.status, updated.status) == ("Pending", "Current")
    assert updated.pgh_context == {"source": HistorySource.CYBERSOURCE_RESPONSE, "response": response.pk}
