"""New files, which only their owner can read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from django.core.management.base import CommandError


@contextmanager
def new_text_file(path: Path) -> Iterator[TextIO]:
    """Open a new file for text in ASCII. At the end, the file is on the disk, whole.

    If anything fails, or nothing was written, there is no file. Raises CommandError if it cannot be written, or is
    there already.
    """
    try:
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii")
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                is_empty = file.tell() == 0
        except BaseException:
            path.unlink()
            raise
        if is_empty:
            path.unlink()
    except FileExistsError:
        raise CommandError(f"{path} exists, and is not overwritten. Name another file.") from None
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {type(error).__name__}.") from None
