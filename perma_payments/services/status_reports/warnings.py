"""What is unusual about a planned status report, as values: the admin's template words them for staff."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from django.db.models import DateTimeField, Exists, OuterRef, Q, QuerySet, Subquery, TextField
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce

from ...billing.coverage import Proof, midnight
from ...billing.statuses import ALIVE, ENDED, Status
from ...models import ReportState, StaffTask, StatusReport, StatusReportLine, SubscriptionAgreement, TaskKind

# A report is unusual if it has less than SHORT of the last report's rows, changes more than MANY of the standing
# subscriptions, is older than OLD, or was made more than AHEAD from now: CyberSource's day may have begun already.
SHORT = 0.90
MANY = 0.10
OLD = timedelta(days=3)
AHEAD = timedelta(days=1)

MAX_EXAMPLES = 10


# CyberSource's upgrade is taken for the reason if it would end at least MASS of the subscriptions that are charged
# and listed, and no fewer than A_FEW: in a small list, all may have ended.
MASS = 0.90
A_FEW = 5


class WarningKind(StrEnum):
    UPGRADE = "upgrade"
    SAME_FILE = "same file"
    NOTHING_OF_OURS = "nothing of ours"
    UNREAD_ROWS = "unread rows"
    UNKNOWN_STATUS = "unknown status"
    SHORT = "short"
    BEFORE_LAST = "before last"
    OLD = "old"
    FROM_THE_FUTURE = "from the future"
    UNREADABLE_DATES = "unreadable dates"
    UNREADABLE_TERMS = "unreadable terms"
    IMPLAUSIBLE_DATES = "implausible dates"
    DIFFERENT_TERMS = "different terms"
    REACTIVATED = "reactivated"
    SECOND_SUBSCRIPTION = "second subscription"
    UNPROVEN_ENDING = "unproven ending"
    IMMEDIATE_ENDING = "immediate ending"
    WITHOUT_TOKEN = "without token"
    WITHOUT_TERMS = "without terms"
    MANY_ENDINGS = "many endings"
    MANY_CHANGES = "many changes"
    MISSING = "missing"
    STILL_CHARGED = "still charged"


# What staff check one by one before they confirm: with the wrong file, these would do harm. What Perma Payments
# takes care of by itself, or opens a task for, is none of them.
SERIOUS = frozenset(
    {
        WarningKind.SAME_FILE,
        WarningKind.UNREAD_ROWS,
        WarningKind.SHORT,
        WarningKind.BEFORE_LAST,
        WarningKind.OLD,
        WarningKind.FROM_THE_FUTURE,
        WarningKind.REACTIVATED,
        WarningKind.IMMEDIATE_ENDING,
        WarningKind.MANY_ENDINGS,
        WarningKind.MANY_CHANGES,
        WarningKind.MISSING,
    }
)


@dataclass(frozen=True)
class ReportWarning:
    """One thing that is unusual.

    ``count`` is a number of subscriptions, out of ``total`` where that is given, or of dates; ``examples`` are
    reference numbers. ``report`` is the id of the earlier report that this one is compared with.
    """

    kind: WarningKind
    count: int = 0
    total: int = 0
    examples: list[str] = field(default_factory=list)
    report: int | None = None


@dataclass(frozen=True)
class Checks:
    """What staff have checked: the kinds of serious warnings that they ticked, and the number of endings that they
    typed, if any.
    """

    kinds: frozenset[str] = frozenset()
    endings: int | None = None


def required_checks(report: StatusReport) -> Checks:
    """What staff have to check before a report is applied."""
    counts = {warning["kind"]: warning["count"] for warning in report.warnings}
    return Checks(SERIOUS & counts.keys(), counts.get(WarningKind.MANY_ENDINGS))


def is_from_the_upgrade(report: StatusReport) -> bool:
    """Whether a report must not be applied because it may be from the weeks after CyberSource's upgrade."""
    return any(warning["kind"] == WarningKind.UPGRADE for warning in report.warnings)


def warnings_about(report: StatusReport, *, now: datetime) -> Iterator[ReportWarning]:
    """What is unusual about a report that has been planned and not been applied."""
    yield from _about_the_upgrade(report)
    yield from _about_the_file(report, now)
    yield from _about_its_changes(report)
    yield from _about_standing_subscriptions(report, now)


def _about_the_file(report: StatusReport, now: datetime) -> Iterator[ReportWarning]:
    applied_once = StatusReport.objects.filter(state__in=[ReportState.APPLIED, ReportState.REVERTED])
    earlier = applied_once.exclude(pk=report.pk).order_by("-applied_at")
    same = earlier.filter(digest=report.digest).first()
    if same is not None:
        yield ReportWarning(WarningKind.SAME_FILE, report=same.pk)
    if not report.matched_count:
        yield ReportWarning(WarningKind.NOTHING_OF_OURS)
    if report.unread_rows:
        yield ReportWarning(WarningKind.UNREAD_ROWS, len(report.unread_rows))
    if report.unknown_statuses:
        yield ReportWarning(WarningKind.UNKNOWN_STATUS)
    last = earlier.filter(state=ReportState.APPLIED).first()
    if last is not None and report.row_count < SHORT * last.row_count:
        yield ReportWarning(WarningKind.SHORT, report=last.pk)
    if report.made_on is not None:
        if last is not None and last.made_on is not None and report.made_on < last.made_on:
            yield ReportWarning(WarningKind.BEFORE_LAST, report=last.pk)
        today = now.astimezone(UTC).date()
        if today - report.made_on > OLD:
            yield ReportWarning(WarningKind.OLD)
        if report.made_on - today > AHEAD:
            yield ReportWarning(WarningKind.FROM_THE_FUTURE)
    if report.unreadable_dates:
        yield ReportWarning(WarningKind.UNREADABLE_DATES, report.unreadable_dates)
    if report.unreadable_terms:
        yield ReportWarning(WarningKind.UNREADABLE_TERMS, report.unreadable_terms)


def _about_the_upgrade(report: StatusReport) -> Iterator[ReportWarning]:
    """For two weeks, CyberSource shows the subscriptions that it has moved to its new service as canceled."""
    unasked = {"agreement__cancellation_requested_at__isnull": True}
    charged = report.lines.filter(agreement__status__in=ALIVE, **unasked).count()
    canceled = report.endings().filter(after__status=Status.CANCELED, **unasked).count()
    if canceled >= max(A_FEW, MASS * charged):
        yield ReportWarning(WarningKind.UPGRADE, canceled, charged)


def _about_its_changes(report: StatusReport) -> Iterator[ReportWarning]:
    lines = report.lines.all()
    reactivated = lines.filter(before__status__in=ENDED, after__status__in=ALIVE)
    without_token = lines.filter(after__has_key="current_rate", after__status__in=ALIVE, takes_token=False)
    ending = lines.filter(after__status=Status.CANCELED).annotate(
        proof=Coalesce(KT("after__coverage_proof"), "agreement__coverage_proof", output_field=TextField()),
        until=Coalesce(
            Cast(KT("after__covered_until"), DateTimeField()),
            "agreement__covered_until",
            output_field=DateTimeField(),
        ),
    )
    yield from _if_any(WarningKind.REACTIVATED, reactivated)
    yield from _if_any(WarningKind.SECOND_SUBSCRIPTION, _second_subscriptions(report))
    # It is not certain until when these are paid for, so a customer may lose what they paid for.
    yield from _if_any(WarningKind.UNPROVEN_ENDING, ending.filter(proof=Proof.UNPROVEN))
    yield from _if_any(
        WarningKind.IMMEDIATE_ENDING, ending.filter(until__lt=midnight(report.as_of)).exclude(proof=Proof.STAFF)
    )
    yield from _if_any(WarningKind.IMPLAUSIBLE_DATES, lines.filter(ignores_date=True))
    yield from _if_any(WarningKind.DIFFERENT_TERMS, lines.filter(our_terms__isnull=False))
    yield from _if_any(WarningKind.WITHOUT_TOKEN, without_token)
    yield from _if_any(WarningKind.WITHOUT_TERMS, lines.filter(is_incomplete=True))


def _second_subscriptions(report: StatusReport) -> QuerySet[StatusReportLine]:
    """The lines that revive a subscription whose customer is then charged for another one, too."""
    # A value, not EXISTS: PostgreSQL knows nothing yet of these lines, and might go through all for each.
    new_status = StatusReportLine.objects.filter(report=report, agreement=OuterRef("pk")).values(
        text=KT("after__status")
    )
    others = (
        SubscriptionAgreement.objects.filter(
            customer_type=OuterRef("agreement__customer_type"), customer_pk=OuterRef("agreement__customer_pk")
        )
        .exclude(pk=OuterRef("agreement"))
        .annotate(status_after=Coalesce(Subquery(new_status), "status", output_field=TextField()))
    )
    return report.reviving("after").filter(Exists(others.filter(status_after__in=ALIVE)))


def _about_standing_subscriptions(report: StatusReport, now: datetime) -> Iterator[ReportWarning]:
    standing = SubscriptionAgreement.objects.standing(now).order_by()
    total = standing.count()
    changing = report.changes().filter(after__has_key="status", agreement__in=standing).count()
    ending = report.endings().count()
    if ending > MANY * total:
        yield ReportWarning(WarningKind.MANY_ENDINGS, ending, total)
    if changing > MANY * total and changing > ending:
        yield ReportWarning(WarningKind.MANY_CHANGES, changing, total)
    missing = missing_from(report, now=now).count()
    if missing and report.matched_count:
        yield ReportWarning(WarningKind.MISSING, missing, total)
    yield from _if_any(WarningKind.STILL_CHARGED, still_charged(report))


def still_charged(report: StatusReport) -> QuerySet[StatusReportLine]:
    """The lines of subscriptions whose cancellation was marked as done, but that CyberSource has not canceled.

    A cancellation that was marked as done after the report was made is not contradicted by it.
    """
    cancellations = StaffTask.objects.filter(kind=TaskKind.CANCELLATION, agreement=OuterRef("agreement"))
    still_to_do_then = Q(done_at__isnull=True) | Q(done_at__gte=midnight(report.as_of + timedelta(days=1)))
    requested = Q(status__in=ALIVE, agreement__cancellation_requested_at__isnull=False)
    return report.lines.filter(requested).exclude(Exists(cancellations.filter(still_to_do_then)))


def missing_from(report: StatusReport, *, now: datetime) -> QuerySet[SubscriptionAgreement]:
    """The standing subscriptions that a report does not list, the foremost first."""
    listed = report.lines.filter(agreement=OuterRef("pk"))
    return SubscriptionAgreement.objects.standing(now).exclude(Exists(listed))


def _if_any(kind: WarningKind, lines: QuerySet[StatusReportLine]) -> Iterator[ReportWarning]:
    count = lines.count()
    if count:
        names = lines.order_by("agreement__reference_number").values_list("agreement__reference_number", flat=True)
        yield ReportWarning(kind, count, examples=list(names[:MAX_EXAMPLES]))
