"""``manage.py purge_expired``: purge what is kept for a limited time only."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from ..jobs import purge_expired


class Command(BaseCommand):
    help = "Purge the subscription ids in old previews of status reports, and old login attempts."

    def handle(self, *args: Any, **options: Any) -> None:
        ids, attempts = purge_expired(now=timezone.now())
        self.stdout.write(f"Purged: subscription ids {ids}, login attempts {attempts}.")
