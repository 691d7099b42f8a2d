"""``manage.py generate_keys``: make the keys that production needs."""
import base64
import secrets
from typing import Any

from django.core.management.base import BaseCommand
from nacl.public import PrivateKey


class Command(BaseCommand):
    """Print a new NaCl key pair and a new SECRET_KEY. Nothing is stored; no database is needed."""

    help = (
        "Print a new key pair (for PERMA_PAYMENTS_SECRET_KEY or for the vault) and a new SECRET_KEY. "
        "Make the vault's pair on a machine that is not the server, and keep its secret half offline."
    )
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """See Django's BaseCommand."""
        pair = PrivateKey.generate()
        self.stdout.write(f"secret key:  {_text(bytes(pair))}")
        self.stdout.write(f"public key:  {_text(bytes(pair.public_key))}")
        self.stdout.write(f"SECRET_KEY:  {secrets.token_urlsafe(50)}")


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode("ascii")
