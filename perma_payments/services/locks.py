"""Locks, always taken in this order: the customer; a response; its transaction; the agreement or purchase."""
import hashlib

from django.db import connection

from ..billing.customers import Customer


def lock_customer(customer: Customer) -> None:
    """Hold everything about a customer until the running transaction ends.

    A customer has no row of its own here, so this is an advisory lock of PostgreSQL's, on a number
    made from the customer's name. Two customers who share a number would only wait for each other.
    """
    digest = hashlib.sha256(str(customer).encode()).digest()
    number = int.from_bytes(digest[:8], "big", signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])
