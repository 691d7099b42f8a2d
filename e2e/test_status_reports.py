"""Staff take CyberSource's list of subscriptions from the Business Center to Perma Payments."""

import pytest

from .customer import Customer
from .staff import Staff


@pytest.mark.parametrize("in_report, status", [("CANCELED", "Canceled"), ("HOLD", "Hold")])
def test_a_confirmed_report_changes_a_status(
    subscriber: Customer, staff: Staff, in_report: str, status: str
) -> None:
    before = subscriber.standing_subscription()
    staff.set_status(before["reference_number"], in_report)
    report = staff.upload_report()
    assert before["reference_number"] in report.text
    assert subscriber.subscription() == before
    staff.act(report)
    assert subscriber.standing_subscription()["status"] == status


def test_a_report_that_is_undone_leaves_no_trace(subscriber: Customer, staff: Staff) -> None:
    before = subscriber.standing_subscription()
    staff.set_status(before["reference_number"], "CANCELED")
    confirmed = staff.act(staff.upload_report())
    assert subscriber.subscription() != before
    staff.act(confirmed)
    assert subscriber.subscription() == before


def test_a_report_completes_a_cancellation(subscriber: Customer, staff: Staff) -> None:
    subscriber.cancel()
    staff.set_status(subscriber.standing_subscription()["reference_number"], "CANCELED")
    staff.act(staff.upload_report())
    assert subscriber.standing_subscription()["status"] == "Canceled"


def test_a_report_recovers_a_payment_without_a_response(customer: Customer, staff: Staff) -> None:
    checkout = customer.ask_for_plan("monthly", "100")
    checkout.end(calls=0)
    assert customer.subscription() is None
    staff.act(staff.upload_report())
    subscription = customer.standing_subscription()
    assert subscription["status"] == "Current"
    assert subscription["rate"] == checkout.message["recurring_amount"]
    assert subscription["link_limit"] == "100"
