"""An upload in words and numbers, for the person who decides about it."""
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.db.models.fields.json import KT

from ..billing.statuses import ALIVE, ENDED
from ..models import (
    ReportedStatus,
    StaffTask,
    StatusUpload,
    SubscriptionAgreement,
    TaskKind,
    UploadState,
)
from .reported_statuses import changes_of, reviving

# From here on something is said to be unusual.
MANY = 0.10
SHORTER = 0.90
OLD = timedelta(days=3)
# CyberSource's day may have begun already.
A_DAY = timedelta(days=1)

# How many examples a sentence gives.
EXAMPLES = 10

NEW_STATUS = Q(after__has_key="status")
NEW_DATE = Q(after__has_key="paid_through")
RESCUE = Q(after__has_key="current_rate")


@dataclass(frozen=True)
class Summary:
    """What an upload would do, or did: how many subscriptions go from one status to another, and what else."""

    transitions: list[tuple[str, str, int]]
    dates_later: int
    dates_earlier: int
    requests_done: int
    only_tokens: int
    rescues: int
    rescues_without_token: int


def summarize(upload: StatusUpload) -> Summary:
    """Count what an upload would do, or did."""
    changes = _as_text(changes_of(upload))
    moves = changes.filter(NEW_STATUS).values_list("old_status", "new_status").annotate(count=Count("id"))
    counts = changes.aggregate(
        dates_later=Count("id", filter=~NEW_STATUS & NEW_DATE & _LATER),
        dates_earlier=Count("id", filter=~NEW_STATUS & NEW_DATE & _EARLIER),
        requests_done=Count("id", filter=~NEW_STATUS & Q(after__has_key="cancellation_requested_at")),
        only_tokens=Count("id", filter=Q(after={})),
        rescues=Count("id", filter=RESCUE),
        rescues_without_token=Count("id", filter=_RESCUED_WITHOUT_TOKEN),
    )
    return Summary(transitions=sorted(moves), **counts)


# Moments in ISO's format and UTC are in the order of their texts.
_EARLIER = Q(new_date__lt=F("old_date"))
_LATER = Q(new_date__gte=F("old_date")) | Q(old_date__isnull=True)
# An agreement that was never paid, as far as we know, has no token yet.
_RESCUED_WITHOUT_TOKEN = RESCUE & Q(after__status__in=ALIVE, takes_token=False)


def _as_text(changes: QuerySet[ReportedStatus]) -> QuerySet[Any]:
    """With status and date of before and after as columns; null where they do not change."""
    return changes.annotate(
        old_status=KT("before__status"), new_status=KT("after__status"),
        old_date=KT("before__paid_through"), new_date=KT("after__paid_through"),
    )


def warnings_about(upload: StatusUpload, *, now: datetime) -> list[str]:
    """Say in words what is suspicious about an upload that has not been confirmed."""
    return [
        *_about_the_file(upload, now),
        *_about_what_it_changes(upload),
        *_about_what_stands(upload, now),
    ]


def _about_the_file(upload: StatusUpload, now: datetime) -> Iterable[str]:
    earlier = StatusUpload.objects.exclude(pk=upload.pk).exclude(state=UploadState.PREVIEWED)
    same = earlier.filter(digest=upload.digest).order_by("-confirmed_at").first()
    last = earlier.filter(state=UploadState.CONFIRMED).order_by("-confirmed_at").first()
    if same is not None:
        yield f"This is the same file as the {same}, which is {same.get_state_display()}."
    if not upload.matched_count:
        yield (
            "No row of this report is about a subscription of ours. Is it the right file, from the right account?"
        )
    if upload.unknown_statuses:
        names = ", ".join(f"“{name}” ({_count(count, 'row')})" for name, count in upload.unknown_statuses.items())
        yield (
            f"We have never seen this status: {names}. Please tell the developers: CyberSource may have changed "
            "its names."
        )
    if last is not None and upload.row_count < SHORTER * last.row_count:
        yield (
            f"This report has {_count(upload.row_count, 'row')}; the last one, uploaded on "
            f"{last.uploaded_at:%Y-%m-%d}, had {last.row_count:,}."
        )
    if last is not None and upload.made_on and last.made_on and upload.made_on < last.made_on:
        yield f"This report was made on {upload.made_on}, before the last one, which was made on {last.made_on}."
    today = now.astimezone(UTC).date()
    if upload.made_on is not None and today - upload.made_on > OLD:
        yield f"This report is old: it says that it was made on {upload.made_on}."
    elif upload.made_on is not None and upload.made_on > today + A_DAY:
        yield f"This report says that it was made on {upload.made_on}, which is yet to come. Is it the right file?"
    elif upload.made_on is not None and upload.made_on < today.replace(day=1):
        yield (
            f"This report was made on {upload.made_on}, before this month's charges; what it calls Current would "
            "count as paid through this month all the same."
        )


def _about_what_it_changes(upload: StatusUpload) -> Iterable[str]:
    changes = _as_text(changes_of(upload))
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
        "customer_type": OuterRef("agreement__customer_type"), "customer_pk": OuterRef("agreement__customer_pk"),
    }
    others = SubscriptionAgreement.objects.filter(**of_the_same_customer).exclude(pk=OuterRef("agreement"))
    ended = upload.reported.filter(NEW_STATUS, agreement=OuterRef("pk")).exclude(after__status__in=ALIVE)
    second = reviving(upload, "after").filter(
        Exists(others.filter(status__in=ALIVE).exclude(Exists(ended)))
        | Exists(others.filter(reported__upload=upload, reported__after__status__in=ALIVE))
    )
    if count := second.count():
        yield (
            f"{_count(count, 'subscription')} would be one of several that a customer pays for: {_named(second)}. "
            "Confirming opens a task for each customer: all but one are to be cancelled and refunded."
        )
    earlier = changes.filter(_EARLIER)
    if count := earlier.count():
        yield (
            f"{_count(count, 'subscription')} would be paid through an earlier date than now, for example "
            f"{_named(earlier)}. Was the date corrected by hand?"
        )
    if count := changes.filter(_RESCUED_WITHOUT_TOKEN).count():
        spoilt = (
            f" {_count(upload.spoilt_ids, 'subscription ID')} in it cannot be one: perhaps a spreadsheet program "
            "has rounded them. Upload the file as CyberSource gives it."
        )
        yield (
            f"{_count(count, 'subscription')} would be completed without a token, because the report does not "
            f"have the subscription ID.{spoilt if upload.spoilt_ids else ''}"
        )
    if count := upload.reported.filter(is_incomplete=True).count():
        yield (
            f"{_count(count, 'subscription')} cannot be completed, because no checkout of theirs is on record: "
            f"{_named(upload.reported.filter(is_incomplete=True))}."
        )


def _about_what_stands(upload: StatusUpload, now: datetime) -> Iterable[str]:
    standing = SubscriptionAgreement.objects.standing(now).order_by()
    count = standing.count()
    ours = _count(count, "standing subscription")
    changing = upload.reported.filter(NEW_STATUS, agreement__in=standing).count()
    if changing > MANY * count:
        yield f"The status of {changing:,} of {ours} would change: more than a tenth."
    reported = ReportedStatus.objects.filter(upload=upload, agreement=OuterRef("pk"))
    missing = standing.exclude(Exists(reported)).count()
    if missing and upload.matched_count:
        yield (
            f"{missing:,} of {ours} {'is' if missing == 1 else 'are'} not in this report. Was the list in the "
            "Business Center filtered?"
        )
    open_cancellation = StaffTask.objects.filter(
        kind=TaskKind.CANCELLATION, done_at__isnull=True, agreement=OuterRef("agreement")
    )
    still_charged = upload.reported.filter(
        status__in=ALIVE, agreement__cancellation_requested_at__isnull=False
    ).exclude(Exists(open_cancellation))
    if still_charged.exists():
        yield (
            f"The cancellation of {_named(still_charged)} is marked as done, but CyberSource still charges. "
            "Please cancel there, and download the report again."
        )


def _named(rows: QuerySet[ReportedStatus]) -> str:
    """The reference numbers of some rows, not too many."""
    named = rows.order_by("agreement__reference_number").values_list("agreement__reference_number", flat=True)
    return ", ".join(named[:EXAMPLES])


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
