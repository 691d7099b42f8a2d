"""A planned status report can be put aside for good."""

import pytest

from perma_payments.services.status_reports.apply import CannotBeDone

from ...business_center import report
from .steps import NOW, apply, discard, plan, staff, standing, state, unpaid

pytestmark = pytest.mark.django_db


def test_a_discarded_report_changes_nothing_and_cannot_be_confirmed():
    agreement = standing()
    discarded = discard(plan(report((agreement, "HOLD"))))

    assert (discarded.state, discarded.discarded_by, discarded.discarded_at) == ("discarded", staff(), NOW)
    with pytest.raises(CannotBeDone, match="already discarded"):
        apply(discarded)
    assert state(agreement)["status"] == "Current"


def test_a_discarded_report_keeps_no_token():
    planned = plan(report((unpaid(), "CURRENT")))
    assert planned.lines.exclude(subscription_id="").exists()

    discard(planned)
    assert not planned.lines.exclude(subscription_id="").exists()


def test_a_confirmed_report_cannot_be_discarded():
    applied = apply(plan(report((standing(), "HOLD"))))

    with pytest.raises(CannotBeDone, match="already confirmed"):
        discard(applied)


def test_a_discarded_report_is_not_compared_with_later_ones():
    data = report((standing(), "CURRENT"))
    discard(plan(data))

    assert plan(data).warnings == []
