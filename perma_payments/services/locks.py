"""Locks, always taken in this order: customers; a response; agreements or a purchase, by id; staff tasks.

Rows are locked with ``no_key``: their keys never change, and a plain FOR UPDATE would keep others from
writing rows that refer to them, evidence and staff tasks among them. How long a lock is waited for is in
postgres/time_limits.py.
"""

import hashlib
from collections.abc import Iterable

from django.db import connection

from ..billing.customers import Customer

# PostgreSQL has room for a few thousand locks in all.
MANY_CUSTOMERS = 1_000


def lock_customer(customer: Customer) -> None:
    """Hold everything about a customer until the running transaction ends.

    A customer has no row of its own here, so this is an advisory lock of PostgreSQL's.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock_shared(%s), pg_advisory_xact_lock(%s)",
            [_ALL_CUSTOMERS, _number(f"customer {customer}")],
        )


def lock_customers(customers: Iterable[Customer]) -> None:
    """Hold everything about some customers; about all there are, if they are very many."""
    different = sorted(set(customers))
    if len(different) <= MANY_CUSTOMERS:
        for customer in different:
            lock_customer(customer)
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_ALL_CUSTOMERS])


def try_to_lock(name: str) -> bool:
    """Hold what a name stands for until the running transaction ends; return False if another one holds it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_number(name)])
        (locked,) = cursor.fetchone()
    return bool(locked)


def _number(name: str) -> int:
    """PostgreSQL's advisory locks are numbers. Two names that shared one would only wait for each other."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


_ALL_CUSTOMERS = _number("all customers")
