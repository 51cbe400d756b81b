"""Matrices and lists of records in the text files of geometric benchmarks."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from homolog.core.errors import DataError
from homolog.data.annotation import read_lines, read_text


def read_matrix(path: Path, *, columns: int, rows: int | None = None, advice: str) -> np.ndarray:
    """Read a matrix: numbers between blanks or commas, in any number of lines.

    Args:
        path: the file.
        columns: of the matrix.
        rows: of the matrix; None takes as many as there are.
        advice: what to do when the file is missing.

    Returns:
        [rows columns], float64, finite.

    Raises:
        DataError: it is missing, or holds no such matrix.
    """
    lines = [line for line in read_lines(path, advice) if not line.startswith("#")]
    return matrix(" ".join(lines).replace(",", " ").split(), columns=columns, rows=rows, name=str(path))


def matrix(words: Sequence[str], *, columns: int, rows: int | None = None, name: str) -> np.ndarray:
    """Turn words into a matrix; see `read_matrix`.

    Args:
        words: the numbers, row by row.
        columns: of the matrix.
        rows: of the matrix; None takes as many as there are.
        name: what error messages call it.

    Raises:
        DataError: a word that is no finite number, or another count of them.
    """
    wanted = f"{rows or 'N'} x {columns} numbers"
    try:
        values = np.array([float(word) for word in words], dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{name}: expected {wanted}, got text ({error}); obtain the file again") from error
    if len(values) % columns or (rows is not None and len(values) != rows * columns):
        raise DataError(f"{name}: expected {wanted}, got {len(values)} numbers; obtain the file again")
    if not np.isfinite(values).all():
        raise DataError(f"{name}: expected {wanted}, got NaN or infinity; leave the sample out")
    return values.reshape(-1, columns)


def read_records(path: Path, advice: str) -> list[dict[str, Any]]:
    """Return the objects of a JSON file that is a list of them.

    Args:
        path: the file.
        advice: what to do when it is missing.

    Raises:
        DataError: it is missing, damaged, or holds something else.
    """
    try:
        value = json.loads(read_text(path, advice))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected JSON, got a damaged file ({error}); copy it again") from error
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in cast("list[Any]", value)):
        raise DataError(f"{path}: expected a JSON list of objects, got something else; {advice}")
    return cast("list[dict[str, Any]]", value)
