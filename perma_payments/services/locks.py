"""Locks, always taken in this order: customers; a response; agreements or a purchase, by id; staff tasks.

A callback is locked alone, while it is kept.

Every function returns the rows that it locked, read again under their locks: what was read before may have changed
since. All locks last until the running transaction ends; postgres/time_limits.py limits the wait for them.

Rows are locked with ``no_key``: their keys never change, and a plain FOR UPDATE would keep others from writing
rows that refer to them, evidence and staff tasks among them.
"""

import hashlib
from functools import cache
from itertools import islice
from typing import Any, TypeVar

from django.core.exceptions import ObjectDoesNotExist
from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import BinaryField, Model, QuerySet

from ..billing.customers import Customer
from ..models import Purchase, Response, StaffTask, SubscriptionAgreement
from ..models.history import TELL, telling

M = TypeVar("M", bound=Model)


def lock_customer(customer: Customer, **context: Any) -> None:
    """Lock everything about a customer. The ``context``, if any, is for the history of what follows (history.py).

    A customer has no row of its own here, so this is an advisory lock of PostgreSQL's.
    """
    tell = f"{TELL}, " if context else ""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {tell}pg_advisory_xact_lock(%s)",
            [*(telling(**context) if context else []), _number(f"customer {customer}")],
        )


def lock_agreements_of(customer: Customer) -> list[SubscriptionAgreement]:
    """Lock a customer and all of its agreements.

    A status report locks the agreements that it changes, and no customers: PostgreSQL has no room for so many
    advisory locks. So to make one agreement stand, lock all of its customer's: a report may do so with another.
    """
    lock_customer(customer)
    return lock_rows(SubscriptionAgreement.objects.of(customer))


def lock_agreement(agreement_id: int) -> SubscriptionAgreement:
    """Lock an agreement, with its customer and all other agreements of the customer. Raises DoesNotExist."""
    # An agreement never changes its customer.
    customer = SubscriptionAgreement.objects.get(pk=agreement_id).customer
    return next(each for each in lock_agreements_of(customer) if each.pk == agreement_id)


def lock_purchase(purchase_id: int) -> Purchase:
    """Lock a purchase. Raises DoesNotExist."""
    return _lock_row(Purchase.objects.all(), purchase_id)


def lock_response(response: Response, /, **context: Any) -> Response:
    """Lock a response with its customer and, if it was matched, with what it is about.

    That is a purchase, or an agreement with all others of the customer. Return the response, whose ``outgoing``
    has what it is about, both as they are now. The ``context``, if any, is for the history of what follows.
    Raises ObjectDoesNotExist.
    """
    # A response keeps its checkout, and a checkout its customer.
    outgoing = response.outgoing
    locked: Response
    if outgoing is None:
        if context:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT {TELL}", telling(**context))
        ((locked,),) = _lock_together((Response, {"id": response.pk}))
        return locked
    customer, subject = outgoing.customer, outgoing.subject
    lock_customer(customer, **context)
    # See lock_agreements_of.
    all_of_them = {"customer_type": customer.type, "customer_pk": customer.pk}
    found = _lock_together(
        (Response, {"id": response.pk}),
        (type(subject), all_of_them if isinstance(subject, SubscriptionAgreement) else {"id": subject.pk}),
    )
    locked, outgoing.subject = next(rows for rows in found if rows[1].pk == subject.pk)
    locked.outgoing = outgoing
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
    lock(f"callback {fingerprint.hex()}")


def lock(name: str) -> None:
    """Lock what a name stands for, and wait for other transactions that hold it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_number(name)])


def try_to_lock(name: str) -> bool:
    """Lock what a name stands for, without waiting; return False if another transaction holds it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_number(name)])
        (locked,) = cursor.fetchone()
    return bool(locked)


def _lock_row(rows: QuerySet[M], pk: int) -> M:
    return rows.select_for_update(no_key=True, of=("self",)).get(pk=pk)


def _lock_together(*rows: tuple[type[Model], dict[str, Any]]) -> list[list[Any]]:
    """Lock rows of different tables, given by their columns, in one statement: the last ones in their order.

    They are read without their binary columns, such as what is sealed. Raises ObjectDoesNotExist.
    """
    statement, columns = _locking(*((model, tuple(where)) for model, where in rows))
    with connection.cursor() as cursor:
        cursor.execute(statement, [value for _, where in rows for value in where.values()])
        found = [iter(values) for values in cursor.fetchall()]
    if not found:
        raise ObjectDoesNotExist
    return [
        [
            model.from_db(DEFAULT_DB_ALIAS, names, list(islice(values, len(names))))
            for (model, _), names in zip(rows, columns, strict=True)
        ]
        for values in found
    ]


@cache
def _locking(*rows: tuple[type[Model], tuple[str, ...]]) -> tuple[str, list[list[str]]]:
    """The statement of ``_lock_together``, and the names of the columns that it reads of each table."""
    fields = [
        [field for field in model._meta.concrete_fields if not isinstance(field, BinaryField)] for model, _ in rows
    ]
    tables = [f'"{model._meta.db_table}"' for model, _ in rows]
    columns = ", ".join(
        f'{table}."{field.column}"' for table, of in zip(tables, fields, strict=True) for field in of
    )
    conditions = " AND ".join(
        f"{table}.{name} = %s" for table, (_, where) in zip(tables, rows, strict=True) for name in where
    )
    statement = (
        f"SELECT {columns} FROM {', '.join(tables)} WHERE {conditions} "
        f"ORDER BY {tables[-1]}.id FOR NO KEY UPDATE OF {', '.join(tables)}"
    )
    return statement, [[field.attname for field in of] for of in fields]


def _number(name: str) -> int:
    """PostgreSQL's advisory locks are numbers. Two names that shared one would only wait for each other."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
