"""Read npz archives, members that hold pickled objects included, without running what they say."""

import io
import math
import zipfile
import zlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, cast

import numpy as np

from homolog.core.errors import DataError
from homolog.data.safe_pickle import read_pickle

MAXIMUM_BYTES = 16 * 1024**3
"""An archive that unfolds to more is refused before it is unfolded."""

_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    ValueError,
)
_HEADERS: dict[tuple[int, int], Callable[..., Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def load_npz(
    path: str | Path, *, limit: int = MAXIMUM_BYTES, only: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Read the members of an archive.

    Args:
        path: the archive.
        limit: how many bytes they may unfold to.
        only: names of those that are wanted and need not all be there; None reads all.

    Returns:
        The arrays by name; those of objects hold numpy arrays and plain containers only.

    Raises:
        DataError: the file is missing, damaged, too large, or asks for anything but arrays and containers.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [
                member
                for member in archive.infolist()
                if only is None or member.filename.removesuffix(".npy") in only
            ]
            total = sum(member.file_size for member in members)
            if total > limit:
                raise DataError(
                    f"{path}: expected at most {limit:,} bytes unfolded, got {total:,}; do not trust it"
                )
            return {
                member.filename.removesuffix(".npy"): read_npy(
                    io.BytesIO(archive.read(member)), name=f"{path}, {member.filename}"
                )
                for member in members
            }
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: expected an npz archive, but there is no such file; check the path"
        ) from error
    except DataError:
        raise
    except (*_BROKEN, NotImplementedError, RuntimeError, zipfile.LargeZipFile) as error:
        raise DataError(
            f"{path}: expected a whole npz archive, got a damaged or truncated one ({error}); obtain it again"
        ) from error


def member_names(path: Path) -> set[str]:
    """Return the names of the members of an archive; none for any other file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return set()


def read_npy(file: io.BufferedIOBase, *, name: str) -> np.ndarray:
    """Read one array in numpy's format, from an open file.

    Args:
        file: standing at the beginning of the array, and able to seek.
        name: what error messages call it.

    Raises:
        DataError: it is damaged, truncated, or asks for anything but arrays and containers.
    """
    try:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise DataError(f"{name}: expected numpy's format 1 or 2, got {version}; save it again")
        shape, fortran, dtype = cast("tuple[tuple[int, ...], bool, np.dtype[Any]]", _HEADERS[version](file))
        if dtype.hasobject:
            return _objects(file, shape, dtype, name)
        # Before memory is reserved: a header can announce any shape.
        expected, left = math.prod(shape) * dtype.itemsize, _left(file)
        if expected != left:
            raise DataError(f"{name}: expected {expected:,} bytes for {list(shape)} {dtype}, got {left:,}")
        flat = np.frombuffer(file.read(), dtype=dtype) if expected else np.empty(0, dtype=dtype)
        return flat.reshape(shape, order="F" if fortran else "C")
    except DataError:
        raise
    except (*_BROKEN, SyntaxError, TypeError) as error:
        raise DataError(
            f"{name}: expected an array in numpy's format, got {error}; obtain it again"
        ) from error


def _objects(
    file: io.BufferedIOBase, shape: tuple[int, ...], dtype: "np.dtype[Any]", name: str
) -> np.ndarray:
    if dtype != np.dtype(object):
        raise DataError(f"{name}: expected an array of numbers or of objects, got {dtype}")
    array = read_pickle(file, name=name)
    if not isinstance(array, np.ndarray) or array.shape != shape:
        raise DataError(f"{name}: expected an array {list(shape)} of objects, got something else")
    return array


def _left(file: io.BufferedIOBase) -> int:
    here = file.tell()
    end = file.seek(0, io.SEEK_END)
    file.seek(here)
    return end - here
