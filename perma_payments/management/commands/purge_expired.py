"""``manage.py purge_expired``: purge what is kept for a while only."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from ...services import scheduler


class Command(BaseCommand):
    """Purge what the scheduler would. Safe to run at any time."""

    help = "Purge the subscription ids in old previews of status reports, and old login attempts."

    def handle(self, *args: Any, **options: Any) -> None:
        """See Django's BaseCommand."""
        ids, tries = scheduler.purge_expired(now=timezone.now())
        self.stdout.write(f"Purged: subscription ids {ids}, login attempts {tries}.")
