"""The frame in which official codes measure the error of a keypoint: the file, or what they resize it to.

A uniform scale cancels against a side that is scaled alike; a stretched one does not. Offsets cancel
always, but are applied nevertheless, because float32 rounds differently around another origin.

Convention: sizes are (height, width); points are (x, y) as the official code has them, which scale about
(0, 0) there, not about the corner of a pixel as in `homolog.core.coords`.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Real

from homolog.core.coords import Size
from homolog.core.errors import ConfigError, ShapeError
from homolog.evaluators.keypoint_accuracy import image_side


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where an image of one size comes to lie in a frame.

    Attributes:
        scale: of x and y.
        offset: added to x and y after that.
        side: the longer side of what official code takes for the image there, in pixels of the frame.
        size: (height, width) of the frame.
    """

    scale: tuple[float, float]
    offset: tuple[int, int]
    side: float
    size: Size

    def points(self, xy: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "N 2"]:
        """Move points from the file to the frame, in their own precision."""
        scale, offset = (np.array(pair, dtype=xy.dtype) for pair in (self.scale, self.offset))
        return xy * scale + offset

    def lengths(self, width_height: Real[np.ndarray, " 2"]) -> Float[np.ndarray, " 2"]:
        """Scale a width and a height (float64)."""
        return width_height * np.array(self.scale, dtype=np.float64)


@runtime_checkable
class ErrorFrame(Protocol):
    """A rule that says where an image of any size comes to lie; its `str` says it to people."""

    def __call__(self, size: Size, /) -> Placement:
        """Place an image of `size`."""
        ...


@dataclass(frozen=True, slots=True)
class Original:
    """The file as it is: DIFT (`eval_spair.py`), DistillDIFT (`eval.py`)."""

    def __call__(self, size: Size, /) -> Placement:
        """Leave everything where it is."""
        return Placement(scale=(1.0, 1.0), offset=(0, 0), side=image_side(_checked(size)), size=size)

    def __str__(self) -> str:
        """Return what results say."""
        return "original image"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddedSquare:
    """The image scaled to a longer side, centred in a square: GeoAware-SC, sd-dino and DIY-SC.

    After Junyi42/GeoAware-SC:utils/utils_dataset.py, `preprocess_kps_pad`.

    Attributes:
        side: of the square, pixels; 840 in all shipped settings.
    """

    side: int

    def __post_init__(self) -> None:
        """Refuse a square without pixels."""
        _check_side(self.side)

    def __call__(self, size: Size, /) -> Placement:
        """Centre an image of `size`."""
        scale = self.side / max(_checked(size))
        (top, _), (left, _) = self.content(size)
        return Placement(
            scale=(scale, scale), offset=(left, top), side=float(self.side), size=(self.side, self.side)
        )

    def content(self, size: Size) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the rows and the columns of the square that show the image, each as first and last + 1.

        The rest is black. Rounding is half to even, as numpy's, and what remains is halved downwards
        (`utils/utils_correspondence.py`, `resize`).
        """
        height, width = (round(self.side * part / max(size)) for part in size)
        top, left = (self.side - height) // 2, (self.side - width) // 2
        return (top, top + height), (left, left + width)

    def __str__(self) -> str:
        """Return what results say."""
        return f"padded square of {self.side} px"


@dataclass(frozen=True, slots=True, kw_only=True)
class StretchedSquare:
    """The image stretched to a square, corner pixels on corner pixels: Visual-AI.

    After Visual-AI/Semantic-Correspondence:utils/geometry_data.py, `scaling_coordinates`:
    (N - 1) / (W - 1). Errors across a wide image shrink more than errors along its height.

    Attributes:
        side: of the square, pixels.
    """

    side: int

    def __post_init__(self) -> None:
        """Refuse a square without pixels."""
        _check_side(self.side)

    def __call__(self, size: Size, /) -> Placement:
        """Stretch an image of `size`."""
        height, width = _checked(size)
        # An image that is one pixel wide has no two corners; all of it lies at 0.
        scale = ((self.side - 1) / max(width - 1, 1), (self.side - 1) / max(height - 1, 1))
        return Placement(scale=scale, offset=(0, 0), side=float(self.side), size=(self.side, self.side))

    def content(self, size: Size) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the rows and the columns that show the image, each as first and last + 1: all of them."""
        _checked(size)
        return (0, self.side), (0, self.side)

    def __str__(self) -> str:
        """Return what results say."""
        return f"stretched square of {self.side} px, corners aligned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited:
    """The image scaled down to a longer side, never up: HPF.

    After juhongm999/hpf:model/util.py, `resize`.

    Attributes:
        longer_side: side, pixels; 300 there.
    """

    longer_side: int

    def __post_init__(self) -> None:
        """Refuse an image without pixels."""
        _check_side(self.longer_side)

    def __call__(self, size: Size, /) -> Placement:
        """Scale an image of `size`."""
        scale = min(1.0, self.longer_side / max(_checked(size)))
        height, width = (max(1, round(part * scale)) for part in size)
        return Placement(scale=(scale, scale), offset=(0, 0), side=max(size) * scale, size=(height, width))

    def __str__(self) -> str:
        """Return what results say."""
        return f"longer side at most {self.longer_side} px"


def _check_side(side: int) -> None:
    if side < 1:
        raise ConfigError(f"expected a frame with a side of at least 1 px, got {side}")


def _checked(size: Size) -> Size:
    if min(size) < 1:
        raise ShapeError(f"expected an image of at least 1 x 1 px, got {size}")
    return size
