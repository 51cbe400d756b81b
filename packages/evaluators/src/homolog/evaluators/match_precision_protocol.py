"""Precision and recall of matches under true homographies, over the pairs of a run."""

from collections.abc import Sequence

import numpy as np

from homolog.core.errors import ConfigError
from homolog.evaluators.error_scores import mean_score
from homolog.evaluators.homography_matches import (
    IGNORED,
    UNMATCHED,
    MatchCounts,
    count_matches,
    homography_matches,
    match_indices,
)
from homolog.evaluators.record import Record
from homolog.evaluators.score import Curve, Score, Scored
from homolog.evaluators.working_size import WorkingSize, points_at, true_homography

CURVE = 50
"""Points of the precision-recall curve at most."""


class MatchPrecisionProtocol:
    """Which keypoints have a partner is known from the homography; how many were found, and how many wrongly.

    OmniGlue (section 4.1) calls matches within 3 px right, beyond 5 px wrong, and ignores those in
    between, on synthetic homographies of two strengths (SH100, SH200). Its code is not public; the
    labels are those of glue-factory, see `homolog.evaluators.homography_matches`. Needs a matcher that
    tells its keypoints.
    """

    def __init__(
        self, *, name: str, positive: float | int, negative: float | int, working_size: WorkingSize | None
    ) -> None:
        """Choose the variant.

        Args:
            name: as results name it.
            positive: pixels within which two keypoints are partners (`<`).
            negative: pixels beyond which a keypoint has none (`>`).
            working_size: the size whose pixels both are; None for the original files.

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
            ShapeError: a record without matches, keypoints or homography, or matches beside its keypoints.
        """
        labels = [self._labels(record) for record in records]
        counts = [count_matches(predicted, true) for predicted, true, _ in labels]
        pooled = MatchCounts(
            correct=sum(each.correct for each in counts),
            predicted=sum(each.predicted for each in counts),
            true=sum(each.true for each in counts),
        )
        precision = np.array([each.precision for each in counts], dtype=np.float64)
        recall = np.array([each.recall for each in counts], dtype=np.float64)
        return Scored(
            scores=[
                mean_score("precision", precision),
                mean_score("recall", recall),
                Score(name="precision of all matches", value=pooled.precision, count=pooled.predicted),
                Score(name="recall of all matches", value=pooled.recall, count=pooled.true),
                mean_score(
                    "matches per pair",
                    np.array([len(record["match0"]) for record in records], dtype=np.float64),
                    unit="",
                ),
            ],
            per_sample={
                "precision": precision,
                "recall": recall,
                "right matches": np.array([each.correct for each in counts], dtype=np.float64),
                "predicted matches": np.array([each.predicted for each in counts], dtype=np.float64),
                "true matches": np.array([each.true for each in counts], dtype=np.float64),
            },
            curves={"precision over recall": _curve(labels, pooled)},
            quality=precision,
            settings={
                "right": f"mutually nearest, both transfer errors < {self._positive:g} px",
                "without partner": f"nearest transfer > {self._negative:g} px; in between ignored",
                "pixels of": str(self._working_size),
                "average": "per pair, 0 without matches, then over pairs",
            },
        )

    def _labels(self, record: Record) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return predicted and true partner of each keypoint of image 0, and the score of the prediction."""
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
        # Best last, so that it stays where a keypoint was matched twice.
        predicted[rows[::-1]] = partners[::-1]
        score[rows[::-1]] = np.asarray(record["score"], dtype=np.float64)[::-1]
        return predicted, true, score


def _curve(labels: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], pooled: MatchCounts) -> Curve:
    """Return precision over recall as matches of all pairs are taken in, best first."""
    predicted, true, score = (
        np.concatenate([each[part] for each in labels]) if labels else np.zeros(0) for part in range(3)
    )
    counted = (predicted >= 0) & (true != IGNORED)
    order = np.argsort(-score[counted], kind="stable")
    right = np.cumsum((predicted == true)[counted][order])
    kept = np.unique(np.linspace(0, len(right) - 1, min(CURVE, len(right))).round().astype(np.int64))
    return Curve(
        x=right[kept] / max(pooled.true, 1),
        y=right[kept] / (kept + 1),
        x_label="recall",
        y_label="precision",
    )
