"""The archive's secret key, for commands that need it: from a file or a prompt, and nowhere else."""

import getpass
from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import CommandError

from ...sealed_archive import secret_half


def add_key_file(
    parser: ArgumentParser, option: str = "--key-file", key: str = "the archive's secret key"
) -> None:
    parser.add_argument(option, type=Path, help=f"a file that holds {key}; otherwise, you are asked for it")


def archive_key(path: Path | None, key_id: str) -> bytes:
    """The secret key (32 bytes), from the file or a hidden prompt. Raises CommandError if it is no key."""
    if path is None:
        try:
            text = getpass.getpass(f"Secret key of the archive ({key_id}): ")
        except EOFError:
            raise CommandError("There is nobody to ask for the secret key. Name a file that holds it.") from None
    else:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, ValueError) as error:
            raise CommandError(f"{path} cannot be read: {type(error).__name__}.") from None
    try:
        return secret_half(text)
    except ValueError:
        raise CommandError(
            "That is not a secret key: expected 32 bytes in base64, as from generate_keys."
        ) from None
