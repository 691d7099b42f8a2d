"""Files of sealed responses, which carry them to the offline machine and back: JSON Lines.

Each line is an object with the attributes of SealedResponse, the bytes in base64, and ``"version": 1``. Nothing in
it is personal data, except what is sealed. A line that cannot be used does not keep the others from being used.
"""

import base64
import json
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC
from pathlib import Path

from django.core.management.base import CommandError

from ...models import Response
from ._new_file import new_text_file

VERSION = 1
# As many problems as a person would read.
SHOWN_PROBLEMS = 20


@dataclass(frozen=True)
class SealedResponse:
    """A response in a file. ``received_at`` is in ISO format, in UTC.

    The last three are empty until it is resealed: the public half that it was resealed to (as in
    ARCHIVE_PUBLIC_KEY), the id of the key before, and the SHA-256, in hex, of what was sealed to that one.
    """

    response: int
    archive_key_id: str
    received_at: str
    decision: str
    transaction_uuid: str
    sealed: bytes
    archive_public_key: str = ""
    old_key_id: str = ""
    old_digest: str = ""

    @classmethod
    def of(cls, response: Response) -> "SealedResponse":
        """Return a response of the database as it is in a file."""
        return cls(
            response=response.pk,
            archive_key_id=response.archive_key_id,
            received_at=response.received_at.astimezone(UTC).isoformat(),
            decision=response.decision,
            transaction_uuid=response.transaction_uuid,
            sealed=bytes(response.sealed),
        )

    @classmethod
    def of_line(cls, line: bytes) -> "SealedResponse":
        """Read what ``line`` returned. Raises ValueError for anything else."""
        try:
            values = json.loads(line)
            if values.pop("version") != VERSION:
                raise ValueError("another version")
            values["sealed"] = base64.b64decode(values["sealed"], validate=True)
            read = cls(**values)
        except (AttributeError, KeyError, TypeError, RecursionError) as error:
            raise ValueError("not an exported response") from error
        found = [(getattr(read, each.name), each.type) for each in fields(cls)]
        # What commands show of it must not be able to control the terminal.
        if any(type(value) is not kind or (kind is str and not value.isprintable()) for value, kind in found):
            raise ValueError("not an exported response")
        return read

    def line(self) -> str:
        """Return the line of a file, with its end."""
        return (
            json.dumps({"version": VERSION, **asdict(self), "sealed": base64.b64encode(self.sealed).decode()})
            + "\n"
        )


def add_file(parser: ArgumentParser, what: str, *, required: bool = True) -> None:
    parser.add_argument("--file", type=Path, required=required, help=what)


def read(path: Path, problems: list[str]) -> Iterator[SealedResponse]:
    """Yield the responses in a file, and add a sentence to ``problems`` for each line that holds none.

    Raises CommandError if the file cannot be read.
    """
    is_empty = True
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                is_empty = False
                try:
                    yield SealedResponse.of_line(line)
                except ValueError:
                    problems.append(f"Line {number} of {path} is damaged, or not from export_sealed.")
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {type(error).__name__}.") from None
    if is_empty:
        problems.append(f"{path} is empty.")


@contextmanager
def new_file(path: Path) -> Iterator[Callable[[SealedResponse], None]]:
    """Give a function that writes a response to a new file, as in _new_file.py."""
    with new_text_file(path) as file:
        yield lambda response: print(response.line(), end="", file=file)


def cannot_open(response: SealedResponse) -> str:
    return (
        f"This key does not open response {response.response}, which is sealed to key {response.archive_key_id}."
    )


def end(problems: list[str]) -> None:
    """Raise CommandError if there were any problems."""
    if problems:
        shown, more = problems[:SHOWN_PROBLEMS], len(problems) - SHOWN_PROBLEMS
        raise CommandError("\n".join([*shown, f"And {more:,} more."] if more > 0 else shown))
