"""The three kinds of change (perma-2026.md §3), and the terms that follow from them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from perma_payments.billing.terms import AgreedTerms, ChangeKind, Terms

NOW = datetime(2026, 7, 1, 9, tzinfo=UTC)
PAID_THROUGH = datetime(2026, 7, 13, tzinfo=UTC)
SINCE = datetime(2026, 5, 13, 8, tzinfo=UTC)


def terms(link_limit: str = "100", rate: str = "25.00", effective: datetime = NOW) -> Terms:
    return Terms(Decimal(rate), link_limit, effective)


IN_FORCE = terms(effective=SINCE)
SMALLER = terms("10", "10.00", PAID_THROUGH)
AGREED = AgreedTerms(IN_FORCE)
WITH_DOWNGRADE = AgreedTerms(IN_FORCE, SMALLER)


def changed(agreed: AgreedTerms, wanted: Terms, *, paid_through: datetime = PAID_THROUGH) -> AgreedTerms:
    return agreed.changed_to(wanted, paid_through=paid_through, now=NOW)


@pytest.mark.parametrize("agreed", [AGREED, WITH_DOWNGRADE])
@pytest.mark.parametrize(
    ("wanted", "kind"),
    [
        (terms("500", "100.00"), ChangeKind.UPGRADE),
        (terms("unlimited", "100.00"), ChangeKind.UPGRADE),
        (terms("101", "1.00"), ChangeKind.UPGRADE),
        (terms("100", "25.01"), ChangeKind.UPGRADE),
        (terms("99", "100.00"), ChangeKind.DOWNGRADE),
        (terms("10", "10.00"), ChangeKind.DOWNGRADE),
        (terms("100", "24.99"), ChangeKind.DOWNGRADE),
    ],
)
def test_the_limit_decides_whether_it_is_more_or_less_and_then_the_rate(agreed, wanted, kind):
    assert agreed.kind_of(wanted) is kind


def test_below_unlimited_every_limit_is_a_downgrade():
    assert AgreedTerms(terms("unlimited")).kind_of(terms("999999999")) is ChangeKind.DOWNGRADE


def test_wanting_the_terms_in_force_takes_a_scheduled_change_back():
    assert WITH_DOWNGRADE.kind_of(terms()) is ChangeKind.TAKING_BACK
    assert changed(WITH_DOWNGRADE, terms()) == AGREED


def test_wanting_the_terms_in_force_takes_nothing_back_if_nothing_is_scheduled():
    assert AGREED.kind_of(terms()) is ChangeKind.UPGRADE
    assert changed(AGREED, terms()) == AgreedTerms(terms())


def test_wanting_the_scheduled_terms_again_leaves_them_scheduled():
    assert changed(WITH_DOWNGRADE, terms("10", "10.00", PAID_THROUGH)) == WITH_DOWNGRADE


@pytest.mark.parametrize("agreed", [AGREED, WITH_DOWNGRADE])
def test_an_upgrade_is_in_force_at_once_and_replaces_a_scheduled_change(agreed):
    wanted = terms("500", "100.00")

    assert changed(agreed, wanted) == AgreedTerms(wanted)


def test_an_upgrade_of_a_page_that_is_hours_old_keeps_its_own_time():
    wanted = terms("500", "100.00", NOW - timedelta(hours=20))

    assert changed(AGREED, wanted).in_force == wanted


def test_what_is_agreed_for_later_begins_then():
    wanted = terms("500", "20.00", PAID_THROUGH)

    assert changed(AGREED, wanted) == AgreedTerms(IN_FORCE, wanted)


@pytest.mark.parametrize(
    ("its_own_time", "effective"),
    [
        (PAID_THROUGH, PAID_THROUGH),
        # The page was rendered before the last charge, or by the client of 2024, for the 1st of the month.
        (NOW - timedelta(hours=12), PAID_THROUGH),
        (PAID_THROUGH - timedelta(seconds=1), PAID_THROUGH),
        (PAID_THROUGH + timedelta(hours=9), PAID_THROUGH + timedelta(hours=9)),
    ],
)
@pytest.mark.parametrize("agreed", [AGREED, WITH_DOWNGRADE, AgreedTerms(IN_FORCE, terms("50", "20.00", SINCE))])
def test_a_downgrade_begins_at_the_later_of_its_own_time_and_what_is_paid_for(agreed, its_own_time, effective):
    wanted = terms("10", "10.00", its_own_time)

    assert changed(agreed, wanted) == AgreedTerms(IN_FORCE, wanted._replace(effective=effective))


def test_a_downgrade_of_what_is_no_longer_paid_for_is_in_force_at_once():
    wanted = terms("10", "10.00", NOW)

    assert changed(AGREED, wanted, paid_through=NOW - timedelta(days=9)) == AgreedTerms(wanted)


@pytest.mark.parametrize(
    ("now", "agreed"),
    [
        (PAID_THROUGH - timedelta(microseconds=1), WITH_DOWNGRADE),
        (PAID_THROUGH, AgreedTerms(SMALLER)),
        (PAID_THROUGH + timedelta(days=400), AgreedTerms(SMALLER)),
    ],
)
def test_scheduled_terms_come_into_force_by_themselves_at_their_time(now, agreed):
    assert WITH_DOWNGRADE.as_of(now) == agreed


def test_terms_without_a_schedule_stay():
    assert AGREED.as_of(PAID_THROUGH) == AGREED
