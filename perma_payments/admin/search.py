"""Search by what staff have at hand when a customer calls.

That is a reference number or part of one, a customer ("7", "Registrar 7"), the uuid of one of our transactions,
or the id of one of CyberSource's.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from ..models import OutgoingTransaction, Response

# Django shows its search box where a table has search fields.
FIELDS = ("reference_number",)
HELP = "Reference number, customer (7, or Registrar 7), transaction uuid, or CyberSource's transaction id."

_CUSTOMER = re.compile(r"(registrar|individual)[\s-]*([0-9]{1,18})", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True)
class Search:
    """Where a table has what staff search by."""

    # Called with the text as CyberSource's transaction id, and as one of our uuids if it is one.
    by_transaction: Callable[[str, UUID | None], Q]
    reference_numbers: tuple[str, ...] = ("reference_number",)
    # What comes before customer_type and customer_pk.
    customers: tuple[str, ...] = ("",)

    def find(self, rows: QuerySet[Any], text: str) -> QuerySet[Any]:
        """The rows that a search finds, each once; all rows if the text is empty."""
        text = text.strip()
        if not text:
            return rows
        if match := _CUSTOMER.fullmatch(text):
            return rows.filter(self._of_customer(customer_type=match[1].capitalize(), customer_pk=int(match[2])))
        found = self.by_transaction(text, _uuid(text))
        # Every other reference number has a 7 in it, and someone who types 7 means a customer.
        if not (text.isdecimal() and len(text) < 4):
            found |= _any(Q(**{f"{column}__icontains": text}) for column in self.reference_numbers)
        if _NUMBER.fullmatch(text):
            found |= self._of_customer(customer_pk=int(text))
        return rows.filter(found)

    def _of_customer(self, **columns: str | int) -> Q:
        return _any(Q(**{prefix + name: value for name, value in columns.items()}) for prefix in self.customers)


def through_transactions(column: str) -> Callable[[str, UUID | None], Q]:
    """Finds the rows that ``column`` of our transactions refers to."""

    def by_transaction(transaction_id: str, uuid: UUID | None) -> Q:
        # Subqueries, which use an index: a join would be made for every row of the list.
        responses = Response.objects.filter(transaction_id=transaction_id)
        found = Q(pk__in=responses.values(f"outgoing__{column}"))
        if uuid is not None:
            found |= Q(pk__in=OutgoingTransaction.objects.filter(transaction_uuid=uuid).values(column))
        return found

    return by_transaction


def _any(conditions: Iterable[Q]) -> Q:
    return reduce(or_, conditions)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
