"""Which keypoints of two images truly match under a homography, and how many of those a matcher found."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Real

from homolog.core.errors import ConfigError, ShapeError
from homolog.evaluators.homography_accuracy import apply_homography

UNMATCHED = -1
"""The keypoint has no partner: saying that it has one is an error."""

IGNORED = -2
"""Neither sure to have a partner nor sure to have none: nothing said of it counts."""

CHUNK = 2048
"""Rows of the distance matrix that are held at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchCounts:
    """What became of the keypoints of image 0; sums of counts are the counts of all.

    Attributes:
        correct: matched, and with the true partner.
        predicted: matched, among those that are not ignored.
        true: those that have a partner.
    """

    correct: int
    predicted: int
    true: int

    @property
    def precision(self) -> float:
        """Share of the predicted matches that are true; 0 without a prediction."""
        return self.correct / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Share of the true matches that were predicted; 0 without a true match."""
        return self.correct / self.true if self.true else 0.0


def homography_matches(
    keypoints0: Real[np.ndarray, "N 2"],
    keypoints1: Real[np.ndarray, "M 2"],
    H: Real[np.ndarray, "3 3"],
    *,
    positive: float | int,
    negative: float | int,
) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " M"]]:
    """Label keypoints with their true partner.

    As glue-factory:gluefactory/geometry/gt_generation.py::gt_matches_from_homography does. Two keypoints
    are partners when each is the other's nearest and both transfer errors, there and back, are below
    `positive` pixels. One whose nearest transfer in its own direction is farther than `negative` pixels
    is unmatched. The band between is ignored.

    Args:
        keypoints0: of image 0, in pixels.
        keypoints1: of image 1, in pixels.
        H: from image 0 to image 1.
        positive: pixels; 3 in SuperGlue and OmniGlue.
        negative: pixels; 5 in both. glue-factory's own default is 6.

    Returns:
        For each keypoint of either image the index of its partner in the other, `UNMATCHED` or `IGNORED`.

    Raises:
        ConfigError: thresholds out of order.
    """
    if not 0 < positive <= negative:
        raise ConfigError(f"expected 0 < positive <= negative, got {positive:g} and {negative:g}")
    if len(keypoints0) == 0 or len(keypoints1) == 0:
        return np.full(len(keypoints0), UNMATCHED), np.full(len(keypoints1), UNMATCHED)
    there, back = _squared_distances(keypoints0, keypoints1, H)
    both = np.maximum(there, back)
    nearest0, nearest1 = both.argmin(axis=1), both.argmin(axis=0)
    rows = np.arange(len(nearest0))
    partners = (nearest1[nearest0] == rows) & (both[rows, nearest0] < positive**2)
    matches0, matches1 = np.full(len(nearest0), IGNORED), np.full(len(nearest1), IGNORED)
    matches0[partners] = nearest0[partners]
    matches1[nearest0[partners]] = rows[partners]
    matches0[there.min(axis=1) > negative**2] = UNMATCHED
    matches1[back.min(axis=0) > negative**2] = UNMATCHED
    return matches0, matches1


def count_matches(predicted0: Int[np.ndarray, " N"], true0: Int[np.ndarray, " N"]) -> MatchCounts:
    """Compare predicted partners with true ones.

    Args:
        predicted0: the index of the predicted partner of each keypoint of image 0; negative for none.
        true0: what `homography_matches` says of image 0.

    Raises:
        ShapeError: arrays of different lengths.
    """
    if predicted0.shape != true0.shape:
        raise ShapeError(
            f"count_matches: expected one prediction for each keypoint, got {len(predicted0)} for {len(true0)}"
        )
    predicted = (predicted0 >= 0) & (true0 != IGNORED)
    correct = (predicted0 == true0) & (true0 >= 0)
    return MatchCounts(
        correct=int(correct.sum()), predicted=int(predicted.sum()), true=int((true0 >= 0).sum())
    )


def match_indices(
    keypoints: Real[np.ndarray, "N 2"], matched: Real[np.ndarray, "M 2"], *, tolerance: float | int = 1e-2
) -> Int[np.ndarray, " M"]:
    """Return which keypoint each matched point is.

    Args:
        keypoints: in pixels.
        matched: points of a match, in the same pixels.
        tolerance: pixels; both came the same way, so only rounding lies between them.

    Raises:
        ShapeError: a matched point that is none of the keypoints, such as a refined one.
    """
    if len(matched) == 0:
        return np.zeros(0, dtype=np.int64)
    if len(keypoints) == 0:
        raise ShapeError(f"expected matches between keypoints, got {len(matched)} matches and no keypoints")
    found: list[np.ndarray] = []
    for start in range(0, len(matched), CHUNK):
        distance = _squared(matched[start : start + CHUNK], keypoints)
        nearest = distance.argmin(axis=1)
        if not (distance[np.arange(len(nearest)), nearest] <= tolerance**2).all():
            raise ShapeError(
                "expected matches between keypoints, got matched points that are none of them; this protocol "
                "needs a matcher that does not move its keypoints"
            )
        found.append(nearest)
    return np.concatenate(found)


def _squared_distances(
    keypoints0: np.ndarray, keypoints1: np.ndarray, H: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    back = np.linalg.inv(np.asarray(H, dtype=np.float64))
    there = _squared(apply_homography(keypoints0, H), keypoints1)
    return there, _squared(apply_homography(keypoints1, back), keypoints0).T


def _squared(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    points, others = (np.asarray(xy, dtype=np.float64) for xy in (points, others))
    with np.errstate(invalid="ignore", over="ignore"):
        x, y = (points[:, axis, None] - others[None, :, axis] for axis in (0, 1))
        return np.nan_to_num(x * x + y * y, nan=np.inf, posinf=np.inf)
