"""``manage.py open_response``: open a sealed response with the offline key in hand."""
import base64
import binascii
import getpass
from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from django.core.management.base import BaseCommand, CommandError

from ...models import Response
from ...vault import CannotOpen, open_sealed


class Command(BaseCommand):
    """Show the full POST of a response. The secret key comes from a file or a prompt, never from the settings."""

    help = (
        "Show what CyberSource sent. The vault's secret key (base64) is asked for, or read from a file. "
        "What is shown is personal data: do not keep it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """See Django's BaseCommand."""
        parser.add_argument("response", type=int, help="the response's number, as the admin and the log show it")
        parser.add_argument("--key-file", type=Path, help="a file that holds the vault's secret key, in base64")

    def handle(self, *args: Any, **options: Any) -> None:
        """See Django's BaseCommand."""
        response = Response.objects.filter(pk=options["response"]).first()
        if response is None:
            raise CommandError(f"There is no response {options['response']}.")
        try:
            body = open_sealed(bytes(response.sealed), _secret_key(options["key_file"], response.vault_key_id))
        except CannotOpen:
            raise CommandError(
                f"This key does not open response {response.pk}: it was sealed to the key {response.vault_key_id}."
            ) from None
        for name, value in sorted(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)):
            self.stdout.write(f"{name} = {value}")


def _secret_key(path: Path | None, key_id: str) -> bytes:
    if path is None:
        text = getpass.getpass(f"Secret key of the vault ({key_id}), in base64: ")
    else:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise CommandError(f"{path} cannot be read: {type(error).__name__}.") from None
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise CommandError("That is not a secret key: expected 32 bytes in base64, as generate_keys prints them.")
    return key
