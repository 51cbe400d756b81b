"""Read the files of data sets without trusting them: what is wrong is said in one line that names the file."""

import csv
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, cast

from homolog.core.errors import DataError
from homolog.core.image import Image
from homolog.core.io import read_image
from homolog.data.layout import Layout


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

    Args:
        path: the file.
        advice: what to do if it is not there.

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
    text = read_text(path, advice)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected JSON, got a damaged file ({error}); copy it again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object, got a {type(value).__name__}; {advice}")
    return cast(dict[str, Any], value)


def read_table(path: Path, columns: Sequence[str], advice: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a header.

    Args:
        path: the file.
        columns: names that the header has to have; more may be there.
        advice: what to do if it is not there, or another file.

    Raises:
        DataError: it is missing, a column is missing, or a row has another length than the header.
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
    """Return finite numbers from JSON.

    Args:
        value: what was read.
        count: how many are expected; None takes any.
        what: their meaning, for the message.
        source: the file.

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


def inside(root: Path, name: object, source: Path) -> Path:
    """Return the path of a file that an annotation names.

    Args:
        root: the folder that the name is relative to.
        name: as the annotation has it, with forward slashes.
        source: the annotation file, for the message.

    Raises:
        DataError: the name leads out of the folder, or is none.

    >>> inside(Path("a"), "b/c.jpg", Path("list.txt")).as_posix()
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
    """Read an image that is annotated.

    Args:
        path: the image.
        size: annotated (width, height); None if the annotation does not say it.
        source: the annotation file, for the message.
        advice: what to do if the image is not there.

    Raises:
        DataError: missing, unreadable, or of another size.
    """
    if not path.is_file():
        raise DataError(f"{path}: expected the image that {source} annotates, found none; {advice}")
    image = read_image(path)
    height, width = image.size
    if size is not None and (width, height) != tuple(size):
        raise DataError(
            f"{path}: expected {size[0]:g} x {size[1]:g} pixels as {source} says, got {width} x {height}; "
            "use the original images, not resized ones"
        )
    return image
