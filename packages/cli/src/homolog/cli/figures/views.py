"""What the pictures of a pair show: plain arrays, so that drawing needs neither torch nor the photos."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MATCHES_PICTURE, TRANSFER_PICTURE, DENSE_PICTURE = "matches.png", "transfer.png", "dense.png"
"""The pictures of a pair; the second for a matcher that can transfer points, the third for a dense one."""

GAP = 14
"""Pixels between photos."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PointView:
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
    """One photo of a pair and a dense field that lives on it.

    Attributes:
        name: of the photo.
        photo: [H W 3], as it is shown.
        warped: [H W 3], the other photo warped onto this one.
        places: [H W 2], (x, y) of the place in the other photo as fractions of its width and height, in
            [0, 1]; NaN where that is outside of it.
        confidence: [H W] in [0, 1].
    """

    name: str
    photo: NDArray[np.uint8]
    warped: NDArray[np.uint8]
    places: NDArray[np.float32]
    confidence: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairView:
    """Everything that is drawn of a pair.

    Attributes:
        photos: both as they are shown, [H W 3], of one height.
        title: what is seen.
        subtitle: how many matches and inliers there are.
        xy0: [M 2], the matches in pixels of the first photo as it is shown.
        xy1: [M 2], the same of the second photo.
        score: [M].
        inlier: [M]; None if nothing was checked.
        points: transferred points, from a matcher that can transfer.
        dense: both photos with their dense fields, from a dense matcher.
    """

    photos: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    title: str
    subtitle: str
    xy0: NDArray[np.float64]
    xy1: NDArray[np.float64]
    score: NDArray[np.float32]
    inlier: NDArray[np.bool_] | None
    points: PointView | None
    dense: tuple[DenseView, DenseView] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlaceView:
    """Places of the first photo of a pair, and how similar the second photo is to each.

    Attributes:
        photos: both as they are shown, [H W 3], of one height.
        names: of the photos.
        xy0: [N 2], the places in pixels of the first photo as it is shown.
        xy1: [N 2], where they were found, in pixels of the second photo as it is shown.
        confidence: [N], of the places that were found.
        similarities: [N h w], of each place with the cells of a map of the second photo.
    """

    photos: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    names: tuple[str, str]
    xy0: NDArray[np.float64]
    xy1: NDArray[np.float64]
    confidence: NDArray[np.float32]
    similarities: NDArray[np.float32]


def equal_heights(
    *sizes: tuple[int, int], height: int, width: int, columns: int | None = None
) -> list[tuple[int, int]]:
    """Return (height, width) at which photos are shown at one height in a row.

    Args:
        sizes: (height, width) of the photos.
        height: of the row, in pixels, unless that would make it wider than `width`.
        width: of the row, with `GAP` between the photos.
        columns: how many photos the row has, each as wide as the widest one; None for just these.

    >>> equal_heights((100, 200), (1000, 500), height=760, width=2200)
    [(760, 1520), (760, 380)]
    >>> equal_heights((300, 451), (300, 451), height=760, width=2200)
    [(727, 1093), (727, 1093)]
    >>> equal_heights((600, 800), (600, 450), height=480, width=2560, columns=5)
    [(375, 500), (375, 281)]
    """
    aspects = [across / down for down, across in sizes]
    total = sum(aspects) if columns is None else columns * max(aspects)
    gaps = GAP * ((columns or len(sizes)) - 1)
    common = max(1, int(min(height, (width - gaps) / total)))
    return [(common, max(1, round(common * aspect))) for aspect in aspects]


def heatmap_columns(places: int) -> int:
    """Return how many panels stand in a row of a heat map: the first photo and one for each place."""
    return 2 if places in {1, 3} else 3


def choose_spread(xy: NDArray[np.floating], score: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    """Return the indices of `count` points, best first, as far apart as that allows.

    Points are taken by score, each at least a radius away from those already taken; the radius is
    the largest at which `count` of them are found.

    Args:
        xy: [N 2] positions; or [N 4], a position in each of two images, to be far apart in both.
        score: [N], higher is better.
        count: how many to choose; fewer when there are fewer.

    >>> line = np.array([[0.0, 0.0], [1.0, 0.0], [9.0, 0.0]])
    >>> choose_spread(line, np.array([0.9, 0.8, 0.1]), 2).tolist()
    [0, 2]
    """
    order = np.argsort(-score, kind="stable")
    if len(order) <= count:
        return order
    low, high = 0.0, float(np.ptp(xy, axis=0).max()) + 1
    chosen = order[:count]
    for _ in range(12):
        radius = (low + high) / 2
        taken = _at_least_apart(xy, order, radius, count)
        if len(taken) == count:
            chosen, low = taken, radius
        else:
            high = radius
    return chosen


def _at_least_apart(
    xy: NDArray[np.floating], order: NDArray[np.intp], radius: float, count: int
) -> NDArray[np.intp]:
    free = np.ones(len(xy), dtype=bool)
    taken: list[int] = []
    for index in order:
        if free[index]:
            taken.append(int(index))
            if len(taken) == count:
                break
            squares = ((xy - xy[index]) ** 2).reshape(len(xy), -1, 2).sum(axis=2)
            free &= (squares >= radius**2).all(axis=1)
    return np.array(taken, dtype=np.intp)
