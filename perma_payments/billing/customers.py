"""Who pays: a registrar or an individual of Perma.cc."""

from enum import StrEnum
from typing import NamedTuple


class CustomerType(StrEnum):
    """The two kinds of customer, spelled as Perma.cc spells them (perma.md §2)."""

    REGISTRAR = "Registrar"
    INDIVIDUAL = "Individual"


class Customer(NamedTuple):
    """A customer of Perma.cc. Registrar 7 and individual 7 are different customers."""

    type: CustomerType
    pk: int

    def __str__(self) -> str:
        return f"{self.type} {self.pk}"
