"""An upload in words and numbers, for the person who decides about it."""
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ..billing.statuses import Status
from ..models import StaffTask, StatusUpload, SubscriptionAgreement, TaskKind, UploadState
from .status_changes import Change

# From here on something is said to be unusual.
MANY = 0.10
SHORTER = 0.90
OLD = timedelta(days=3)


@dataclass(frozen=True)
class Summary:
    """What an upload would do, or did."""

    changes: list[Change]
    transitions: list[tuple[str, str, int]]
    dates_moved: int
    rescues: list[Change]
    warnings: list[str]

    @property
    def nothing_to_do(self) -> bool:
        """Whether confirming would change nothing."""
        return not self.changes


def summarize(upload: StatusUpload, *, now: datetime) -> Summary:
    """Count the transitions, and say in words what is suspicious. There are no warnings once it is confirmed."""
    changes = [Change.from_json(change) for change in upload.changes]
    moves = Counter(change.transition for change in changes if "status" in change.after)
    return Summary(
        changes=changes,
        transitions=[(before, after, count) for (before, after), count in sorted(moves.items())],
        dates_moved=sum("status" not in change.after for change in changes),
        rescues=[change for change in changes if change.is_rescue],
        warnings=_warnings(upload, changes, now) if upload.state == UploadState.PREVIEWED else [],
    )


def _warnings(upload: StatusUpload, changes: list[Change], now: datetime) -> list[str]:
    warnings = []
    earlier = StatusUpload.objects.exclude(pk=upload.pk).exclude(state=UploadState.PREVIEWED)
    same = earlier.filter(digest=upload.digest).order_by("-confirmed_at").first()
    last = earlier.filter(state=UploadState.CONFIRMED).order_by("-confirmed_at").first()
    if same is not None:
        warnings.append(f"This is the same file as the {same}, which is {same.get_state_display()}.")
    if not upload.matched_count:
        warnings.append(
            "No row of this report is about a subscription of ours. Is it the right file, from the right account?"
        )
    backwards = [change for change in changes if change.goes_backwards]
    if backwards:
        warnings.append(
            f"{_count(len(backwards), 'subscription')} would come back from an ending, for example "
            f"{backwards[0].reference_number}: {backwards[0].transition[0]} to {backwards[0].transition[1]}. "
            "CyberSource does not do that by itself."
        )
    standing = SubscriptionAgreement.objects.standing(now)
    count = standing.count()
    ours = _count(count, "standing subscription")
    changing = sum(
        change.before.get("status") in (Status.CURRENT, Status.HOLD, Status.CANCELED) and "status" in change.after
        for change in changes
    )
    if changing > MANY * count:
        warnings.append(f"The status of {changing} of {ours} would change: more than a tenth.")
    missing = count - standing.filter(reference_number__in=[row[1] for row in upload.rows]).count()
    if missing and upload.matched_count:
        warnings.append(
            f"{missing} of {ours} {'is' if missing == 1 else 'are'} not in this report. Was the list in the "
            "Business Center filtered?"
        )
    still = _still_charged(upload)
    if still:
        warnings.append(
            f"The cancellation of {', '.join(still[:10])} is marked as done, but CyberSource still charges. "
            "Please cancel there, and download the report again."
        )
    if last is not None and upload.row_count < SHORTER * last.row_count:
        warnings.append(
            f"This report has {upload.row_count} rows; the last one, uploaded on {last.uploaded_at:%Y-%m-%d}, had "
            f"{last.row_count}."
        )
    today = now.astimezone(UTC).date()
    if upload.made_on is not None and today - upload.made_on > OLD:
        warnings.append(f"This report is old: it says that it was made on {upload.made_on}.")
    elif upload.made_on is not None and (upload.made_on.year, upload.made_on.month) != (today.year, today.month):
        warnings.append(
            f"This report was made on {upload.made_on}, before this month's charges; what it calls Current would "
            "count as paid through this month all the same."
        )
    if last is not None and last.uploaded_at > upload.uploaded_at:
        warnings.append(f"A later report has been confirmed since this one was uploaded: the {last}.")
    if upload.incomplete_references:
        warnings.append(
            f"{_count(len(upload.incomplete_references), 'subscription')} cannot be completed, because no "
            f"checkout of theirs is on record: {', '.join(upload.incomplete_references[:10])}."
        )
    return warnings


def _still_charged(upload: StatusUpload) -> list[str]:
    """Subscriptions that staff say they have cancelled, as was asked for, and that the report calls alive."""
    alive = [row[1] for row in upload.rows if row[2] in (Status.CURRENT, Status.HOLD)]
    asked = SubscriptionAgreement.objects.filter(
        reference_number__in=alive, cancellation_requested_at__isnull=False
    ).exclude(tasks__in=StaffTask.objects.filter(kind=TaskKind.CANCELLATION, done_at__isnull=True))
    return sorted(asked.values_list("reference_number", flat=True))


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
