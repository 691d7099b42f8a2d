"""Import: all in one transaction, which ends with a check of what is here then."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import pghistory
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Max, Model, Q
from django.db.models.sql import InsertQuery

from ...models import (
    FOREMOST_FIRST,
    OutgoingTransaction,
    Purchase,
    ReferenceNumber,
    Resolution,
    Response,
    StaffTask,
    SubscriptionAgreement,
    TaskKind,
)
from ...models.fields import REFERENCE_NUMBER_PATTERN
from ...models.history import HistorySource
from .. import month_ends, staff_tasks
from . import here, read
from .plan import Fate, Planned, PlannedCustomer, Planner, plan_users, report_strays, unpaid_although_granted
from .read import OldDatabase
from .report import Report
from .told import Told, told_here

LeaveOut = dict[str, set[int]]

# Purchases that have no old id begin at the next multiple of this, so that the old service can still give some.
ROOM_FOR_OLD_IDS = 1_000_000
# Rows of one INSERT.
BATCH = 500


class CannotImport(Exception):
    """Why nothing was imported, in a sentence."""


class Stopped(CannotImport):
    """What the report says stops it."""

    def __init__(self, report: Report) -> None:
        super().__init__("Nothing was imported: see what stops the import.")
        self.report = report


def survey(database: OldDatabase, *, leave_out: LeaveOut, now: datetime) -> Report:
    """Read and validate everything, and report what an import would do. Nothing is written."""
    report = Report()
    report_strays(database, report)
    users = plan_users(database.users(), report)
    known = set(User.objects.values_list("username", flat=True))
    for old_id, user in users.items():
        is_known = user.username in known
        report.does["users", (Fate.SAME if is_known else Fate.NEW).value] += 1
        if is_known:
            report.differs(read.USERS, old_id, "username", "exists here, and stays as it is")
    planner = Planner(database, report, leave_out=leave_out, now=now)
    for customers in _planned(database, planner, report):
        for customer in customers:
            if not customer.has_moved_on:
                planner.compare(customer)
    return report


def import_everything(database: OldDatabase, *, leave_out: LeaveOut, now: datetime) -> Report:
    """Survey, import and check, in one transaction. Raises CannotImport; then nothing has changed."""
    _require_owner()
    context = pghistory.context(source=HistorySource.IMPORT)
    with transaction.atomic(durable=True), context:
        _lock_tables()
        month_ends.forget()
        report = survey(database, leave_out=leave_out, now=now)
        if report.stop_count:
            raise Stopped(report)
        _Import(database, now).run(Planner(database, Report(), leave_out=leave_out, now=now))
    return report


def _planned(database: OldDatabase, planner: Planner, report: Report) -> Iterator[list[PlannedCustomer]]:
    for chunk in database.customers():
        customers = [planner.plan(old) for old in chunk]
        here.match(customers, report)
        yield customers


def _require_owner() -> None:
    with connection.cursor() as cursor:
        sequence = "pg_get_serial_sequence('perma_payments_purchase', 'id')"
        cursor.execute(f"SELECT has_sequence_privilege({sequence}, 'UPDATE')")
        if cursor.fetchone() != (True,):
            raise CannotImport(
                "The role in DATABASE_URL may not import. Use the role that owns the tables: the one that runs "
                "migrate."
            )


def _lock_tables() -> None:
    """Keep everybody from writing, but not from reading, until the transaction ends."""
    # In the order in which requests write to them.
    models = (ReferenceNumber, SubscriptionAgreement, Purchase, OutgoingTransaction, Response, StaffTask, User)
    tables = ", ".join(f'"{model._meta.db_table}"' for model in models)
    with connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE")


class _Import:
    def __init__(self, database: OldDatabase, now: datetime) -> None:
        self._database, self._now = database, now
        self._inserted: Counter[type[Model]] = Counter()
        self._changed: list[int] = []
        self._users: dict[int, int] = {}

    def run(self, planner: Planner) -> None:
        models = (SubscriptionAgreement, Purchase, OutgoingTransaction, Response, User)
        before = {model: model._default_manager.count() for model in models}
        highest = SubscriptionAgreement.objects.aggregate(pk=Max("pk"))["pk"] or 0
        self._make_room_for_old_ids()
        self._write_users()
        self._take_reference_numbers()
        for customers in _planned(self._database, planner, Report()):
            self._write(customers)
            self._check_what_is_told(customers)
        is_new = Q(pk__gt=highest) | Q(pk__in=self._changed)
        staff_tasks.open_for_revived(SubscriptionAgreement.objects.filter(is_new), now=self._now)
        for model, count in before.items():
            if model._default_manager.count() != count + self._inserted[model]:
                raise CannotImport(
                    f"Nothing was imported: {model.__name__} has another number of rows than planned."
                )

    # --- Writing ----------------------------------------------------------------------------------------

    def _make_room_for_old_ids(self) -> None:
        """Move the sequence of purchases above all ids of old responses."""
        highest = self._database.highest_response_id()
        with connection.cursor() as cursor:
            cursor.execute("SELECT last_value FROM perma_payments_purchase_id_seq")
            [last] = cursor.fetchone()
            if last <= highest:
                first = (highest // ROOM_FOR_OLD_IDS + 1) * ROOM_FOR_OLD_IDS
                cursor.execute("SELECT setval('perma_payments_purchase_id_seq', %s)", [first])

    def _write_users(self) -> None:
        known = dict(User.objects.values_list("username", "pk"))
        users = plan_users(self._database.users(), Report())
        new = {old_id: user for old_id, user in users.items() if user.username not in known}
        self._insert(list(new.values()))
        self._users = {old_id: user.pk or known[user.username] for old_id, user in users.items()}

    def _take_reference_numbers(self) -> None:
        valid = [
            each for each in self._database.reference_numbers() if re.fullmatch(REFERENCE_NUMBER_PATTERN, each)
        ]
        ReferenceNumber.objects.bulk_create(map(ReferenceNumber, valid), batch_size=5_000, ignore_conflicts=True)

    def _write(self, customers: Sequence[PlannedCustomer]) -> None:
        agreements = [each for customer in customers for each in customer.agreements]
        purchases = [each for customer in customers for each in customer.purchases]
        everything: list[Planned] = [*agreements, *purchases]
        new = [each for each in agreements if each.fate is Fate.NEW]
        self._give_ids([each.subject for each in new])
        # What happened before the import comes before it in the history.
        self._insert([self._event(event, each.subject, user) for each in new for event, user in each.history])
        self._insert([each.subject for each in new])
        self._insert([each.subject for each in purchases if each.fate is Fate.NEW])
        for each in everything:
            if each.fate is Fate.CHANGED:
                each.subject.save()
        self._changed += [each.subject.pk for each in agreements if each.fate is Fate.CHANGED]
        # Their foreign keys had no ids to take so far.
        checkouts = [checkout for each in everything for checkout in each.checkouts]
        for checkout in checkouts:
            checkout.agreement, checkout.purchase = checkout.agreement, checkout.purchase
        self._insert(checkouts)
        responses = [response for each in everything for response in each.responses]
        for response in responses:
            response.outgoing = response.outgoing
        self._insert(responses)
        for response in filter(unpaid_although_granted, responses):
            staff_tasks.open_for_response(TaskKind.INDETERMINATE, response, now=self._now)
        self._write_cancellations([each.subject for each in agreements if each.fate in (Fate.NEW, Fate.CHANGED)])

    def _event(self, event: Any, agreement: SubscriptionAgreement, user: int | None) -> Any:
        event.pgh_obj_id = event.id = agreement.pk
        if user in self._users:
            event.pgh_context["user"] = self._users[user]
        return event

    def _write_cancellations(self, agreements: Sequence[SubscriptionAgreement]) -> None:
        """Each requested cancellation has an open task, of which staff know already."""
        tasks = StaffTask.objects.filter(kind=TaskKind.CANCELLATION, done_at=None, agreement__in=agreements)
        is_open = set(tasks.values_list("agreement", flat=True))
        requested = {
            each.pk: each.cancellation_requested_at for each in agreements if each.cancellation_requested_at
        }
        self._insert(
            [
                StaffTask(kind=TaskKind.CANCELLATION, agreement_id=pk, opened_at=at, notified_at=at)
                for pk, at in requested.items()
                if pk not in is_open
            ]
        )
        note = "The old service has no request to cancel anymore."
        over = tasks.exclude(agreement__in=requested)
        staff_tasks.end_open(over, Resolution.WITHDRAWN, by=None, note=note, now=self._now)

    def _give_ids(self, rows: Sequence[Model]) -> None:
        """Give new ids to rows that have none."""
        lacking = [row for row in rows if row.pk is None]
        if not lacking:
            return
        meta = lacking[0]._meta
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT nextval(pg_get_serial_sequence(%s, %s)) FROM generate_series(1, %s)",
                [f'"{meta.db_table}"', meta.pk.column, len(lacking)],
            )
            for row, (pk,) in zip(lacking, cursor.fetchall(), strict=True):
                row.pk = pk

    def _insert(self, rows: Sequence[Any]) -> None:
        """Insert rows with all that they hold: bulk_create would set the times that Django sets to now."""
        if not rows:
            return
        self._give_ids(rows)
        model = type(rows[0])
        for start in range(0, len(rows), BATCH):
            query = InsertQuery(model)
            query.insert_values(model._meta.concrete_fields, list(rows[start : start + BATCH]), raw=True)
            query.get_compiler(connection=connection).execute_sql()
        self._inserted[model] += len(rows)

    # --- Checking ---------------------------------------------------------------------------------------

    def _check_what_is_told(self, customers: Sequence[PlannedCustomer]) -> None:
        """Compare what Perma.cc is told from now on with what was planned, and so with what it was told before."""
        agreements = _by_customer(SubscriptionAgreement.objects.order_by(*FOREMOST_FIRST), customers)
        purchases = _by_customer(Purchase.objects.order_by("id"), customers)
        for customer in customers:
            if customer.has_moved_on:
                continue
            key = (customer.old.type, customer.old.pk)
            told: Told = told_here(agreements.get(key, []), purchases.get(key, []), self._now)
            if told != customer.told(self._now):
                raise CannotImport(
                    f"Nothing was imported: Perma.cc would not be told what was planned about {key[0]} {key[1]}."
                )


def _by_customer(rows: Any, customers: Sequence[PlannedCustomer]) -> dict[tuple[str, int], list[Any]]:
    found: dict[tuple[str, int], list[Any]] = {}
    for row in rows.filter(customer_pk__in=[customer.old.pk for customer in customers]):
        found.setdefault((row.customer_type, row.customer_pk), []).append(row)
    return found
