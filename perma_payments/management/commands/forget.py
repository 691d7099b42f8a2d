"""``manage.py forget``: empty what is kept for a while only."""
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from ...services import clock


class Command(BaseCommand):
    """Forget what the clock would. Safe to run at any time."""

    help = "Forget the subscription ids in old previews of status reports, and old tries to log in."

    def handle(self, *args: Any, **options: Any) -> None:
        """See Django's BaseCommand."""
        ids, tries = clock.forget(now=timezone.now())
        self.stdout.write(f"Forgotten: subscription ids {ids}, tries to log in {tries}.")
