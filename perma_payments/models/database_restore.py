"""Restores of the database to an earlier moment."""

from datetime import datetime

import pgtrigger
from django.db import models

from .fields import never_deleted


class DatabaseRestoreQuerySet(models.QuerySet["DatabaseRestore"]):
    def since(self, moment: datetime) -> "DatabaseRestoreQuerySet":
        """Those that ended at a moment or after it: what happened then may have been lost."""
        return self.filter(done_at__gte=moment)

    def until(self, now: datetime) -> "DatabaseRestoreQuerySet":
        """Without those of a clock that was ahead: nothing is known about them yet."""
        return self.filter(done_at__lte=now)


class DatabaseRestore(models.Model):
    """One restore: what happened between the two moments is lost here, and CyberSource and Perma.cc still know it.

    `manage.py after_restore` writes it, and services/restore.py says what follows.
    """

    data_until = models.DateTimeField(help_text="The latest moment that anything was recorded of.")
    done_at = models.DateTimeField()

    objects = DatabaseRestoreQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=models.Q(data_until__lte=models.F("done_at")), name="restore_from_before_until"
            )
        ]
        triggers = [never_deleted(), pgtrigger.ReadOnly(name="restore_is_final")]

    def __str__(self) -> str:
        return f"restore to {self.data_until:%Y-%m-%d %H:%M} UTC"
