"""``manage.py open_response``: open a sealed response with the offline key."""

from argparse import ArgumentParser
from typing import Any
from urllib.parse import parse_qsl

from django.core.management.base import BaseCommand, CommandError

from ...models import Response
from ...sealed_archive import CannotOpen, open_sealed
from ._archive_key import add_key_file, archive_key


class Command(BaseCommand):
    help = (
        "Show what CyberSource sent. You are asked for the archive's secret key (base64), unless you name a file "
        "that holds it. The output is personal data: do not keep it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("response", type=int, help="the response's id, as in the admin and the log")
        add_key_file(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        response = Response.objects.filter(pk=options["response"]).first()
        if response is None:
            raise CommandError(f"There is no response {options['response']}.")
        if response.recorded_by is not None:
            raise CommandError(f"Response {response.pk} was recorded by staff, so there is nothing to open.")
        try:
            body = open_sealed(bytes(response.sealed), archive_key(options["key_file"], response.archive_key_id))
        except CannotOpen:
            raise CommandError(
                f"This key does not open response {response.pk}, which is sealed to key {response.archive_key_id}."
            ) from None
        for name, value in sorted(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)):
            self.stdout.write(f"{name} = {value}")
