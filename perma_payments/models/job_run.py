"""Which daily jobs have been done."""
from django.db import models
from django.utils import timezone


class JobRun(models.Model):
    """One daily job, done on one day. Written when it is done, so that nobody does it again."""

    job = models.CharField(max_length=50)
    day = models.DateField()
    done_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "day"], name="job_run_once_a_day")]

    def __str__(self) -> str:
        return f"{self.job} on {self.day}"
