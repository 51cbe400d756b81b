"""What the pictures of a pair show: plain arrays, so that another process can draw them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MATCHES_PICTURE, TRANSFER_PICTURE, DENSE_PICTURE = "matches.png", "transfer.png", "dense.png"
"""The pictures of a pair; the second for a matcher that can transfer points, the third for a dense one."""

HEIGHT, WIDTH, GAP = 760, 2200, 14
"""Pixels: the height of both photos, unless they are wider together, and what is between them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Points:
    """Points of the first photo and where they are in the second.

    Attributes:
        xy0: [N 2], pixels of the first photo as it is shown.
        xy1: [N 2], pixels of the second photo as it is shown.
        subtitle: how they were chosen.
    """

    xy0: NDArray[np.float64]
    xy1: NDArray[np.float64]
    subtitle: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DenseView:
    """One photo of a pair and what a dense field says of each of its pixels.

    Attributes:
        name: of the photo.
        photo: [H W 3], as it is shown.
        warped: [H W 3], the other photo brought onto this one.
        places: [H W 2], (x, y) of the place in the other photo as shares of its width and height, in
            [0, 1]; NaN where that is outside of it.
        confidence: [H W] in [0, 1].
    """

    name: str
    photo: NDArray[np.uint8]
    warped: NDArray[np.uint8]
    places: NDArray[np.float32]
    confidence: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Page:
    """Everything that is drawn of a pair.

    Attributes:
        photos: both as they are shown, [H W 3], of one height.
        title: what is seen.
        subtitle: how many matches and inliers there are.
        xy0: [M 2], the matches in pixels of the first photo as it is shown.
        xy1: [M 2], the same of the second photo.
        score: [M].
        inlier: [M]; None if nothing was checked.
        points: what is transferred, from a matcher that can.
        dense: both photos with the fields that live on them, from a matcher that has fields.
    """

    photos: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    title: str
    subtitle: str
    xy0: NDArray[np.float64]
    xy1: NDArray[np.float64]
    score: NDArray[np.float32]
    inlier: NDArray[np.bool_] | None
    points: Points | None
    dense: tuple[DenseView, DenseView] | None = None


def shown_sizes(size0: tuple[int, int], size1: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return (height, width) at which two photos are shown: of one height, and not too wide together.

    >>> shown_sizes((100, 200), (1000, 500))
    ((760, 1520), (760, 380))
    >>> shown_sizes((300, 451), (300, 451))
    ((727, 1093), (727, 1093))
    """
    aspects = [width / height for height, width in (size0, size1)]
    height = max(1, int(min(HEIGHT, (WIDTH - GAP) / sum(aspects))))
    first, second = ((height, max(1, round(height * aspect))) for aspect in aspects)
    return first, second
