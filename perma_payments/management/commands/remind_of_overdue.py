"""``manage.py remind_of_overdue``: send the overdue reminder, once a day."""

from ._daily_job import DailyJobCommand


class Command(DailyJobCommand):
    help = "Mail staff and developers about what is overdue, if anything is. Does nothing if that was done today."
    job = "overdue reminder"
