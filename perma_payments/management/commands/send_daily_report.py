"""``manage.py send_daily_report``: mail what is still to do, or that nothing is."""

from ._daily_job import DailyJobCommand


class Command(DailyJobCommand):
    """The daily report, once a day."""

    help = "Mail what is still to do, or that nothing is. Does nothing if it was done today."
    job = "daily report"
