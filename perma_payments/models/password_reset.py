"""Links for setting a new password that staff have asked for, and that are still to be mailed."""

from datetime import timedelta

from django.conf import settings
from django.db import models

# After this, a link that could not be mailed is given up: the person has asked again, or no longer needs it.
PASSWORD_RESET_REQUEST_COUNTS_FOR = timedelta(hours=1)


class PasswordResetRequest(models.Model):
    """Deleted when the link is mailed. The link itself is made only then, and kept nowhere."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    requested_at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"password reset asked for on {self.requested_at:%Y-%m-%d %H:%M} UTC"
