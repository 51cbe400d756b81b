"""Epipolar geometry without intrinsics, over the pairs of a run: WxBS."""

from collections.abc import Sequence

import numpy as np

from homolog.core.errors import ConfigError
from homolog.evaluators.epipolar_geometry import symmetric_epipolar_distance
from homolog.evaluators.error_scores import mean_score
from homolog.evaluators.match_quality import match_precision
from homolog.evaluators.record import Record
from homolog.evaluators.score import Curve, Score, Scored
from homolog.evaluators.solver_pool import estimate_all
from homolog.evaluators.two_view import Estimator, MatrixEstimate
from homolog.evaluators.working_size import WorkingSize, matched_pair


class FundamentalProtocol:
    """The share of hand-marked correspondences that agree with the estimated fundamental matrix.

    ducha-aiki/wxbs-benchmark:metrics.ipynb::fraction_of_gt_corrs_consisent_with_F and evaluate_Fs:
    root of the sum of both squared epipolar distances, `<=` 0 to 19 pixels, per pair, then the plain
    mean over pairs. A pair without an estimate has none right.
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
            name: as results name it.
            estimator: of the fundamental matrix, in pixels of the original files.
            headline: the recall is averaged over the thresholds of 1 up to this many pixels.
            thresholds: in pixels, ascending.
            workers: processes; None takes all cores. The numbers do not depend on it.

        Raises:
            ConfigError: a headline that is no threshold.
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
            MissingDependencyError: the library of the estimator is not installed.
        """
        pairs = [matched_pair(record, WorkingSize()) for record in records]
        estimates = estimate_all(self._estimator, pairs, workers=self._workers)
        shares = np.array(
            [self._recall(record, found) for record, found in zip(records, estimates, strict=True)]
        ).reshape(-1, len(self._thresholds))
        averaged = [row for row, limit in enumerate(self._thresholds) if 1 <= limit <= self._headline]
        columns = {f"recall@{limit:g}px": shares[:, row] for row, limit in enumerate(self._thresholds)}
        mean = shares[:, averaged].mean(axis=1)
        matches = np.array([len(pair.xy0) for pair in pairs], dtype=np.float64)
        inliers = np.array(
            [0 if found is None else found.inlier.sum() for found in estimates], dtype=np.float64
        )
        name = f"mAA@{self._headline:g}px"
        return Scored(
            scores=[
                mean_score(name, mean),
                *(mean_score(each, values) for each, values in columns.items()),
                Score(
                    name="failures",
                    value=float(np.mean([found is None for found in estimates])) if records else float("nan"),
                    higher_is_better=False,
                    count=len(records),
                ),
                mean_score("matches per pair", matches, unit=""),
                mean_score("inliers per pair", inliers, unit=""),
            ],
            per_sample={name: mean, **columns, "matches": matches, "inliers": inliers},
            curves={
                "recall over epipolar distance": Curve(
                    x=np.array(self._thresholds, dtype=np.float64),
                    y=np.array([mean_score(each, values).value for each, values in columns.items()]),
                    x_label="symmetric epipolar distance in px",
                    y_label="share of marked correspondences",
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
