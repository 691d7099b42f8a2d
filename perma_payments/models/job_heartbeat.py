"""When the scheduler's jobs last ran: monitoring and the admin's front page tell from it that it is alive."""

from django.db import models


class JobHeartbeat(models.Model):
    """One job, whichever scheduler runs it. Each writes it at most once a minute (services/heartbeats.py)."""

    job = models.CharField(max_length=50, unique=True)
    ran_at = models.DateTimeField()
    succeeded_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.job}, last run at {self.ran_at:%Y-%m-%d %H:%M} UTC"
