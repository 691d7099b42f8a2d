"""Apply a kept response to the agreement or purchase of its transaction, once (docs/statuses.md).

Everything needed is in the database, so a response can be applied at any later time. What it does depends on when
it was received, not on when it is applied.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pghistory
from django.db import transaction

from ... import metrics
from ...billing.coverage import extended, of_checkout
from ...billing.money import CURRENCY, parse_echoed_amount
from ...billing.statuses import UNPAID, PurchaseStatus, Status
from ...billing.tokens import changes_with_card
from ...billing.transactions import Kind
from ...cybersource.decisions import Verdict, read_decision
from ...logs import ids
from ...models import (
    Outcome,
    OutgoingTransaction,
    Purchase,
    Resolution,
    Response,
    StaffTask,
    SubscriptionAgreement,
    TaskKind,
)
from ...models.history import HistorySource
from ...postgres.problems import describe, is_locked
from ...postgres.time_limits import waiting_for_locks_at_most, within
from ...postgres.write import columns_of, update_changed
from .. import staff_tasks
from ..locks import lock_response
from ..restore import may_be_lost
from ..standing import standing_agreement
from .effects import Effect, effects_beside, signed_later, was_charged_before

logger = logging.getLogger(__name__)

# Seconds for everything that each asks of the database. CyberSource waits ten for our answer.
APPLYING, RECORDING_FAILURE = 3.5, 1.0
# Seconds for each lock. CyberSource doesn't wait for what holds one longer, such as a status report.
LOCK = 1.0
# If something is locked for longer than that, a person should look.
LOCKED_FOR = timedelta(minutes=5)

Subject = SubscriptionAgreement | Purchase
# How a response was applied, and the tasks to open.
Result = tuple[Outcome, list[TaskKind]]


def apply_or_record_failure(response: Response, *, now: datetime) -> bool:
    """Apply a response. If that fails, leave it unapplied, record the failure, open a task, and return False.

    If something is locked, as by a status report that is being applied, that is no failure yet: the scheduler
    tries again within seconds (retry.py).
    """
    try:
        with within(APPLYING), waiting_for_locks_at_most(LOCK):
            apply_response(response, now=now)
    except Exception as error:  # whatever it is, the evidence is kept and CyberSource gets its 200
        what = ids(response_id=response.pk, transaction_uuid=response.transaction_uuid)
        if is_locked(error) and abs(now - response.received_at) < LOCKED_FOR:
            logger.info("response %s waits: %s", response.pk, describe(error), extra=what)
            _count(response, "waiting")
            return False
        logger.error("response %s could not be applied: %s", response.pk, describe(error), extra=what)
        _record_failure(response, error, now)
        _count(response, "not applied")
        return False
    return True


def apply_response(response: Response, *, now: datetime) -> None:
    """Apply one response, unless it has been applied already. All or nothing: every error is raised."""
    with transaction.atomic():
        response = lock_response(response, source=HistorySource.CYBERSOURCE_RESPONSE, response=response.pk)
        if response.applied_at is not None:
            return
        subject = response.outgoing.subject if response.outgoing else None
        response_before, subject_before = columns_of(response), columns_of(subject) if subject else {}
        response.outcome, tasks = _apply(response)
        response.applied_at = now
        if subject and response.outcome == Outcome.TOOK_EFFECT:
            update_changed(subject, subject_before)
        update_changed(response, response_before)
        for kind in tasks:
            staff_tasks.open_for_response(kind, response, now=now)
        if response.failed_at is not None:
            staff_tasks.withdraw_not_applied(response, now=now)
        # Whatever fails once it is committed, it has been applied.
        transaction.on_commit(partial(_log_applied, response), robust=True)
        transaction.on_commit(partial(_count, response, response.outcome), robust=True)


def _log_applied(response: Response) -> None:
    """Log the one line about a response that counts: what CyberSource said, and what came of it. Ids and codes."""
    outgoing = response.outgoing
    fields: dict[str, Any] = {
        "kind": outgoing.kind if outgoing else None,
        "verdict": verdict_on(response, outgoing) if outgoing else None,
        "effect": response.outcome,
        "decision": response.decision,
        "reason_code": response.reason_code,
        "transaction_uuid": response.transaction_uuid,
        "transaction_id": response.transaction_id,
    }
    logger.info(
        "response %s applied: %s: %s %s for transaction %s, CyberSource's id %s",
        response.pk,
        response.outcome,
        response.decision or "(none)",
        response.reason_code or "(none)",
        response.transaction_uuid or "(none)",
        response.transaction_id or "(none)",
        extra=ids(response_id=response.pk, **fields),
    )


def _apply(response: Response) -> Result:
    outgoing = response.outgoing
    if outgoing is None:
        return Outcome.UNMATCHED, [TaskKind.UNMATCHED]
    if not _is_what_we_signed(response, outgoing):
        return Outcome.NO_EFFECT, [TaskKind.NOT_WHAT_WAS_SIGNED]
    verdict = verdict_on(response, outgoing)
    tasks = [_TASKS[verdict]] if verdict in _TASKS else []
    effects = effects_beside(outgoing) if verdict in (Verdict.PAID, Verdict.HELD) else []
    if outgoing.is_sale and was_charged_before(response, effects):
        return Outcome.NO_EFFECT, [*tasks, TaskKind.DUPLICATE_CHARGE]
    step = _STEPS.get((Kind(outgoing.kind), verdict))
    if step is None:
        return Outcome.NO_EFFECT, tasks
    outcome, more = step(response, outgoing, outgoing.subject, effects)
    return outcome, tasks + more


# --- What the response does to what it is about, which is saved if it took effect -------------------------


def _activate(
    response: Response, outgoing: OutgoingTransaction, agreement: SubscriptionAgreement, effects: list[Effect]
) -> Result:
    """The agreement becomes Current, with its terms and token."""
    tasks = []
    # Before, it lacked no token that anyone could miss.
    is_new = agreement.current_rate is None
    if agreement.status in UNPAID:
        if standing_agreement(agreement.customer, now=response.received_at):
            tasks.append(TaskKind.SECOND_SUBSCRIPTION)
        agreement.status = Status.CURRENT
        agreement.take_terms(outgoing.new_terms)
        agreement.coverage = extended(agreement.coverage, of_checkout(agreement.schedule))
    # An agreement that already stands (a status report or a REVIEW came first) may still lack its token.
    if not agreement.payment_token:
        tasks += _take_token_of(response, agreement, is_new=is_new)
        if not agreement.payment_token and not response.token_is_unusable:
            tasks.append(TaskKind.TOKEN_MISSING)
    return Outcome.TOOK_EFFECT, tasks


def _change_terms(
    response: Response, outgoing: OutgoingTransaction, agreement: SubscriptionAgreement, effects: list[Effect]
) -> Result:
    """The agreement takes the terms that were asked for, now or later, and a new token if one came."""
    if not agreement.is_standing(response.received_at):
        return Outcome.NO_EFFECT, [TaskKind.NO_LONGER_STANDS]
    later = signed_later(response, effects)
    if any(effect.kind == Kind.CHANGE for effect in later):
        return Outcome.NO_EFFECT, [TaskKind.OUT_OF_ORDER]
    tasks = []
    earlier = [effect for effect in effects if effect.outgoing_id == outgoing.pk and effect.granted]
    if not any(effect.transaction_id == response.transaction_id for effect in earlier):
        moment, wanted = response.received_at, outgoing.changed_terms
        agreed = agreement.agreed_terms.as_of(moment)
        if outgoing.is_sale and agreed.has(wanted):
            # From two tabs: the customer has paid twice for the same change.
            tasks.append(TaskKind.DUPLICATE_CHARGE)
        # A change that charges nothing can be sent again from its page, perhaps after another change.
        if not (agreed.has(wanted) and earlier):
            paid_through = agreement.paid_through(moment)
            agreement.agreed_terms = agreed.changed_to(wanted, paid_through=paid_through, now=moment)
    # The token that was issued last counts, whatever else its checkout was for.
    if not any(effect.brought_token for effect in later):
        tasks += _take_token_of(response, agreement)
    return Outcome.TOOK_EFFECT, tasks


def _change_token(
    response: Response, outgoing: OutgoingTransaction, agreement: SubscriptionAgreement, effects: list[Effect]
) -> Result:
    """The agreement takes a new token if one came."""
    if not agreement.is_standing(response.received_at):
        return Outcome.NO_EFFECT, [TaskKind.NO_LONGER_STANDS]
    if response.payment_token and any(effect.brought_token for effect in signed_later(response, effects)):
        return Outcome.NO_EFFECT, [TaskKind.OUT_OF_ORDER]
    tasks = _take_token_of(response, agreement)
    return Outcome.TOOK_EFFECT, tasks


def _pay(response: Response, outgoing: OutgoingTransaction, purchase: Purchase, effects: list[Effect]) -> Result:
    """The purchase is paid, and offered to Perma.cc, unless Perma.cc may have credited it before a restore."""
    if purchase.status == PurchaseStatus.PAID:
        return Outcome.NO_EFFECT, []
    tasks = []
    purchase.status, purchase.paid_at = PurchaseStatus.PAID, response.received_at
    if may_be_lost(response.signed_at):
        purchase.acknowledged_at = response.received_at
        tasks.append(TaskKind.ACKNOWLEDGEMENT_IN_DOUBT)
    return Outcome.TOOK_EFFECT, tasks


def _refuse(response: Response, outgoing: OutgoingTransaction, subject: Subject, effects: list[Effect]) -> Result:
    """What was Pending or Abandoned becomes Rejected (an agreement) or Refused (a purchase)."""
    if subject.status not in (Status.PENDING, Status.ABANDONED):
        return Outcome.NO_EFFECT, []
    subject.status = PurchaseStatus.REFUSED if isinstance(subject, Purchase) else Status.REJECTED
    return Outcome.TOOK_EFFECT, []


def _abort(response: Response, outgoing: OutgoingTransaction, subject: Subject, effects: list[Effect]) -> Result:
    """What was not paid becomes Aborted, even after a decline: the customer has given up."""
    if subject.status not in (Status.PENDING, Status.ABANDONED, Status.REJECTED, PurchaseStatus.REFUSED):
        return Outcome.NO_EFFECT, []
    subject.status = PurchaseStatus.ABORTED if isinstance(subject, Purchase) else Status.ABORTED
    return Outcome.TOOK_EFFECT, []


# What happens for each kind of checkout and verdict. Other combinations change nothing.
_STEPS: dict[tuple[Kind, Verdict], Callable[..., Result]] = {
    (Kind.SUBSCRIBE, Verdict.PAID): _activate,
    (Kind.SUBSCRIBE, Verdict.HELD): _activate,
    (Kind.SUBSCRIBE, Verdict.DECLINED): _refuse,
    (Kind.SUBSCRIBE, Verdict.FAILED): _refuse,
    (Kind.SUBSCRIBE, Verdict.ABANDONED): _abort,
    (Kind.CHANGE, Verdict.PAID): _change_terms,
    (Kind.CHANGE, Verdict.HELD): _change_terms,
    (Kind.UPDATE, Verdict.PAID): _change_token,
    (Kind.PURCHASE, Verdict.PAID): _pay,
    (Kind.PURCHASE, Verdict.HELD): _pay,
    (Kind.PURCHASE, Verdict.DECLINED): _refuse,
    (Kind.PURCHASE, Verdict.FAILED): _refuse,
    (Kind.PURCHASE, Verdict.ABANDONED): _abort,
}

# The verdicts that a person must look at, whatever the kind of checkout.
_TASKS = {
    Verdict.HELD: TaskKind.HELD_FOR_REVIEW,
    Verdict.PARTIAL_APPROVAL: TaskKind.PARTIAL_APPROVAL,
    Verdict.UNREADABLE_AMOUNT: TaskKind.UNREADABLE_AMOUNT,
    Verdict.FAILED: TaskKind.CHECKOUT_FAILED,
    Verdict.INDETERMINATE: TaskKind.INDETERMINATE,
    Verdict.UNKNOWN: TaskKind.UNKNOWN_DECISION,
}


# --- What the response says -------------------------------------------------------------------------


def _is_what_we_signed(response: Response, outgoing: OutgoingTransaction) -> bool:
    """Whether the response is about the order that we signed, at its price."""
    if response.is_ambiguous:
        return False
    if response.reference_number != outgoing.reference_number:
        return False
    if response.transaction_type != outgoing.transaction_type:
        return False
    if outgoing.amount is None:
        return True
    moves_money = outgoing.is_sale and response.decision in Response.GRANTING
    if moves_money and not (response.amount and response.currency):
        return False
    # Responses to a plain token update echo no amount, and others that charge nothing may not either. An amount
    # that cannot be read does not count as different: a person will look at it.
    return (not response.amount or _amount(response.amount) in (None, outgoing.amount)) and (
        not response.currency or response.currency == CURRENCY
    )


def verdict_on(response: Response, outgoing: OutgoingTransaction) -> Verdict:
    """What a response says about the payment for a checkout."""
    in_full = _is_authorized_in_full(response, outgoing)
    return read_decision(response.decision, response.reason_code, in_full=in_full)


def _is_authorized_in_full(response: Response, outgoing: OutgoingTransaction) -> bool | None:
    """Whether what was asked for was authorized; None if an amount cannot be read."""
    if outgoing.amount is None:
        return True
    for text in filter(None, (response.amount, response.auth_amount)):
        amount = _amount(text)
        if amount is None or amount < outgoing.amount:
            return None if amount is None else False
    return True


def _amount(text: str) -> Decimal | None:
    try:
        return parse_echoed_amount(text)
    except ValueError:
        return None


def _take_token_of(
    response: Response, agreement: SubscriptionAgreement, *, is_new: bool = False
) -> list[TaskKind]:
    """Move the response's token, if there is one, to the agreement. It charges the card, so one row keeps it.

    Nobody has a task about the token of a subscription that ``is_new``.
    """
    if response.token_is_unusable:
        return [TaskKind.TOKEN_MISSING]
    if not response.payment_token:
        return []
    agreement.payment_token, response.payment_token = response.payment_token, ""
    if not is_new:
        missing = StaffTask.objects.filter(kind=TaskKind.TOKEN_MISSING, agreement=agreement)
        note = "CyberSource's response brought the token."
        staff_tasks.end_open(missing, Resolution.WITHDRAWN, by=None, note=note, now=response.received_at)
    return [TaskKind.TOKEN_CHANGES] if changes_with_card(agreement.payment_token) else []


def _count(response: Response, effect: str) -> None:
    kind = response.outgoing.kind if response.outgoing else "unmatched"
    metrics.count_callback(kind=kind, decision=response.decision, effect=effect)


def _record_failure(response: Response, error: Exception, now: datetime) -> None:
    try:
        source = pghistory.context(source=HistorySource.CYBERSOURCE_RESPONSE, response=response.pk)
        with within(RECORDING_FAILURE), transaction.atomic(), source:
            # Another process may have applied it in the meantime. Until this is committed, none can.
            unapplied = Response.objects.filter(pk=response.pk, applied_at__isnull=True)
            if unapplied.update(failed_at=now, failure=type(error).__qualname__[: Response.FAILURE_LENGTH]):
                staff_tasks.open_for_response(TaskKind.NOT_APPLIED, response, now=now)
    except Exception as second:  # as above: the response itself is safe
        logger.error("the failure of response %s could not be recorded: %s", response.pk, describe(second))
