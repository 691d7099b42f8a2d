"""``manage.py open_response``: open sealed responses with the offline key."""

import base64
import json
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from django.core.management.base import BaseCommand, CommandError

from ...models import Response
from ...sealed_archive import OLD_KEY, CannotOpen, open_old_sealed, open_sealed
from ._archive_key import add_key_file, archive_key
from ._sealed_file import SealedResponse, add_file, cannot_open, end, read


class Command(BaseCommand):
    help = (
        "Show what CyberSource sent. With --file, it is read from a file that export_sealed wrote, and neither "
        "the database nor any setting is needed: do that on the offline machine. The output is personal data: do "
        "not keep it. Backslashes, and what cannot be printed, are shown as escapes, such as \\x1b."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("ids", nargs="*", type=int, help="ids of responses, as in the admin and the log")
        add_file(parser, "a file from export_sealed; without ids, all that is in it is shown", required=False)
        add_key_file(parser)
        parser.add_argument(
            "--sender-key",
            type=_public_key,
            help="for responses that were imported from the old service: the public half, in base64, of the key "
            "that it sealed with, if it kept one",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        problems: list[str] = []
        ids = set(options["ids"])
        if options["file"] is not None:
            responses = _in_file(options["file"], ids, problems)
        elif ids:
            responses = _in_database(ids, problems)
        else:
            raise CommandError("Say which response, by its id, or name a file from export_sealed (--file).")
        key_of = cache(lambda key_id: archive_key(options["key_file"], key_id))
        for response in responses:
            try:
                body = _opened(response, key_of(response.archive_key_id), options["sender_key"])
            except CannotOpen:
                problems.append(_cannot_open(response, options["sender_key"]))
                continue
            self.stdout.write(
                f"Response {response.response}: {response.decision}, received {response.received_at}, "
                f"transaction {response.transaction_uuid}"
            )
            for pair in sorted(_fields(body)):
                self.stdout.write(" = ".join(_printable(each, self.stdout.encoding) for each in pair))
        end(problems)


def _in_file(path: Path, ids: set[int], problems: list[str]) -> Iterator[SealedResponse]:
    missing = set(ids)
    for response in read(path, problems):
        if not ids or response.response in ids:
            missing.discard(response.response)
            yield response
    problems += [f"Response {each} is not in {path}." for each in sorted(missing)]


def _in_database(ids: set[int], problems: list[str]) -> Iterator[SealedResponse]:
    for each in sorted(ids):
        response = Response.objects.filter(pk=each).first()
        if response is None:
            problems.append(f"There is no response {each}.")
        elif response.recorded_by_id is not None:
            problems.append(f"Response {each} was recorded by staff, so there is nothing to open.")
        else:
            yield SealedResponse.of(response)


def _opened(response: SealedResponse, key: bytes, sender: bytes | None) -> bytes:
    if response.archive_key_id.startswith(OLD_KEY):
        return open_old_sealed(response.sealed, key, sender)
    return open_sealed(response.sealed, key)


def _cannot_open(response: SealedResponse, sender: bytes | None) -> str:
    if not response.archive_key_id.startswith(OLD_KEY) or sender is not None:
        return cannot_open(response)
    return (
        f"{cannot_open(response)} It was sealed by the old service: if that kept a key of its own to seal with, "
        "name its public half (--sender-key)."
    )


def _fields(body: bytes) -> list[tuple[str, str]]:
    """The fields that were posted: our responses hold the form itself, those of the old service a JSON object."""
    text = body.decode("utf-8", "replace")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if isinstance(values, dict):
        return [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in values.items()]
    return parse_qsl(text, keep_blank_values=True)


def _public_key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ArgumentTypeError("expected 32 bytes in base64")
    return key


def _printable(text: str, encoding: str | None) -> str:
    """Return a text that cannot control a terminal, and that its encoding has all characters of."""
    escaped = (
        each if each.isprintable() and each != "\\" else each.encode("unicode_escape").decode() for each in text
    )
    encoding = encoding or "utf-8"
    return "".join(escaped).encode(encoding, "backslashreplace").decode(encoding)
