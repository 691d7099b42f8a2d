"""Columns and constraints that several tables share."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import pgtrigger
from django.db import models
from django.db.models import Q

from ..billing.customers import CustomerType
from ..billing.money import DECIMAL_PLACES, MAX_DIGITS

REFERENCE_NUMBER_PATTERN = r"^PERMA-[0-9]{4}-[0-9]{4}$"


def choices(values: Iterable[StrEnum]) -> list[tuple[str, str]]:
    """Django's choices of an enumeration: what is stored is what is shown."""
    return [(str(value), str(value)) for value in values]


def one_of(column: str, values: Iterable[StrEnum]) -> Q:
    """The condition that a column holds one of an enumeration's values."""
    return Q(**{f"{column}__in": sorted(str(value) for value in values)})


def money_field(verbose_name: str, **options: Any) -> "models.DecimalField[Any, Any]":
    """An amount of US dollars."""
    return models.DecimalField(verbose_name, max_digits=MAX_DIGITS, decimal_places=DECIMAL_PLACES, **options)


def customer_type_field() -> "models.CharField[str, str]":
    """Which kind of customer: Perma.cc's spelling."""
    return models.CharField("customer type", max_length=10, choices=choices(CustomerType))


def customer_pk_field() -> "models.BigIntegerField[int, int]":
    """Perma.cc's id of the registrar or individual."""
    return models.BigIntegerField("customer id")


def customer_constraint(table: str) -> models.CheckConstraint:
    """A customer is a registrar or an individual with a positive id."""
    return models.CheckConstraint(
        condition=one_of("customer_type", CustomerType) & Q(customer_pk__gte=1), name=f"{table}_customer"
    )


def never_deleted() -> pgtrigger.Trigger:
    """A trigger that refuses every DELETE: these tables only grow."""
    return pgtrigger.Protect(name="never_deleted", operation=pgtrigger.Delete)
