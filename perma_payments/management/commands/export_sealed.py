"""``manage.py export_sealed``: write sealed responses to a file, for the offline machine."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q, QuerySet

from ...models import Response
from ._sealed_file import SealedResponse, end, new_file

# Responses that are read at once. Each has some 7 kB.
PAGE = 500


class Command(BaseCommand):
    help = (
        "Write sealed responses to a file, which open_response, check_keys and reseal read on the offline "
        "machine. Besides what is sealed, it holds ids, decisions and times. Each option narrows the selection."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("ids", nargs="*", type=_ids, help="ids of responses, and ranges of them: 7 12-20")
        parser.add_argument(
            "--since", type=_time, help="those received since then: 2026-11-25, or 2026-11-25T14:00"
        )
        parser.add_argument("--transaction-uuid", type=UUID, help="those to one checkout")
        parser.add_argument("--reference-number", help="those of one subscription or purchase: PERMA-1943-7227")
        parser.add_argument("--key-id", help="those sealed to the archive's key with this id")
        parser.add_argument("--newest", action="store_true", help="only the newest of them")
        parser.add_argument("--output", type=Path, help="a new file; otherwise, standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        problems: list[str] = []
        missing = {ids.start for ids in options["ids"] if len(ids) == 1}
        count = 0
        selected = _selected(**options)
        output = options["output"]
        to_stdout = nullcontext(lambda response: self.stdout.write(response.line(), ending=""))
        with to_stdout if output is None else new_file(output) as write:
            for response in selected:
                count += 1
                write(SealedResponse.of(response))
                missing.discard(response.pk)
        self.stderr.write(f"Exported: {count:,}.")
        if not options["newest"]:
            problems += [f"There is no sealed response {each} to export." for each in sorted(missing)]
        if not count and not problems:
            problems = ["No sealed response matches."]
        end(problems)


def _selected(**options: Any) -> Iterator[Response]:
    """Yield the responses that the options select, by id. Raises CommandError if there is no such option."""
    conditions = [
        Q(**{lookup: value})
        for lookup, value in (
            ("received_at__gte", options["since"]),
            ("transaction_uuid", options["transaction_uuid"] and str(options["transaction_uuid"])),
            ("reference_number__iexact", options["reference_number"]),
            ("archive_key_id", options["key_id"]),
        )
        if value is not None
    ]
    if options["ids"]:
        conditions.append(reduce(or_, (Q(pk__range=(ids.start, ids.stop - 1)) for ids in options["ids"])))
    if not conditions and not options["newest"]:
        raise CommandError("Say which responses: by their ids, with --newest, or with another option (--help).")
    responses = Response.objects.filter(*conditions, recorded_by=None)
    if options["newest"]:
        return iter(responses.order_by("-received_at", "-pk")[:1])
    return _paged(responses.order_by("pk"))


def _paged(responses: QuerySet[Response]) -> Iterator[Response]:
    page = list(responses[:PAGE])
    while page:
        yield from page
        page = list(responses.filter(pk__gt=page[-1].pk)[:PAGE])


def _ids(text: str) -> range:
    found = re.fullmatch(r"([0-9]{1,18})(?:-([0-9]{1,18}))?", text)
    if not found:
        raise ArgumentTypeError(f"{text!r} is not an id, as in 7, nor a range of ids, as in 12-20")
    return range(int(found[1]), int(found[2] or found[1]) + 1)


def _time(text: str) -> datetime:
    """Read a day or a time, in UTC unless it says otherwise."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a day or time, as in 2026-11-25T14:00") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
