"""Acknowledgements that Perma.cc may not know to be recorded."""

import pgtrigger
from django.db import models

from .purchase import Purchase


class UnansweredAcknowledgement(models.Model):
    """An acknowledgement that is recorded, but whose answer has not left yet. It usually lasts for a moment.

    Perma.cc's client gives up after two seconds, and then takes its own credit back: the links are lost if we
    have recorded the acknowledgement. So the row refuses a COMMIT that comes too late, by PostgreSQL's clock:
    PostgreSQL may do what it was told long after its client has gone. If the row stays anyway,
    it is unknown whether Perma.cc got its answer, and a person has to look.
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
