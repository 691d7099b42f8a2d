"""``manage.py apply_responses``: try again what could not be applied at once."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ...services.acknowledgement import open_tasks_for_doubts
from ...services.callbacks.retry import retry_responses


class Command(BaseCommand):
    """Apply the responses that are kept but not applied. Safe to run at any time, and twice at once."""

    help = "Apply CyberSource's responses that are kept but not applied yet."

    def handle(self, *args: Any, **options: Any) -> None:
        """See Django's BaseCommand."""
        open_tasks_for_doubts(now=timezone.now())
        applied, failed = retry_responses(now=timezone.now())
        self.stdout.write(f"Applied: {applied}. Not applied: {failed}.")
        if failed:
            raise CommandError("The log says which responses could not be applied; each has a staff task.")
