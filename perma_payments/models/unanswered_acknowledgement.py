"""Acknowledgements that Perma.cc may not know to be recorded."""

import pgtrigger
from django.db import models

from .purchase import Purchase


class UnansweredAcknowledgement(models.Model):
    """A recorded acknowledgement that we have not answered yet. The row usually exists for a moment only.

    Perma.cc's client gives up after two seconds, and then takes its own credit back: if we have recorded the
    acknowledgement, the links are lost. So a trigger refuses a COMMIT that comes too late, by PostgreSQL's clock,
    because PostgreSQL may commit long after its client has gone. If the row stays, we do not know whether Perma.cc
    got our answer, and a person has to look.
    """

    purchase = models.ForeignKey(Purchase, on_delete=models.PROTECT, related_name="+")
    acknowledged_at = models.DateTimeField()
    commit_before = models.DateTimeField()

    class Meta:
        default_permissions = ()
        triggers = [
            pgtrigger.Trigger(
                name="committed_in_time",
                operation=pgtrigger.Insert,
                when=pgtrigger.After,
                timing=pgtrigger.Deferred,
                func=pgtrigger.Func(
                    "IF clock_timestamp() > NEW.commit_before"
                    " AND EXISTS (SELECT FROM {meta.db_table} WHERE id = NEW.id) THEN"
                    " RAISE EXCEPTION 'the acknowledgement would come too late' USING ERRCODE = 'query_canceled';"
                    " END IF; RETURN NULL;"
                ),
            )
        ]

    def __str__(self) -> str:
        return f"acknowledgement of {self.purchase}"
