"""Epipolar geometry: how far matches are from it, and the score of estimated fundamental matrices (WxBS)."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Real

from homolog.core.errors import ConfigError, one_of
from homolog.evaluators.image_sizes import WorkingSize, matched_pair
from homolog.evaluators.precision import finite_or_inf, match_precision
from homolog.evaluators.records import Curve, Record, Scored, count_scores, mean_score, threshold_columns
from homolog.evaluators.solvers import Estimator, MatrixEstimate, estimate_all, failures, match_columns

EpipolarDistance = Literal["squared sum", "mean", "root of squared sum"]
"""How the distances of two matched points to each other's epipolar line are combined.

`squared sum`: the sum of their squares; LoFTR, SuperGlue.
`mean`: their mean, with gradients of the lines clamped to at least 1e-3; glue-factory.
`root of squared sum`: the root of the first; kornia and therefore the WxBS benchmark.
Thresholds are not comparable between them: 5e-4 for the first is about 2e-2 for the last."""

SMALLEST_SQUARED_GRADIENT = 1e-6
"""glue-factory's `clamp`; it matters only near the epipole."""


def symmetric_epipolar_distance(
    xy0: Real[np.ndarray, "M 2"],
    xy1: Real[np.ndarray, "M 2"],
    F: Real[np.ndarray, "3 3"],
    *,
    definition: EpipolarDistance,
) -> Float[np.ndarray, " M"]:
    """Return the distance of each match, infinite in place of NaN (float64).

    Args:
        xy0: points of image 0: pixels with a fundamental matrix, or points of the plane Z = 1 (see
            `on_normalised_plane`) with an essential one.
        xy1: their matches in image 1, in the same kind of coordinates.
        F: maps a point of image 0 to its line in image 1; true matches have xy1^T F xy0 = 0.
        definition: how the two distances are combined.

    Raises:
        ConfigError: an unknown definition.
    """
    one_of("definition", definition, get_args(EpipolarDistance))
    matrix = np.asarray(F, dtype=np.float64)
    (x0, y0), (x1, y1) = (np.asarray(xy, dtype=np.float64).T for xy in (xy0, xy1))
    # Column by column, which is ten times as fast as products of M small vectors.
    a1, b1, c1 = (row[0] * x0 + row[1] * y0 + row[2] for row in matrix)
    a0, b0 = (row[0] * x1 + row[1] * y1 + row[2] for row in matrix.T[:2])
    residual = np.abs(x1 * a1 + y1 * b1 + c1)
    square0, square1 = a0 * a0 + b0 * b0, a1 * a1 + b1 * b1
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if definition == "mean":
            square0, square1 = (
                np.maximum(square, SMALLEST_SQUARED_GRADIENT) for square in (square0, square1)
            )
            return finite_or_inf(residual * (1 / np.sqrt(square1) + 1 / np.sqrt(square0)) / 2)
        squared = finite_or_inf(np.square(residual) * (1 / square1 + 1 / square0))
    return squared if definition == "squared sum" else np.sqrt(squared)


def on_normalised_plane(xy: Real[np.ndarray, "M 2"], K: Real[np.ndarray, "3 3"]) -> Float[np.ndarray, "M 2"]:
    """Return where the rays through pixels meet the plane Z = 1 of their camera (float64).

    As in all official codes, the camera has no skew: only focal lengths and principal point are used.
    """
    rays = np.array(xy, dtype=np.float64)
    for axis in (0, 1):
        rays[:, axis] -= float(K[axis, 2])
        rays[:, axis] /= float(K[axis, axis])
    return rays


def essential_matrix(R: Real[np.ndarray, "3 3"], t: Real[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Return [t]x R of the pose from camera 0 to camera 1: X1 = R X0 + t (float64)."""
    x, y, z = np.asarray(t, dtype=np.float64)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return cross @ np.asarray(R, dtype=np.float64)


class FundamentalProtocol:
    """The fraction of hand-marked correspondences that agree with the estimated fundamental matrix.

    ducha-aiki/wxbs-benchmark:metrics.ipynb::fraction_of_gt_corrs_consisent_with_F and evaluate_Fs:
    root of the sum of both squared epipolar distances, `<=` 0 to 19 pixels, per pair, then the mean over
    pairs. A pair without an estimate has a recall of 0.
    """

    def __init__(
        self,
        *,
        name: str,
        estimator: Estimator[MatrixEstimate],
        headline: int,
        thresholds: Sequence[float | int],
        workers: int | None = None,
    ) -> None:
        """Choose the variant.

        Args:
            name: as in results.
            estimator: of the fundamental matrix, in pixels of the original files.
            headline: the recall is averaged over thresholds from 1 to this many pixels.
            thresholds: in pixels, ascending.
            workers: threads; None for all cores. Scores do not depend on it.

        Raises:
            ConfigError: a headline that is not among the thresholds.
        """
        if headline not in thresholds or headline < 1:
            raise ConfigError(
                f"{name}: expected a headline of 1 or more among the thresholds {list(thresholds)}, got {headline}"
            )
        self.name = name
        self._estimator = estimator
        self._headline = headline
        self._thresholds = tuple(thresholds)
        self._workers = workers

    def score(self, records: Sequence[Record]) -> Scored:
        """Score all pairs.

        Raises:
            ShapeError: a record without matches or annotated points.
            MissingDependencyError: the estimator's library is not installed.
        """
        pairs = [matched_pair(record, WorkingSize()) for record in records]
        estimates = estimate_all(self._estimator, pairs, workers=self._workers)
        fractions = np.array(
            [self._recall(record, found) for record, found in zip(records, estimates, strict=True)]
        ).reshape(-1, len(self._thresholds))
        averaged = [row for row, limit in enumerate(self._thresholds) if 1 <= limit <= self._headline]
        columns = threshold_columns("recall", self._thresholds, fractions, unit="px")
        mean = fractions[:, averaged].mean(axis=1)
        counts = match_columns(pairs, estimates)
        name = f"mAA@{self._headline:g}px"
        return Scored(
            scores=[
                mean_score(name, mean),
                *(mean_score(each, values) for each, values in columns.items()),
                failures(estimates),
                *count_scores(counts),
            ],
            per_sample={name: mean, **columns, **counts},
            curves={
                "recall over epipolar distance": Curve(
                    x=np.array(self._thresholds, dtype=np.float64),
                    y=np.array([mean_score(each, values).value for each, values in columns.items()]),
                    x_label="symmetric epipolar distance in px",
                    y_label="fraction of marked correspondences",
                )
            },
            quality=mean,
            settings={
                **self._estimator.settings(),
                "epipolar distance": "root of squared sum, pixels of the original files",
                "comparison": "<=",
                "mAA": f"mean of the recall at the thresholds of 1 to {self._headline:g} px",
                "average": "per pair, then over pairs",
            },
        )

    def _recall(self, record: Record, found: MatrixEstimate | None) -> np.ndarray:
        xy0, xy1 = record["xy0"], record["xy1"]
        if len(xy0) == 0:
            return np.full(len(self._thresholds), np.nan)
        if found is None:
            return np.zeros(len(self._thresholds))
        distance = symmetric_epipolar_distance(xy0, xy1, found.matrix, definition="root of squared sum")
        return match_precision(distance, self._thresholds, comparison="<=")
