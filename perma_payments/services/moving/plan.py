"""Plan: what each row of the old service becomes here (docs/moving.md has the mapping). Nothing is written.

What would leave a customer without what they pay for stops the import. Other rows that cannot be mapped are left
out. Both are reported, and so is everything that Perma.cc would be told differently.
"""

import hashlib
import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar

from django.contrib.auth.hashers import identify_hasher, make_password
from django.contrib.auth.models import User

from ...billing import coverage
from ...billing.coverage import Coverage, Proof
from ...billing.customers import CustomerType
from ...billing.money import DECIMAL_PLACES, MAX_DIGITS
from ...billing.schedules import Frequency
from ...billing.statuses import ALIVE, UNPAID, PurchaseStatus, Status
from ...billing.terms import AgreedTerms, ChangeKind, Terms
from ...billing.tokens import changes_with_card, is_token
from ...billing.transactions import Kind
from ...cybersource.known_texts import WITHHELD, known_message
from ...models import Outcome, OutgoingTransaction, Purchase, Response, SubscriptionAgreement
from ...models.fields import REFERENCE_NUMBER_PATTERN
from ...models.history import HistorySource
from ...sealed_archive import OLD_KEY
from . import read
from .read import OldAgreement, OldCustomer, OldDatabase, Row, Unreadable
from .report import CannotMap, Report
from .told import Told, is_paid, stands, told_by_old_service, told_here

E = TypeVar("E", Frequency, Status, CustomerType)

# An event of an agreement's history (pghistory makes the class).
Event = Any
AgreementEvent: type[Event] = SubscriptionAgreement.pgh_event_model  # type: ignore[attr-defined]

LINK_LIMIT = r"unlimited|[0-9]{1,10}"
REASON_NOT_IN_FORM = "cannot be stored here: it is too long, or not in the form that it has here"


class Fate(Enum):
    """What becomes of a planned agreement or purchase: here.py finds out."""

    NEW = "new"
    CHANGED = "changed"  # imported earlier; the old service has changed it since, and nothing here has
    SAME = "already here"
    MOVED_ON = "moved on here"  # imported earlier, and changed here since


@dataclass(kw_only=True)
class Planned:
    """An agreement or a purchase, with its checkouts and their responses.

    Nothing has an id yet, except a purchase that has a response.
    """

    old_id: int
    checkouts: list[OutgoingTransaction] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)
    fate: Fate = Fate.NEW
    subject: Any


@dataclass(kw_only=True)
class PlannedAgreement(Planned):
    """``history`` has each event, which lacks its agreement and its user, with the old id of the user."""

    subject: SubscriptionAgreement
    old: OldAgreement
    history: list[tuple[Event, int | None]] = field(default_factory=list)


@dataclass(kw_only=True)
class PlannedPurchase(Planned):
    subject: Purchase


@dataclass
class PlannedCustomer:
    old: OldCustomer
    agreements: list[PlannedAgreement] = field(default_factory=list)
    purchases: list[PlannedPurchase] = field(default_factory=list)
    # Old ids that are not imported, for whatever reason.
    left_out_agreements: set[int] = field(default_factory=set)
    left_out_purchases: set[int] = field(default_factory=set)
    # Something of the customer's is here that is not as it was imported.
    has_moved_on: bool = False

    def told(self, now: datetime) -> Told:
        foremost_first = sorted(
            (each.subject for each in self.agreements),
            key=lambda each: (each.status == Status.CANCELED, each.created_at, each.pk or 0),
        )
        return told_here(foremost_first, [each.subject for each in self.purchases], now)


class Planner:
    """Plans customer by customer, and adds to a report.

    ``leave_out`` has the ids of agreements, and of purchase requests, that the operator does not want.
    """

    def __init__(
        self, database: OldDatabase, report: Report, *, leave_out: dict[str, set[int]], now: datetime
    ) -> None:
        self._report, self._now, self._leave_out = report, now, leave_out
        self._loses_reference = _losers_of_agreements(database.repeated_references(), leave_out[read.AGREEMENTS])
        self._loses_purchase_reference = _losers_of_purchases(
            database.repeated_purchase_references(), leave_out[read.PURCHASES]
        )
        seen: set[str] = set()
        self._loses_uuid: set[int] = set()
        for row in database.repeated_uuids():
            if row["transaction_uuid"] in seen:
                self._loses_uuid.add(row["id"])
            seen.add(row["transaction_uuid"])

    def plan(self, old: OldCustomer) -> PlannedCustomer:
        planned = PlannedCustomer(old)
        for agreement in old.agreements:
            try:
                self._ask_operator(read.AGREEMENTS, agreement.row["id"])
                planned.agreements.append(self._agreement(agreement))
            except CannotMap as problem:
                planned.left_out_agreements.add(agreement.row["id"])
                self._refuse(read.AGREEMENTS, agreement.row["id"], problem, self._matters(agreement.row))
        for purchase in old.purchases:
            try:
                self._ask_operator(read.PURCHASES, purchase["id"])
                planned.purchases.append(self._purchase(purchase))
            except CannotMap as problem:
                planned.left_out_purchases.add(purchase["id"])
                is_owed = is_paid(purchase) and purchase["perma_acknowledged_at"] is None
                self._refuse(read.PURCHASES, purchase["id"], problem, is_owed)
        return planned

    def _ask_operator(self, table: str, row_id: int) -> None:
        if row_id in self._leave_out[table]:
            raise LeftOutByOperator

    def _refuse(self, table: str, row_id: int, problem: CannotMap, is_owed: bool) -> None:
        stops = is_owed and not isinstance(problem, LeftOutByOperator)
        (self._report.stops if stops else self._report.leaves_out)(table, row_id, problem)

    def _matters(self, row: Row) -> bool:
        """Whether the customer would miss the agreement: it stands, or may do so as far as we can tell."""
        if row["status"] == Status.CANCELED:
            return isinstance(row["paid_through"], Unreadable) or stands(row, self._now)
        return row["status"] not in (*UNPAID, Status.COMPLETED, Status.SUPERSEDED)

    # --- Agreements -------------------------------------------------------------------------------------

    def _agreement(self, old: OldAgreement) -> PlannedAgreement:
        row, request = old.row, old.subscription
        status = _one_of(Status, row, "status")
        if request is None:
            raise CannotMap("", "has no subscription request, and so neither a reference number nor a schedule")
        agreement = SubscriptionAgreement(
            **_customer(row),
            status=status,
            reference_number=_text(request, "reference_number", REFERENCE_NUMBER_PATTERN),
            created_at=_moment(row, "created_date"),
            updated_at=_moment(row, "updated_date"),
        )
        if row["id"] in self._loses_reference:
            raise CannotMap("reference_number", self._loses_reference[row["id"]])
        planned = PlannedAgreement(old_id=row["id"], subject=agreement, old=old)
        if status == Status.PENDING and request["response_id"] and request["decision"] is None:
            agreement.status = Status.ABANDONED
        change_kinds, agreed = self._fold_changes(old)
        if status not in UNPAID:
            self._take_terms(planned, agreed)
        if row["cancellation_requested"] and status in ALIVE:
            agreement.cancellation_requested_at = self._cancellation_requested_at(old)
        elif row["cancellation_requested"] and status != Status.CANCELED:
            self._differs(row, "cancellation_requested", f"is ignored, because the status is {status}")
        for kind, requests in (
            (Kind.SUBSCRIBE, [request]),
            (Kind.CHANGE, old.changes),
            (Kind.UPDATE, old.updates),
        ):
            for each in requests:
                self._checkout(planned, kind, each, change_kinds.get(each["id"]))
        self._history(planned)
        return planned

    def _take_terms(self, planned: PlannedAgreement, agreed: AgreedTerms | None) -> None:
        """Terms, schedule, coverage and token of an agreement that was paid once."""
        agreement, row, request = planned.subject, planned.old.row, planned.old.subscription
        assert request is not None  # as _agreement has checked
        filled = dict(row)
        for column, of_request in (
            ("current_rate", "recurring_amount"),
            ("current_frequency", "recurring_frequency"),
            ("current_link_limit", "link_limit"),
            ("current_link_limit_effective_timestamp", "link_limit_effective_timestamp"),
        ):
            if row[column] is None:
                filled[column] = request[of_request]
                self._differs(row, column, "is empty, and is taken from the subscription request")
        terms = Terms(
            _money(filled, "current_rate"),
            _text(filled, "current_link_limit", LINK_LIMIT),
            _moment(filled, "current_link_limit_effective_timestamp"),
        )
        agreement.current_frequency = _one_of(Frequency, filled, "current_frequency")
        agreement.schedule_start = _day(request, "recurring_start_date")
        agreement.agreed_terms = AgreedTerms(terms)
        if agreed and agreed.scheduled == terms:
            agreement.agreed_terms = agreed
        elif (agreed is None or agreed.in_force != terms) and terms.effective > agreement.updated_at:
            self._differs(
                row,
                "current_link_limit_effective_timestamp",
                "is later than the row, but the terms that hold until then are not known",
            )
        self._cover(agreement, row)
        token = request["payment_token"] or ""
        if is_token(token):
            agreement.payment_token = token
            if changes_with_card(token):
                self._differs(row, "", "has a token that changes with the card")
        elif agreement.status in ALIVE:
            self._differs(row, "", "has no token that can be used: staff get a task")

    def _cover(self, agreement: SubscriptionAgreement, row: Row) -> None:
        """Until when it is paid for. The next status report sets it right."""
        of_checkout = coverage.of_checkout(agreement.schedule)
        agreement.coverage = of_checkout
        if row["paid_through"] is None:
            self._differs(row, "paid_through", "is empty: paid for until the first scheduled charge")
            return
        until = _moment(row, "paid_through")
        if until != of_checkout.until:
            agreement.coverage = Coverage(until, Proof.REPORT)
        # While it is Current, Perma.cc is told the next due date. If the old service tells another, that is taken
        # as the date of a report.
        told_on, updated_on = until.date(), agreement.updated_at.date()
        next_due = agreement.schedule.first_due_after(updated_on)
        if (
            agreement.status == Status.CURRENT
            and told_on != next_due
            and coverage.is_plausible_next_charge(agreement.schedule, told_on, made_on=updated_on)
        ):
            agreement.next_charge_on = told_on

    def _cancellation_requested_at(self, old: OldAgreement) -> datetime:
        since = None
        for row in old.history:
            if not row["cancellation_requested"]:
                since = None
            elif since is None and isinstance(row["history_date"], datetime):
                since = row["history_date"]
        if since is None:
            self._differs(
                old.row,
                "cancellation_requested",
                "is not in the history: taken to be from when the row changed last",
            )
            since = old.row["updated_date"]
        moment: datetime = since
        return moment

    def _fold_changes(self, old: OldAgreement) -> tuple[dict[int, ChangeKind], AgreedTerms | None]:
        """Which kind each change was, by its id, and the terms after all that were accepted.

        A change that cannot be read is skipped here: _checkout reports it.
        """
        kinds: dict[int, ChangeKind] = {}
        try:
            agreed = AgreedTerms(_terms(old.subscription or {}))
        except (CannotMap, KeyError):
            return kinds, None
        for change in old.changes:
            try:
                wanted, moment = _terms(change), _moment(change, "request_datetime")
            except CannotMap:
                continue
            agreed = agreed.as_of(moment)
            kinds[change["id"]] = agreed.kind_of(wanted)
            if change["decision"] in Response.GRANTING:
                agreed = agreed.changed_to(wanted, paid_through=wanted.effective, now=moment)
        return kinds, agreed

    def _history(self, planned: PlannedAgreement) -> None:
        agreement = planned.subject
        since = None
        for row in planned.old.history:
            try:
                moment = _moment(row, "history_date")
                since = (since or moment) if row["cancellation_requested"] else None
                until = _moment(row, "paid_through", optional=True)
                event = AgreementEvent(
                    pgh_created_at=moment,
                    pgh_label="insert" if row["history_type"] == "+" else "update",
                    pgh_context={
                        "source": HistorySource.IMPORT,
                        "history": row["history_id"],
                        **({"reason": row["history_change_reason"]} if row["history_change_reason"] else {}),
                    },
                    customer_type=agreement.customer_type,
                    customer_pk=agreement.customer_pk,
                    reference_number=agreement.reference_number,
                    status=_text(row, "status", r".{1,20}"),
                    current_rate=_money(row, "current_rate", optional=True),
                    current_frequency=row["current_frequency"],
                    current_link_limit=_text(row, "current_link_limit", r".{0,10}", optional=True),
                    current_link_limit_effective_timestamp=_moment(
                        row, "current_link_limit_effective_timestamp", optional=True
                    ),
                    covered_until=until,
                    coverage_proof=Proof.REPORT if until else "",
                    cancellation_requested_at=since,
                    created_at=_moment(row, "created_date"),
                    updated_at=_moment(row, "updated_date"),
                )
            except CannotMap as problem:
                self._report.leaves_out(read.HISTORY, row["history_id"], problem)
                continue
            planned.history.append((event, row["history_user_id"]))

    # --- Purchases --------------------------------------------------------------------------------------

    def _purchase(self, row: Row) -> PlannedPurchase:
        if row["id"] in self._loses_purchase_reference:
            raise CannotMap("reference_number", self._loses_purchase_reference[row["id"]])
        quantity = row["link_quantity"]
        amount = _money(row, "amount")
        if not amount:
            raise CannotMap("amount", "is zero")
        if not isinstance(quantity, int) or not 1 <= quantity < 2**31:
            raise CannotMap("link_quantity", REASON_NOT_IN_FORM)
        created_at = _moment(row, "created_date")
        acknowledged_at = _moment(row, "perma_acknowledged_at", optional=True)
        purchase = Purchase(
            pk=row["response_id"],
            **_customer(row),
            reference_number=_text(row, "reference_number", REFERENCE_NUMBER_PATTERN),
            amount=amount,
            link_quantity=quantity,
            created_at=created_at,
            updated_at=acknowledged_at or created_at,
        )
        if is_paid(row):
            purchase.status = PurchaseStatus.PAID
            # When the old service says that it was bought.
            purchase.paid_at = created_at
            purchase.acknowledged_at = acknowledged_at
        elif row["response_id"]:
            purchase.status = _PURCHASE_STATUS.get(row["decision"], PurchaseStatus.PENDING)
        planned = PlannedPurchase(old_id=row["id"], subject=purchase)
        self._checkout(planned, Kind.PURCHASE, row, None)
        return planned

    # --- Checkouts and responses ------------------------------------------------------------------------

    def _checkout(self, planned: Planned, kind: Kind, row: Row, change_kind: ChangeKind | None) -> None:
        """Add the checkout of a request, and its response. If it cannot be mapped, it is left out."""
        table = _TABLES[kind]
        try:
            if row["id"] in self._loses_uuid:
                raise CannotMap("transaction_uuid", "is also that of another request, which keeps it")
            checkout = OutgoingTransaction(
                kind=kind,
                transaction_uuid=uuid.UUID(_text(row, "transaction_uuid", r".{36}")),
                transaction_type=_text(row, "transaction_type", r"[a-z_,]{1,60}"),
                message_nonce=_digest(f"imported transaction {row['id']}")[:24],
                created_at=_moment(row, "request_datetime"),
                change_kind=change_kind,
            )
            setattr(checkout, "purchase" if kind == Kind.PURCHASE else "agreement", planned.subject)
            if kind != Kind.UPDATE:
                checkout.amount = _money(row, "amount")
            if kind in (Kind.SUBSCRIBE, Kind.CHANGE):
                terms = _terms(row)
                checkout.recurring_amount, checkout.link_limit = terms.rate, terms.link_limit
                checkout.link_limit_effective_timestamp = terms.effective
            if kind == Kind.SUBSCRIBE:
                checkout.recurring_frequency = _one_of(Frequency, row, "recurring_frequency")
                checkout.recurring_start_date = _day(row, "recurring_start_date")
            if kind == Kind.CHANGE and change_kind is None:
                # The terms before it are not known.
                checkout.change_kind = ChangeKind.UPGRADE if checkout.amount else ChangeKind.DOWNGRADE
        except CannotMap as problem:
            self._report.leaves_out(table, row["id"], problem)
            return
        planned.checkouts.append(checkout)
        if row["response_id"]:
            self._response(planned, checkout, row)

    def _response(self, planned: Planned, checkout: OutgoingTransaction, row: Row) -> None:
        table = f"{_TABLES[Kind(checkout.kind)]}response"
        sealed = bytes(row["full_response"] or b"")
        if not sealed:
            problem = CannotMap("full_response", "is empty, so there is no evidence to keep")
            self._report.leaves_out(table, row["response_id"], problem)
            return
        decision = row["decision"] or ""
        if not re.fullmatch(r"[A-Z]*", decision):
            decision = WITHHELD
        subject = planned.subject
        is_unpaid = subject.status in _UNPAID
        grants = decision in Response.GRANTING
        if checkout.kind in (Kind.SUBSCRIBE, Kind.PURCHASE):
            took_effect = is_unpaid != grants and decision != ""
            if grants and is_unpaid:
                self._report.differs(
                    table, row["response_id"], "decision", "says paid, but the old service gave nothing: a task"
                )
        else:
            took_effect = grants
        token = row.get("payment_token") or ""
        is_taken = checkout.agreement is not None and checkout.agreement.payment_token == token
        planned.responses.append(
            Response(
                fingerprint=_digest(f"imported response {row['response_id']}"),
                outgoing=checkout,
                transaction_uuid=str(checkout.transaction_uuid),
                decision=decision,
                reason_code="" if row["reason_code"] is None else str(row["reason_code"]),
                message=known_message(row["message"] or ""),
                transaction_type=checkout.transaction_type,
                reference_number=subject.reference_number,
                payment_token=token if is_token(token) and not is_taken else "",
                brought_token=bool(token),
                token_is_unusable=bool(token) and not is_token(token),
                sealed=sealed,
                archive_key_id=f"{OLD_KEY}{row['encryption_key_id']}",
                # The old service does not know when it came.
                signed_at=checkout.created_at,
                received_at=checkout.created_at,
                applied_at=checkout.created_at,
                outcome=Outcome.TOOK_EFFECT if took_effect else Outcome.NO_EFFECT,
            )
        )

    # --- What Perma.cc is told --------------------------------------------------------------------------

    def compare(self, planned: PlannedCustomer) -> None:
        """Report what Perma.cc would be told differently about a customer, apart from what is left out."""
        imported = OldCustomer(
            planned.old.type,
            planned.old.pk,
            [each for each in planned.old.agreements if each.row["id"] not in planned.left_out_agreements],
            [each for each in planned.old.purchases if each["id"] not in planned.left_out_purchases],
        )
        old, new = told_by_old_service(imported, self._now), planned.told(self._now)
        charged = [each for each in planned.agreements if each.subject.status in ALIVE]
        for each in charged[1:]:
            self._differs(each.old.row, "", "is not the customer's only one that is charged: staff get a task")
        if (old.purchases, old.history) != (new.purchases, new.history):
            problem = CannotMap("", "would not be told to Perma.cc as it is")
            self._report.stops(read.PURCHASES, planned.purchases[0].old_id, problem)
        if old.subscription != new.subscription:
            self._compare_subscriptions(planned, old, new)

    def _compare_subscriptions(self, planned: PlannedCustomer, old: Told, new: Told) -> None:
        told = old.subscription or new.subscription
        assert told is not None  # they differ
        row = next(
            each.old.row for each in planned.agreements if each.subject.reference_number == told.reference_number
        )
        if old.subscription is None or new.subscription is None:
            if old.subscription is None:
                self._differs(row, "", "would be told to Perma.cc: it is canceled, but paid for until a later day")
            else:
                self._report.stops(
                    read.AGREEMENTS, row["id"], CannotMap("", "would not be told to Perma.cc anymore")
                )
            return
        before: Any
        for name, before, after in zip(old.subscription._fields, old.subscription, new.subscription, strict=True):
            if before == after:
                continue
            reason = "would be told to Perma.cc differently"
            if before is None:
                self._differs(row, name, f"{reason}: it is empty now")
            elif name == "paid_through" and new.subscription.status not in (Status.HOLD, Status.CANCELED):
                why = "it is past" if before < self._now else "it is not a date that CyberSource could charge on"
                self._differs(row, name, f"{reason}: {why}, so the next due date")
            elif new.subscription.status == Status.CANCELED and name in _TERMS:
                self._differs(row, name, f"{reason}: the terms in force, not those after the end")
            else:
                self._report.stops(read.AGREEMENTS, row["id"], CannotMap(name, reason))

    def _differs(self, row: Row, column: str, reason: str) -> None:
        self._report.differs(read.AGREEMENTS, row["id"], column, reason)


class LeftOutByOperator(CannotMap):
    def __init__(self) -> None:
        super().__init__("", "is left out, as you said")


_TERMS = ("rate", "link_limit", "link_limit_effective_timestamp")
_TABLES = {
    Kind.SUBSCRIBE: read.SUBSCRIPTIONS,
    Kind.CHANGE: read.CHANGES,
    Kind.UPDATE: read.UPDATES,
    Kind.PURCHASE: read.PURCHASES,
}
_PURCHASE_STATUS = {
    None: PurchaseStatus.ABANDONED,
    "DECLINE": PurchaseStatus.REFUSED,
    "ERROR": PurchaseStatus.REFUSED,
    "CANCEL": PurchaseStatus.ABORTED,
}
_UNPAID = {*UNPAID, *PurchaseStatus} - {PurchaseStatus.PAID}


def unpaid_although_granted(response: Response) -> bool:
    """Whether CyberSource said that a subscription or a purchase was paid, and the old service gave nothing."""
    return (
        response.decision in Response.GRANTING
        and response.outcome == Outcome.NO_EFFECT
        and response.outgoing is not None
        and response.outgoing.kind in (Kind.SUBSCRIBE, Kind.PURCHASE)
    )


# --- Rows that belong to nothing, and users ---------------------------------------------------------------


def report_strays(database: OldDatabase, report: Report) -> None:
    """Report the rows that belong to no other, and the columns whose times have no time zone."""
    missing = CannotMap("related_request_id", "names a request that does not exist")
    owed = "inform_perma AND perma_acknowledged_at IS NULL"
    for table in read.REQUESTS:
        not_owed = f"NOT ({owed})" if table == read.PURCHASES else "true"
        for row_id in database.responses_without_request(table, not_owed):
            report.leaves_out(f"{table}response", row_id, missing)
    for row_id in database.responses_without_request(read.PURCHASES, owed):
        report.stops(f"{read.PURCHASES}response", row_id, missing)
    for table in (read.SUBSCRIPTIONS, read.CHANGES, read.UPDATES):
        for row_id in database.requests_without_agreement(table):
            report.leaves_out(table, row_id, CannotMap("subscription_agreement_id", "names none that exists"))
    for row_id in database.responses_of_no_kind():
        report.leaves_out(read.RESPONSES, row_id, CannotMap("", "is the response to no request"))
    for row_id in database.transactions_of_no_kind():
        report.leaves_out(read.TRANSACTIONS, row_id, CannotMap("", "has no request"))
    for row_id in database.history_without_agreement():
        report.leaves_out(read.HISTORY, row_id, CannotMap("id", "names an agreement that does not exist"))
    for each in database.naive_columns:
        table, _, column = each.partition(".")
        report.differs(table, 0, column, "has times without a time zone, which are taken to be in UTC")


def plan_users(rows: Iterable[Row], report: Report) -> dict[int, User]:
    """The users, by their old ids. Names are not taken over, nor groups and second factors."""
    users = {}
    for row in rows:
        try:
            user = User(
                username=_text(row, "username", r".{1,150}"),
                email=_text(row, "email", r".{0,254}"),
                password=row["password"],
                is_active=row["is_active"],
                is_staff=row["is_staff"],
                is_superuser=row["is_superuser"],
                date_joined=_moment(row, "date_joined"),
                last_login=_moment(row, "last_login", optional=True),
            )
        except CannotMap as problem:
            report.leaves_out(read.USERS, row["id"], problem)
            continue
        try:
            identify_hasher(user.password)
        except ValueError:
            user.password = make_password(None)
            report.differs(read.USERS, row["id"], "password", "cannot be checked here: the user has to reset it")
        users[row["id"]] = user
    return users


# --- Repeated reference numbers ---------------------------------------------------------------------------


def _losers_of_agreements(rows: list[Row], leave_out: set[int]) -> dict[int, str]:
    """The agreements that cannot keep their reference number, and why. A standing one comes before the others."""

    def rank(row: Row) -> int:
        if row["status"] in UNPAID:
            return 2
        return 1 if row["status"] in (Status.COMPLETED, Status.SUPERSEDED) else 0

    return _losers(rows, leave_out, rank)


def _losers_of_purchases(rows: list[Row], leave_out: set[int]) -> dict[int, str]:
    return _losers(rows, leave_out, lambda row: 0 if row["is_paid"] else 1)


def _losers(rows: list[Row], leave_out: set[int], rank: Callable[[Row], int]) -> dict[int, str]:
    """All but the first by rank lose. Of rank 0 there can be only one, or all of that rank lose, too."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row["id"] not in leave_out:
            groups.setdefault(row["reference_number"], []).append(row)
    losers: dict[int, str] = {}
    for group in groups.values():
        group.sort(key=lambda row: (rank(row), row["id"]))
        first, *others = group
        equals = [row for row in others if rank(row) == rank(first)]
        if rank(first) == 0 and equals:
            reason = "is the same for several that were paid: leave out all but one"
            losers.update({row["id"]: reason for row in [first, *equals]})
            others = [row for row in others if row not in equals]
        losers.update({row["id"]: "is also that of another, which keeps it" for row in others})
    return losers


# --- Values ------------------------------------------------------------------------------------------------


def _customer(row: Row) -> dict[str, Any]:
    # The column came later: what has none is a Registrar.
    customer_type = _one_of(CustomerType, {"customer_type": row["customer_type"] or "Registrar"}, "customer_type")
    if row["customer_pk"] < 1:
        raise CannotMap("customer_pk", "is not positive")
    return {"customer_type": str(customer_type), "customer_pk": row["customer_pk"]}


def _terms(row: Row) -> Terms:
    return Terms(
        _money(row, "recurring_amount"),
        _text(row, "link_limit", LINK_LIMIT),
        _moment(row, "link_limit_effective_timestamp"),
    )


def _one_of(values: type[E], row: Row, column: str) -> E:
    try:
        return values(row[column])
    except ValueError:
        raise CannotMap(column, "is none of the values that it can have") from None


def _text(row: Row, column: str, pattern: str, *, optional: bool = False) -> Any:
    value = row[column]
    if value is None and optional:
        return None
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise CannotMap(column, "is empty" if value in (None, "") else REASON_NOT_IN_FORM)
    return value


def _money(row: Row, column: str, *, optional: bool = False) -> Any:
    value = row[column]
    if value is None:
        if optional:
            return None
        raise CannotMap(column, "is empty")
    if not value.is_finite() or value < 0 or value >= Decimal(10) ** (MAX_DIGITS - DECIMAL_PLACES):
        raise CannotMap(column, REASON_NOT_IN_FORM)
    if value != value.quantize(Decimal("0.01")):
        raise CannotMap(column, "has fractions of a cent")
    return value.quantize(Decimal("0.01"))


def _moment(row: Row, column: str, *, optional: bool = False) -> Any:
    return _time(row, column, optional)


def _day(row: Row, column: str) -> date:
    value: date = _time(row, column, optional=False)
    return value


def _time(row: Row, column: str, optional: bool) -> Any:
    value = row[column]
    if isinstance(value, Unreadable):
        raise CannotMap(column, "is no time or day that can be stored here")
    if value is None and not optional:
        raise CannotMap(column, "is empty")
    return value


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
