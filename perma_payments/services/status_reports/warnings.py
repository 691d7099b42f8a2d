"""A report in words and numbers, for the person who decides about it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count, DateTimeField, Exists, OuterRef, Q, QuerySet, TextField
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce

from ...billing.coverage import ChargeNews, Proof, midnight
from ...billing.statuses import ALIVE, ENDED, Status
from ...models import ReportState, StaffTask, StatusReport, StatusReportLine, SubscriptionAgreement, TaskKind

# From here on something is said to be unusual.
MANY = 0.10
SHORTER = 0.90
OLD = timedelta(days=3)
# CyberSource's day may have begun already.
A_DAY = timedelta(days=1)

# How many examples a sentence gives.
EXAMPLES = 10

NEW_STATUS = Q(after__has_key="status")
NEW_DATE = Q(after__has_key="covered_until")
RECOVERY = Q(after__has_key="current_rate")


@dataclass(frozen=True)
class Summary:
    """What a report says about charges, and what it would do, or did.

    All are numbers of subscriptions; ``transitions`` are (old status, new status, number).
    """

    proven: int
    retried: int
    held: int
    suspended: int
    ended: int
    transitions: list[tuple[str, str, int]]
    dates: int
    requests_done: int
    only_tokens: int
    recoveries: int
    recoveries_without_token: int


def summarize(report: StatusReport) -> Summary:
    """Count what a report would do, or did."""
    changes = _as_text(report.changes())
    moves = changes.filter(NEW_STATUS).values_list("old_status", "new_status").annotate(count=Count("id"))
    counts = changes.aggregate(
        dates=Count("id", filter=~NEW_STATUS & NEW_DATE),
        requests_done=Count("id", filter=~NEW_STATUS & Q(after__has_key="cancellation_requested_at")),
        only_tokens=Count("id", filter=Q(after={})),
        recoveries=Count("id", filter=RECOVERY),
        recoveries_without_token=Count("id", filter=_RECOVERED_WITHOUT_TOKEN),
    )
    news = report.lines.aggregate(
        proven=Count("id", filter=Q(charge_news=ChargeNews.PROVEN)),
        retried=Count("id", filter=Q(charge_news=ChargeNews.FAILED, status=Status.CURRENT)),
        held=Count("id", filter=Q(charge_news=ChargeNews.FAILED, status=Status.HOLD)),
        suspended=Count("id", filter=Q(charge_news=ChargeNews.NOTHING)),
        ended=Count("id", filter=Q(charge_news=ChargeNews.ENDED)),
    )
    return Summary(transitions=sorted(moves), **counts, **news)


# An agreement that was never paid, as far as we know, has no token yet.
_RECOVERED_WITHOUT_TOKEN = RECOVERY & Q(after__status__in=ALIVE, takes_token=False)


def _as_text(changes: QuerySet[StatusReportLine]) -> QuerySet[Any]:
    """With the status of before and after as columns; null where it does not change."""
    return changes.annotate(old_status=KT("before__status"), new_status=KT("after__status"))


def warnings_about(report: StatusReport, *, now: datetime) -> list[str]:
    """Say in words what is suspicious about a report that has not been confirmed."""
    return [*_about_the_file(report, now), *_about_what_it_changes(report), *_about_what_stands(report, now)]


def _about_the_file(report: StatusReport, now: datetime) -> Iterable[str]:
    earlier = StatusReport.objects.exclude(pk=report.pk).exclude(state=ReportState.PLANNED)
    same = earlier.filter(digest=report.digest).order_by("-applied_at").first()
    last = earlier.filter(state=ReportState.APPLIED).order_by("-applied_at").first()
    if same is not None:
        yield f"This is the same file as the {same}, which is {same.get_state_display()}."
    if not report.matched_count:
        yield (
            "No row of this report is about a subscription of ours. Is it the right file, from the right account?"
        )
    if report.unknown_statuses:
        names = ", ".join(f"“{name}” ({_count(count, 'row')})" for name, count in report.unknown_statuses.items())
        yield (
            f"We have never seen this status: {names}. Please tell the developers: CyberSource may have changed "
            "its names."
        )
    if last is not None and report.row_count < SHORTER * last.row_count:
        yield (
            f"This report has {_count(report.row_count, 'row')}; the last one, uploaded on "
            f"{last.uploaded_at:%Y-%m-%d}, had {last.row_count:,}."
        )
    if last is not None and report.made_on and last.made_on and report.made_on < last.made_on:
        yield f"This report was made on {report.made_on}, before the last one, which was made on {last.made_on}."
    today = now.astimezone(UTC).date()
    if report.made_on is not None and today - report.made_on > OLD:
        yield f"This report is old: it says that it was made on {report.made_on}."
    elif report.made_on is not None and report.made_on > today + A_DAY:
        yield f"This report says that it was made on {report.made_on}, which is yet to come. Is it the right file?"
    if report.unreadable_dates:
        yield (
            f"{_count(report.unreadable_dates, 'date')} of next charges cannot be read. What is paid for is "
            "computed instead."
        )


def _about_what_it_changes(report: StatusReport) -> Iterable[str]:
    changes = _as_text(report.changes())
    back = changes.filter(before__status__in=ENDED, after__status__in=ALIVE)
    if count := back.count():
        name, old, new = back.order_by("agreement").values_list(
            "agreement__reference_number", "old_status", "new_status"
        )[0]
        yield (
            f"{_count(count, 'subscription')} would come back from an ending, for example {name}: {old} to {new}. "
            "CyberSource does not do that by itself."
        )
    of_the_same_customer = {
        "customer_type": OuterRef("agreement__customer_type"),
        "customer_pk": OuterRef("agreement__customer_pk"),
    }
    others = SubscriptionAgreement.objects.filter(**of_the_same_customer).exclude(pk=OuterRef("agreement"))
    ended = report.lines.filter(NEW_STATUS, agreement=OuterRef("pk")).exclude(after__status__in=ALIVE)
    second = report.reviving("after").filter(
        Exists(others.filter(status__in=ALIVE).exclude(Exists(ended)))
        | Exists(others.filter(report_lines__report=report, report_lines__after__status__in=ALIVE))
    )
    if count := second.count():
        yield (
            f"{_count(count, 'subscription')} would be one of several that a customer pays for: {_named(second)}. "
            "Confirming opens a task for each customer: all but one are to be cancelled and refunded."
        )
    yield from _about_endings(report)
    odd_dates = report.lines.filter(ignores_date=True)
    if count := odd_dates.count():
        yield (
            f"{_count(count, 'date')} of next charges cannot be right: {_named(odd_dates)}. What is paid for is "
            "computed instead."
        )
    if count := changes.filter(_RECOVERED_WITHOUT_TOKEN).count():
        spoilt = (
            f" {_count(report.spoiled_ids, 'subscription ID')} in it cannot be one: perhaps a spreadsheet program "
            "has rounded them. Upload the file as CyberSource gives it."
        )
        yield (
            f"{_count(count, 'subscription')} would be completed without a token, because the report does not "
            f"have the subscription ID.{spoilt if report.spoiled_ids else ''}"
        )
    if count := report.lines.filter(is_incomplete=True).count():
        yield (
            f"{_count(count, 'subscription')} cannot be completed, because no checkout of theirs is on record: "
            f"{_named(report.lines.filter(is_incomplete=True))}."
        )


def _about_endings(report: StatusReport) -> Iterable[str]:
    """Warn where what is paid for is not known for sure, before customers lose what they may have paid."""
    ending = report.lines.filter(after__status=Status.CANCELED).annotate(
        proof=Coalesce(KT("after__coverage_proof"), "agreement__coverage_proof", output_field=TextField()),
        until=Coalesce(
            Cast(KT("after__covered_until"), DateTimeField()),
            "agreement__covered_until",
            output_field=DateTimeField(),
        ),
    )
    unproven = ending.filter(proof=Proof.UNPROVEN)
    if count := unproven.count():
        yield (
            f"{_count(count, 'subscription')} would end on about the day of a charge: {_named(unproven)}. Whether "
            "that charge was made is not known, so it counts as made. Confirming opens a task for each: look in "
            "the Business Center."
        )
    lapsed = ending.filter(until__lt=midnight(report.as_of)).exclude(proof=Proof.STAFF)
    if count := lapsed.count():
        yield (
            f"{_count(count, 'subscription')} would end at once, because no report has shown the last charge: "
            f"{_named(lapsed)}. If the Business Center shows that it was made, correct the date until which "
            "the subscription is paid for."
        )


def _about_what_stands(report: StatusReport, now: datetime) -> Iterable[str]:
    standing = SubscriptionAgreement.objects.standing(now).order_by()
    count = standing.count()
    ours = _count(count, "standing subscription")
    changing = report.lines.filter(NEW_STATUS, agreement__in=standing).count()
    if changing > MANY * count:
        yield f"The status of {changing:,} of {ours} would change: more than a tenth."
    reported = StatusReportLine.objects.filter(report=report, agreement=OuterRef("pk"))
    missing = standing.exclude(Exists(reported)).count()
    if missing and report.matched_count:
        yield (
            f"{missing:,} of {ours} {_is_are(missing)} not in this report. Was the list in the "
            "Business Center filtered?"
        )
    open_cancellation = StaffTask.objects.filter(
        kind=TaskKind.CANCELLATION, done_at__isnull=True, agreement=OuterRef("agreement")
    )
    still_charged = report.lines.filter(
        status__in=ALIVE, agreement__cancellation_requested_at__isnull=False
    ).exclude(Exists(open_cancellation))
    if still_charged.exists():
        yield (
            f"The cancellation of {_named(still_charged)} is marked as done, but CyberSource still charges. "
            "Please cancel there, and download the report again."
        )


def _named(rows: QuerySet[StatusReportLine]) -> str:
    """The reference numbers of some rows, not too many."""
    named = rows.order_by("agreement__reference_number").values_list("agreement__reference_number", flat=True)
    return ", ".join(named[:EXAMPLES])


def _is_are(number: int) -> str:
    return "is" if number == 1 else "are"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
