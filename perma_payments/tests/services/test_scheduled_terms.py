"""A downgrade from the customer's request to the day it begins, as both of Perma.cc's clients are told of it."""

import secrets
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from perma_payments.billing.coverage import midnight
from perma_payments.billing.terms import Terms
from perma_payments.models import OutgoingTransaction, SubscriptionAgreement
from perma_payments.perma.messages import ChangeMessage, Stale
from perma_payments.perma.replies import Subscription
from perma_payments.services.callbacks.receive import receive_callback
from perma_payments.services.checkouts.begin import change
from perma_payments.services.perma_queries import standing_subscription

from .. import cyber_source, records
from ..records import REGISTRAR

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 7, 1, 9, tzinfo=UTC)
START = date(2026, 7, 13)
PAID_THROUGH = midnight(START)
SINCE = datetime(2026, 6, 13, 8, tzinfo=UTC)

LARGE, MEDIUM, SMALL = ("500", "100.00"), ("100", "25.00"), ("10", "10.00")


@pytest.fixture
def agreement() -> SubscriptionAgreement:
    """A monthly plan of 100 links, charged on the 13th."""
    return records.standing_agreement(
        current_rate=Decimal("25.00"),
        current_link_limit_effective_timestamp=SINCE,
        schedule_start=START,
        covered_until=PAID_THROUGH,
        created_at=SINCE,
    )


def ask(
    plan: tuple[str, str],
    effective: datetime,
    *,
    amount: str = "0.00",
    rendered_at: datetime | None = None,
    now: datetime = NOW,
) -> None:
    """Ask for a change, which CyberSource accepts at once, from a page that Perma.cc has just rendered."""
    link_limit, rate = plan
    message = ChangeMessage(
        customer=REGISTRAR,
        amount=Decimal(amount),
        recurring_amount=Decimal(rate),
        link_limit=link_limit,
        link_limit_effective_timestamp=effective,
        rendered_at=now if rendered_at is None else rendered_at,
    )
    form = change(message, nonce=secrets.token_bytes(24), now=now)
    signed_at = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    response = cyber_source.response(form.fields, signed_date_time=signed_at)
    receive_callback(b"body", list(response.items()), now=now)


def downgrade(effective: datetime = PAID_THROUGH, *, now: datetime = NOW) -> None:
    ask(SMALL, effective, now=now)


def told(now: datetime = NOW) -> Subscription:
    subscription = standing_subscription(REGISTRAR, now=now)
    assert subscription is not None
    return subscription


def plan_told(now: datetime = NOW) -> tuple[Any, ...]:
    """What both clients are told of the plan."""
    subscription = told(now)
    return (
        subscription.link_limit,
        str(subscription.rate),
        subscription.link_limit_effective_timestamp,
        subscription.pending_change,
    )


def test_with_nothing_scheduled_the_terms_in_force_are_told(agreement):
    assert plan_told() == ("100", "25.00", SINCE, None)


def test_a_scheduled_downgrade_is_told_to_both_clients(agreement):
    downgrade()

    assert plan_told() == ("10", "10.00", PAID_THROUGH, Terms(Decimal("10.00"), "10", PAID_THROUGH))


def test_the_terms_in_force_are_kept_meanwhile(agreement):
    downgrade()

    agreement.refresh_from_db()
    assert (agreement.current_link_limit, agreement.current_rate) == ("100", Decimal("25.00"))
    assert agreement.current_link_limit_effective_timestamp == SINCE


def test_it_comes_into_force_by_itself(agreement):
    downgrade()

    assert plan_told(PAID_THROUGH - timedelta(seconds=1))[3] is not None
    assert plan_told(PAID_THROUGH) == ("10", "10.00", PAID_THROUGH, None)


def test_once_in_force_it_is_what_changes_are_compared_with(agreement):
    downgrade()
    later = PAID_THROUGH + timedelta(days=2)
    ask(MEDIUM, later, amount="15.00", now=later)

    assert plan_told(later) == ("100", "25.00", later, None)
    assert [each.change_kind for each in OutgoingTransaction.objects.order_by("id")] == ["downgrade", "upgrade"]


def test_a_downgrade_that_is_taken_back_leaves_the_terms_in_force(agreement):
    before = asdict(told())
    downgrade()
    ask(MEDIUM, NOW)

    assert asdict(told()) == before
    assert [each.change_kind for each in OutgoingTransaction.objects.order_by("id")] == [
        "downgrade",
        "taking back",
    ]


@pytest.mark.parametrize("next_charge_on", [None, date(2026, 8, 13)], ids=["schedule", "report"])
@pytest.mark.parametrize("plan", [LARGE, MEDIUM], ids=["an upgrade", "a downgrade that was to be taken back"])
def test_an_upgrade_from_a_page_of_the_last_period_is_refused(agreement, plan, next_charge_on):
    """Its amount is the rest of a period that has ended, and the renewal was charged at the old rate."""
    downgrade()
    before, after = PAID_THROUGH - timedelta(minutes=5), PAID_THROUGH + timedelta(minutes=5)
    # A report of today may have moved the next charge already.
    SubscriptionAgreement.objects.update(next_charge_on=next_charge_on)

    with pytest.raises(Stale):
        ask(plan, before, rendered_at=before, now=after)
    assert OutgoingTransaction.objects.count() == 1
    ask(plan, after, rendered_at=PAID_THROUGH, now=after)
    assert plan_told(after)[:2] == plan


def test_an_upgrade_that_was_begun_in_the_last_period_is_not_gone_on_with(agreement):
    """The customer comes back from CyberSource's page, and sends the same message again."""
    link_limit, rate = LARGE
    before, after = PAID_THROUGH - timedelta(minutes=5), PAID_THROUGH + timedelta(minutes=5)
    message = ChangeMessage(
        customer=REGISTRAR,
        amount=Decimal("29.03"),
        recurring_amount=Decimal(rate),
        link_limit=link_limit,
        link_limit_effective_timestamp=before,
        rendered_at=before,
    )
    nonce = secrets.token_bytes(24)
    first = change(message, nonce=nonce, now=before)
    again = change(message, nonce=nonce, now=PAID_THROUGH - timedelta(minutes=1))
    assert again.fields["transaction_uuid"] == first.fields["transaction_uuid"]

    with pytest.raises(Stale):
        change(message, nonce=nonce, now=after)


def test_a_downgrade_from_a_page_of_the_last_period_keeps_what_is_paid_for(agreement):
    before, after = PAID_THROUGH - timedelta(minutes=5), PAID_THROUGH + timedelta(minutes=5)
    ask(SMALL, PAID_THROUGH, rendered_at=before, now=after)

    assert told(after).pending_change == Terms(Decimal("10.00"), "10", midnight(date(2026, 8, 13)))


def test_an_upgrade_replaces_a_scheduled_downgrade(agreement):
    downgrade()
    ask(LARGE, NOW, amount="30.00")

    assert plan_told() == ("500", "100.00", NOW, None)


def test_a_later_downgrade_replaces_a_scheduled_one(agreement):
    downgrade()
    ask(("50", "20.00"), PAID_THROUGH)

    assert plan_told()[3] == Terms(Decimal("20.00"), "50", PAID_THROUGH)


@pytest.mark.parametrize(
    ("effective", "clicked", "begins"),
    [
        # A page that was rendered before the charge of the 13th, and used after it.
        (PAID_THROUGH, PAID_THROUGH + timedelta(hours=6), midnight(date(2026, 8, 13))),
        # The client of 2024 means the 1st of the next month, at the hour of the click.
        (datetime(2026, 8, 1, 9, tzinfo=UTC), PAID_THROUGH + timedelta(days=2), midnight(date(2026, 8, 13))),
        (datetime(2026, 8, 1, 9, tzinfo=UTC), NOW, datetime(2026, 8, 1, 9, tzinfo=UTC)),
    ],
)
def test_a_downgrade_takes_nothing_away_that_is_paid_for(agreement, effective, clicked, begins):
    downgrade(effective, now=clicked)

    assert plan_told(clicked)[2:] == (begins, Terms(Decimal("10.00"), "10", begins))


def test_a_canceled_subscription_reports_the_terms_in_force(agreement):
    downgrade()
    SubscriptionAgreement.objects.update(status="Canceled")

    assert told().status == "Canceled"
    assert plan_told() == ("100", "25.00", SINCE, None)


def test_a_canceled_subscription_that_is_reactivated_has_its_scheduled_change_again(agreement):
    downgrade()
    SubscriptionAgreement.objects.update(status="Canceled")
    SubscriptionAgreement.objects.update(status="Current")

    assert plan_told()[3] is not None


def test_a_subscription_on_hold_keeps_its_scheduled_change(agreement):
    downgrade()
    SubscriptionAgreement.objects.update(status="Hold")

    assert plan_told()[2:] == (PAID_THROUGH, Terms(Decimal("10.00"), "10", PAID_THROUGH))


@pytest.mark.parametrize("decision", ["DECLINE", "CANCEL", "ERROR"])
def test_a_change_that_is_not_accepted_schedules_nothing(agreement, decision):
    message = ChangeMessage(
        customer=REGISTRAR,
        amount=Decimal("0.00"),
        recurring_amount=Decimal("10.00"),
        link_limit="10",
        link_limit_effective_timestamp=PAID_THROUGH,
        rendered_at=NOW,
    )
    form = change(message, nonce=secrets.token_bytes(24), now=NOW)
    receive_callback(b"body", list(cyber_source.response(form.fields, decision).items()), now=NOW)

    assert plan_told() == ("100", "25.00", SINCE, None)


def test_a_change_that_is_accepted_twice_counts_once(agreement):
    outgoing = records.outgoing("change", agreement, amount=Decimal("0.00"), link_limit="10")
    for moment, decision in ((NOW, "REVIEW"), (PAID_THROUGH + timedelta(days=1), "ACCEPT")):
        response = cyber_source.response(records.form(outgoing), decision, transaction_id="1")
        receive_callback(b"body", list(response.items()), now=moment)

    # The later response would schedule it for the next due date.
    pending = told().pending_change
    assert pending is not None and pending.effective == outgoing.link_limit_effective_timestamp


def respond_again(outgoing: OutgoingTransaction, *, now: datetime) -> None:
    """CyberSource accepts a change once more, from the page that it had shown for it."""
    fields = cyber_source.response(records.form(outgoing), signed_date_time=f"{now:%Y-%m-%dT%H:%M:%SZ}")
    receive_callback(b"body", list(fields.items()), now=now)


def test_a_free_change_that_is_sent_again_after_another_one_is_in_force_again(agreement):
    """It is what CyberSource will charge."""
    downgrade()
    ask(LARGE, NOW + timedelta(minutes=1), amount="30.00", now=NOW + timedelta(minutes=1))
    later = NOW + timedelta(minutes=2)
    respond_again(OutgoingTransaction.objects.earliest("id"), now=later)

    assert plan_told(later) == ("10", "10.00", PAID_THROUGH, Terms(Decimal("10.00"), "10", PAID_THROUGH))


def test_a_free_change_that_is_sent_again_without_another_one_changes_nothing(agreement):
    downgrade(PAID_THROUGH - timedelta(days=3))
    later = PAID_THROUGH + timedelta(days=1)
    respond_again(OutgoingTransaction.objects.get(), now=later)

    assert plan_told(later) == ("10", "10.00", PAID_THROUGH, None)


def test_the_history_has_the_scheduled_terms(agreement):
    downgrade()

    event = agreement.events.last()
    assert (event.scheduled_link_limit, event.scheduled_rate) == ("10", Decimal("10.00"))
    assert event.scheduled_from == PAID_THROUGH
