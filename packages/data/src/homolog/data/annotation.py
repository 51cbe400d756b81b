"""Read annotation files without trusting them: text, JSON, CSV, matrices, .flo, depth in HDF5.

Every error is one line that names the file, what was expected and what to do; `advice` is that for a missing file,
`source` and `what` name the annotation and the value.
"""

import csv
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.errors import DataError, MissingDependencyError
from homolog.core.image import Image
from homolog.core.io import MAXIMUM_PIXELS, read_image
from homolog.data.inventory import Layout


def root_of(root: str | Path, layout: Layout) -> Path:
    """Return the root folder of a data set.

    Raises:
        DataError: there is no such folder; the message says how to obtain the data set.
    """
    path = Path(root).expanduser()
    if not path.is_dir():
        raise DataError(f"{path}: expected the folder of {layout.name}, found none; {layout.advice()}")
    return path


def read_text(path: Path, advice: str) -> str:
    """Return the content of a text file.

    Raises:
        DataError: missing or unreadable, or no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{path}: expected this file, found none; {advice}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a text file that can be read ({error}); copy it again") from error


def read_lines(path: Path, advice: str) -> list[str]:
    """Return the lines of a text file, stripped, without empty ones.

    Raises:
        DataError: as `read_text`.
    """
    return [line.strip() for line in read_text(path, advice).splitlines() if line.strip()]


def read_json(path: Path, advice: str) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises:
        DataError: it is missing or cut off, or holds something else than an object.
    """
    value = _parsed_json(path, advice)
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object, got a {type(value).__name__}; {advice}")
    return cast(dict[str, Any], value)


def read_records(path: Path, advice: str) -> list[dict[str, Any]]:
    """Return the objects of a JSON file that is a list of them.

    Raises:
        DataError: it is missing, damaged, or holds something else.
    """
    value = _parsed_json(path, advice)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in cast("list[Any]", value)):
        raise DataError(f"{path}: expected a JSON list of objects, got something else; {advice}")
    return cast("list[dict[str, Any]]", value)


def _parsed_json(path: Path, advice: str) -> Any:
    try:
        return json.loads(read_text(path, advice))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected JSON, got a damaged file ({error}); copy it again") from error


def read_table(path: Path, columns: Sequence[str], advice: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file whose header has at least these columns.

    Raises:
        DataError: it is missing or has no rows, a column is missing, or a row has another length than the header.
    """
    reader = csv.DictReader(read_lines(path, advice), skipinitialspace=True)
    header = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = header
    absent = [name for name in columns if name not in header]
    if absent:
        raise DataError(f"{path}: expected the column {absent[0]}, got {', '.join(header)}; {advice}")
    rows: list[dict[str, str]] = []
    try:
        for row in reader:
            if None in row or None in row.values():
                raise DataError(
                    f"{path}: line {reader.line_num}: expected {len(header)} values; copy it again"
                )
            rows.append({key: value.strip() for key, value in row.items()})
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: no CSV ({error}); copy it again") from error
    if not rows:
        raise DataError(f"{path}: expected pairs, found none; {advice}")
    return rows


def entry(data: dict[str, Any], key: str, source: Path) -> Any:
    """Return a value of a JSON object.

    Raises:
        DataError: it is not there.
    """
    if key not in data:
        raise DataError(
            f"{source}: expected an entry {key!r}, got {', '.join(data) or 'none'}; copy it again"
        )
    return data[key]


def numbers(value: Any, count: int | None, what: str, source: Path) -> list[float]:
    """Return `count` finite numbers from JSON, or any number of them if it is None.

    Raises:
        DataError: another count, no numbers, or not finite.
    """
    values: list[Any] = cast(list[Any], value) if isinstance(value, list) else ["no list"]
    plain = all(isinstance(number, int | float) and not isinstance(number, bool) for number in values)
    if not plain or (count is not None and len(values) != count) or not all(map(math.isfinite, values)):
        many = "" if count is None else f"{count} "
        raise DataError(f"{source}: expected {many}finite numbers as {what}, got {value!r}; copy it again")
    return [float(number) for number in values]


def parse_numbers(text: str, what: str, source: Path, *, separator: str = ";") -> list[float]:
    """Return finite numbers from text such as `"1.5;2"`.

    Raises:
        DataError: no numbers, or not finite.
    """
    try:
        values = [float(part) for part in text.split(separator) if part.strip()]
    except ValueError as error:
        raise DataError(f"{source}: expected numbers as {what}, got {text!r}; copy it again") from error
    return numbers(values, None, what, source)


def corner_box(value: Any, what: str, source: Path) -> list[float]:
    """Return x, y, width, height of a box given by its corners x1, y1, x2, y2.

    The width is x2 - x1, as the official evaluators take it.

    Raises:
        DataError: no four numbers, or corners in the wrong order.
    """
    x1, y1, x2, y2 = numbers(value, 4, what, source)
    if x2 < x1 or y2 < y1:
        raise DataError(f"{source}: expected {what} as x1, y1, x2, y2, got {value}; copy it again")
    return [x1, y1, x2 - x1, y2 - y1]


def path_inside(root: Path, name: object, source: Path) -> Path:
    """Return the path of a file that an annotation names relative to `root`, with forward slashes.

    Raises:
        DataError: the name leads out of the folder, or is none.

    >>> path_inside(Path("a"), "b/c.jpg", Path("list.txt")).as_posix()
    'a/b/c.jpg'
    """
    text = name if isinstance(name, str) else ""
    path = PurePosixPath(text)
    odd = re.search(r"[\x00-\x1f\\]", text) or re.match(r"[A-Za-z]:", text)
    if not path.parts or path.is_absolute() or ".." in path.parts or odd:
        raise DataError(
            f"{source}: expected the name of a file below {root}, got {name!r}; do not use this annotation"
        )
    return root / path


def read_sized_image(path: Path, size: Sequence[int | float] | None, source: Path, advice: str) -> Image:
    """Read an annotated image; `size` is the annotated (width, height), None if there is none.

    Raises:
        DataError: missing, unreadable, or of another size.
    """
    if not path.is_file():
        raise DataError(f"{path}: expected the image that {source} annotates, found none; {advice}")
    image = read_image(path)
    height, width = image.size
    if size is not None and (width, height) != tuple(size):
        raise DataError(
            f"{path}: expected {size[0]:g} x {size[1]:g} pixels as in {source}, got {width} x {height}; "
            "use the original images, not resized ones"
        )
    return image


def read_matrix(path: Path, *, columns: int, rows: int | None = None, advice: str) -> np.ndarray:
    """Read a matrix: numbers between blanks or commas, in any number of lines.

    Args:
        path: lines that begin with # are left out.
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
    """Return a matrix of numbers that are given row by row; see `read_matrix`. Error messages begin with `name`.

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


MAGIC = 202021.25
"""The first four bytes as a little-endian float32; they read "PIEH"."""

UNKNOWN = 1e9
"""Displacements beyond this are unknown."""


def read_flow(path: Path) -> np.ndarray:
    """Read a .flo file.

    Returns:
        [H W 2] float32, how far each pixel moves to the right and down, in pixels; NaN where unknown.

    Raises:
        DataError: missing, of another kind, cut off or too long.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{path}: expected a .flo file, found none; check the data set") from error
    except OSError as error:
        raise DataError(
            f"{path}: expected a .flo file that can be read ({error.strerror}); check it"
        ) from error
    if len(content) < 12 or np.frombuffer(content, "<f4", 1)[0] != np.float32(MAGIC):
        raise DataError(f"{path}: expected a .flo file that begins with {MAGIC}, got another; copy it again")
    width, height = (int(side) for side in np.frombuffer(content, "<i4", 2, offset=4))
    expected = 12 + 8 * width * height
    if width < 1 or height < 1 or width * height > MAXIMUM_PIXELS or len(content) != expected:
        raise DataError(
            f"{path}: expected {width} x {height} displacements, {expected:,} bytes, got {len(content):,}; "
            "copy it again"
        )
    flow = np.frombuffer(content, "<f4", offset=12).reshape(height, width, 2).astype(np.float32)
    # A NaN compares as unknown too.
    known = (np.abs(flow) < UNKNOWN).all(axis=-1, keepdims=True)
    return np.where(known, flow, np.float32(np.nan))


_MAXIMUM_DEPTH_PIXELS = 64_000_000
"""A map that unfolds to more is refused before it is unfolded; MegaDepth's have at most 2000 x 2000."""


def read_depth(path: Path) -> Float[Tensor, "H W"]:
    """Read the depth map of a photo.

    Args:
        path: an HDF5 file with a data set `depth` [H W], 0 where nothing is known.

    Returns:
        z in the frame of the camera, float32, in the scale of its scene; NaN where it is not known.

    Raises:
        DataError: the file is missing, damaged, holds no depth, or leads to other files.
        MissingDependencyError: h5py is not installed.
    """
    try:
        import h5py  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingDependencyError("homolog-data[megadepth]", f"reading {path.name}") from error
    library: Any = h5py  # without types
    try:
        with library.File(path, "r") as file:
            # An HDF5 file can stand for others, anywhere on the disk.
            if type(file.get("depth", getlink=True)) is not library.HardLink:
                raise DataError(f"{path}: expected depth [H W] in the file itself, got none; obtain it again")
            depth: Any = file["depth"]
            _check(depth, isinstance(depth, library.Dataset), path)
            values = torch.from_numpy(np.asarray(depth[()], dtype=np.float32))
    except FileNotFoundError as error:
        raise DataError(f"{path}: expected a depth map, found none; check the folder") from error
    except DataError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise DataError(
            f"{path}: expected a depth map in HDF5, got a damaged file ({error}); obtain it again"
        ) from error
    return values.masked_fill(~(values.isfinite() & (values > 0)), torch.nan)


def _check(depth: Any, is_array: bool, path: Path) -> None:
    if not is_array or depth.is_virtual or depth.external:
        raise DataError(f"{path}: expected depth [H W] in the file itself, got none; obtain it again")
    if depth.ndim != 2 or depth.dtype.kind != "f" or not 0 < depth.size <= _MAXIMUM_DEPTH_PIXELS:
        raise DataError(
            f"{path}: expected depth [H W] as floating-point numbers, got {list(depth.shape)} {depth.dtype}; "
            "obtain it again"
        )
