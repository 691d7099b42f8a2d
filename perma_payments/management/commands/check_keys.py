"""``manage.py check_keys``: check that the offline key opens what was sealed, and what is sealed today."""

import base64
import secrets
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from nacl.public import PrivateKey

from ... import development
from ...env import Env
from ...sealed_archive import CannotOpen, SealedArchive, open_sealed
from ...setting_parsers import ARCHIVE_PUBLIC_KEY
from ._archive_key import add_key_file, archive_key
from ._sealed_file import add_file, cannot_open, end, read


class Command(BaseCommand):
    help = (
        "Check that the archive's secret key opens what is sealed today: that it is the secret half of "
        "ARCHIVE_PUBLIC_KEY. With --file, check that it opens every response in a file, and also what is sealed "
        "today if ARCHIVE_PUBLIC_KEY is set. No other setting is needed, and no database, so run this on the "
        "offline machine: ARCHIVE_PUBLIC_KEY=id:archive-public:key manage.py check_keys --file newest.jsonl"
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_file(parser, "a file from export_sealed or reseal", required=False)
        add_key_file(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        env = Env.of_process(settings.BASE_DIR / ".env")
        file = options["file"]
        setting = env.require if file is None else env.read
        key_id, public_key = setting("ARCHIVE_PUBLIC_KEY", ARCHIVE_PUBLIC_KEY, development.ARCHIVE_PUBLIC_KEY)
        if env.problems:
            raise CommandError("\n".join(env.problems))
        is_given = "ARCHIVE_PUBLIC_KEY" in env.given
        key = archive_key(options["key_file"], key_id if is_given or file is None else str(file))
        if file is not None:
            self.stdout.write(_opened(file, key))
        if file is not None and not is_given:
            self.stdout.write(
                "Not checked: whether it opens what is sealed today. To check that, too, set ARCHIVE_PUBLIC_KEY."
            )
            return
        name = f"ARCHIVE_PUBLIC_KEY ({f'id {key_id}' if is_given else 'not set, so development uses its own'})"
        sealed = SealedArchive(key_id=key_id, public_key=public_key).seal(secrets.token_bytes(32))
        try:
            open_sealed(sealed, key)
        except CannotOpen:
            raise CommandError(_why_not(key, public_key, name)) from None
        self.stdout.write(f"This key opens what is sealed today: it is the secret half of {name}.")


def _opened(file: Path, key: bytes) -> str:
    """Say what a key has opened. Raises CommandError if it does not open all responses in a file."""
    problems: list[str] = []
    count, newest = 0, None
    for response in read(file, problems):
        try:
            open_sealed(response.sealed, key)
        except CannotOpen:
            problems.append(cannot_open(response))
        count += 1
        if newest is None or response.received_at >= newest.received_at:
            newest = response
    end(problems)
    assert newest is not None  # an empty file is a problem
    return (
        f"This key opens every response in {file} ({count:,}). The newest is response {newest.response}, received "
        f"{newest.received_at}, sealed to key {newest.archive_key_id}."
    )


def _why_not(key: bytes, public_key: bytes, name: str) -> str:
    if key != public_key:
        public_half = base64.b64encode(bytes(PrivateKey(key).public_key)).decode()
        return (
            f"This key does not open what is sealed today: it is not the secret half of {name}. "
            f"Its public half is {public_half}."
        )
    return (
        f"This key is the same as {name}, so it does not open what is sealed today. If it is the secret half, "
        "ARCHIVE_PUBLIC_KEY holds the wrong half: nobody can open what was sealed with it, and the secret half "
        "has been on the server. Make a new pair with manage.py generate_keys --archive, and set its public half "
        "under a new id. If it is the public half, check the secret half instead."
    )
