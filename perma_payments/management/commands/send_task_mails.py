"""``manage.py send_task_mails``: tell staff of the tasks that nobody was told of yet."""
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ...services.outbox import send_task_mails


class Command(BaseCommand):
    """Mail what could not be mailed at once. Safe to run at any time, and twice at once."""

    help = "Mail the staff tasks that nobody was told of yet."

    def handle(self, *args: Any, **options: Any) -> None:
        """See Django's BaseCommand."""
        sent, failed = send_task_mails(now=timezone.now())
        self.stdout.write(f"Sent: {sent}. Not sent: {failed}.")
        if failed:
            raise CommandError("The mail server did not take them; the log says why.")
