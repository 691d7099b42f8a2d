"""Messages that were used up without beginning a checkout."""

from django.db import models
from django.utils import timezone

from .fields import never_deleted


class UsedMessage(models.Model):
    """The nonce of a request to cancel, or to keep, a subscription: a repeat of the message changes nothing."""

    nonce = models.BinaryField(max_length=24, unique=True)
    used_at = models.DateTimeField(default=timezone.now)

    class Meta:
        triggers = [never_deleted()]

    def __str__(self) -> str:
        return f"message used on {self.used_at:%Y-%m-%d}"
