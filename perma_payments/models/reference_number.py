"""Reference numbers: what CyberSource, Perma.cc and people on the phone call an agreement or a purchase."""

import secrets

from django.db import models

from ..postgres.write import insert_unless_there
from .fields import REFERENCE_NUMBER_PATTERN, never_deleted


class ReferenceNumber(models.Model):
    """Every reference number ever issued, so that no agreement and no purchase ever share one."""

    value = models.CharField(max_length=15, primary_key=True)

    class Meta:
        triggers = [never_deleted()]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(value__regex=REFERENCE_NUMBER_PATTERN), name="reference_number_form"
            )
        ]

    def __str__(self) -> str:
        return self.value

    @classmethod
    def issue(cls) -> str:
        """Return a new reference number, ``PERMA-1234-5678``; it is taken when the transaction commits."""
        while True:
            digits = f"{secrets.randbelow(10**8):08}"
            value = f"PERMA-{digits[:4]}-{digits[4:]}"
            # Two transactions may draw the same number at once: the second one waits here for the first
            # to end, and then draws again.
            if cls.take(value):
                return value

    @classmethod
    def take(cls, value: str) -> bool:
        """Return whether a number was still free; it is taken when the transaction commits."""
        return insert_unless_there(cls(value=value))
