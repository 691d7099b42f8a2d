"""Apply: make all of a planned status report's changes, or none. Staff press Confirm (docs/statuses.md)."""

import logging
from collections.abc import Sequence
from datetime import datetime

import pghistory
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

from ...billing import tokens
from ...billing.coverage import Proof
from ...billing.statuses import Status
from ...logs import ids
from ...models import ReportState, Resolution, StaffTask, StatusReport, SubscriptionAgreement, TaskKind
from ...models.history import HistorySource
from ...models.status_report import Side
from ..locks import try_to_lock
from ..staff_tasks import end_open, open_about, open_for_revived
from .plan import recompute_plan, stale_plans
from .sql import Versions, lock_changed, write_changes
from .warnings import Checks, is_from_the_upgrade, required_checks, still_charged

logger = logging.getLogger(__name__)


class CannotBeDone(Exception):
    """What was asked for can't be done now, and nothing was changed. The text is a sentence for staff."""


class PlanIsStale(CannotBeDone):
    """Our records have changed since the report was planned. The plan has been recomputed."""


def apply_report(report_id: int, *, revision: int, by: User, checks: Checks, now: datetime) -> StatusReport:
    """Make all of a report's changes, in one transaction.

    ``revision`` is that of the plan that staff looked at, and ``checks`` is what they have checked. Raises
    CannotBeDone, and PlanIsStale after recomputing the plan.
    """
    try:
        with (
            transaction.atomic(),
            pghistory.context(source=HistorySource.STATUS_REPORT, report=report_id, user=by.pk),
        ):
            report = lock_report(report_id)
            _refuse_unless_applicable(report, revision, now)
            _refuse_unless_checked(report, checks)
            # All lines, which takes seconds, while callbacks can still change these subscriptions.
            versions = Versions()
            _refuse_if_stale(report, versions=versions)
            lock_changed(report)
            # And under the locks those few that a callback has changed meanwhile.
            _refuse_if_stale(report, only=versions.changed())
            write_changes(report, "after", now)
            # Before tasks are opened: their deferred constraints make every trigger after that slow.
            forget_ids(report)
            report.tasks_ended = _end_tasks(report, by, now)
            report.tasks_opened = _open_tasks(report, now)
            report.state, report.applied_by, report.applied_at = ReportState.APPLIED, by, now
            report.save(update_fields=["state", "applied_by", "applied_at", "tasks_ended", "tasks_opened"])
    except PlanIsStale:
        recompute_plan(report_id, now=now)
        raise
    what = ids(report_id=report_id, changes=report.change_count, user_id=by.pk)
    logger.warning("status report %s applied: %s changes", report_id, report.change_count, extra=what)
    return report


def _refuse_unless_applicable(report: StatusReport, revision: int, now: datetime) -> None:
    refuse_unless_planned(report)
    if report.has_expired(now):
        raise CannotBeDone(
            "This preview is more than a day old. Nothing was changed; please download the report again, and "
            "upload it."
        )
    if report.revision != revision:
        raise CannotBeDone(
            "This preview was recomputed after you opened it. Nothing was changed; please check it again."
        )
    later = StatusReport.objects.filter(state=ReportState.APPLIED, uploaded_at__gt=report.uploaded_at).first()
    if later is not None:
        raise CannotBeDone(
            f"A later report has been confirmed since: the {later}. Nothing was changed; please download the "
            "report again, and upload it."
        )
    if not report.matched_count:
        raise CannotBeDone("This report has none of our subscriptions, so there is nothing to confirm.")


def _refuse_unless_checked(report: StatusReport, checks: Checks) -> None:
    if is_from_the_upgrade(report):
        raise CannotBeDone(
            "This report would end almost every subscription, so nothing was changed. Right after CyberSource's "
            "upgrade of Recurring Billing, subscriptions are shown as canceled although they still run."
        )
    required = required_checks(report)
    if not required.kinds <= checks.kinds:
        raise CannotBeDone("Nothing was changed. Please check each point above the Confirm button first.")
    if required.endings is not None and required.endings != checks.endings:
        raise CannotBeDone(
            "Nothing was changed, because the number that you typed is not the number of subscriptions that would "
            "end."
        )


def _refuse_if_stale(
    report: StatusReport, *, only: Sequence[int] | None = None, versions: Versions | None = None
) -> None:
    for _ in stale_plans(report, only=only, versions=versions):
        raise PlanIsStale(
            "Something has changed since this preview was made. Nothing was applied; please check the new preview."
        )


# --- For the other steps too ----------------------------------------------------------------------------


def lock_report(report_id: int) -> StatusReport:
    """Lock a report. Only one is applied or reverted at a time, because each depends on those before it."""
    if not try_to_lock("status reports"):
        raise CannotBeDone(
            "A status report is being confirmed or undone right now. Please wait a moment, then reload this page."
        )
    return StatusReport.objects.select_for_update(no_key=True).get(pk=report_id)


def refuse_unless_planned(report: StatusReport) -> None:
    """Raise CannotBeDone if a report was applied or discarded."""
    if report.state != ReportState.PLANNED:
        raise CannotBeDone(f"This report is already {report.get_state_display()}.")


def forget_ids(report: StatusReport) -> None:
    """Empty the subscription ids, which are tokens: once a report is applied or discarded, no one needs them."""
    report.lines.exclude(subscription_id="").update(subscription_id="")


def revived_agreements(report: StatusReport, side: Side) -> QuerySet[SubscriptionAgreement]:
    """The agreements that are charged on one side of a report's changes, and not on the other."""
    return SubscriptionAgreement.objects.filter(pk__in=report.reviving(side).values("agreement"))


# --- Staff tasks -----------------------------------------------------------------------------------------


def _end_tasks(report: StatusReport, by: User, now: datetime) -> list[int]:
    """End the tasks that the report shows to be done, and return their ids."""
    canceled = report.lines.filter(after__status=Status.CANCELED) | report.lines.filter(
        after__has_key="cancellation_requested_at"
    )
    given_token = report.lines.filter(takes_token=True)
    return [
        task
        for kind, lines, note in (
            (TaskKind.CANCELLATION, canceled, f"Canceled in CyberSource, according to the {report}."),
            (TaskKind.STILL_CHARGED, canceled, f"Canceled in CyberSource, according to the {report}."),
            (TaskKind.TOKEN_MISSING, given_token, f"The token was in the {report}."),
        )
        for task in end_open(
            StaffTask.objects.filter(kind=kind, agreement__in=lines.values("agreement")),
            Resolution.DONE,
            by=by,
            note=note,
            now=now,
        )
    ] + end_open(
        StaffTask.objects.filter(kind=TaskKind.REPORT_MISSING),
        Resolution.DONE,
        by=by,
        note=f"The {report} was uploaded.",
        now=now,
    )


def _open_tasks(report: StatusReport, now: datetime) -> list[int]:
    """Open the tasks that the report calls for, and return their ids."""
    changing = report.lines.filter(takes_token=True, agreement__payment_token__regex=tokens.CHANGES_WITH_CARD)
    unproven = report.lines.filter(after__status=Status.CANCELED, agreement__coverage_proof=Proof.UNPROVEN)
    return [
        *open_for_revived(revived_agreements(report, "after"), now=now),
        *open_about(TaskKind.UNPROVEN_CHARGE, unproven.values_list("agreement", flat=True), now=now),
        *open_about(TaskKind.TOKEN_CHANGES, changing.values_list("agreement", flat=True), now=now),
        *open_about(TaskKind.STILL_CHARGED, still_charged(report).values_list("agreement", flat=True), now=now),
    ]
