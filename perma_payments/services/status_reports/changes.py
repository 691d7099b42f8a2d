"""What a status report does to each subscription: worked out here, applied by upload_statuses."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

from django.conf import settings
from django.db.models import QuerySet

from ...billing import coverage
from ...billing.coverage import ChargeNews, Coverage, Proof
from ...billing.schedules import Frequency, Schedule
from ...billing.statuses import ALIVE, UNPAID, WITH_TERMS, Status
from ...billing.transactions import Kind
from ...models import OutgoingTransaction, SubscriptionAgreement

# How many subscriptions are worked out at a time: memory does not grow with the report.
CHUNK = 5_000

T = TypeVar("T")


class Held(NamedTuple):
    """An agreement, as we have it. A model instance of each would take most of the time that a report takes."""

    id: int
    reference_number: str
    status: str
    payment_token: str
    covered_until: datetime | None
    coverage_proof: str
    next_charge_on: date | None
    cancellation_requested_at: datetime | None
    current_rate: Decimal | None
    current_frequency: str | None
    current_link_limit: str | None
    current_link_limit_effective_timestamp: datetime | None
    schedule_start: date | None

    @property
    def needs_terms(self) -> bool:
        """Whether it has never been paid, as far as we know, and so has no terms in force."""
        return self.current_rate is None


class Reported(NamedTuple):
    """What a report says of an agreement. The id is empty if it is not one that could be a token."""

    status: str
    charge_news: str
    next_charge_on: date | None
    subscription_id: str


class Effect(NamedTuple):
    """What a report does to an agreement, in the columns of StatusReportLine."""

    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    takes_token: bool = False
    is_incomplete: bool = False
    ignores_date: bool = False


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Slices of a sequence, short enough for one statement."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def held(agreements: QuerySet[SubscriptionAgreement]) -> list[Held]:
    """The agreements of a query."""
    return [Held(*row) for row in agreements.order_by().values_list(*Held._fields)]


def work_out(rows: Iterable[tuple[Held, Reported]], *, as_of: date) -> Iterator[tuple[Held, Reported, Effect]]:
    """What a report's rows, not too many at a time, do to the agreements that they are about.

    ``as_of`` is the day whose charges the report knows.
    """
    rows = list(rows)
    checkouts = _checkouts_of(agreement for agreement, _ in rows)
    for agreement, reported in rows:
        checkout = checkouts.get(agreement.id)
        if agreement.needs_terms and reported.status in WITH_TERMS and checkout is None:
            yield agreement, reported, Effect(is_incomplete=True)
        else:
            yield agreement, reported, _effect(agreement, reported, checkout, as_of)


def _checkouts_of(agreements: Iterable[Held]) -> dict[int, OutgoingTransaction]:
    """The checkouts that began those of the agreements which need their terms."""
    ids = [agreement.id for agreement in agreements if agreement.needs_terms]
    if not ids:
        return {}
    begun = OutgoingTransaction.objects.filter(kind=Kind.SUBSCRIBE, agreement_id__in=ids)
    return {outgoing.agreement_id: outgoing for outgoing in begun if outgoing.agreement_id is not None}


def _effect(agreement: Held, reported: Reported, checkout: OutgoingTransaction | None, as_of: date) -> Effect:
    new: dict[str, Any] = {"status": reported.status}
    ignores_date = False
    takes_token = reported.status in ALIVE and not agreement.payment_token and bool(reported.subscription_id)
    if reported.status == Status.CANCELED:
        # What was asked for is done.
        new["cancellation_requested_at"] = None
    if reported.status in WITH_TERMS:
        if agreement.needs_terms and checkout is not None:
            # Its response went astray: the terms are those that were asked for.
            new |= checkout.terms
        schedule = _schedule({**agreement._asdict(), **new})
        next_charge_on = reported.next_charge_on
        if next_charge_on and not coverage.is_plausible_next_charge(schedule, next_charge_on, made_on=as_of):
            next_charge_on, ignores_date = None, True
        if next_charge_on:
            new["next_charge_on"] = next_charge_on
        new["covered_until"], new["coverage_proof"] = _coverage(
            agreement, reported, schedule, next_charge_on, as_of
        )
    changed = [name for name, value in new.items() if getattr(agreement, name) != value]
    if not changed and not takes_token:
        return Effect(ignores_date=ignores_date)
    return Effect(
        before={name: _json(getattr(agreement, name)) for name in changed},
        after={name: _json(new[name]) for name in changed},
        takes_token=takes_token,
        ignores_date=ignores_date,
    )


def _coverage(
    agreement: Held, reported: Reported, schedule: Schedule, next_charge_on: date | None, as_of: date
) -> Coverage:
    """Until when the subscription is paid for after the report, and how that is known (docs/statuses.md)."""
    if agreement.covered_until is not None:
        known = Coverage(agreement.covered_until, Proof(agreement.coverage_proof))
    else:
        # CyberSource knows the subscription, so its checkout was accepted.
        known = coverage.of_checkout(schedule)
    if reported.charge_news == ChargeNews.PROVEN:
        return coverage.extended(
            known,
            coverage.of_report(
                schedule, made_on=as_of, next_charge_on=next_charge_on, grace_days=settings.GRACE_PERIOD_DAYS
            ),
        )
    if reported.status == Status.HOLD and reported.charge_news == ChargeNews.FAILED:
        return coverage.after_failed_charge(schedule, known, made_on=as_of)
    if reported.status == Status.CANCELED and agreement.status in (Status.CURRENT, *UNPAID):
        return coverage.after_ending(schedule, known, made_on=as_of, grace_days=settings.GRACE_PERIOD_DAYS)
    return known


def _schedule(columns: dict[str, Any]) -> Schedule:
    return Schedule(Frequency(columns["current_frequency"]), columns["schedule_start"])


def _json(value: Any) -> str | None:
    """A column's value as StatusReportLine keeps it: text that is exact, and the same for the same value."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Decimal):
        return f"{value:.2f}"
    return None if value is None else str(value)
