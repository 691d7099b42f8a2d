"""What the tests of status reports share: subscriptions on a schedule, and the steps of a report."""

from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import User

from perma_payments.billing.customers import Customer
from perma_payments.billing.transactions import Kind
from perma_payments.models import OutgoingTransaction, StatusReport, SubscriptionAgreement
from perma_payments.services.status_reports.apply import apply_report
from perma_payments.services.status_reports.discard import discard_report
from perma_payments.services.status_reports.plan import plan_report
from perma_payments.services.status_reports.revert import revert_report
from perma_payments.services.status_reports.warnings import Checks, required_checks

from ... import records
from ...records import REGISTRAR

NOW = datetime(2026, 12, 2, 12, tzinfo=UTC)
# The subscriptions of these tests are charged on the 13th, and were last charged in November.
LAST_CHARGE, NEXT_CHARGE = datetime(2026, 11, 13, tzinfo=UTC), datetime(2026, 12, 13, tzinfo=UTC)


def staff() -> User:
    return User.objects.get_or_create(username="staff")[0]


def standing(pk: int = 7, **changes: Any) -> SubscriptionAgreement:
    """A Current subscription of a customer, unless changed."""
    defaults = {
        "schedule_start": LAST_CHARGE.date(),
        "covered_until": NEXT_CHARGE,
        "coverage_proof": "report",
        "current_link_limit_effective_timestamp": LAST_CHARGE,
    }
    return records.standing_agreement(Customer(REGISTRAR.type, pk), **{**defaults, **changes})


def unpaid(pk: int = 7, **changes: Any) -> SubscriptionAgreement:
    """A Pending subscription, with the checkout whose response never came."""
    agreement = records.agreement(Customer(REGISTRAR.type, pk), **changes)
    checkout_of(agreement)
    return agreement


def checkout_of(agreement: SubscriptionAgreement) -> OutgoingTransaction:
    return records.outgoing(Kind.SUBSCRIBE, agreement, recurring_start_date=NEXT_CHARGE.date())


def plan(data: bytes, *, now: datetime = NOW) -> StatusReport:
    return plan_report(data, by=staff(), now=now)


def apply(report: StatusReport, *, checks: Checks | None = None, now: datetime = NOW) -> StatusReport:
    """Confirm a report as it is planned now, with all checks that it requires unless others are given."""
    report = StatusReport.objects.get(pk=report.pk)
    checks = required_checks(report) if checks is None else checks
    return apply_report(report.pk, revision=report.revision, by=staff(), checks=checks, now=now)


def discard(report: StatusReport, *, now: datetime = NOW) -> StatusReport:
    return discard_report(report.pk, by=staff(), now=now)


def revert(report: StatusReport, *, now: datetime = NOW) -> StatusReport:
    return revert_report(report.pk, by=staff(), now=now)


def state(agreement: SubscriptionAgreement) -> dict[str, Any]:
    """An agreement's columns as they are in the database now, except the time of the last change."""
    row = SubscriptionAgreement.objects.filter(pk=agreement.pk).values().get()
    del row["updated_at"]
    return row


def changes(report: StatusReport) -> list[dict[str, Any]]:
    """What a report does to each agreement that it changes."""
    return list(report.changes().order_by("agreement").values("agreement", "before", "after", "takes_token"))
