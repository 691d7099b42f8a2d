"""Freezes: times in which staff let nobody begin a checkout."""

import pghistory
from django.conf import settings
from django.db import models
from django.db.models import Q, Value
from django.utils import timezone

from .fields import never_deleted


class CheckoutFreezeQuerySet(models.QuerySet["CheckoutFreeze"]):
    def in_force(self) -> "CheckoutFreezeQuerySet":
        """The one that has not ended, if there is one."""
        return self.filter(ended_at__isnull=True)


@pghistory.track(
    pghistory.InsertEvent(), pghistory.UpdateEvent(), append_only=True, model_name="CheckoutFreezeEvent"
)
class CheckoutFreeze(models.Model):
    """One freeze: who began and who ended it, and why."""

    began_at = models.DateTimeField("began", default=timezone.now)
    began_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    reason = models.TextField()
    ended_at = models.DateTimeField("ended", null=True, blank=True)
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    end_reason = models.TextField("reason for ending it", blank=True)

    objects = CheckoutFreezeQuerySet.as_manager()

    class Meta:
        permissions = [("freeze_checkouts", "Can freeze and resume checkouts")]
        constraints = [
            models.CheckConstraint(condition=~Q(reason=""), name="freeze_has_reason"),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True, ended_by__isnull=True, end_reason="")
                | (Q(ended_at__isnull=False, ended_by__isnull=False) & ~Q(end_reason="")),
                name="freeze_ended_has_who_and_why",
            ),
            models.UniqueConstraint(Value(1), condition=Q(ended_at__isnull=True), name="freeze_one_in_force"),
        ]
        triggers = [never_deleted()]

    def __str__(self) -> str:
        return f"freeze of {self.began_at:%Y-%m-%d %H:%M} UTC"
