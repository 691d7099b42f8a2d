"""``manage.py apply_responses``: apply the responses that could not be applied when they arrived."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ..jobs import apply_responses


class Command(BaseCommand):
    help = (
        "Apply the responses that have been kept but not applied yet. Safe to run at any time, even concurrently."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        applied, failed = apply_responses(now=timezone.now())
        self.stdout.write(f"Applied: {applied}. Not applied: {failed}.")
        if failed:
            raise CommandError("The log says which responses could not be applied; each has a staff task.")
