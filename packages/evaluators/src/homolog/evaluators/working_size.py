"""The size at which a protocol measures pixels: of the original files, or of resized images."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from homolog.core.coords import Size, resize_affine
from homolog.core.errors import ConfigError, ShapeError
from homolog.evaluators.record import Record
from homolog.evaluators.two_view import MatchedPair


class WorkingSize:
    """Says how large an image would be in the official code, whatever size the matcher saw it at.

    A threshold in pixels means nothing without it. Points, intrinsics and homographies are moved from
    the original files by `homolog.core.coords`, so that rays stay exactly what they were; official
    codes multiply both by the same factor and leave out the half pixel between them.
    """

    def __init__(
        self,
        *,
        longer_side: int | None = None,
        shorter_side: int | None = None,
        exact: Sequence[int] | None = None,
    ) -> None:
        """Choose one of the three, or none for the original size.

        Args:
            longer_side: pixels of the longer side; the other keeps the shape, rounded down as in glue-factory.
            shorter_side: pixels of the shorter side.
            exact: (height, width), whatever the shape was.

        Raises:
            ConfigError: more than one of them, or no size.
        """
        given = [part for part in (longer_side, shorter_side, exact) if part is not None]
        sides = [side for part in given for side in ([part] if isinstance(part, int) else part)]
        if len(given) > 1 or any(side < 1 for side in sides) or (exact is not None and len(exact) != 2):
            raise ConfigError(
                f"expected one of longer_side, shorter_side and exact [height, width], got {longer_side}, {shorter_side}, {exact}"
            )
        self._longer_side = longer_side
        self._shorter_side = shorter_side
        self._exact = exact

    def of(self, size: Size) -> Size:
        """Return what becomes of a size (height, width)."""
        height, width = size
        if self._exact is not None:
            return self._exact[0], self._exact[1]
        if self._longer_side is None and self._shorter_side is None:
            return size
        side = self._longer_side or self._shorter_side or 1
        # The given side is the height of an upright image if it is the longer one, and so on.
        if (height >= width) == (self._longer_side is not None):
            return side, max(int(side * width / height), 1)
        return max(int(side * height / width), 1), side

    def move(self, size: Size) -> Float[np.ndarray, "3 3"]:
        """Return the matrix that takes pixels of an original of this size to pixels at the working size."""
        matrix = np.eye(3)
        if self.of(size) != size:
            matrix[:2] = resize_affine(self.of(size), size).numpy()
        return matrix

    def __str__(self) -> str:
        """Return the choice in words."""
        if self._exact is not None:
            return f"resized to {self._exact[1]} x {self._exact[0]}"
        if self._longer_side is not None:
            return f"longer side resized to {self._longer_side}"
        if self._shorter_side is not None:
            return f"shorter side resized to {self._shorter_side}"
        return "original files"


def file_size(record: Record, side: int) -> Size:
    """Return (height, width) of one of the two files of a pair.

    Args:
        record: of a pair.
        side: 0 or 1.

    Raises:
        ShapeError: the record has none.
    """
    height, width = (int(value) for value in record[f"size{side}"])
    return height, width


def points_at(record: Record, key: str, working_size: WorkingSize) -> Float[np.ndarray, "N 2"]:
    """Return points of a record in pixels at the working size (float64).

    Args:
        record: of a pair.
        key: an array whose name ends with the side, such as `match0`.
        working_size: where to.

    Raises:
        ShapeError: the record does not have them.
    """
    size = file_size(record, int(key[-1]))
    xy = np.ascontiguousarray(record[key], dtype=np.float64).reshape(-1, 2)
    if working_size.of(size) == size:
        return xy
    matrix = working_size.move(size)
    return np.ascontiguousarray(xy @ matrix[:2, :2].T + matrix[:2, 2])


def matched_pair(record: Record, working_size: WorkingSize) -> MatchedPair:
    """Return the matches of a record at the working size, with intrinsics if it has them.

    Raises:
        ShapeError: a record without matches, or with intrinsics of one image only.
    """
    if ("K0" in record) != ("K1" in record):
        raise ShapeError(f"{record.name}: expected intrinsics of both images or of none; check the data set")
    xy0, xy1 = (points_at(record, f"match{side}", working_size) for side in (0, 1))
    K0, K1 = (
        working_size.move(file_size(record, side)) @ np.asarray(record[f"K{side}"], dtype=np.float64)
        if "K0" in record
        else None
        for side in (0, 1)
    )
    score = np.asarray(record["score"], dtype=np.float64)
    return MatchedPair(name=record.name, xy0=xy0, xy1=xy1, score=score, K0=K0, K1=K1)


def true_homography(record: Record, working_size: WorkingSize) -> Float[np.ndarray, "3 3"]:
    """Return the homography of a record between pixels at the working size.

    Raises:
        ShapeError: a record without a homography.
    """
    move0, move1 = (working_size.move(file_size(record, side)) for side in (0, 1))
    return move1 @ np.asarray(record["H"], dtype=np.float64) @ np.linalg.inv(move0)
