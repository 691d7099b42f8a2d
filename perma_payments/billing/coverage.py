"""Until when a subscription is paid for, and how we know (docs/statuses.md, "Paid through").

What is paid for ends at 00:00 UTC of a due date. Only the proof of a charge moves that date; the
``paid_through`` for Perma.cc follows from it and from the schedule.
"""

from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import NamedTuple

from .schedules import Schedule
from .statuses import Status


class Proof(StrEnum):
    """How we know until when a subscription is paid for."""

    CHECKOUT = "checkout"  # the ACCEPT of the checkout that began it, or what shows that there was one
    REPORT = "report"  # a status report that calls it Current
    UNPROVEN = "unproven"  # a report made around a due date: that charge may not have succeeded yet
    STAFF = "staff"


class Coverage(NamedTuple):
    """Until when a subscription is paid for, and how we know."""

    until: datetime
    proof: Proof


class ChargeNews(StrEnum):
    """What a status report says about a subscription's charges."""

    PROVEN = "proven"  # the last charge that was due succeeded
    NOTHING = "nothing new"
    FAILED = "failed"  # a charge failed, and is being retried or was given up
    ENDED = "ended"


def midnight(day: date) -> datetime:
    """The moment at which a day begins, in UTC."""
    return datetime.combine(day, time(), tzinfo=UTC)


def paid_through_for_perma(
    status: str, schedule: Schedule, covered_until: datetime, next_charge_on: date | None, now: datetime
) -> datetime:
    """The ``paid_through`` for Perma.cc (perma.md §3.1).

    While the subscription is Current, it is the first due date after now, or CyberSource's own next date if a
    report gave one: never in the past. Otherwise it is the end of what is covered.
    """
    if status != Status.CURRENT:
        return covered_until
    if next_charge_on is not None and midnight(next_charge_on) > now:
        return midnight(next_charge_on)
    return midnight(schedule.first_due_after(now.astimezone(UTC).date()))


def of_checkout(schedule: Schedule) -> Coverage:
    """What the checkout itself has paid for: until the first scheduled charge."""
    return Coverage(midnight(schedule.start), Proof.CHECKOUT)


def of_report(schedule: Schedule, *, made_on: date, next_charge_on: date | None, grace_days: int) -> Coverage:
    """What a report proves that calls the subscription Current.

    ``next_charge_on`` is the next date that the report itself gives, if that is plausible. ``grace_days`` is for
    how many days a charge that pays for more than a month counts as made before that is known.
    """
    if next_charge_on is not None:
        return Coverage(midnight(next_charge_on), Proof.REPORT)
    due = schedule.due_around(made_on)
    if due is not None:
        return _unproven(schedule, due, grace_days)
    return Coverage(midnight(schedule.first_due_after(made_on)), Proof.REPORT)


def is_plausible_next_charge(schedule: Schedule, day: date, *, made_on: date) -> bool:
    """Whether a day can be the next charge after a report: later, and no more than two due dates ahead."""
    return made_on < day <= schedule.first_due_after(schedule.first_due_after(made_on))


def extended(known: Coverage | None, proven: Coverage) -> Coverage:
    """The coverage after a proof. A proof never takes away what is covered, but may confirm what was unproven."""
    if known is None or proven.until > known.until:
        return proven
    if proven.until == known.until and known.proof is Proof.UNPROVEN:
        return proven
    return known


def after_failed_charge(schedule: Schedule, known: Coverage, *, made_on: date) -> Coverage:
    """The coverage after a report of Hold. A report made around a due date means that its charge failed."""
    due = schedule.due_around(made_on)
    if due is None or known.until <= midnight(due) or known.proof is Proof.STAFF:
        return known
    return Coverage(midnight(due), Proof.REPORT)


def after_ending(schedule: Schedule, known: Coverage, *, made_on: date, grace_days: int) -> Coverage:
    """The coverage after a report of Canceled about a subscription that was charged until then.

    If it was made around a due date and that charge is not proven, the charge may have run before the end.
    """
    due = schedule.due_around(made_on)
    if due is None or known.until > midnight(due):
        return known
    return _unproven(schedule, due, grace_days)


def _unproven(schedule: Schedule, due: date, grace_days: int) -> Coverage:
    """One more period in full, if it is a month at most; of a longer one only the grace period."""
    until = schedule.first_due_after(due)
    if schedule.frequency.charges_per_year < 12:
        until = min(until, due + timedelta(days=grace_days))
    return Coverage(midnight(until), Proof.UNPROVEN)
