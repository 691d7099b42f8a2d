"""Locks, always taken in this order: customers; a response; agreements or a purchase, by id; staff tasks.

A callback is locked alone, while it is kept.

Every function returns the rows that it locked, read again under their locks: what was read before may have changed
since. All locks last until the running transaction ends; postgres/time_limits.py limits the wait for them.

Rows are locked with ``no_key``: their keys never change, and a plain FOR UPDATE would keep others from writing
rows that refer to them, evidence and staff tasks among them.
"""

import hashlib
from typing import TypeVar

from django.db import connection
from django.db.models import Model, QuerySet

from ..billing.customers import Customer
from ..models import Purchase, Response, StaffTask, SubscriptionAgreement

M = TypeVar("M", bound=Model)


def lock_customer(customer: Customer) -> None:
    """Lock everything about a customer.

    A customer has no row of its own here, so this is an advisory lock of PostgreSQL's.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_number(f"customer {customer}")])


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


def lock_response(response_id: int) -> tuple[Response, SubscriptionAgreement | Purchase | None]:
    """Lock a response with its customer and, if it was matched, with what it is about.

    That is a purchase, or an agreement with all others of the customer. Raises DoesNotExist.
    """
    responses = Response.objects.select_related("outgoing__agreement", "outgoing__purchase")
    outgoing = responses.get(pk=response_id).outgoing
    if outgoing is not None:
        lock_customer(outgoing.customer)
    response = _lock_row(responses, response_id)
    match response.outgoing and response.outgoing.subject:
        case SubscriptionAgreement(pk=pk, customer=customer):
            agreements = lock_rows(SubscriptionAgreement.objects.of(customer))
            return response, next(each for each in agreements if each.pk == pk)
        case Purchase(pk=pk):
            return response, lock_purchase(pk)
        case _:
            return response, None


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


def _number(name: str) -> int:
    """PostgreSQL's advisory locks are numbers. Two names that shared one would only wait for each other."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
