"""How many subscriptions stood at the end of each month."""

from django.db import models
from django.db.models import Q


class MonthEnd(models.Model):
    """One month that is over. It is counted from the history once (services/month_ends.py), and stays so."""

    month = models.DateField(primary_key=True, help_text="Its first day.")
    standing = models.PositiveIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [models.CheckConstraint(condition=Q(month__day=1), name="month_end_of_month")]

    def __str__(self) -> str:
        return f"{self.month:%b %Y}: {self.standing}"
