"""Attempts to log in to the admin that have not succeeded."""

from datetime import timedelta

from django.db import models
from django.utils import timezone

LOGIN_ATTEMPT_COUNTS_FOR = timedelta(minutes=15)


class LoginAttempt(models.Model):
    """Kept until the scheduler purges it. Account and address are digests: what was typed is not stored."""

    account = models.CharField(max_length=64)
    address = models.CharField(max_length=64, blank=True, help_text="Empty where the address is not known.")
    attempted_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()
        indexes = [
            models.Index(fields=["account", "attempted_at"], name="login_attempt_of_account"),
            models.Index(fields=["address", "attempted_at"], name="login_attempt_from_address"),
            models.Index(fields=["attempted_at"], name="login_attempt_age"),
        ]

    def __str__(self) -> str:
        return f"login attempt of {self.attempted_at:%Y-%m-%d %H:%M} UTC"
