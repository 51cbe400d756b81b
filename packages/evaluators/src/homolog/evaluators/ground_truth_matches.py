"""Ground-truth matches of keypoints under a homography, and precision and recall of predicted ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Real

from homolog.core.errors import ConfigError, ShapeError
from homolog.evaluators.homography import apply_homography
from homolog.evaluators.image_sizes import WorkingSize, points_at, true_homography
from homolog.evaluators.records import Curve, Record, Score, Scored, count_scores, mean_score

UNMATCHED = -1
"""The keypoint has no true match: any predicted match of it is wrong."""

IGNORED = -2
"""Ambiguous: predictions for the keypoint are not counted."""

CHUNK = 2048
"""Rows of the distance matrix computed at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchCounts:
    """Counts of matches of the keypoints of image 0; they can be summed over pairs.

    Attributes:
        correct: predicted matches that are true.
        predicted: predicted matches of keypoints that are not ignored.
        true: keypoints with a true match.
    """

    correct: int
    predicted: int
    true: int

    @property
    def precision(self) -> float:
        """Fraction of the predicted matches that are true; 0 without a prediction."""
        return self.correct / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Fraction of the true matches that were predicted; 0 without a true match."""
        return self.correct / self.true if self.true else 0.0


def homography_matches(
    keypoints0: Real[np.ndarray, "N 2"],
    keypoints1: Real[np.ndarray, "M 2"],
    H: Real[np.ndarray, "3 3"],
    *,
    positive: float | int,
    negative: float | int,
) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " M"]]:
    """Return the true match of every keypoint.

    As in glue-factory:gluefactory/geometry/gt_generation.py::gt_matches_from_homography. Two keypoints match
    if they are mutual nearest neighbours and both transfer errors, forward and backward, are below
    `positive` pixels. A keypoint whose smallest transfer error is above `negative` pixels is unmatched. All
    others are ignored.

    Args:
        keypoints0: of image 0, in pixels.
        keypoints1: of image 1, in pixels.
        H: from image 0 to image 1.
        positive: pixels; 3 in SuperGlue and OmniGlue.
        negative: pixels; 5 in both. glue-factory's own default is 6.

    Returns:
        For each keypoint of either image the index of its match in the other, `UNMATCHED` or `IGNORED`.

    Raises:
        ConfigError: thresholds out of order.
    """
    if not 0 < positive <= negative:
        raise ConfigError(f"expected 0 < positive <= negative, got {positive:g} and {negative:g}")
    if len(keypoints0) == 0 or len(keypoints1) == 0:
        return np.full(len(keypoints0), UNMATCHED), np.full(len(keypoints1), UNMATCHED)
    there = _squared(apply_homography(keypoints0, H), keypoints1)
    back = _squared(
        apply_homography(keypoints1, np.linalg.inv(np.asarray(H, dtype=np.float64))), keypoints0
    ).T
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
    """Compare predicted matches with true ones.

    Args:
        predicted0: index of the predicted match of each keypoint of image 0; negative for none.
        true0: the labels of image 0 from `homography_matches`.

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
    """Return the index of the keypoint at each matched point.

    Args:
        keypoints: in pixels.
        matched: points of a match, in the same pixels.
        tolerance: pixels, for rounding.

    Raises:
        ShapeError: a matched point that is not a keypoint, such as a refined one.
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
                "expected matches between keypoints, got matched points that are not keypoints; this protocol "
                "needs a matcher that does not refine its keypoints"
            )
        found.append(nearest)
    return np.concatenate(found)


CURVE_POINTS = 50
"""Largest number of points of the precision-recall curve."""


class MatchPrecisionProtocol:
    """Precision and recall of matches under true homographies.

    OmniGlue (section 4.1) counts matches within 3 px as right, beyond 5 px as wrong, and ignores those in
    between, on synthetic homographies of two strengths (SH100, SH200). Its code is not public; the labels
    are those of glue-factory, see `homography_matches`. Needs a matcher that returns its keypoints.
    """

    def __init__(
        self, *, name: str, positive: float | int, negative: float | int, working_size: WorkingSize | None
    ) -> None:
        """Choose the variant.

        Args:
            name: as in results.
            positive: two keypoints closer than this many pixels match (`<`).
            negative: a keypoint with no other within this many pixels is unmatched (`>`).
            working_size: the image size at which both are in pixels; None for the files' own.

        Raises:
            ConfigError: thresholds out of order.
        """
        if not 0 < positive <= negative:
            raise ConfigError(f"{name}: expected 0 < positive <= negative, got {positive} and {negative}")
        self.name = name
        self._positive = float(positive)
        self._negative = float(negative)
        self._working_size = working_size or WorkingSize()

    def score(self, records: Sequence[Record]) -> Scored:
        """Score all pairs.

        Raises:
            ShapeError: a record without matches, keypoints or homography, or with matches off its keypoints.
        """
        labels = [self._labels(record) for record in records]
        counts = [count_matches(predicted, true) for predicted, true, _ in labels]
        correct, made, true = (
            np.array([getattr(each, part) for each in counts], dtype=np.int64)
            for part in ("correct", "predicted", "true")
        )
        pooled = MatchCounts(correct=int(correct.sum()), predicted=int(made.sum()), true=int(true.sum()))
        precision = np.array([each.precision for each in counts], dtype=np.float64)
        recall = np.array([each.recall for each in counts], dtype=np.float64)
        return Scored(
            scores=[
                mean_score("precision", precision),
                mean_score("recall", recall),
                Score(name="precision of all matches", value=pooled.precision, count=pooled.predicted),
                Score(name="recall of all matches", value=pooled.recall, count=pooled.true),
                *count_scores(
                    {"matches": np.array([len(record["match0"]) for record in records], dtype=np.float64)}
                ),
            ],
            per_sample={
                "precision": precision,
                "recall": recall,
                "right matches": correct.astype(np.float64),
                "predicted matches": made.astype(np.float64),
                "true matches": true.astype(np.float64),
            },
            curves={"precision over recall": _curve(labels, pooled)},
            quality=precision,
            settings={
                "right": f"mutual nearest, both transfer errors < {self._positive:g} px",
                "unmatched": f"nearest transfer > {self._negative:g} px; in between ignored",
                "pixels of": str(self._working_size),
                "average": "per pair, 0 without matches, then over pairs",
            },
        )

    def _labels(self, record: Record) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the predicted and true match of each keypoint of image 0, and the score of the prediction."""
        rows, partners = (
            match_indices(record[f"keypoints{side}"], record[f"match{side}"]) for side in (0, 1)
        )
        keypoints0, keypoints1 = (
            points_at(record, f"keypoints{side}", self._working_size) for side in (0, 1)
        )
        true, _ = homography_matches(
            keypoints0,
            keypoints1,
            true_homography(record, self._working_size),
            positive=self._positive,
            negative=self._negative,
        )
        predicted, score = np.full(len(true), UNMATCHED), np.full(len(true), -np.inf)
        # Written from worst to best, so that the best match of a keypoint remains.
        predicted[rows[::-1]] = partners[::-1]
        score[rows[::-1]] = np.asarray(record["score"], dtype=np.float64)[::-1]
        return predicted, true, score


def _curve(labels: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], pooled: MatchCounts) -> Curve:
    """Return precision over recall of the matches of all pairs, best first."""
    predicted, true, score = (
        np.concatenate([each[part] for each in labels]) if labels else np.zeros(0) for part in range(3)
    )
    counted = (predicted >= 0) & (true != IGNORED)
    order = np.argsort(-score[counted], kind="stable")
    right = np.cumsum((predicted == true)[counted][order])
    kept = np.unique(np.linspace(0, len(right) - 1, min(CURVE_POINTS, len(right))).round().astype(np.int64))
    return Curve(
        x=right[kept] / max(pooled.true, 1),
        y=right[kept] / (kept + 1),
        x_label="recall",
        y_label="precision",
    )


def _squared(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    points, others = (np.asarray(xy, dtype=np.float64) for xy in (points, others))
    with np.errstate(invalid="ignore", over="ignore"):
        x, y = (points[:, axis, None] - others[None, :, axis] for axis in (0, 1))
        return np.nan_to_num(x * x + y * y, nan=np.inf, posinf=np.inf)
