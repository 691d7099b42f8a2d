"""What a status report would do is computed, and nothing else happens."""

from datetime import UTC, datetime

import pytest

from perma_payments.cybersource.csv_table import UnreadableFile
from perma_payments.models import StatusReport, StatusReportLine, SubscriptionAgreement
from perma_payments.services.status_reports import plan as plan_module
from perma_payments.services.status_reports.plan import recompute_plan, stale_plans

from ... import records
from ...business_center import TOKEN, report
from .steps import NEXT_CHARGE, NOW, apply, changes, plan, standing, state, unpaid

pytestmark = pytest.mark.django_db


def test_a_plan_says_what_would_change_and_changes_nothing():
    changing, same = standing(1), standing(2, status="Hold")
    before = [state(changing), state(same)]
    planned = plan(report((changing, "HOLD"), (same, "Hold"), ("PERMA-0000-0000", "CURRENT")))

    assert [state(changing), state(same)] == before
    assert (planned.state, planned.row_count, planned.matched_count) == ("planned", 3, 2)
    assert (planned.unknown_count, planned.unknown_references) == (1, ["PERMA-0000-0000"])
    change = {"before": {"status": "Current"}, "after": {"status": "Hold"}, "takes_token": False}
    assert changes(planned) == [{"agreement": changing.pk, **change}]
    assert planned.change_count == 1


def test_a_file_that_is_not_a_report_leaves_nothing():
    with pytest.raises(UnreadableFile):
        plan(b"%PDF-1.7")
    assert not StatusReport.objects.exists()


def test_no_name_in_the_file_is_kept():
    agreement = standing()
    apply(plan(report((agreement, "HOLD"), ("ORDER-1", "CURRENT"), (agreement, "SUPERSEDED"))))

    kept = [*StatusReport.objects.values(), *StatusReportLine.objects.values()]
    assert len(kept) == 2
    assert "Erin" not in str(kept)


@pytest.mark.parametrize(
    "text",
    ["Erin Example", "erin@example.com", "Example", "12 Example Street", "Example1980", "617-555-1234", TOKEN],
)
def test_what_is_unlike_our_reference_numbers_is_counted_not_kept(text):
    other = ("PERMA-0000-0000", "CURRENT")
    planned = plan(report((standing(), "CURRENT"), other, (text, "CURRENT"), (text, "HOLD"), token="1"))

    assert (planned.unknown_count, planned.unknown_references) == (2, ["PERMA-0000-0000"])
    assert (planned.duplicate_count, planned.duplicates) == (1, [])
    assert text not in str(StatusReport.objects.values().get())


def test_our_duplicates_are_named_with_the_status_that_counts():
    agreement = standing()
    planned = plan(report((agreement, "SUPERSEDED"), (agreement, "HOLD")))

    assert planned.duplicates == [[agreement.reference_number, (6, 7), ("Superseded", "Hold"), "Hold"]]
    assert [change["after"] for change in changes(planned)] == [{"status": "Hold"}]


@pytest.mark.parametrize(
    ("reference", "said"), [("PERMA-0000-0000", "PERMA-0000-0000: "), ("Erin Example", ""), ("ORDER-1", "")]
)
def test_an_unread_row_names_only_a_reference_number_like_ours(reference, said):
    ((line, why),) = plan(report((reference, "PENDING"))).unread_rows
    assert (line, why) == (6, f"{said}We don't know what the status “Pending” means.")


def test_the_number_of_reference_numbers_is_limited(monkeypatch):
    monkeypatch.setattr(plan_module, "MAX_NAMED", 1)
    ours = [standing(1), standing(2)]
    rows = [(each, "CURRENT") for each in [*ours, *ours, "PERMA-0000-0001", "PERMA-0000-0002"]]
    planned = plan(report(*rows))

    assert (planned.unknown_count, planned.unknown_references) == (2, ["PERMA-0000-0001"])
    assert (planned.duplicate_count, len(planned.duplicates)) == (2, 1)


def test_a_report_is_planned_a_chunk_at_a_time(monkeypatch):
    monkeypatch.setattr(plan_module, "CHUNK", 2)
    agreements = [standing(pk) for pk in range(1, 6)]
    planned = plan(report(*[(agreement, "HOLD") for agreement in agreements]))

    assert [change["agreement"] for change in changes(planned)] == [agreement.pk for agreement in agreements]
    apply(planned)
    assert {state(agreement)["status"] for agreement in agreements} == {"Hold"}


# --- What is planned --------------------------------------------------------------------------------------


@pytest.mark.parametrize("reported", ["CURRENT", "HOLD", "CANCELED", "COMPLETED", "SUPERSEDED"])
@pytest.mark.parametrize("status", ["Current", "Hold", "Canceled", "Completed", "Superseded"])
def test_a_report_sets_every_status(status, reported):
    planned = plan(report((standing(status=status), reported)))

    expected = [] if reported == status.upper() else [reported.title()]
    assert [change["after"]["status"] for change in changes(planned)] == expected


def test_a_recovered_subscription_takes_the_terms_of_its_checkout():
    (change,) = changes(plan(report((unpaid(), "CURRENT"))))

    assert change["before"]["current_rate"] is None
    terms = {name: change["after"][name] for name in ("current_rate", "current_frequency", "current_link_limit")}
    assert terms == {"current_rate": "45.00", "current_frequency": "monthly", "current_link_limit": "100"}
    assert change["after"]["covered_until"] == "2026-12-13T00:00:00+00:00"


@pytest.mark.parametrize(
    ("reported", "covered_until"),
    [("HOLD", "2026-12-02T00:00:00+00:00"), ("RETRY", None), ("SUSPENDED", None), ("CANCELED", None)],
)
def test_only_hold_says_that_the_charge_of_the_day_failed(reported, covered_until):
    """The charge is due on the day of the report, and was counted as made."""
    agreement = standing(schedule_start=NOW.date(), covered_until=datetime(2027, 1, 2, tzinfo=UTC))
    after = [change["after"] for change in changes(plan(report((agreement, reported))))]

    assert [each["covered_until"] for each in after if "covered_until" in each] == [covered_until] * bool(
        covered_until
    )


@pytest.mark.parametrize(("status", "proof"), [("Current", "unproven"), ("Hold", None), ("Canceled", None)])
def test_an_ending_around_a_due_date_counts_the_charge_as_made(status, proof):
    agreement = standing(status=status, schedule_start=NOW.date(), covered_until=NOW.replace(hour=0))
    after = [change["after"] for change in changes(plan(report((agreement, "CANCELED"))))]

    assert [each.get("coverage_proof") for each in after] == [proof] * (status != "Canceled")


def test_a_recovered_ending_around_a_due_date_is_unproven():
    data = report((unpaid(), "CANCELED"), made_on="Dec 13 2026")
    (change,) = changes(plan(data, now=NEXT_CHARGE))

    covered = (change["after"]["covered_until"], change["after"]["coverage_proof"])
    assert covered == ("2027-01-13T00:00:00+00:00", "unproven")


def test_a_subscription_without_a_checkout_is_left_alone():
    agreement = records.agreement()
    planned = apply(plan(report((agreement, "CURRENT"))))

    assert planned.lines.get(is_incomplete=True).agreement == agreement
    assert state(agreement)["status"] == "Pending"


@pytest.mark.parametrize("reported", ["COMPLETED", "SUPERSEDED"])
def test_what_ended_unpaid_is_not_recovered(reported):
    (change,) = changes(plan(report((unpaid(), reported))))
    assert (change["after"], change["takes_token"]) == ({"status": reported.title()}, False)


def test_a_subscription_id_is_kept_only_where_it_may_be_needed():
    lacking = standing(1, payment_token="")
    rows = [(lacking, "CURRENT"), (standing(2), "CURRENT"), (standing(3, payment_token=""), "COMPLETED")]
    planned = plan(report(*rows))

    assert [line.agreement for line in planned.lines.exclude(subscription_id="")] == [lacking]


def test_a_subscription_that_lacks_only_its_token_takes_it():
    agreement = standing(payment_token="")
    planned = plan(report((agreement, "CURRENT")))

    assert changes(planned) == [{"agreement": agreement.pk, "before": {}, "after": {}, "takes_token": True}]


# --- Recomputing and purging ------------------------------------------------------------------------------


def test_a_recomputed_plan_says_what_is_true_now():
    settled, other = standing(1), standing(2)
    planned = plan(report((settled, "HOLD"), (other, "HOLD")))
    SubscriptionAgreement.objects.filter(pk=settled.pk).update(status="Hold")
    SubscriptionAgreement.objects.filter(pk=other.pk).update(status="Canceled")
    recompute_plan(planned.pk, now=NOW)

    planned.refresh_from_db()
    assert [change["before"] for change in changes(planned)] == [{"status": "Canceled"}]
    assert planned.lines.get(agreement=settled).before is None
    assert (planned.change_count, planned.revision) == (1, 2)
    assert "reactivated" in [warning["kind"] for warning in planned.warnings]


def test_a_report_is_recomputed_a_chunk_at_a_time_and_no_other_report(monkeypatch):
    monkeypatch.setattr(plan_module, "CHUNK", 2)
    *others, last = [standing(pk) for pk in range(1, 6)]
    data = report(*[(agreement, "HOLD") for agreement in [*others, last]])
    planned, same = plan(data), plan(data)
    SubscriptionAgreement.objects.filter(pk=last.pk).update(status="Hold")

    assert [pk for pk, _ in stale_plans(planned)] == [last.pk]
    assert not list(stale_plans(planned, only=[other.pk for other in others]))
    recompute_plan(planned.pk, now=NOW)
    assert not list(stale_plans(planned))
    assert (planned.changes().count(), same.changes().count()) == (4, 5)


def test_an_applied_report_is_not_recomputed():
    agreement = standing()
    applied = apply(plan(report((agreement, "HOLD"))))
    recompute_plan(applied.pk, now=NOW)

    applied.refresh_from_db()
    assert (applied.revision, applied.change_count) == (1, 1)
