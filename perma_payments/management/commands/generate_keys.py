"""``manage.py generate_keys``: make the keys that staging and production need."""

import base64
import secrets
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone
from nacl.public import PrivateKey

from ...sealed_archive import SECRET_LABEL


class Command(BaseCommand):
    help = (
        "Print a new key pair for PERMA_PAYMENTS_SECRET_KEY and a new SECRET_KEY; with --archive, the key pair of "
        "the archive of sealed responses instead. Make that one on a machine that is not the server, and keep its "
        "secret half offline."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--archive", action="store_true", help="a pair for ARCHIVE_PUBLIC_KEY, to seal full responses to"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        pair = PrivateKey.generate()
        if options["archive"]:
            self.stdout.write(f"secret key, to be kept offline:  {SECRET_LABEL}{_text(bytes(pair))}")
            self.stdout.write(f"ARCHIVE_PUBLIC_KEY={timezone.now():%Y-%m-%d}:{_text(bytes(pair.public_key))}")
            return
        self.stdout.write(f"secret key:  {_text(bytes(pair))}")
        self.stdout.write(f"public key:  {_text(bytes(pair.public_key))}")
        self.stdout.write(f"SECRET_KEY:  {secrets.token_urlsafe(50)}")


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode("ascii")
