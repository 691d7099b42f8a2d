"""``manage.py purge_expired``: purge what is kept for a limited time only."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from ..jobs import purge_expired


class Command(BaseCommand):
    help = (
        "Delete what is kept only for a while: previews of reports, lines of old ones, login attempts, sessions."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"Purged: {purge_expired(now=timezone.now())}.")
