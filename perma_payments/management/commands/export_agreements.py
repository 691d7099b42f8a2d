"""``manage.py export_agreements``: what a next processor or service needs to take over (docs/moving.md)."""

import json
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from django.core.management.base import BaseCommand
from django.utils import timezone

from ...services.moving import export
from ._new_file import new_text_file


class Command(BaseCommand):
    help = (
        "Write all subscriptions and purchases to a new file, as JSON, as they are at one moment. The file holds "
        "payment tokens, which charge customers' cards, so only its owner can read it. See docs/moving.md."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--output", type=Path, required=True, help="a new file")

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        with new_text_file(options["output"]) as file, export.snapshot():
            head = {"format": export.FORMAT, "version": export.VERSION, "exported_at": export.utc(now)}
            file.write(json.dumps(head)[:-1])
            counts = {
                name: _write(file, name, rows)
                for name, rows in (("agreements", export.agreements(now=now)), ("purchases", export.purchases()))
            }
            file.write("}\n")
        numbers = " and ".join(f"{count:,} {name}" for name, count in counts.items())
        self.stdout.write(
            f"{options['output']} has {numbers}. It holds payment tokens: delete it when you no longer need it."
        )


def _write(file: TextIO, name: str, rows: Iterable[export.Json]) -> int:
    """Write a list, one row to a line, so that no more than one is in memory; return how many."""
    count = 0
    file.write(f', "{name}": [')
    for row in rows:
        file.write(("," if count else "") + "\n" + json.dumps(row))
        count += 1
    file.write("\n]")
    return count
