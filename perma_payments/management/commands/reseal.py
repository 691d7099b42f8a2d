"""``manage.py reseal``: on the offline machine, seal exported responses to another key."""

import hashlib
from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ...sealed_archive import CannotOpen, SealedArchive, open_sealed
from ...setting_parsers import ARCHIVE_PUBLIC_KEY
from ._archive_key import add_key_file, archive_key
from ._sealed_file import add_file, cannot_open, end, new_file, read


class Command(BaseCommand):
    help = (
        "Open exported responses with the old secret key, and seal them to a new public half, in a new file for "
        "import_resealed. Only what the new secret key has opened is written. It needs no database and no "
        "setting: do this on the offline machine."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_file(parser, "a file from export_sealed")
        parser.add_argument(
            "--to", type=_archive, required=True, help="the new public half, as in ARCHIVE_PUBLIC_KEY"
        )
        parser.add_argument("--output", type=Path, required=True, help="a new file")
        add_key_file(parser, key="the old secret key")
        add_key_file(parser, "--new-key-file", key="the new secret key")

    def handle(self, *args: Any, **options: Any) -> None:
        archive: SealedArchive = options["to"]
        problems: list[str] = []
        resealed = already = 0
        old_key_of = cache(lambda key_id: archive_key(options["key_file"], key_id))
        new_key = archive_key(options["new_key_file"], archive.key_id)
        with new_file(options["output"]) as write:
            for response in read(options["file"], problems):
                if response.archive_key_id == archive.key_id:
                    already += 1
                    continue
                try:
                    body = open_sealed(response.sealed, old_key_of(response.archive_key_id))
                except CannotOpen:
                    problems.append(cannot_open(response))
                    continue
                sealed = archive.seal(body)
                try:
                    open_sealed(sealed, new_key)
                except CannotOpen:
                    raise CommandError(
                        f"The new secret key does not open what is sealed to {archive}: it is not the other half. "
                        "Nothing was written."
                    ) from None
                write(
                    replace(
                        response,
                        archive_key_id=archive.key_id,
                        sealed=sealed,
                        archive_public_key=str(archive),
                        old_key_id=response.archive_key_id,
                        old_digest=hashlib.sha256(response.sealed).hexdigest(),
                    )
                )
                resealed += 1
        self.stdout.write(f"Resealed to key {archive.key_id}: {resealed:,}. Already sealed to it: {already:,}.")
        end(problems)


def _archive(text: str) -> SealedArchive:
    try:
        return SealedArchive(*ARCHIVE_PUBLIC_KEY.parse(text))
    except ValueError:
        # Not quoted: it may be a secret key.
        raise ArgumentTypeError(f"expected {ARCHIVE_PUBLIC_KEY.expected}") from None
