"""When keys were last used: `manage.py keys` says from it which old key nobody uses anymore."""

from enum import StrEnum

from django.db import models


class Ring(StrEnum):
    """The rings of keys that sign and open messages, by the names of their settings."""

    OURS = "PERMA_PAYMENTS_SECRET_KEYS"
    PERMAS = "PERMA_PUBLIC_KEYS"
    CYBERSOURCE = "CS_KEYS"


class KeyUse(models.Model):
    """One key of a ring. A process writes it no more than once an hour (services/key_uses.py)."""

    ring = models.CharField(max_length=50)
    key_id = models.CharField(max_length=50)
    last_used_at = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["ring", "key_id"], name="key_use_once_per_key")]

    def __str__(self) -> str:
        return f"{self.key_id} of {self.ring}"
