"""``manage.py generate_keys``: make the keys that staging and production need."""

import base64
import secrets
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone
from nacl.public import PrivateKey

from ...sealed_archive import SECRET_LABEL, SealedArchive


class Command(BaseCommand):
    help = (
        "Print a new key pair for PERMA_PAYMENTS_SECRET_KEYS, with today's date as its id, and a new SECRET_KEY. "
        "With --archive, print a pair for the archive of sealed responses instead. Do that away from the server: "
        "its secret half must stay offline."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--archive", action="store_true", help="print a pair for ARCHIVE_PUBLIC_KEY instead")

    def handle(self, *args: Any, **options: Any) -> None:
        pair = PrivateKey.generate()
        secret, public = (base64.b64encode(bytes(key)).decode() for key in (pair, pair.public_key))
        today = f"{timezone.now():%Y-%m-%d}"
        if options["archive"]:
            self.stdout.write(f"secret key, to be kept offline:  {SECRET_LABEL}{secret}")
            archive = SealedArchive(key_id=today, public_key=bytes(pair.public_key))
            self.stdout.write(f"ARCHIVE_PUBLIC_KEY={archive}")
        else:
            self.stdout.write(f"PERMA_PAYMENTS_SECRET_KEYS={today}:{secret}")
            self.stdout.write(f"its public half, for Perma.cc:  {public}")
            self.stdout.write(f"SECRET_KEY={secrets.token_urlsafe(50)}")
