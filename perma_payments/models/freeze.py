"""Times during which no checkout can be begun."""

import pghistory
from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from .fields import never_deleted


@pghistory.track(
    pghistory.InsertEvent(), pghistory.UpdateEvent(), append_only=True, model_name="CheckoutFreezeEvent"
)
class CheckoutFreeze(models.Model):
    """One freeze: who began it and why, and who ended it and why. Only one lasts at a time."""

    began_at = models.DateTimeField(default=timezone.now)
    began_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    reason = models.TextField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    reason_to_end = models.TextField(blank=True)

    class Meta:
        verbose_name = "freeze of checkouts"
        verbose_name_plural = "freezes of checkouts"
        permissions = [("freeze_checkouts", "Can freeze and resume checkouts")]
        constraints = [
            models.UniqueConstraint(
                models.Value(True), condition=Q(ended_at__isnull=True), name="freeze_one_at_a_time"
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="freeze_has_reason"),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True, ended_by__isnull=True, reason_to_end="")
                | (Q(ended_at__isnull=False, ended_by__isnull=False) & ~Q(reason_to_end="")),
                name="freeze_ends_with_reason",
            ),
        ]
        triggers = [never_deleted()]

    def __str__(self) -> str:
        return f"freeze of {self.began_at:%Y-%m-%d %H:%M} UTC"
