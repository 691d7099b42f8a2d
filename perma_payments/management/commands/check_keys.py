"""``manage.py check_keys``: check that the offline key opens what is sealed today."""

import base64
import secrets
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from nacl.public import PrivateKey

from ... import development
from ...env import Env
from ...sealed_archive import CannotOpen, SealedArchive, open_sealed
from ...setting_parsers import ARCHIVE_PUBLIC_KEY
from ._archive_key import add_key_file, archive_key


class Command(BaseCommand):
    help = (
        "Check that the archive's secret key opens what is sealed today: that it is the secret half of "
        "ARCHIVE_PUBLIC_KEY. You are asked for the secret key, unless you name a file that holds it. No other "
        "setting is needed, so you can run this on the offline machine: ARCHIVE_PUBLIC_KEY=id:key manage.py "
        "check_keys"
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_key_file(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        env = Env.of_process(settings.BASE_DIR / ".env")
        key_id, public_key = env.require("ARCHIVE_PUBLIC_KEY", ARCHIVE_PUBLIC_KEY, development.ARCHIVE_PUBLIC_KEY)
        if env.problems:
            raise CommandError("\n".join(env.problems))
        is_given = "ARCHIVE_PUBLIC_KEY" in env.given
        name = f"ARCHIVE_PUBLIC_KEY ({f'id {key_id}' if is_given else 'not set, so development uses its own'})"
        key = archive_key(options["key_file"], key_id)
        sealed = SealedArchive(key_id=key_id, public_key=public_key).seal(secrets.token_bytes(32))
        try:
            open_sealed(sealed, key)
        except CannotOpen:
            raise CommandError(_why_not(key, public_key, name)) from None
        self.stdout.write(f"This key opens what is sealed today: it is the secret half of {name}.")


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
