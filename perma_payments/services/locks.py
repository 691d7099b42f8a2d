"""Locks, always taken in this order: customers; a response; agreements or a purchase, by id; staff tasks.

A callback is locked alone, while it is kept.

Every function returns the rows that it locked, read again under their locks: what was read before may have changed
since. All locks last until the running transaction ends; postgres/time_limits.py limits the wait for them.

Rows are locked with ``no_key``: their keys never change, and a plain FOR UPDATE would keep others from writing
rows that refer to them, evidence and staff tasks among them.
"""

import hashlib
from collections.abc import Iterable
from functools import cache
from typing import Any, TypeVar

from django.core.exceptions import ObjectDoesNotExist
from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import BinaryField, Model, QuerySet

from ..billing.customers import Customer
from ..models import Purchase, Response, StaffTask, SubscriptionAgreement
from ..models.history import TELL, telling

M = TypeVar("M", bound=Model)

# PostgreSQL has room for a few thousand locks in total.
MANY_CUSTOMERS = 1_000


def lock_customer(customer: Customer, **context: Any) -> None:
    """Lock everything about a customer. The ``context``, if any, is for the history of what follows (history.py).

    A customer has no row of its own here, so this is an advisory lock of PostgreSQL's.
    """
    tell = f"{TELL}, " if context else ""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {tell}pg_advisory_xact_lock_shared(%s), pg_advisory_xact_lock(%s)",
            [*(telling(**context) if context else []), _ALL_CUSTOMERS, _number(f"customer {customer}")],
        )


def lock_customers(customers: Iterable[Customer]) -> None:
    """Lock everything about some customers, or about all customers if there are more than MANY_CUSTOMERS."""
    different = sorted(set(customers))
    if len(different) <= MANY_CUSTOMERS:
        for customer in different:
            lock_customer(customer)
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_ALL_CUSTOMERS])


def lock_agreements_of(customer: Customer) -> list[SubscriptionAgreement]:
    """Lock a customer and all of its agreements: a status report locks agreements, but only a few customers."""
    lock_customer(customer)
    return lock_rows(SubscriptionAgreement.objects.of(customer))


def lock_agreement(agreement_id: int) -> SubscriptionAgreement:
    """Lock an agreement and its customer. Raises DoesNotExist."""
    # An agreement never changes its customer.
    lock_customer(SubscriptionAgreement.objects.get(pk=agreement_id).customer)
    return _lock_row(SubscriptionAgreement.objects.all(), agreement_id)


def lock_purchase(purchase_id: int) -> Purchase:
    """Lock a purchase. Raises DoesNotExist."""
    return _lock_row(Purchase.objects.all(), purchase_id)


def lock_response(response: Response, /, **context: Any) -> Response:
    """Lock a response with its customer and the agreement or purchase that it is about, if it was matched.

    Return the response, whose ``outgoing`` has what it is about, both as they are now. The ``context``, if any, is
    for the history of what follows. Raises ObjectDoesNotExist.
    """
    # A response keeps its checkout, and a checkout its customer.
    outgoing = response.outgoing
    locked: Response
    if outgoing is None:
        if context:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT {TELL}", telling(**context))
        (locked,) = _lock_together((Response, response.pk))
    else:
        lock_customer(outgoing.customer, **context)
        locked, subject = _lock_together((Response, response.pk), (type(outgoing.subject), outgoing.subject.pk))
        locked.outgoing = outgoing
        outgoing.subject = subject
    return locked


def lock_task(task_id: int) -> StaffTask:
    """Lock a task with its agreement (``task.agreement``), if it is about one. Raises DoesNotExist."""
    tasks = StaffTask.objects.select_related("agreement")
    agreement_id = tasks.get(pk=task_id).agreement_id
    agreement = None if agreement_id is None else lock_agreement(agreement_id)
    task = _lock_row(tasks, task_id)
    task.agreement = agreement
    return task


def lock_rows(rows: QuerySet[M]) -> list[M]:
    """Lock the rows of a query in the order of their ids."""
    return list(rows.order_by("pk").select_for_update(no_key=True, of=("self",)))


def lock_callback(fingerprint: bytes) -> None:
    """Lock a callback, which may be delivered several times at once, until it is kept.

    The others wait here. If they waited to insert the same row, PostgreSQL's log would show it, with its token,
    whenever one failed or waited for too long.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_number(f"callback {fingerprint.hex()}")])


def try_to_lock(name: str) -> bool:
    """Lock what a name stands for, without waiting; return False if another transaction holds it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_number(name)])
        (locked,) = cursor.fetchone()
    return bool(locked)


def _lock_row(rows: QuerySet[M], pk: int) -> M:
    return rows.select_for_update(no_key=True, of=("self",)).get(pk=pk)


def _lock_together(*rows: tuple[type[Model], int]) -> list[Any]:
    """Lock rows of different tables, in this order, in one statement. Raises ObjectDoesNotExist.

    They are read without their binary columns, such as what is sealed.
    """
    statement, columns = _locking(*(model for model, _ in rows))
    with connection.cursor() as cursor:
        cursor.execute(statement, [pk for _, pk in rows])
        values = cursor.fetchone()
    if values is None:
        raise ObjectDoesNotExist
    remaining = iter(values)
    return [
        model.from_db(DEFAULT_DB_ALIAS, names, [next(remaining) for _ in names])
        for (model, _), names in zip(rows, columns, strict=True)
    ]


@cache
def _locking(*models: type[Model]) -> tuple[str, list[list[str]]]:
    """The statement of ``_lock_together``, and the names of the columns that it reads of each table."""
    fields = [
        [field for field in model._meta.concrete_fields if not isinstance(field, BinaryField)] for model in models
    ]
    tables = [f'"{model._meta.db_table}"' for model in models]
    columns = ", ".join(
        f'{table}."{field.column}"' for table, of in zip(tables, fields, strict=True) for field in of
    )
    statement = (
        f"SELECT {columns} FROM {', '.join(tables)} WHERE {' AND '.join(f'{table}.id = %s' for table in tables)} "
        f"FOR NO KEY UPDATE OF {', '.join(tables)}"
    )
    return statement, [[field.attname for field in of] for of in fields]


def _number(name: str) -> int:
    """PostgreSQL's advisory locks are numbers. Two names that shared one would only wait for each other."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


_ALL_CUSTOMERS = _number("all customers")
