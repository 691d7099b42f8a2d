"""Search by what people say and paste: reference numbers, customers, and ids of payments.

A text may name several things: "7227" is a customer and the end of a reference number. ``read_query`` says what it
may name, and ``Named`` finds the rows. The search page (search_page.py) and the lists' own boxes use both.

Whatever names one thing exactly is found by an index. To answer an OR over two tables, PostgreSQL reads one of
them whole, so rows are found table by table, by their ids. There must be few, and so part of a reference number
must have four digits: of 100,000 numbers, about twenty begin or end with the same four.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from typing import Any
from uuid import UUID

from django.db.models import Model, Q, QuerySet
from django.db.models.functions import Right

from ..billing.customers import Customer, CustomerType
from ..models import OutgoingTransaction, Purchase, Response, StaffTask, SubscriptionAgreement
from ..perma.messages import MAX_ID

# Django shows its search box where a table has search fields.
FIELDS = ("pk",)
HELP = "Reference number or part of one, customer (Registrar 7, R7, or 7), or transaction id or uuid."

# Names and email addresses match none of these, so nobody's name reaches the database.
_REFERENCE_NUMBER = re.compile(r"perma[\W_]*([0-9]{4})[\W_]*([0-9]{4})(?![0-9])", re.IGNORECASE | re.ASCII)
_DIGITS = re.compile(r"(?:perma)?([0-9]{4,8})", re.IGNORECASE | re.ASCII)
_CUSTOMER = re.compile(
    r"(?:(?P<registrar>r(?:eg(?:istrar)?)?)|(?P<individual>i(?:nd(?:ividual)?)?)|(?:customer)?)[\s.:#-]*"
    r"(?P<pk>[0-9]{1,19})",
    re.IGNORECASE | re.ASCII,
)
_CODE = re.compile(r"(?=.*[0-9])[!-?A-~]{1,50}", re.ASCII)


@dataclass(frozen=True)
class Query:
    """What a text may name. All is empty if it names nothing that we have."""

    reference_number: str = ""
    # The first or the last digits of a reference number, four to seven.
    digits: str = ""
    customers: tuple[Customer, ...] = ()
    uuid: UUID | None = None
    # Perhaps CyberSource's transaction id, or a reference number that was not ours.
    code: str = ""


def read_query(text: str) -> Query:
    """What a text may name, whichever way it is spelled."""
    text = _plain(text)
    compact = re.sub(r"[\W_]+", "", text, flags=re.ASCII)
    reference_number = digits = ""
    if match := _REFERENCE_NUMBER.search(text):
        reference_number = f"PERMA-{match[1]}-{match[2]}"
    elif match := _DIGITS.fullmatch(compact):
        if len(match[1]) == 8:
            reference_number = f"PERMA-{match[1][:4]}-{match[1][4:]}"
        else:
            digits = match[1]
    return Query(
        reference_number=reference_number,
        digits=digits,
        customers=_customers(text),
        uuid=_uuid(text),
        code=text if _CODE.fullmatch(text) else "",
    )


def _plain(text: str) -> str:
    """A text with plain hyphens and single spaces, without invisible characters and what encloses it."""
    plain = ""
    for character in text:
        category = unicodedata.category(character)
        if character.isspace():
            plain += " "
        elif category == "Pd" or character == "\N{MINUS SIGN}":
            plain += "-"
        elif not category.startswith("C"):  # control characters, soft hyphens, zero-width spaces
            plain += character
    return re.sub(r"^[\W_]+|[\W_]+$", "", " ".join(plain.split()))


def _customers(text: str) -> tuple[Customer, ...]:
    match = _CUSTOMER.fullmatch(text)
    if not match or not 1 <= int(match["pk"]) <= MAX_ID:
        return ()
    # A number alone may be either's.
    types = [type_ for type_ in CustomerType if match[type_.lower()]] or list(CustomerType)
    return tuple(Customer(type_, int(match["pk"])) for type_ in types)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


class Named:
    """The ids of the rows that a query names, table by table, and of those that belong to them.

    A checkout belongs to its subscription or purchase, a response to its checkout, and a task to what it is about.
    """

    def __init__(self, query: Query) -> None:
        self.query = query

    @cached_property
    def agreements(self) -> list[int]:
        return self._subjects(SubscriptionAgreement)

    @cached_property
    def purchases(self) -> list[int]:
        return self._subjects(Purchase)

    @cached_property
    def checkouts(self) -> list[int]:
        if self.query.uuid is None:
            return []
        return _ids(OutgoingTransaction.objects.filter(transaction_uuid=self.query.uuid))

    @cached_property
    def responses(self) -> list[int]:
        numbers = {self.query.reference_number, self.query.code} - {""}
        conditions = []
        if self.query.code:
            conditions.append(Q(transaction_id=self.query.code))
        if numbers:
            conditions.append(Q(reference_number__in=numbers))
        if self.query.uuid:
            # The others have a checkout with this uuid. It is CyberSource's text, so it may have capitals.
            conditions.append(Q(outgoing=None, transaction_uuid__iexact=str(self.query.uuid)))
        return _ids(_any_of(Response.objects.all(), conditions))

    def rows_of(self, model: type[Model]) -> list[int]:
        """The ids of all the rows that one of our lists should show."""
        if model is SubscriptionAgreement:
            return [*self.agreements, *self._subjects_of_transactions("agreement")]
        if model is Purchase:
            return [*self.purchases, *self._subjects_of_transactions("purchase")]
        if model is OutgoingTransaction:
            return [*self._all_checkouts, *self._checkouts_of_responses]
        if model is Response:
            return self._all_responses
        assert model is StaffTask, model
        about = [
            Q(agreement__in=self.agreements),
            Q(purchase__in=self.purchases),
            Q(response__in=self._all_responses),
        ]
        return _ids(_any_of(StaffTask.objects.all(), about))

    def _subjects(self, model: Any) -> list[int]:
        conditions = [Q(**customer_columns(customer)) for customer in self.query.customers]
        if self.query.reference_number:
            conditions.append(Q(reference_number=self.query.reference_number))
        if digits := self.query.digits:
            conditions.append(Q(reference_number__startswith=f"PERMA-{digits[:4]}-{digits[4:]}"))
            # An index has the last four.
            last = Q(last_digits=digits[-4:], reference_number__endswith=f"{digits[:-4]}-{digits[-4:]}")
            conditions.append(last)
        rows = model.objects.alias(last_digits=Right("reference_number", 4))
        return _ids(_any_of(rows, conditions))

    @cached_property
    def _checkouts_of_responses(self) -> list[int]:
        responses = Response.objects.filter(pk__in=self.responses, outgoing__isnull=False)
        return list(responses.order_by().values_list("outgoing", flat=True))

    def _subjects_of_transactions(self, column: str) -> Iterable[int]:
        transactions = OutgoingTransaction.objects.filter(pk__in=[*self.checkouts, *self._checkouts_of_responses])
        return transactions.filter(**{f"{column}__isnull": False}).order_by().values_list(column, flat=True)

    @cached_property
    def _all_checkouts(self) -> list[int]:
        """Those that are named, and those of the subscriptions and purchases that are."""
        about = [Q(agreement__in=self.agreements), Q(purchase__in=self.purchases)]
        return [*self.checkouts, *_ids(_any_of(OutgoingTransaction.objects.all(), about))]

    @cached_property
    def _all_responses(self) -> list[int]:
        return [*self.responses, *_ids(Response.objects.filter(outgoing__in=self._all_checkouts))]


def find(rows: QuerySet[Any], text: str) -> QuerySet[Any]:
    """The rows of one of our lists that a search finds; all if the text is empty."""
    if not text.strip():
        return rows
    return rows.filter(pk__in=Named(read_query(text)).rows_of(rows.model))


def customer_columns(customer: Customer) -> dict[str, Any]:
    return {"customer_type": customer.type, "customer_pk": customer.pk}


def _any_of(rows: QuerySet[Any], conditions: list[Q]) -> QuerySet[Any]:
    return rows.filter(reduce(or_, conditions)) if conditions else rows.none()


def _ids(rows: QuerySet[Any]) -> list[int]:
    return list(rows.order_by().values_list("pk", flat=True))
