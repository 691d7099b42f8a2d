"""``manage.py after_restore``: make a database that was restored to an earlier moment safe to use."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import ProgrammingError
from django.utils import timezone
from psycopg2 import errors

from ...admin.mails import task_mail
from ...services.restore import MARGIN, clock_is_wrong, make_safe


class Command(BaseCommand):
    help = (
        "Run this after the database was restored to an earlier moment, and before the web server and the "
        "scheduler start. Then no id is issued twice, and no purchase is offered that Perma.cc may have credited "
        "already. It prints what to compare with CyberSource and Perma.cc. Run it as the role that owns the "
        "tables. It can be repeated. See docs/backup.md."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--margin",
            type=int,
            default=MARGIN,
            help=f"move each sequence forward by at least this many ids (default: {MARGIN})",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.CHECKOUTS_FROZEN:
            raise CommandError(
                "First set CHECKOUTS_FROZEN=true, here and on every web server, until what was lost is found: "
                "customers who have paid could pay again. Nothing was changed."
            )
        if options["margin"] < 1:
            raise CommandError("--margin must be at least 1. Nothing was changed.")
        now = timezone.now()
        if clock_is_wrong(now=now):
            raise CommandError(
                "The clocks of this machine and of PostgreSQL differ by more than a minute. Set both right, and "
                "run this again. Nothing was changed."
            )
        try:
            result = make_safe(margin=options["margin"], now=now)
        except ProgrammingError as error:
            if not isinstance(error.__cause__, errors.InsufficientPrivilege):
                raise
            raise CommandError(
                "The role in DATABASE_URL may not move the sequences. Use the role that owns the tables, which is "
                "the one that runs migrate. Nothing was changed."
            ) from None
        except ValueError:
            raise CommandError("The database is empty, so nothing was restored. Nothing was changed.") from None
        if result.moved:
            self.stdout.write("Ids: each sequence continues after a gap.")
            width = max(len(each.sequence) for each in result.moved)
            for each in result.moved:
                self.stdout.write(f"  {each.sequence:{width}}  {each.old:>12,} -> {each.new:>12,}")
            self.stdout.write(
                f"Purchases withheld from Perma.cc until staff have checked them, each with a task: "
                f"{result.purchases}.\nLogins ended: {result.sessions}.\n"
            )
        else:
            self.stdout.write(
                f"This was done at {result.restore.done_at:%Y-%m-%d %H:%M} UTC, and nothing has happened since. "
                "Nothing was changed.\n"
            )
        self.stdout.write(f"Staff task {result.task.pk}, which the scheduler mails when it starts:\n")
        self.stdout.write(task_mail(result.task).body)
