"""Atomic writes: a killed run leaves either the old file or the new one, never a partial file."""

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from homolog.core.errors import DataError


@contextmanager
def atomic(path: Path) -> Generator[Path]:
    """Yield a temporary path in the folder of `path`, and rename it to `path` on success.

    A missing folder is created. On any error, including Ctrl-C, the temporary file is removed and
    `path` is unchanged. A killed process can leave a file whose name begins with `.homolog-`, never a
    partial file under the final name.

    Raises:
        DataError: the folder cannot be created or written to, or the disk is full.
    """
    temporary = path.with_name(f".homolog-{secrets.token_hex(6)}{path.suffix}")
    try:
        # Inside `try`, so that an interruption right after its creation does not leave it behind.
        _begin(path, temporary)
        yield temporary
        _put_in_place(temporary, path)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DataError(f"{path}: cannot write it ({error.strerror}); free space on the disk") from error
        raise
    finally:
        with suppress(OSError):  # in a folder without write access there is nothing to remove
            temporary.unlink(missing_ok=True)


def _begin(path: Path, temporary: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise DataError(f"{path}: cannot write there ({error.strerror}); choose another folder") from error


def _put_in_place(temporary: Path, path: Path) -> None:
    try:
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot write it ({error.strerror}); choose another name") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def cache_folder() -> Path:
    """Return the folder for fetched weights and cached features: `$HOMOLOG_CACHE`, else `~/.cache/homolog`."""
    chosen = os.environ.get("HOMOLOG_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "homolog"


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
