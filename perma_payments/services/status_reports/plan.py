"""Plan: what a status report would do to our subscriptions. Staff see it as the preview (docs/statuses.md).

A report is planned, then applied (apply.py), and can be reverted (revert.py). Planning writes StatusReport and its
lines, and nothing else.
"""

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
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
from ...models import OutgoingTransaction, ReportState, StatusReport, SubscriptionAgreement
from ...models.agreement import FromColumns
from ...models.fields import REFERENCE_NUMBER_PATTERN
from ...models.status_report import CHANGED_BY_REPORTS
from .sql import VERSION, Versions, insert_lines, update_lines
from .warnings import warnings_about

logger = logging.getLogger(__name__)

T = TypeVar("T")

# How many lines are planned at a time, so that they are never all in memory.
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


class _Columns(NamedTuple):
    status: str
    payment_token: str
    current_rate: Decimal | None
    current_frequency: str | None
    current_link_limit: str | None
    current_link_limit_effective_timestamp: datetime | None
    scheduled_rate: Decimal | None
    scheduled_link_limit: str | None
    scheduled_from: datetime | None
    schedule_start: date | None
    covered_until: datetime | None
    coverage_proof: str
    next_charge_on: date | None
    cancellation_requested_at: datetime | None


class Agreement(_Columns, FromColumns):
    """The columns of an agreement that planning reads, and what the model derives from them.

    Instances of the model would take several times as long.
    """

    __slots__ = ()


class Reported(NamedTuple):
    """What a line says: the columns of StatusReportLine that the report fills in."""

    status: str
    charge_news: str
    next_charge_on: date | None
    amount: Decimal | None
    frequency: str
    subscription_id: str


class Line(NamedTuple):
    """What a report says about one of our agreements, and the agreement as it is now."""

    agreement_id: int
    reported: Reported
    agreement: Agreement


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
        for chunk in _in_chunks(stale_plans(report)):
            update_lines(report, ({"agreement_id": pk, **plan._asdict()} for pk, plan in chunk))
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
        lines = []
        for pk, reference_number, *columns in agreements.values_list("pk", "reference_number", *Agreement._fields):
            agreement = Agreement(*columns)
            lines.append(Line(pk, _reported(by_reference[reference_number], agreement), agreement))
            ours.add(reference_number)
        plans = _plans_for(lines, as_of=report.as_of)
        insert_lines(report, (_as_columns(line, plan) for line, plan in zip(lines, plans, strict=True)))
    return ours


def _reported(row: ReportRow, agreement: Agreement) -> Reported:
    takes_token = row.status in ALIVE and not agreement.payment_token and is_token(row.subscription_id)
    return Reported(
        row.status,
        row.charge_news,
        row.next_charge_on,
        row.amount,
        row.frequency or "",
        row.subscription_id if takes_token else "",
    )


def _as_columns(line: Line, plan: PlannedChange) -> dict[str, Any]:
    """A line's columns, as JSON has them."""
    said = line.reported
    return {
        "agreement_id": line.agreement_id,
        **said._asdict(),
        "next_charge_on": _as_text(said.next_charge_on),
        "amount": _as_text(said.amount),
        **plan._asdict(),
    }


def stale_plans(
    report: StatusReport, *, only: Sequence[int] | None = None, versions: Versions | None = None
) -> Iterator[tuple[int, PlannedChange]]:
    """What a report would now do to agreements (by id) that is not what was planned.

    ``only`` limits it to some agreements. In ``versions``, the version of each that was read is remembered.
    """
    agreement_columns = [f"agreement__{name}" for name in Agreement._fields]
    lines = report.lines.annotate(version=VERSION).order_by("agreement_id")
    if only is not None:
        lines = lines.filter(agreement__in=only)
    rows = lines.values_list(
        "agreement_id", "version", *Reported._fields, *agreement_columns, *PlannedChange._fields
    )
    last = 0
    # Not with a cursor: PgBouncer may not let us have one, and then all rows would be in memory.
    while chunk := list(rows.filter(agreement__gt=last)[:CHUNK]):
        read, planned = [], []
        for pk, version, *columns in chunk:
            values = iter(columns)
            reported = Reported(*islice(values, len(Reported._fields)))
            read.append(Line(pk, reported, Agreement(*islice(values, len(Agreement._fields)))))
            planned.append(PlannedChange(*values))
            if versions is not None:
                versions.remember(pk, version)
        for line, plan, before in zip(read, _plans_for(read, as_of=report.as_of), planned, strict=True):
            if plan != before:
                yield line.agreement_id, plan
        last = chunk[-1][0]


def _plans_for(lines: Sequence[Line], *, as_of: date) -> list[PlannedChange]:
    """What each line would do to its agreement. ``as_of`` is the day up to which the report knows of charges."""
    checkouts = _checkouts_for_terms(lines)
    return [
        _planned_change(line.reported, line.agreement, checkouts.get(line.agreement_id), as_of) for line in lines
    ]


def _checkouts_for_terms(lines: Iterable[Line]) -> dict[int, OutgoingTransaction]:
    """The checkouts that began the agreements that lack terms, by agreement."""
    lacking = [line.agreement_id for line in lines if line.agreement.current_rate is None]
    checkouts = OutgoingTransaction.objects.filter(kind=Kind.SUBSCRIBE, agreement_id__in=lacking)
    return {checkout.agreement_id: checkout for checkout in checkouts if checkout.agreement_id is not None}


def _planned_change(
    reported: Reported, old: Agreement, checkout: OutgoingTransaction | None, as_of: date
) -> PlannedChange:
    """What a line does to its agreement, according to docs/statuses.md."""
    takes_token = reported.status in ALIVE and not old.payment_token and reported.subscription_id != ""
    ignores_date = False
    new = old._replace(status=reported.status)
    if reported.status == Status.CANCELED:
        new = new._replace(cancellation_requested_at=None)  # CyberSource has done what was requested.
    if reported.status in WITH_TERMS:
        if old.current_rate is None:
            if checkout is None:
                return PlannedChange(is_incomplete=True)
            new = new._replace(**checkout.new_terms)  # Recovery: the response to this checkout never came.
        schedule, next_charge_on = new.schedule, reported.next_charge_on
        if next_charge_on is not None:
            if coverage.is_plausible_next_charge(schedule, next_charge_on, made_on=as_of):
                new = new._replace(next_charge_on=next_charge_on)
            else:
                next_charge_on, ignores_date = None, True
        until, proof = _coverage(reported, old, schedule, next_charge_on, as_of)
        new = new._replace(covered_until=until, coverage_proof=proof)
    our_terms = _terms_that_differ(reported, new, as_of)
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


def _terms_that_differ(reported: Reported, agreement: Agreement, as_of: date) -> dict[str, str | None] | None:
    """Our terms, if CyberSource charges something else: perhaps its response to a change never came."""
    if reported.status not in ALIVE:
        return None
    terms = agreement.agreed_terms.as_of(coverage.midnight(as_of))
    if terms.in_force.effective >= coverage.midnight(as_of):
        return None  # They may be newer than the report.
    # CyberSource knows of a downgrade before it is in force.
    ours = [terms.in_force.rate, *([terms.scheduled.rate] if terms.scheduled else [])]
    if reported.amount in (None, *ours) and reported.frequency in ("", agreement.current_frequency):
        return None
    return {"amount": _as_text(ours[-1]), "frequency": agreement.current_frequency}


def _coverage(
    reported: Reported, old: Agreement, schedule: Schedule, next_charge_on: date | None, as_of: date
) -> Coverage:
    """Until when the agreement is paid for after the report, and how that is known."""
    # CyberSource knows the subscription, so its checkout was accepted.
    known = old.coverage or coverage.of_checkout(schedule)
    grace_days = settings.GRACE_PERIOD_DAYS
    if reported.charge_news == ChargeNews.PROVEN:
        proven = coverage.of_report(schedule, made_on=as_of, next_charge_on=next_charge_on, grace_days=grace_days)
        return coverage.extended(known, proven)
    if reported.status == Status.HOLD and reported.charge_news == ChargeNews.FAILED:
        return coverage.after_failed_charge(schedule, known, made_on=as_of)
    if reported.status == Status.CANCELED and old.status in (Status.CURRENT, *UNPAID):
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
