"""Which daily jobs have been done."""

from django.db import models


class JobRun(models.Model):
    """One daily job on one day. A process claims it first, so no other process does it as well."""

    job = models.CharField(max_length=50)
    day = models.DateField()
    attempts = models.PositiveIntegerField(default=0, db_default=0)
    next_attempt_at = models.DateTimeField(null=True)
    done_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "day"], name="job_run_once_a_day")]

    def __str__(self) -> str:
        return f"{self.job} on {self.day}"
