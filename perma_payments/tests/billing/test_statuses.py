"""Which subscriptions are shown to Perma.cc, and as what."""

from datetime import UTC, datetime, timedelta

import pytest

from perma_payments.billing.statuses import (
    CANCELLATION_REQUESTED,
    UNPAID,
    WITH_TERMS,
    PurchaseStatus,
    Status,
    can_be_modified,
    is_standing,
    status_for_perma,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER, EARLIER = NOW + timedelta(seconds=1), NOW - timedelta(seconds=1)


@pytest.mark.parametrize(
    "status, spelling",
    [
        (Status.PENDING, "Pending"),
        (Status.REJECTED, "Rejected"),
        (Status.ABORTED, "Aborted"),
        (Status.CURRENT, "Current"),
        (Status.HOLD, "Hold"),
        (Status.CANCELED, "Canceled"),
        (Status.COMPLETED, "Completed"),
        (Status.SUPERSEDED, "Superseded"),
        (PurchaseStatus.PENDING, "Pending"),
        (PurchaseStatus.PAID, "Paid"),
        (PurchaseStatus.REFUSED, "Refused"),
        (PurchaseStatus.ABORTED, "Aborted"),
        (CANCELLATION_REQUESTED, "Cancellation Requested"),
    ],
)
def test_statuses_are_spelt_as_cybersource_and_perma_spell_them(status, spelling):
    assert f"{status}" == spelling


@pytest.mark.parametrize(
    "status, paid_through, standing",
    [
        ("Current", LATER, True),
        ("Current", EARLIER, True),
        ("Current", None, True),
        ("Hold", LATER, True),
        ("Hold", EARLIER, True),
        ("Hold", None, True),
        ("Canceled", LATER, True),
        ("Canceled", NOW, True),
        ("Canceled", EARLIER, False),
        ("Canceled", None, False),
        ("Pending", LATER, False),
        ("Rejected", LATER, False),
        ("Aborted", LATER, False),
        ("Completed", LATER, False),
        ("Superseded", LATER, False),
        ("Cancelled", LATER, False),
        ("", LATER, False),
    ],
)
def test_a_subscription_stands_as_long_as_its_status_says(status, paid_through, standing):
    assert is_standing(status, paid_through, NOW) is standing


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("paid_through", [LATER, EARLIER, None])
def test_a_status_and_its_spelling_stand_alike(status, paid_through):
    assert is_standing(status, paid_through, NOW) is is_standing(str(status), paid_through, NOW)


@pytest.mark.parametrize(
    "status, requested, reported",
    [
        ("Current", True, "Cancellation Requested"),
        ("Current", False, "Current"),
        ("Hold", True, "Hold"),
        ("Hold", False, "Hold"),
        ("Canceled", True, "Canceled"),
        ("Canceled", False, "Canceled"),
    ],
)
def test_a_requested_cancellation_stands_in_for_current_alone(status, requested, reported):
    assert status_for_perma(status, cancellation_requested=requested) == reported


@pytest.mark.parametrize(
    "status, requested, modifiable",
    [
        ("Current", False, True),
        ("Hold", False, True),
        ("Canceled", False, False),
        ("Pending", False, False),
        ("Rejected", False, False),
        ("Aborted", False, False),
        ("Completed", False, False),
        ("Superseded", False, False),
        ("Current", True, False),
        ("Hold", True, False),
        ("Canceled", True, False),
    ],
)
def test_a_charged_subscription_can_be_modified_until_it_ends(status, requested, modifiable):
    assert can_be_modified(status, cancellation_requested=requested) is modifiable


def test_whatever_can_stand_has_terms_and_was_paid():
    standing = {status for status in Status if is_standing(status, LATER, NOW)}
    assert standing == WITH_TERMS == {"Current", "Hold", "Canceled"}
    assert UNPAID == {"Pending", "Rejected", "Aborted", "Abandoned"}
