"""Apply a kept response to the agreement or purchase of its transaction, once (docs/statuses.md).

Everything needed is in the ledger, so that a response can be applied at any later time; what it does
depends on when it was received, not on when it is applied.
"""

import logging
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from functools import partial

import pghistory
from django.db import transaction
from django.db.models import QuerySet

from ...billing.coverage import extended, of_checkout
from ...billing.money import CURRENCY, parse_echoed_amount
from ...billing.statuses import UNPAID, PurchaseStatus, Status, is_standing
from ...billing.transactions import Kind
from ...cybersource import decisions
from ...cybersource.decisions import Concern, Effect, Finding
from ...models import Outcome, OutgoingTransaction, Purchase, Response, SubscriptionAgreement, TaskKind
from ...models.history import HistorySource
from ..locks import lock_customer
from ..staff_tasks import tasks as staff_tasks

logger = logging.getLogger(__name__)

_TASK_OF_CONCERN = {
    Concern.HELD_FOR_REVIEW: TaskKind.HELD_FOR_REVIEW,
    Concern.PARTIAL_APPROVAL: TaskKind.PARTIAL_APPROVAL,
    Concern.UNREADABLE_AMOUNT: TaskKind.UNREADABLE_AMOUNT,
    Concern.CHECKOUT_FAILED: TaskKind.CHECKOUT_FAILED,
    Concern.INDETERMINATE: TaskKind.INDETERMINATE,
    Concern.UNKNOWN_DECISION: TaskKind.UNKNOWN_DECISION,
}
_MONEY_MOVED = ("ACCEPT", "REVIEW")


def apply_response(response_id: int, *, now: datetime) -> None:
    """Apply one response, unless it is applied already. All or nothing: raises what goes wrong."""
    with transaction.atomic(), pghistory.context(source=HistorySource.CYBERSOURCE_RESPONSE, response=response_id):
        response = Response.objects.select_related("outgoing__agreement", "outgoing__purchase").get(pk=response_id)
        if response.outgoing is not None:
            lock_customer(response.outgoing.customer)
        # Read again under the locks: another process may have applied it meanwhile.
        response = Response.objects.select_for_update(no_key=True).get(pk=response_id)
        if response.applied_at is not None:
            return
        if response.outgoing is None:
            response.outcome, tasks, subject = Outcome.UNMATCHED, [TaskKind.UNMATCHED], None
        else:
            application = _Application(response, response.outgoing)
            tasks = list(application.run())
            response.outcome, subject = application.outcome, application.subject
        response.applied_at = now
        response.save(update_fields=["applied_at", "outcome", "payment_token"])
        for kind in tasks:
            staff_tasks.open_for_response(kind, response, subject=subject, now=now)
        staff_tasks.withdraw_not_applied(response, now=now)
        transaction.on_commit(partial(logger.info, "response %s applied: %s", response_id, response.outcome))


class _Application:
    """One response, its transaction and what it is about, locked; ``run`` changes them and yields tasks."""

    def __init__(self, response: Response, outgoing: OutgoingTransaction) -> None:
        self.response = response
        self.at = response.received_at
        # What was signed is final, so it needs no lock.
        self.outgoing = outgoing
        self.subject: SubscriptionAgreement | Purchase
        match self.outgoing.subject:
            case SubscriptionAgreement(pk=pk):
                self.subject = SubscriptionAgreement.objects.select_for_update(no_key=True).get(pk=pk)
            case Purchase(pk=pk):
                self.subject = Purchase.objects.select_for_update(no_key=True).get(pk=pk)
        self.outcome = Outcome.NO_EFFECT

    def run(self) -> Iterator[TaskKind]:
        """Apply the response and yield the tasks that it gives."""
        if not self._is_what_we_signed():
            yield TaskKind.NOT_WHAT_WAS_SIGNED
            return
        finding = decisions.find(
            self.response.decision, self.response.reason_code, in_full=self._is_authorized_in_full()
        )
        outcome = decisions.outcome(Kind(self.outgoing.kind), finding)
        if outcome.concern is not None:
            yield _TASK_OF_CONCERN[outcome.concern]
        if finding in (Finding.PAID, Finding.HELD) and self._is_second_charge():
            yield TaskKind.DUPLICATE_CHARGE
            return
        match outcome.effect:
            case Effect.ACTIVATE:
                yield from self._activate()
            case Effect.TAKE_TERMS:
                yield from self._take_terms()
            case Effect.TAKE_TOKEN:
                yield from self._take_new_token()
            case Effect.PAY:
                self._pay()
            case Effect.REFUSE:
                self._end_unpaid(Status.REJECTED, PurchaseStatus.REFUSED, over={"Pending"})
            case Effect.ABORT:
                # A customer may be declined and then give up: the last word of a checkout is CANCEL.
                self._end_unpaid(Status.ABORTED, PurchaseStatus.ABORTED, over={"Pending", "Rejected", "Refused"})

    # --- What the response says ---------------------------------------------------------------------

    def _is_what_we_signed(self) -> bool:
        """Whether the response is about the order that we signed, at its price."""
        response, outgoing = self.response, self.outgoing
        if response.is_ambiguous:
            return False
        if response.reference_number != outgoing.reference_number:
            return False
        if response.transaction_type != outgoing.transaction_type:
            return False
        if outgoing.amount is None:
            return True
        if self._is_sale() and response.decision in _MONEY_MOVED and not (response.amount and response.currency):
            return False
        # Responses to a plain token update echo no amount, and those that charge nothing may not either. An amount
        # that cannot be read is no other amount: it is for a person to look at.
        return (not response.amount or _amount(response.amount) in (None, outgoing.amount)) and (
            not response.currency or response.currency == CURRENCY
        )

    def _is_sale(self) -> bool:
        return "sale" in self.outgoing.transaction_type.split(",")

    def _is_authorized_in_full(self) -> bool | None:
        """Whether what was asked for was authorized; None if an amount cannot be read."""
        if self.outgoing.amount is None:
            return True
        for text in filter(None, (self.response.amount, self.response.auth_amount)):
            amount = _amount(text)
            if amount is None or amount < self.outgoing.amount:
                return None if amount is None else False
        return True

    def _granted(self) -> QuerySet[Response]:
        """The other responses of this transaction that said that money moved, and took effect."""
        return Response.objects.filter(
            outgoing=self.outgoing, decision__in=_MONEY_MOVED, outcome=Outcome.TOOK_EFFECT
        ).exclude(pk=self.response.pk)

    def _is_second_charge(self) -> bool:
        """Whether this transaction was charged before, as another attempt (cybersource.md §5.3)."""
        return self._is_sale() and self._granted().exclude(transaction_id=self.response.transaction_id).exists()

    # --- What it does -------------------------------------------------------------------------------

    def _activate(self) -> Iterator[TaskKind]:
        agreement = self._agreement()
        if agreement.status in UNPAID:
            others = SubscriptionAgreement.objects.of(agreement.customer).standing(self.at)
            if others.exclude(pk=agreement.pk).exists():
                yield TaskKind.SECOND_SUBSCRIPTION
            agreement.status = Status.CURRENT
            agreement.take_terms(self.outgoing.terms)
            agreement.coverage = extended(agreement.coverage, of_checkout(agreement.schedule))
        # An agreement that stands already (a status report was first, or a REVIEW) may still lack its token.
        if not agreement.payment_token:
            yield from self._set_token(agreement)
            if not agreement.payment_token:
                yield TaskKind.TOKEN_MISSING
        self._save(agreement)

    def _take_terms(self) -> Iterator[TaskKind]:
        agreement = self._agreement()
        if not is_standing(agreement.status, agreement.covered_until, self.at):
            yield TaskKind.NO_LONGER_STANDS
        elif self._came_after_a_later_one(Kind.CHANGE):
            yield TaskKind.OUT_OF_ORDER
        else:
            if not self._granted().exists():
                agreement.take_terms(self.outgoing.terms)
            yield from self._set_token(agreement)
            self._save(agreement)

    def _take_new_token(self) -> Iterator[TaskKind]:
        agreement = self._agreement()
        if not is_standing(agreement.status, agreement.covered_until, self.at):
            yield TaskKind.NO_LONGER_STANDS
        elif self.response.payment_token and self._came_after_a_later_one(Kind.CHANGE, Kind.UPDATE):
            yield TaskKind.OUT_OF_ORDER
        else:
            yield from self._set_token(agreement)
            self._save(agreement)

    def _pay(self) -> None:
        assert isinstance(self.subject, Purchase)
        if self.subject.status != PurchaseStatus.PAID:
            self.subject.status = PurchaseStatus.PAID
            self.subject.paid_at = self.at
            self._save(self.subject)

    def _end_unpaid(self, status: Status, purchase_status: PurchaseStatus, *, over: set[str]) -> None:
        if self.subject.status in over:
            self.subject.status = status if isinstance(self.subject, SubscriptionAgreement) else purchase_status
            self._save(self.subject)

    # --- How ----------------------------------------------------------------------------------------

    def _agreement(self) -> SubscriptionAgreement:
        assert isinstance(self.subject, SubscriptionAgreement)
        return self.subject

    def _came_after_a_later_one(self, *kinds: Kind) -> bool:
        """Whether another checkout of these kinds has taken effect that CyberSource answered later than this one.

        What CyberSource did last is in force there, so it must be here, whatever the order of arrival.
        """
        return (
            Response.objects.filter(
                outgoing__agreement=self.outgoing.agreement_id,
                outgoing__kind__in=kinds,
                outcome=Outcome.TOOK_EFFECT,
                signed_at__gt=self.response.signed_at,
            )
            .exclude(outgoing=self.outgoing)
            .exists()
        )

    def _set_token(self, agreement: SubscriptionAgreement) -> Iterator[TaskKind]:
        token = self.response.payment_token
        if self.response.token_is_unusable:
            yield TaskKind.TOKEN_MISSING
        if not token:
            return
        agreement.payment_token = token
        # The agreement has it now, and a key to money is kept in one place.
        self.response.payment_token = ""
        # Format-preserving tokens have 16 digits and end when the card does (cybersource.md §4.6).
        if len(token) == 16 and token.isdecimal():
            yield TaskKind.TOKEN_CHANGES

    def _save(self, subject: SubscriptionAgreement | Purchase) -> None:
        subject.save()
        self.outcome = Outcome.TOOK_EFFECT


def _amount(text: str) -> Decimal | None:
    try:
        return parse_echoed_amount(text)
    except ValueError:
        return None
