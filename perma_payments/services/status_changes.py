"""What a status report does to each subscription: worked out here, applied by upload_statuses."""
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

from django.conf import settings
from django.db.models import QuerySet

from ..billing.frequencies import Frequency, Schedule
from ..billing.paid_through import paid_through
from ..billing.statuses import WITH_TERMS, Status, goes_backwards
from ..billing.transactions import Kind
from ..models import OutgoingTransaction, SubscriptionAgreement

# How many reference numbers or ids are named in one statement.
CHUNK = 5_000

# Monthly charges run on the 1st, yearly ones on the anniversary: the start of the schedule does not matter.
_WITHOUT_START = (Frequency.MONTHLY, Frequency.ANNUALLY)

T = TypeVar("T")


class ReportedRow(NamedTuple):
    """A report's row about a subscription of ours, as StatusUpload keeps it."""

    line: int
    reference_number: str
    status: str
    subscription_id: str


@dataclass(frozen=True)
class Change:
    """What a report does to one agreement: the columns that change, as JSON has them, before and after.

    ``token`` is the subscription's id where a rescued agreement takes it; it is not written down here.
    """

    agreement: int
    reference_number: str
    before: dict[str, Any]
    after: dict[str, Any]
    token: str = ""

    @property
    def is_rescue(self) -> bool:
        """Whether it completes an agreement whose response went astray (docs/statuses.md)."""
        return "current_rate" in self.after

    @property
    def revives(self) -> bool:
        """Whether a subscription that was not charged, as far as we knew, is."""
        alive = (Status.CURRENT, Status.HOLD)
        return self.after.get("status") in alive and self.before["status"] not in alive

    @property
    def shows_cancellation(self) -> bool:
        """Whether it shows that a subscription is cancelled at CyberSource."""
        return self.after.get("status") == Status.CANCELED or "cancellation_requested_at" in self.after

    @property
    def goes_backwards(self) -> bool:
        """Whether it brings back a subscription that had ended."""
        return "status" in self.after and goes_backwards(self.before["status"], self.after["status"])

    @property
    def transition(self) -> tuple[str, str]:
        """The status before and after. Where only the date moves, both are Current."""
        return self.before.get("status", Status.CURRENT), self.after.get("status", Status.CURRENT)

    def as_json(self) -> dict[str, Any]:
        """What StatusUpload keeps of it."""
        return {
            "agreement": self.agreement, "reference_number": self.reference_number,
            "before": self.before, "after": self.after, "takes_token": bool(self.token),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Change":
        """What as_json wrote, without the token."""
        return cls(data["agreement"], data["reference_number"], data["before"], data["after"])


class Plan(NamedTuple):
    """What a report does: the changes, and the reference numbers of those that it cannot complete."""

    changes: list[Change]
    incomplete: list[str]


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Slices of a sequence, short enough for one statement."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def work_out(
    rows: Sequence[ReportedRow], agreements: QuerySet[SubscriptionAgreement], *, now: datetime
) -> Plan:
    """What the rows would do to those of the agreements that they name, in the order of the agreements' ids."""
    today = now.astimezone(UTC).date()
    changes: list[Change] = []
    incomplete: list[str] = []
    for chunk in chunks(rows):
        by_reference = {row.reference_number: row for row in chunk}
        found = list(agreements.filter(reference_number__in=by_reference))
        checkouts = _checkouts_of(found)
        for agreement in found:
            row, checkout = by_reference[agreement.reference_number], checkouts.get(agreement.pk)
            if _needs_terms(agreement) and row.status in WITH_TERMS and checkout is None:
                incomplete.append(agreement.reference_number)
            elif change := _change(agreement, row, checkout, today):
                changes.append(change)
    return Plan(sorted(changes, key=lambda change: change.agreement), sorted(incomplete))


def _checkouts_of(agreements: Iterable[SubscriptionAgreement]) -> dict[int, OutgoingTransaction]:
    """The checkouts that began those of the agreements whose terms or dates depend on them."""
    ids = [
        agreement.pk for agreement in agreements
        if _needs_terms(agreement) or agreement.current_frequency not in _WITHOUT_START
    ]
    begun = OutgoingTransaction.objects.filter(kind=Kind.SUBSCRIBE, agreement_id__in=ids)
    return {outgoing.agreement_id: outgoing for outgoing in begun if outgoing.agreement_id is not None}


def _needs_terms(agreement: SubscriptionAgreement) -> bool:
    """Whether an agreement has never been paid, as far as we know, and so has no terms in force."""
    return agreement.current_rate is None


def _change(
    agreement: SubscriptionAgreement, row: ReportedRow, checkout: OutgoingTransaction | None, today: date
) -> Change | None:
    after: dict[str, Any] = {"status": row.status}
    token = ""
    if row.status == Status.CANCELED:
        # What was asked for is done.
        after["cancellation_requested_at"] = None
    if _needs_terms(agreement) and checkout is not None and row.status in WITH_TERMS:
        # Its response went astray: the terms are those that were asked for.
        after |= checkout.terms
        if not agreement.payment_token:
            token = row.subscription_id
    if row.status == Status.CURRENT:
        began_on = agreement.created_at.astimezone(UTC).date()
        after["paid_through"] = paid_through(
            checkout.schedule if checkout else Schedule(Frequency(agreement.current_frequency or ""), began_on),
            created_on=began_on,
            today=today,
            grace_days=settings.GRACE_PERIOD_DAYS,
        )
    changed = {name: value for name, value in after.items() if getattr(agreement, name) != value}
    if not changed:
        return None
    return Change(
        agreement=agreement.pk,
        reference_number=agreement.reference_number,
        before={name: _json(getattr(agreement, name)) for name in changed},
        after={name: _json(value) for name, value in changed.items()},
        token=token,
    )


def _json(value: Any) -> str | None:
    """A column's value as JSON keeps it: text that is exact, and the same for the same value."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Decimal):
        return f"{value:.2f}"
    return None if value is None else str(value)
