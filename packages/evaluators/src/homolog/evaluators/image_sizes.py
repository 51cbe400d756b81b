"""The sizes of images at which official codes measure errors, and points, cameras and homographies at them.

PCK protocols measure keypoint errors in a frame (`ErrorFrame`): the original image or what the official code
resizes it to. A uniform scale cancels because sides are scaled too; stretching does not. Offsets always cancel,
but are applied because float32 rounds differently around another origin.

Geometric protocols have thresholds in pixels of a `WorkingSize`.

Convention: sizes are (height, width). Points in an `ErrorFrame` are (x, y) as in the official code and scale about
(0, 0), not about the corner of a pixel as in `homolog.core.coords`; `WorkingSize` follows `homolog.core.coords`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Real

from homolog.core.errors import ConfigError, ShapeError
from homolog.evaluators.records import Record
from homolog.evaluators.solvers import MatchedPair

Size = tuple[int, int]
"""(height, width); `homolog.core.coords` has it too, but imports torch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The placement of an image in a frame.

    Attributes:
        scale: of x and y.
        offset: added to x and y after scaling.
        side: the longer side of the image in the official code, in pixels of the frame.
        size: (height, width) of the frame.
        truncated: whether annotated points are cut to whole pixels of the frame.
    """

    scale: tuple[float, float]
    offset: tuple[int, int]
    side: float
    size: Size
    truncated: bool = False

    def points(self, xy: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "N 2"]:
        """Map points from the file to the frame, in their own precision."""
        scale, offset = (np.array(pair, dtype=xy.dtype) for pair in (self.scale, self.offset))
        return xy * scale + offset

    def annotated(self, xy: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "N 2"]:
        """Map annotated points from the file to the frame, as the official code keeps them."""
        placed = self.points(xy)
        # A whole number must not become the one below because its product was rounded.
        return np.trunc(placed.round(6)) if self.truncated else placed

    def lengths(self, width_height: Real[np.ndarray, " 2"]) -> Float[np.ndarray, " 2"]:
        """Scale a width and a height (float64)."""
        return width_height * np.array(self.scale, dtype=np.float64)


@runtime_checkable
class ErrorFrame(Protocol):
    """Places an image of any size in a frame; `str` describes it in results."""

    def __call__(self, size: Size, /) -> Placement:
        """Place an image of `size`."""
        ...


@dataclass(frozen=True, slots=True)
class Original:
    """The original image: DIFT (`eval_spair.py`), DistillDIFT (`eval.py`)."""

    def __call__(self, size: Size, /) -> Placement:
        """Return the identity."""
        return Placement(scale=(1.0, 1.0), offset=(0, 0), side=float(max(_checked(size))), size=size)

    def __str__(self) -> str:
        return "original image"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Square:
    side: int

    def __post_init__(self) -> None:
        _check_side(self.side)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddedSquare(_Square):
    """The image scaled to a longer side, centred in a square: GeoAware-SC, sd-dino and DIY-SC.

    After Junyi42/GeoAware-SC:utils/utils_dataset.py, `preprocess_kps_pad`.

    Attributes:
        side: of the square, pixels; 840 in all shipped settings.
    """

    def __call__(self, size: Size, /) -> Placement:
        """Centre an image of `size`."""
        scale = self.side / max(_checked(size))
        (top, _), (left, _) = self.content(size)
        return Placement(
            scale=(scale, scale), offset=(left, top), side=float(self.side), size=(self.side, self.side)
        )

    def content(self, size: Size) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the (first, last + 1) rows and columns of the square that the image covers.

        The rest is black. Sizes are rounded half to even, as in numpy, and padding is halved rounding down
        (`utils/utils_correspondence.py`, `resize`).
        """
        height, width = (round(self.side * part / max(size)) for part in size)
        top, left = (self.side - height) // 2, (self.side - width) // 2
        return (top, top + height), (left, left + width)

    def __str__(self) -> str:
        return f"padded square of {self.side} px"


@dataclass(frozen=True, slots=True, kw_only=True)
class StretchedSquare(_Square):
    """The image stretched to a square, corner pixels on corner pixels: Visual-AI.

    After Visual-AI/Semantic-Correspondence:utils/geometry_data.py, `scaling_coordinates`:
    (N - 1) / (W - 1). In a wide image, horizontal errors shrink more than vertical ones.

    Attributes:
        side: of the square, pixels.
    """

    def __call__(self, size: Size, /) -> Placement:
        """Stretch an image of `size`."""
        height, width = _checked(size)
        # An image of one column has no two corners; all of it is at 0.
        scale = ((self.side - 1) / max(width - 1, 1), (self.side - 1) / max(height - 1, 1))
        return Placement(scale=scale, offset=(0, 0), side=float(self.side), size=(self.side, self.side))

    def content(self, size: Size) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the (first, last + 1) rows and columns that the image covers: all of them."""
        _checked(size)
        return (0, self.side), (0, self.side)

    def __str__(self) -> str:
        return f"stretched square of {self.side} px, corners aligned"


@dataclass(frozen=True, slots=True, kw_only=True)
class TruncatedSquare(StretchedSquare):
    """The image stretched to a square by side / W and side / H, annotated points cut to whole pixels: MATCHA as released.

    Predicted points are not cut. A point loses up to one pixel in x and in y, which costs most at small
    thresholds: 0.01 of 512 is 5.12 pixels. The points queried in image 0 are cut in the release too, which changes
    nothing for its read-out, because that takes the cell of the pixel.

    Attributes:
        side: of the square, pixels; 512.
    """

    def __call__(self, size: Size, /) -> Placement:
        """Stretch an image of `size`."""
        height, width = _checked(size)
        return Placement(
            scale=(self.side / width, self.side / height),
            offset=(0, 0),
            side=float(self.side),
            size=(self.side, self.side),
            truncated=True,
        )

    def __str__(self) -> str:
        return f"stretched square of {self.side} px, annotated points cut to whole pixels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Downscaled:
    """The image scaled down to a longer side, never up: HPF.

    After juhongm999/hpf:model/util.py, `resize`.

    Attributes:
        longer_side: largest longer side, pixels; 300 in HPF.
    """

    longer_side: int

    def __post_init__(self) -> None:
        _check_side(self.longer_side)

    def __call__(self, size: Size, /) -> Placement:
        """Scale an image of `size`."""
        scale = min(1.0, self.longer_side / max(_checked(size)))
        height, width = (max(1, round(part * scale)) for part in size)
        return Placement(scale=(scale, scale), offset=(0, 0), side=max(size) * scale, size=(height, width))

    def __str__(self) -> str:
        return f"longer side at most {self.longer_side} px"


class WorkingSize:
    """The size of an image in the official code, whatever size the matcher used.

    A threshold in pixels is meaningless without it. Points, intrinsics and homographies are mapped from the
    original files with the convention of `homolog.core.coords`, so rays do not change; official codes multiply
    both by the same factor and ignore the half pixel between them.
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
            longer_side: in pixels; the other keeps the aspect ratio, rounded down as in glue-factory.
            shorter_side: in pixels.
            exact: (height, width), ignoring the aspect ratio.

        Raises:
            ConfigError: more than one of them, or an invalid size.
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
        """Return the working size of an image of this size (height, width)."""
        height, width = size
        if self._exact is not None:
            return self._exact[0], self._exact[1]
        if self._longer_side is None and self._shorter_side is None:
            return size
        side = self._longer_side or self._shorter_side or 1
        # The given side is the height if it is the longer side of a portrait or the shorter one of a landscape.
        if (height >= width) == (self._longer_side is not None):
            return side, max(int(side * width / height), 1)
        return max(int(side * height / width), 1), side

    def matrix(self, size: Size) -> Float[np.ndarray, "3 3"]:
        """Return the matrix from pixels of a file of this size to pixels at the working size."""
        matrix = np.eye(3)
        if self.of(size) != size:
            from homolog.core.coords import resize_affine  # imports torch

            matrix[:2] = resize_affine(self.of(size), size).numpy()
        return matrix

    def __str__(self) -> str:
        if self._exact is not None:
            return f"resized to {self._exact[1]} x {self._exact[0]}"
        if self._longer_side is not None:
            return f"longer side resized to {self._longer_side}"
        if self._shorter_side is not None:
            return f"shorter side resized to {self._shorter_side}"
        return "original files"


def file_size(record: Record, side: int) -> Size:
    """Return (height, width) of file 0 or 1 of a pair.

    Raises:
        ShapeError: a record without sizes.
    """
    height, width = (int(value) for value in record[f"size{side}"])
    return height, width


def points_at(record: Record, key: str, working_size: WorkingSize) -> Float[np.ndarray, "N 2"]:
    """Return points of a record in pixels at the working size (float64).

    Args:
        record: of a pair.
        key: an array whose name ends with 0 or 1, the index of the image, such as `match0`.
        working_size: at which the points are returned.

    Raises:
        ShapeError: a record without these points.
    """
    size = file_size(record, int(key[-1]))
    xy = np.ascontiguousarray(record[key], dtype=np.float64).reshape(-1, 2)
    if working_size.of(size) == size:
        return xy
    matrix = working_size.matrix(size)
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
        working_size.matrix(file_size(record, side)) @ np.asarray(record[f"K{side}"], dtype=np.float64)
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
    matrix0, matrix1 = (working_size.matrix(file_size(record, side)) for side in (0, 1))
    return matrix1 @ np.asarray(record["H"], dtype=np.float64) @ np.linalg.inv(matrix0)


def _check_side(side: int) -> None:
    if side < 1:
        raise ConfigError(f"expected a frame with a side of at least 1 px, got {side}")


def _checked(size: Size) -> Size:
    if min(size) < 1:
        raise ShapeError(f"expected an image of at least 1 x 1 px, got {size}")
    return size
