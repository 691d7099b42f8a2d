"""``manage.py remind_of_overdue``: mail what has waited for too long, if anything has."""

from ._daily_job import DailyJobCommand


class Command(DailyJobCommand):
    """The overdue reminder, once a day."""

    help = "Mail what has waited for too long, if anything has. Does nothing if it was done today."
    job = "overdue reminder"
