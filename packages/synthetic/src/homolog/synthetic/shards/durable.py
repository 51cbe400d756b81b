"""Write a file that is either whole and on the disk under its name, or not there."""

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from homolog.core.atomic import atomic
from homolog.core.errors import DataError, HomologError


@contextmanager
def durable(path: Path) -> Generator[BinaryIO]:
    """Give a file to write to; it gets the name `path` once all of it is on the disk.

    `homolog.core.atomic` survives a killed process. This also survives a machine that loses its power:
    content goes to the disk before the name does, so that whoever writes a second file after this one can
    rely on the first.

    Raises:
        DataError: it cannot be written; nothing is left, and what was there under that name still is.
    """
    try:
        with atomic(path) as temporary, temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(path.parent)
    except HomologError:
        raise
    except OSError as error:
        advice = "allow larger files" if error.errno == errno.EFBIG else "check the disk"
        raise DataError(f"{path}: cannot write it ({error.strerror or error}); {advice}") from error


def write_durably(path: Path, content: bytes) -> None:
    """Write bytes; see `durable`.

    Raises:
        DataError: they cannot be written.
    """
    with durable(path) as file:
        file.write(content)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # elsewhere a folder cannot be opened
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
