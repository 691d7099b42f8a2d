"""``manage.py send_daily_report``: send the daily report, once a day."""

from ._daily_job import DailyJobCommand


class Command(DailyJobCommand):
    help = (
        "Mail staff the open tasks, or tell developers that there are none. Does nothing if that was done today."
    )
    job = "daily report"
