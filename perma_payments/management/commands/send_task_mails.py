"""``manage.py send_task_mails``: mail staff the tasks that have not been mailed yet."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ...admin.login.password_reset import send_links
from ...models import StaffTask
from ..jobs import send_task_mails


class Command(BaseCommand):
    help = (
        "Mail staff the tasks that have not been mailed yet, unless it is too soon to retry, and the links for "
        "new passwords that they have asked for. Safe to run at any time, even concurrently."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        sent = send_task_mails(now=timezone.now()).number
        send_links(now=timezone.now())
        unsent = StaffTask.objects.filter(done_at=None, notified_at=None).count()
        self.stdout.write(f"Sent: {sent}. Not sent: {unsent}.")
        if unsent:
            raise CommandError(
                "The mail server did not accept some mail, now or earlier; the log says why. Run this again "
                "later: mail is retried after up to five minutes, or after an hour or more if it may have arrived."
            )
