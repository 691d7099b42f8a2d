"""``manage.py import_legacy``: move in from the service that this one replaces (docs/moving.md)."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ...services.moving import read
from ...services.moving.read import CannotRead, OldDatabase, old_database
from ...services.moving.report import Report
from ...services.moving.write import CannotImport, Stopped, import_everything, survey

_TABLES = {"agreements": read.AGREEMENTS, "purchases": read.PURCHASES}


class Command(BaseCommand):
    help = (
        "Read the old service's database, whose address is in LEGACY_DATABASE_URL, and say what an import would "
        "do. With --import, do it, in one transaction. Nothing is ever written to the old database. Run this as "
        "the role that owns the tables. It can be run again: nothing is imported twice."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--import", action="store_true", dest="really", help="import, instead of only reporting"
        )
        parser.add_argument(
            "--leave-out",
            action="append",
            default=[],
            type=_leave_out,
            metavar="agreements:12,15",
            help="do not import these: ids of agreements, or of purchases (purchases:7), in the old database",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.LEGACY_DATABASE:
            raise CommandError(
                "Set LEGACY_DATABASE_URL to the address of the old service's database, as in "
                "postgres://reader:password@old.example.org/perma_payments. Or put it into a file, and the path "
                "of the file into LEGACY_DATABASE_URL_FILE."
            )
        leave_out: dict[str, set[int]] = {table: set() for table in _TABLES.values()}
        for table, ids in options["leave_out"]:
            leave_out[table] |= ids
        now = timezone.now()
        try:
            with old_database(settings.LEGACY_DATABASE) as database:
                self._show_contents(database)
                if not options["really"]:
                    report = survey(database, leave_out=leave_out, now=now)
                    self._show(report)
                    if report.stop_count:
                        raise CommandError(_stopped(report))
                    self.stdout.write("\nNothing was imported. To import, add --import.")
                    return
                report = import_everything(database, leave_out=leave_out, now=now)
        except Stopped as stopped:
            self._show(stopped.report)
            raise CommandError(_stopped(stopped.report)) from None
        except (CannotRead, CannotImport) as problem:
            raise CommandError(str(problem)) from None
        self._show(report)
        self.stdout.write(
            "\nImported and checked: Perma.cc is told what the old service told, except as listed above."
        )

    def _show_contents(self, database: OldDatabase) -> None:
        self.stdout.write("The old service has:")
        for table, count in database.counts().items():
            self.stdout.write(f"  {table:50} {count:>9,}")
        for name, counts in (("Agreements", database.statuses()), ("Responses", database.decisions())):
            self.stdout.write(f"{name}: " + ", ".join(f"{count:,} {_short(value)}" for value, count in counts))
        self.stdout.write("")

    def _show(self, report: Report) -> None:
        for line in report.lines():
            self.stdout.write(line)


def _stopped(report: Report) -> str:
    return f"Nothing was imported. Rows that stop the import: {report.stop_count:,}."


def _short(value: str) -> str:
    """Return a status or a decision, or a sign that it is something else."""
    return value if re.fullmatch(r"[A-Za-z ]{1,25}", value) else "(unreadable)"


def _leave_out(text: str) -> tuple[str, set[int]]:
    found = re.fullmatch(r"(agreements|purchases):([0-9]{1,10}(?:,[0-9]{1,10})*)", text)
    if not found:
        raise ArgumentTypeError(f"{text!r} is not like agreements:12,15 or purchases:7")
    return _TABLES[found[1]], {int(each) for each in found[2].split(",")}
