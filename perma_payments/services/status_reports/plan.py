"""Plan: what a status report would do to our subscriptions. Staff see it as the preview (docs/statuses.md).

A report is planned, then applied (apply.py), and can be reverted (revert.py). Planning writes StatusReport and its
lines, and nothing else.
"""

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import asdict
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count, Q

from ...billing import coverage
from ...billing.coverage import ChargeNews, Coverage
from ...billing.schedules import Schedule
from ...billing.statuses import ALIVE, UNPAID, WITH_TERMS, Status
from ...billing.tokens import is_token
from ...billing.transactions import Kind
from ...cybersource.status_report import ParsedReport, ReportRow, UnreadRow, read_report
from ...models import OutgoingTransaction, ReportState, StatusReport, StatusReportLine, SubscriptionAgreement
from ...models.fields import REFERENCE_NUMBER_PATTERN
from ...models.status_report import CHANGED_BY_REPORTS
from .warnings import warnings_about

logger = logging.getLogger(__name__)

T = TypeVar("T")

# How many lines are planned at a time, so that memory doesn't grow with the report.
CHUNK = 5_000

# How many reference numbers are kept of those with several rows, and how many of those that are not ours.
MAX_NAMED = 200
# The columns that _count fills in.
COUNTED = ("matched_count", "change_count", "dates_count", "charge_counts", "warnings")

# What a line can say about charges.
ABOUT_CHARGES = {
    "proven": Q(charge_news=ChargeNews.PROVEN),
    "retried": Q(charge_news=ChargeNews.FAILED, status=Status.CURRENT),
    "failed": Q(charge_news=ChargeNews.FAILED, status=Status.HOLD),
    "nothing": Q(charge_news=ChargeNews.NOTHING),
    "ended": Q(charge_news=ChargeNews.ENDED),
}


class PlannedChange(NamedTuple):
    """What a line does to its agreement: the columns of StatusReportLine that planning fills in."""

    before: dict[str, str | None] | None = None
    after: dict[str, str | None] | None = None
    takes_token: bool = False
    ignores_date: bool = False
    our_terms: dict[str, str | None] | None = None
    is_incomplete: bool = False


def plan_report(data: bytes, *, by: User, now: datetime) -> StatusReport:
    """Read a report and save what it would do, for staff to look at. Raises UnreadableFile."""
    parsed = read_report(data)
    with transaction.atomic():
        report = StatusReport.objects.create(
            digest=hashlib.sha256(data).hexdigest(),
            made_on=parsed.made_on,
            row_count=parsed.row_count,
            unread_rows=[[row.line, _why_unread(row)] for row in parsed.unread],
            unknown_statuses=parsed.unknown_statuses,
            spoiled_ids=parsed.spoiled_ids,
            unreadable_dates=parsed.unreadable_dates,
            unreadable_terms=parsed.unreadable_terms,
            uploaded_by=by,
            uploaded_at=now,
        )
        ours = _save_lines(report, parsed.rows)
        _record_other_rows(report, parsed, ours)
        _count(report, now)
        other_rows = ["duplicate_count", "duplicates", "unknown_count", "unknown_references"]
        report.save(update_fields=[*other_rows, *COUNTED])
    logger.info(
        "status report %s uploaded: %s rows, %s ours, %s changes, %s unread",
        report.pk,
        report.row_count,
        report.matched_count,
        report.change_count,
        len(report.unread_rows),
    )
    return report


def recompute_plan(report_id: int, *, now: datetime) -> None:
    """Plan a report again, from our records as they are now. Does nothing if it has been applied since."""
    with transaction.atomic():
        report = StatusReport.objects.select_for_update(no_key=True).get(pk=report_id)
        if report.state != ReportState.PLANNED:
            return
        for lines in planned_lines(report):
            stale = fill_in_plans(lines, as_of=report.as_of)
            StatusReportLine.objects.bulk_update(stale, PlannedChange._fields, batch_size=500)
        _count(report, now)
        report.revision += 1
        report.save(update_fields=["revision", *COUNTED])


# --- Lines --------------------------------------------------------------------------------------------


def _save_lines(report: StatusReport, rows: Sequence[ReportRow]) -> set[str]:
    """Save a planned line for each row about one of our agreements; return the reference numbers of these."""
    ours: set[str] = set()
    for chunk in _in_chunks(rows):
        by_reference = {row.reference_number: row for row in chunk}
        agreements = SubscriptionAgreement.objects.filter(reference_number__in=by_reference)
        lines = [_line(report, agreement, by_reference[agreement.reference_number]) for agreement in agreements]
        fill_in_plans(lines, as_of=report.as_of)
        StatusReportLine.objects.bulk_create(lines)
        ours.update(line.agreement.reference_number for line in lines)
    return ours


def _line(report: StatusReport, agreement: SubscriptionAgreement, row: ReportRow) -> StatusReportLine:
    takes_token = row.status in ALIVE and not agreement.payment_token and is_token(row.subscription_id)
    return StatusReportLine(
        report=report,
        agreement=agreement,
        status=row.status,
        charge_news=row.charge_news,
        next_charge_on=row.next_charge_on,
        amount=row.amount,
        frequency=row.frequency or "",
        subscription_id=row.subscription_id if takes_token else "",
    )


def planned_lines(report: StatusReport) -> Iterator[list[StatusReportLine]]:
    """A report's lines with their agreements as they are now, a chunk at a time."""
    yield from _in_chunks(report.lines.select_related("agreement").order_by("agreement").iterator(CHUNK))


def fill_in_plans(lines: Sequence[StatusReportLine], *, as_of: date) -> list[StatusReportLine]:
    """Fill in what each line would do to its agreement; return the lines that this changes. Saves nothing.

    ``as_of`` is the day up to which the report knows of charges.
    """
    stale = []
    checkouts = _checkouts_for_terms(lines)
    for line in lines:
        plan = _planned_change(line, checkouts.get(line.agreement_id), as_of)
        if plan != tuple(getattr(line, column) for column in PlannedChange._fields):
            stale.append(line)
        for column, value in plan._asdict().items():
            setattr(line, column, value)
    return stale


def _checkouts_for_terms(lines: Iterable[StatusReportLine]) -> dict[int, OutgoingTransaction]:
    """The checkouts that began the agreements that lack terms, by agreement."""
    lacking = [line.agreement_id for line in lines if line.agreement.current_rate is None]
    checkouts = OutgoingTransaction.objects.filter(kind=Kind.SUBSCRIBE, agreement_id__in=lacking)
    return {checkout.agreement_id: checkout for checkout in checkouts if checkout.agreement_id is not None}


def _planned_change(line: StatusReportLine, checkout: OutgoingTransaction | None, as_of: date) -> PlannedChange:
    """What a line does to its agreement, according to docs/statuses.md."""
    old, new = line.agreement, copy(line.agreement)
    takes_token = line.status in ALIVE and not old.payment_token and line.subscription_id != ""
    ignores_date = False
    new.status = line.status
    if line.status == Status.CANCELED:
        new.cancellation_requested_at = None  # CyberSource has done what was requested.
    if line.status in WITH_TERMS:
        if old.current_rate is None:
            if checkout is None:
                return PlannedChange(is_incomplete=True)
            new.take_terms(checkout.new_terms)  # Recovery: the response to this checkout never came.
        next_charge_on = line.next_charge_on
        if next_charge_on is not None:
            if coverage.is_plausible_next_charge(new.schedule, next_charge_on, made_on=as_of):
                new.next_charge_on = next_charge_on
            else:
                next_charge_on, ignores_date = None, True
        new.coverage = _coverage(line, new.schedule, next_charge_on, as_of)
    our_terms = _terms_that_differ(line, new, as_of)
    changed = [column for column in CHANGED_BY_REPORTS if getattr(old, column) != getattr(new, column)]
    if not changed and not takes_token:
        return PlannedChange(ignores_date=ignores_date, our_terms=our_terms)
    return PlannedChange(
        before={column: _as_text(getattr(old, column)) for column in changed},
        after={column: _as_text(getattr(new, column)) for column in changed},
        takes_token=takes_token,
        ignores_date=ignores_date,
        our_terms=our_terms,
    )


def _terms_that_differ(
    line: StatusReportLine, agreement: SubscriptionAgreement, as_of: date
) -> dict[str, str | None] | None:
    """Our terms, if CyberSource charges something else: perhaps its response to a change never came."""
    if line.status not in ALIVE:
        return None
    terms = agreement.agreed_terms.as_of(coverage.midnight(as_of))
    if terms.in_force.effective >= coverage.midnight(as_of):
        return None  # They may be newer than the report.
    # CyberSource knows of a downgrade before it is in force.
    ours = [terms.in_force.rate, *([terms.scheduled.rate] if terms.scheduled else [])]
    if line.amount in (None, *ours) and line.frequency in ("", agreement.current_frequency):
        return None
    return {"amount": _as_text(ours[-1]), "frequency": agreement.current_frequency}


def _coverage(line: StatusReportLine, schedule: Schedule, next_charge_on: date | None, as_of: date) -> Coverage:
    """Until when the agreement is paid for after the report, and how that is known."""
    # CyberSource knows the subscription, so its checkout was accepted.
    known = line.agreement.coverage or coverage.of_checkout(schedule)
    grace_days = settings.GRACE_PERIOD_DAYS
    if line.charge_news == ChargeNews.PROVEN:
        proven = coverage.of_report(schedule, made_on=as_of, next_charge_on=next_charge_on, grace_days=grace_days)
        return coverage.extended(known, proven)
    if line.status == Status.HOLD and line.charge_news == ChargeNews.FAILED:
        return coverage.after_failed_charge(schedule, known, made_on=as_of)
    if line.status == Status.CANCELED and line.agreement.status in (Status.CURRENT, *UNPAID):
        return coverage.after_ending(schedule, known, made_on=as_of, grace_days=grace_days)
    return known


def _as_text(value: Any) -> str | None:
    """A column's value as StatusReportLine keeps it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Decimal):
        return f"{value:.2f}"
    return None if value is None else str(value)


def _in_chunks(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


# --- The report ----------------------------------------------------------------------------------------


def _why_unread(row: UnreadRow) -> str:
    """A sentence, with the reference number if it looks like one of ours."""
    return f"{row.reference_number}: {row.why}" if _is_like_ours(row.reference_number) else row.why


def _is_like_ours(text: str) -> bool:
    """Whether a text has the form of our reference numbers. Any other may be a name, so it is not kept."""
    return re.fullmatch(REFERENCE_NUMBER_PATTERN, text, re.ASCII) is not None


def _record_other_rows(report: StatusReport, parsed: ParsedReport, ours: set[str]) -> None:
    """Record the reference numbers that have several rows, and those that are not ours."""
    report.duplicate_count = len(parsed.duplicates)
    report.duplicates = [
        [each.reference_number, each.lines, each.statuses, each.counts]
        for each in parsed.duplicates
        if each.reference_number in ours
    ][:MAX_NAMED]
    unknown = [row.reference_number for row in parsed.rows if row.reference_number not in ours]
    report.unknown_count = len(unknown)
    report.unknown_references = [text for text in unknown if _is_like_ours(text)][:MAX_NAMED]


def _count(report: StatusReport, now: datetime) -> None:
    """Record how much a report would change, and what is unusual about it."""
    report.matched_count = report.lines.count()
    report.change_count = report.changes().count()
    report.dates_count = (
        report.changes().exclude(after__has_key="status").filter(after__has_key="covered_until").count()
    )
    report.charge_counts = report.lines.aggregate(
        **{says: Count("pk", filter=which) for says, which in ABOUT_CHARGES.items()}
    )
    report.warnings = [asdict(warning) for warning in warnings_about(report, now=now)]
