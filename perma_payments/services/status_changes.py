"""What a status report does to each subscription: worked out here, applied by upload_statuses."""
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from django.conf import settings
from django.db.models import QuerySet

from ..billing.frequencies import Frequency, Schedule
from ..billing.paid_through import paid_through
from ..billing.statuses import ALIVE, WITH_TERMS, Status
from ..billing.transactions import Kind
from ..models import OutgoingTransaction, SubscriptionAgreement

# How many subscriptions are worked out at a time: memory does not grow with the report.
CHUNK = 5_000

# Monthly charges run on the 1st, yearly ones on the anniversary: the start of the schedule does not matter.
_WITHOUT_START = (Frequency.MONTHLY, Frequency.ANNUALLY)

T = TypeVar("T")

# Many subscriptions of a report share their schedule and their day.
_paid_through = lru_cache(maxsize=CHUNK)(paid_through)


class Held(NamedTuple):
    """An agreement, as we have it. A model instance of each would take most of the time that a report takes."""

    id: int
    reference_number: str
    status: str
    payment_token: str
    paid_through: datetime | None
    cancellation_requested_at: datetime | None
    current_rate: Decimal | None
    current_frequency: str | None
    current_link_limit: str | None
    current_link_limit_effective_timestamp: datetime | None
    created_at: datetime

    @property
    def needs_terms(self) -> bool:
        """Whether it has never been paid, as far as we know, and so has no terms in force."""
        return self.current_rate is None


class Reported(NamedTuple):
    """What a report says of an agreement. The id is empty if it is not one that could be a token."""

    status: str
    subscription_id: str


class Effect(NamedTuple):
    """What a report does to an agreement, in the columns of ReportedStatus."""

    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    takes_token: bool = False
    is_incomplete: bool = False


NO_EFFECT = Effect()


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Slices of a sequence, short enough for one statement."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def held(agreements: QuerySet[SubscriptionAgreement]) -> list[Held]:
    """The agreements of a query."""
    return [Held(*row) for row in agreements.order_by().values_list(*Held._fields)]


def work_out(rows: Iterable[tuple[Held, Reported]], *, now: datetime) -> Iterator[tuple[Held, Reported, Effect]]:
    """What a report's rows, not too many at a time, do to the agreements that they are about."""
    rows = list(rows)
    today = now.astimezone(UTC).date()
    checkouts = _checkouts_of(agreement for agreement, _ in rows)
    for agreement, reported in rows:
        checkout = checkouts.get(agreement.id)
        if agreement.needs_terms and reported.status in WITH_TERMS and checkout is None:
            yield agreement, reported, Effect(is_incomplete=True)
        else:
            yield agreement, reported, _effect(agreement, reported, checkout, today)


def _checkouts_of(agreements: Iterable[Held]) -> dict[int, OutgoingTransaction]:
    """The checkouts that began those of the agreements whose terms or dates depend on them."""
    ids = [
        agreement.id for agreement in agreements
        if agreement.needs_terms or agreement.current_frequency not in _WITHOUT_START
    ]
    if not ids:
        return {}
    begun = OutgoingTransaction.objects.filter(kind=Kind.SUBSCRIBE, agreement_id__in=ids)
    return {outgoing.agreement_id: outgoing for outgoing in begun if outgoing.agreement_id is not None}


def _effect(agreement: Held, reported: Reported, checkout: OutgoingTransaction | None, today: date) -> Effect:
    new: dict[str, Any] = {"status": reported.status}
    takes_token = reported.status in ALIVE and not agreement.payment_token and bool(reported.subscription_id)
    if reported.status == Status.CANCELED:
        # What was asked for is done.
        new["cancellation_requested_at"] = None
    if agreement.needs_terms and checkout is not None and reported.status in WITH_TERMS:
        # Its response went astray: the terms are those that were asked for.
        new |= checkout.terms
    if reported.status == Status.CURRENT:
        began_on = agreement.created_at.astimezone(UTC).date()
        new["paid_through"] = _paid_through(
            checkout.schedule if checkout else Schedule(Frequency(agreement.current_frequency or ""), began_on),
            created_on=began_on,
            today=today,
            grace_days=settings.GRACE_PERIOD_DAYS,
        )
    changed = [name for name, value in new.items() if getattr(agreement, name) != value]
    if not changed and not takes_token:
        return NO_EFFECT
    return Effect(
        before={name: _json(getattr(agreement, name)) for name in changed},
        after={name: _json(new[name]) for name in changed},
        takes_token=takes_token,
    )


def _json(value: Any) -> str | None:
    """A column's value as ReportedStatus keeps it: text that is exact, and the same for the same value."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Decimal):
        return f"{value:.2f}"
    return None if value is None else str(value)
