"""PCK: the share of keypoints that are found near enough, and its four averages over many pairs.

Official codes agree on the formula and on little else. What they disagree on has no default here:
whether an error on the threshold counts, and what the thresholds are shares of. All averages are
returned together, because published tables mix them.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Float, Integer, Real

from homolog.core.errors import ConfigError, ShapeError
from homolog.evaluators.threshold import Comparison, within

Precision = Literal["float32", "float64"]
"""In which errors and thresholds are computed; it decides about errors within a rounding of the threshold."""

Average = Literal["per image", "per point", "macro per image", "macro per point"]
"""Over the pairs' shares, over all keypoints, and over the means of categories of either."""

AVERAGES: tuple[Average, ...] = get_args(Average)


class Pck(NamedTuple):
    """Which keypoints are found at each of A thresholds.

    Attributes:
        hits: [A N] whether a keypoint is within the threshold.
        share: [A] in [0, 1], of all keypoints given; NaN without keypoints.
    """

    hits: Bool[np.ndarray, "A N"]
    share: Float[np.ndarray, " A"]


class PckAverages(NamedTuple):
    """The averages over many pairs, each [A] in [0, 1]; pairs without keypoints take no part.

    Attributes:
        per_image: mean over pairs of each pair's share (micro: a pair weighs as any other).
        per_point: share of all keypoints (micro: pairs with many keypoints weigh more).
        macro_per_image: mean over categories of their `per_image`.
        macro_per_point: mean over categories of their `per_point`.
    """

    per_image: Float[np.ndarray, " A"]
    per_point: Float[np.ndarray, " A"]
    macro_per_image: Float[np.ndarray, " A"]
    macro_per_point: Float[np.ndarray, " A"]

    def of(self, average: Average) -> Float[np.ndarray, " A"]:
        """Return the average of a name."""
        return self[AVERAGES.index(average)]


def pck(
    predicted: Real[np.ndarray, "N 2"],
    target: Real[np.ndarray, "N 2"],
    *,
    side: float | int | Real[np.ndarray, " N"],
    alphas: Sequence[float],
    comparison: Comparison,
    precision: Precision = "float64",
) -> Pck:
    """Compare found keypoints with annotated ones.

    A keypoint counts at alpha when its distance is less than (or equal to) alpha * side. GeoAware-SC
    (`pck_train.py::compute_pck`) and sd-dino say `<`; HPF (`model/evaluation.py::correct_kps`), DIFT
    (`eval_spair.py`), Visual-AI and DistillDIFT say `<=`.

    Args:
        predicted: (x, y) of found keypoints, in the pixels of any frame; one that is not finite is missed.
        target: (x, y) of the annotation, in the same pixels.
        side: what alphas are shares of, in the same pixels: of the pair, or for each keypoint. See
            `box_side`, `image_side` and `keypoint_side`.
        alphas: A thresholds, such as 0.1.
        comparison: whether an error on the threshold counts.
        precision: float32 reproduces GeoAware-SC, HPF, Visual-AI and DistillDIFT where an error lies on
            the threshold.

    Raises:
        ShapeError: arrays that do not belong together, or a side that is negative or not a number.
        ConfigError: another comparison or precision.

    >>> target = np.zeros((3, 2))
    >>> predicted = np.array([[1.0, 0.0], [5.0, 0.0], [30.0, 40.0]])
    >>> pck(predicted, target, side=50.0, alphas=[0.1, 1.0], comparison="<").share.tolist()
    [0.3333333333333333, 0.6666666666666666]
    >>> pck(predicted, target, side=50.0, alphas=[0.1, 1.0], comparison="<=").hits.tolist()
    [[True, True, False], [True, True, True]]
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"pck: expected the precision float32 or float64, got {precision!r}")
    if predicted.shape != target.shape or predicted.ndim != 2 or predicted.shape[1] != 2:
        raise ShapeError(
            f"pck: expected two arrays [N 2], got {list(predicted.shape)} and {list(target.shape)}"
        )
    sides = np.broadcast_to(np.asarray(side, dtype=precision), (len(target),))
    if not (sides >= 0).all():
        raise ShapeError(f"pck: expected sides of 0 pixels or more, got {sides[~(sides >= 0)][0]:g}")
    error = keypoint_error(predicted, target, precision=precision)
    limits = np.asarray(alphas, dtype=precision)[:, None] * sides
    hits = within(error, limits, comparison)
    share = hits.mean(axis=1) if len(error) else np.full(len(limits), np.nan)
    return Pck(hits, share)


def keypoint_error(
    predicted: Real[np.ndarray, "N 2"],
    target: Real[np.ndarray, "N 2"],
    *,
    precision: Precision = "float64",
) -> Float[np.ndarray, " N"]:
    """Return the distance of each found keypoint from its annotation, infinite where it is not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        offset = predicted.astype(precision) - target.astype(precision)
        error = np.sqrt(np.square(offset).sum(axis=1))
    return np.nan_to_num(error, nan=np.inf, posinf=np.inf)


def share_per_image(
    hits: Bool[np.ndarray, "A N"], image: Integer[np.ndarray, " N"], *, count: int
) -> Float[np.ndarray, "A P"]:
    """Return each pair's share of found keypoints.

    Args:
        hits: whether each keypoint of all pairs is found, at A thresholds.
        image: the number of the pair that each keypoint is of, from 0.
        count: how many pairs (P) there are.

    Returns:
        Shares in [0, 1]; NaN for a pair without keypoints.
    """
    points = np.bincount(image, minlength=count)
    found = np.array([np.bincount(image, weights=row, minlength=count) for row in hits])
    found = found.reshape(len(hits), count)
    return np.divide(found, points, out=np.full(found.shape, np.nan), where=points > 0)


def average_pck(
    hits: Bool[np.ndarray, "A N"], image: Integer[np.ndarray, " N"], categories: Sequence[str]
) -> PckAverages:
    """Average over pairs in all four ways that published tables use.

    GeoAware-SC's weighted total is `per_image`, or `per_point` with its `KPT_RESULT`; HPF's average is
    `per_image`; DIFT prints both; DistillDIFT's number is `per_point`. The last columns of tables that
    average 18 columns are `macro_per_image` or `macro_per_point`.

    Args:
        hits: whether each keypoint of all pairs is found, at A thresholds.
        image: the number of the pair that each keypoint is of, from 0.
        categories: of each pair.

    Returns:
        NaN where there is no keypoint at all.

    >>> hits = np.array([[True, False, False, False, True]])
    >>> average = average_pck(hits, np.array([0, 0, 1, 1, 2]), ["cat", "cat", "dog"])
    >>> [round(float(part[0]), 3) for part in average]
    [0.5, 0.4, 0.625, 0.625]
    """
    shares = share_per_image(hits, image, count=len(categories))
    points = np.bincount(image, minlength=len(categories))
    names = np.array(categories, dtype=np.str_)
    parts = [np.flatnonzero((names == name) & (points > 0)) for name in np.unique(names[points > 0])]
    every = np.flatnonzero(points > 0)
    return PckAverages(
        per_image=_mean(shares[:, every]),
        per_point=_weighted(shares[:, every], points[every]),
        macro_per_image=_mean(np.array([_mean(shares[:, rows]) for rows in parts]).reshape(-1, len(hits)).T),
        macro_per_point=_mean(
            np.array([_weighted(shares[:, rows], points[rows]) for rows in parts]).reshape(-1, len(hits)).T
        ),
    )


def box_side(box: Real[np.ndarray, " 4"]) -> float:
    """Return the longer side of a box given as x, y, width, height.

    >>> box_side(np.array([5.0, 6.0, 200.0, 150.0]))
    200.0
    """
    return float(max(box[2], box[3]))


def image_side(size: Integer[np.ndarray, " 2"] | tuple[int, int]) -> float:
    """Return the longer side of an image of `size` (height, width)."""
    return float(max(size[0], size[1]))


def keypoint_side(xy: Real[np.ndarray, "N 2"]) -> float:
    """Return the longer extent of keypoints, PF-WILLOW's substitute for a box; NaN without keypoints.

    >>> keypoint_side(np.array([[1.0, 2.0], [4.0, 9.0]]))
    7.0
    """
    return float(np.ptp(xy, axis=0).max()) if len(xy) else float("nan")


def _mean(shares: np.ndarray) -> np.ndarray:
    return shares.mean(axis=1) if shares.shape[1] else np.full(len(shares), np.nan)


def _weighted(shares: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return shares @ weights / weights.sum() if weights.sum() else np.full(len(shares), np.nan)
