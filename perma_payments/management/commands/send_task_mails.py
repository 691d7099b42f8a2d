"""``manage.py send_task_mails``: mail staff the tasks that are still to be mailed."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ...models import StaffTask
from ..jobs import send_task_mails


class Command(BaseCommand):
    help = (
        "Mail staff the tasks that nobody has been told of, unless it is too soon to try again. Safe to run at "
        "any time, even concurrently."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        sent = send_task_mails(now=timezone.now()).number
        unsent = StaffTask.objects.filter(done_at=None, notified_at=None).count()
        self.stdout.write(f"Sent: {sent}. Not sent: {unsent}.")
        if unsent:
            raise CommandError(
                "Some mails were not taken by the mail server, now or earlier; the log says why. Run this again "
                "later: a mail that failed waits for up to five minutes, and one that may have arrived for longer."
            )
