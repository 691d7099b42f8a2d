"""``manage.py remind_of_overdue``: the overdue reminder, once a day."""

from ._daily_job import DailyJobCommand


class Command(DailyJobCommand):
    help = "Mail what has waited too long, if anything has. Does nothing if it was done today."
    job = "overdue reminder"
