"""What is unusual about a planned report is noted, with numbers and examples."""

from datetime import timedelta
from typing import Any

import pytest

from perma_payments.billing.transactions import Kind
from perma_payments.models import StaffTask, StatusReport, SubscriptionAgreement
from perma_payments.services.status_reports import warnings
from perma_payments.services.status_reports.apply import PlanIsStale

from ... import records
from ...business_center import report
from .steps import NOW, apply, plan, revert, standing, unpaid

pytestmark = pytest.mark.django_db


def kinds(planned: StatusReport) -> list[str]:
    return [warning["kind"] for warning in planned.warnings]


def warning(planned: StatusReport, kind: str) -> dict[str, Any]:
    """The one warning of a kind, without what it leaves empty."""
    (found,) = [each for each in planned.warnings if each["kind"] == kind]
    return {name: value for name, value in found.items() if value and name != "kind"}


def rows(agreements: list[SubscriptionAgreement], status: str = "CURRENT") -> list[tuple[Any, str]]:
    return [(agreement, status) for agreement in agreements]


def test_a_report_that_changes_nothing_is_not_unusual():
    assert kinds(plan(report((standing(), "CURRENT")))) == []


# --- The file ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("also_reverted", [False, True])
def test_the_same_file_as_an_applied_one(also_reverted):
    data = report((standing(), "CURRENT"))
    first = apply(plan(data))
    if also_reverted:
        revert(first)
    assert warning(plan(data), "same file") == {"report": first.pk}


def test_the_same_file_as_one_only_planned_is_not_unusual():
    data = report((standing(), "CURRENT"))
    plan(data)
    assert kinds(plan(data)) == []


def test_a_report_with_nothing_of_ours():
    standing()
    assert kinds(plan(report(("ORDER-1", "CURRENT")))) == ["nothing of ours"]


def test_a_status_that_is_not_known():
    planned = plan(report((standing(1), "CURRENT"), ("ORDER-1", "PENDING"), ("ORDER-2", "Jane Doe")))
    assert kinds(planned) == ["unread rows", "unknown status"]
    assert planned.unknown_statuses == {"Pending": 1, "(withheld)": 1}


@pytest.mark.parametrize(("count", "is_short"), [(9, False), (8, True)])
def test_a_report_with_fewer_rows_than_the_last(count, is_short):
    last = apply(plan(report(("ORDER-0", "HOLD"), *rows([standing(pk) for pk in range(1, 10)]))))
    shorter = plan(report(*rows(list(SubscriptionAgreement.objects.all()[:count]))))

    assert ("short" in kinds(shorter)) == is_short
    if is_short:
        assert warning(shorter, "short") == {"report": last.pk}


def test_a_report_made_before_the_last():
    agreement = standing()
    last = apply(plan(report((agreement, "CURRENT"))))
    earlier = report((agreement, "CURRENT"), made_on="Dec 01 2026")

    assert warning(plan(earlier), "before last") == {"report": last.pk}


@pytest.mark.parametrize(
    ("made_on", "expected"),
    [("2026-11-28", ["old"]), ("2026-11-29", []), ("2026-12-03", []), ("2026-12-04", ["from the future"])],
)
def test_a_report_from_another_time(made_on, expected):
    data = report((standing(), "CURRENT"), made_on=made_on)
    assert [kind for kind in kinds(plan(data)) if kind in ("old", "from the future")] == expected


def test_a_report_that_does_not_say_when_it_was_made():
    planned = plan(report((standing(), "CURRENT"), made_on=""))
    assert (planned.made_on, kinds(planned)) == (None, [])


def dated(*pairs: tuple[SubscriptionAgreement, str]) -> bytes:
    lines = [f"{agreement},CURRENT,{next_charge}" for agreement, next_charge in pairs]
    return "\n".join(["Merchant Reference Code,Status,Next Scheduled Date", *lines]).encode()


def test_dates_that_cannot_be_read():
    assert warning(plan(dated((standing(), "soon"))), "unreadable dates") == {"count": 1}


def test_dates_that_cannot_be_right():
    implausible = standing(1)
    planned = plan(dated((implausible, "2036-12-13"), (standing(2), "2026-12-13")))

    assert warning(planned, "implausible dates") == {"count": 1, "examples": [str(implausible)]}
    line = planned.lines.get(ignores_date=True)
    assert (line.agreement, line.after) == (implausible, None)


# --- Its changes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ended", ["Canceled", "Completed", "Superseded"])
@pytest.mark.parametrize("alive", ["CURRENT", "HOLD"])
def test_a_subscription_that_is_reactivated(ended, alive):
    agreement = standing(status=ended)
    assert warning(plan(report((agreement, alive))), "reactivated") == {"count": 1, "examples": [str(agreement)]}


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [
        ("", "CURRENT", 1),
        ("HOLD", "CURRENT", 1),
        ("SUPERSEDED", "CURRENT", 0),
        ("CANCELED", "HOLD", 0),
        ("", "CANCELED", 0),
    ],
)
def test_a_second_subscription_of_one_customer(first, second, count):
    other, recovered = standing(), unpaid()
    planned = plan(report(*([(other, first)] if first else []), (recovered, second)))

    if count:
        assert warning(planned, "second subscription") == {"count": 1, "examples": [str(recovered)]}
    else:
        assert "second subscription" not in kinds(planned)


def test_two_recoveries_of_one_customer():
    planned = plan(report(*rows([unpaid(), unpaid()])))
    assert warning(planned, "second subscription")["count"] == 2


def test_subscriptions_of_two_customers_give_no_warning():
    standing(1)
    assert "second subscription" not in kinds(plan(report((unpaid(2), "CURRENT"))))


def test_an_ending_around_the_day_of_a_charge():
    around = standing(1, schedule_start=NOW.date(), covered_until=NOW.replace(hour=0))
    planned = plan(report((around, "CANCELED"), (standing(2), "CANCELED")))

    assert warning(planned, "unproven ending") == {"count": 1, "examples": [str(around)]}


@pytest.mark.parametrize(
    ("changed", "is_warned"),
    [({}, True), ({"coverage_proof": "staff"}, False), ({"covered_until": NOW.replace(hour=0)}, False)],
)
def test_an_ending_that_takes_effect_at_once(changed, is_warned):
    past = standing(**{"covered_until": NOW - timedelta(days=15), **changed})
    planned = plan(report((past, "CANCELED")))

    if is_warned:
        assert warning(planned, "immediate ending") == {"count": 1, "examples": [str(past)]}
    else:
        assert "immediate ending" not in kinds(planned)


@pytest.mark.parametrize(("status", "is_warned"), [("CURRENT", True), ("HOLD", True), ("CANCELED", False)])
def test_a_recovery_without_a_token(status, is_warned):
    agreement = unpaid()
    planned = plan(report((agreement, status), token="7.40821E+21"))

    assert planned.spoiled_ids == 1
    if is_warned:
        assert warning(planned, "without token") == {"count": 1, "examples": [str(agreement)]}
    else:
        assert "without token" not in kinds(planned)


def test_a_recovery_with_its_token_is_not_unusual():
    assert kinds(plan(report((unpaid(), "CURRENT")))) == []


def test_a_subscription_without_terms():
    agreement = records.agreement()
    planned = plan(report((agreement, "CURRENT")))
    assert warning(planned, "without terms") == {"count": 1, "examples": [str(agreement)]}


# --- What is charged --------------------------------------------------------------------------------------

EARLIER = NOW - timedelta(days=30)


def charges(*rows: tuple[SubscriptionAgreement, str, str], status: str = "CURRENT") -> bytes:
    lines = [f"{agreement},{status},{amount},{frequency}" for agreement, amount, frequency in rows]
    return "\n".join(["Merchant Reference Code,Status,Amount,Frequency", *lines]).encode()


def long_standing(pk: int = 7, **changed: Any) -> SubscriptionAgreement:
    """A subscription for $45.00 monthly, unless changed, whose terms are older than the report."""
    return standing(pk, **{"current_link_limit_effective_timestamp": EARLIER, **changed})


@pytest.mark.parametrize(
    ("amount", "frequency", "differs"),
    [
        ("45.00", "monthly", False),
        ("45.00", "", False),
        ("", "", False),
        ("?", "?", False),
        ("90.00", "monthly", True),
        ("90.00", "", True),
        ("45.00", "annually", True),
        ("", "annually", True),
    ],
)
def test_a_charge_that_differs_from_our_terms(amount, frequency, differs):
    agreement = long_standing()
    planned = plan(charges((agreement, amount, frequency)))

    assert ("different terms" in kinds(planned)) == differs
    if differs:
        assert warning(planned, "different terms") == {"count": 1, "examples": [str(agreement)]}
        line = planned.lines.get()
        assert (line.our_terms, line.after) == ({"amount": "45.00", "frequency": "monthly"}, None)


@pytest.mark.parametrize(
    ("amount", "scheduled_from", "differs"),
    [
        ("45.00", NOW + timedelta(days=9), False),
        ("20.00", NOW + timedelta(days=9), False),
        ("90.00", NOW + timedelta(days=9), True),
        ("20.00", NOW - timedelta(days=9), False),
        ("45.00", NOW - timedelta(days=9), True),
    ],
)
def test_a_scheduled_change_is_known_to_cybersource_before_it_is_in_force(amount, scheduled_from, differs):
    scheduled = {"scheduled_rate": 20, "scheduled_link_limit": "10", "scheduled_from": scheduled_from}
    planned = plan(charges((long_standing(**scheduled), amount, "")))

    assert ("different terms" in kinds(planned)) == differs
    if differs:
        assert planned.lines.get().our_terms["amount"] == "20.00"


def test_terms_that_may_be_newer_than_the_report_are_not_compared():
    changed_since = long_standing(current_link_limit_effective_timestamp=NOW.replace(hour=0))
    assert "different terms" not in kinds(plan(charges((changed_since, "90.00", "annually"))))


@pytest.mark.parametrize(("status", "differs"), [("HOLD", True), ("RETRY", True), ("CANCELED", False)])
def test_only_what_is_charged_is_compared(status, differs):
    planned = plan(charges((long_standing(), "90.00", ""), status=status))
    assert ("different terms" in kinds(planned)) == differs


def test_a_recovery_is_compared_with_the_terms_of_its_checkout():
    recovered = records.agreement()
    since = {"recurring_start_date": NOW.date(), "link_limit_effective_timestamp": EARLIER}
    records.outgoing(Kind.SUBSCRIBE, recovered, **since)
    planned = plan(charges((recovered, "90.00", "monthly")))

    assert planned.lines.get().our_terms == {"amount": "45.00", "frequency": "monthly"}


def test_a_change_of_our_terms_makes_the_plan_stale():
    planned = plan(charges((long_standing(), "90.00", "")))
    SubscriptionAgreement.objects.update(current_rate="90.00")

    with pytest.raises(PlanIsStale):
        apply(planned)
    planned.refresh_from_db()
    assert kinds(planned) == []


def test_charges_that_cannot_be_read():
    assert warning(plan(charges((standing(), "?", "?"))), "unreadable terms") == {"count": 2}


# --- Standing subscriptions -------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "is_warned"), [(10, False), (9, True)])
def test_more_than_a_tenth_would_change(count, is_warned):
    first, *others = [standing(pk) for pk in range(1, count + 1)]
    planned = plan(report((first, "HOLD"), *rows(others)))

    if is_warned:
        assert warning(planned, "many changes") == {"count": 1, "total": 9}
    else:
        assert "many changes" not in kinds(planned)


@pytest.mark.parametrize(("count", "is_warned"), [(10, False), (9, True)])
def test_more_than_a_tenth_would_end(count, is_warned):
    first, *others = [standing(pk) for pk in range(1, count + 1)]
    planned = plan(report((first, "COMPLETED"), *rows(others)))

    assert kinds(planned) == (["many endings"] if is_warned else [])
    if is_warned:
        assert warning(planned, "many endings") == {"count": 1, "total": 9}


def test_endings_and_other_changes_are_counted_apart():
    ending, held = standing(1), standing(2)
    planned = plan(report((ending, "CANCELED"), (held, "HOLD")))

    assert warning(planned, "many endings") == {"count": 1, "total": 2}
    assert warning(planned, "many changes") == {"count": 2, "total": 2}


@pytest.mark.parametrize(
    ("canceled", "held", "current", "is_recognized"),
    [(5, 0, 0, True), (9, 0, 1, True), (9, 1, 0, True), (8, 0, 1, False), (4, 0, 0, False), (0, 9, 0, False)],
)
def test_almost_all_canceled_is_taken_for_the_upgrade(canceled, held, current, is_recognized):
    statuses = ["CANCELED"] * canceled + ["HOLD"] * held + ["CURRENT"] * current
    agreements = [standing(pk) for pk in range(len(statuses))[1:]] + [standing(99)]
    planned = plan(report(*zip(agreements, statuses, strict=True)))

    assert ("upgrade" in kinds(planned)) == is_recognized
    if is_recognized:
        assert warning(planned, "upgrade") == {"count": canceled, "total": len(statuses)}


def test_cancellations_that_customers_requested_are_not_taken_for_the_upgrade():
    agreements = [standing(pk, cancellation_requested_at=NOW) for pk in range(1, 6)]
    assert "upgrade" not in kinds(plan(report(*rows(agreements, "CANCELED"))))


def test_only_standing_subscriptions_count_for_the_tenth():
    standing(99)
    ended = [standing(pk, status="Canceled", covered_until=NOW - timedelta(days=1)) for pk in range(1, 11)]
    assert "many changes" not in kinds(plan(report(*rows(ended, "COMPLETED"))))


def test_standing_subscriptions_that_are_missing():
    standing(2)
    standing(3, status="Completed")
    assert warning(plan(report((standing(1), "CURRENT"))), "missing") == {"count": 1, "total": 2}


def test_a_cancellation_marked_as_done_but_still_charged():
    done, opened, new = [standing(pk, cancellation_requested_at=NOW) for pk in (1, 2, 3)]
    StaffTask.objects.create(kind="cancellation", agreement=done, done_at=NOW, resolution="done")
    StaffTask.objects.create(kind="cancellation", agreement=opened)
    StaffTask.objects.create(kind="cancellation", agreement=new)
    planned = plan(report((done, "HOLD"), (opened, "CURRENT"), (new, "CANCELED"), (standing(4), "CURRENT")))

    assert warning(planned, "still charged") == {"count": 1, "examples": [str(done)]}


def test_a_cancellation_that_was_marked_as_done_after_the_report_is_not_contradicted():
    canceled = standing(cancellation_requested_at=NOW)
    StaffTask.objects.create(
        kind="cancellation", agreement=canceled, done_at=NOW + timedelta(days=1), resolution="done"
    )

    assert "still charged" not in kinds(plan(report((canceled, "CURRENT"))))


# --- Examples ---------------------------------------------------------------------------------------------


def test_the_number_of_examples_is_limited(monkeypatch):
    monkeypatch.setattr(warnings, "MAX_EXAMPLES", 2)
    agreements = [standing(pk, status="Completed") for pk in (1, 2, 3)]
    names = sorted(map(str, agreements))

    assert warning(plan(report(*rows(agreements))), "reactivated") == {"count": 3, "examples": names[:2]}
