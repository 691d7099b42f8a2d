"""``manage.py import_resealed``: put what was resealed offline in place of what it was made from."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import ProgrammingError, transaction

from ...services.resealing import CannotReplace, replace_sealed
from ._sealed_file import SealedResponse, add_file, end, new_file, read


class Command(BaseCommand):
    help = (
        "Replace sealed responses with the same, resealed to the key in ARCHIVE_PUBLIC_KEY. What is replaced is "
        "written to a new file first. Safe to run again: what is sealed to this key already stays as it is."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_file(parser, "a file from reseal")
        parser.add_argument("--keep", type=Path, required=True, help="a new file for what is replaced")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._import(**options)
        except ProgrammingError:
            raise CommandError(
                "The role in DATABASE_URL may not change what is sealed. Use the role that owns the tables: the "
                "one that runs migrate."
            ) from None

    def _import(self, **options: Any) -> None:
        archive = settings.SEALED_ARCHIVE
        problems: list[str] = []
        moved = already = 0
        # The file is on the disk, whole, before the transaction commits.
        with transaction.atomic(durable=True), new_file(options["keep"]) as write:
            for resealed in read(options["file"], problems):
                if resealed.archive_public_key != str(archive):
                    problems.append(
                        f"Response {resealed.response} was not resealed to the key that ARCHIVE_PUBLIC_KEY holds "
                        f"(id {archive.key_id})."
                    )
                    continue
                try:
                    is_new = replace_sealed(
                        resealed.response,
                        old_key_id=resealed.old_key_id,
                        old_digest=resealed.old_digest,
                        new_key_id=archive.key_id,
                        sealed=resealed.sealed,
                        keep=lambda response: write(SealedResponse.of(response)),
                    )
                except CannotReplace as reason:
                    problems.append(f"Response {resealed.response} {reason}.")
                    continue
                moved, already = moved + is_new, already + (not is_new)
        self.stdout.write(f"Moved to key {archive.key_id}: {moved:,}. Already sealed to it: {already:,}.")
        end(problems)
