"""CyberSource decides, and its server tells Perma Payments: late, twice, out of order, or never."""

import pytest

from .customer import Customer
from .world import eventually


@pytest.mark.parametrize(
    "outcome, status",
    [
        ("review-480", "Current"),
        ("review-480-no-token", "Current"),
        ("partial", None),
        ("decline-204", None),
        ("error-150", None),
        ("error-bare", None),
    ],
)
def test_a_subscription_is_what_cybersource_decided(customer: Customer, outcome: str, status: str | None) -> None:
    customer.ask_for_plan().finish(outcome)
    subscription = customer.subscription()
    assert (subscription and subscription["status"]) == status


@pytest.mark.parametrize("outcome", ["review-480", "partial", "error-150"])
def test_staff_are_mailed_about_a_doubtful_payment(customer: Customer, outcome: str) -> None:
    checkout = customer.ask_for_plan()
    checkout.finish(outcome)
    mails = eventually(lambda: customer.world.mails(checkout.reference_number))
    assert len(mails) == 1


def test_a_late_accept_wins_over_a_decline(customer: Customer) -> None:
    checkout = customer.ask_for_plan()
    checkout.end(declined_first=True)
    checkout.expect_callbacks(2)
    assert customer.standing_subscription()["status"] == "Current"


def test_a_response_delivered_again_changes_nothing(customer: Customer) -> None:
    checkout = customer.ask_for_plan()
    checkout.finish()
    before = customer.standing_subscription()
    callback = checkout.callbacks()[0]
    answer = customer.browser.post(f"{customer.world.payments}/cybersource-callback/", data=callback["fields"])
    assert answer.status_code == 200
    assert customer.subscription() == before


def test_links_are_credited_once_for_two_deliveries(customer: Customer) -> None:
    checkout = customer.ask_for_links(10)
    checkout.end(calls=2)
    checkout.expect_callbacks(2)
    assert customer.bonus_links() == 10
    assert customer.bonus_links() == 10


def test_a_response_that_is_lost_changes_nothing(customer: Customer) -> None:
    customer.ask_for_plan().end(calls=0)
    assert customer.subscription() is None
