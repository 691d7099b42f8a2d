"""``manage.py send_task_mails``: tell staff of the tasks that nobody was told of yet."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ...services.staff_tasks.outbox import count_unsent, send_task_mails


class Command(BaseCommand):
    """Mail what is due. Safe to run at any time, even concurrently."""

    help = "Mail the staff tasks that nobody was told of yet, unless it is too soon to try again."

    def handle(self, *args: Any, **options: Any) -> None:
        """See Django's BaseCommand."""
        sent = send_task_mails(now=timezone.now()).sent
        unsent = count_unsent()
        self.stdout.write(f"Sent: {sent}. Not sent: {unsent}.")
        if unsent:
            raise CommandError(
                "The mail server did not take them, now or a while ago; the log says why. Run this again later: "
                "after a failure it waits for up to five minutes, and for longer where a mail may have arrived."
            )
