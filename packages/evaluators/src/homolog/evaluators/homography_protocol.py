"""A homography from matches, over the pairs of a run."""

from collections.abc import Sequence

import numpy as np

from homolog.evaluators.error_recall import Rounding
from homolog.evaluators.error_scores import ErrorScores, Headline, mean_score
from homolog.evaluators.homography_accuracy import Corners, corner_error, symmetric_transfer_error
from homolog.evaluators.match_quality import match_precision
from homolog.evaluators.record import Record
from homolog.evaluators.score import Scored
from homolog.evaluators.solver_pool import estimate_all
from homolog.evaluators.threshold import Comparison
from homolog.evaluators.two_view import Estimator, MatrixEstimate
from homolog.evaluators.working_size import WorkingSize, file_size, matched_pair, true_homography


class HomographyProtocol:
    """AUC and accuracy of the corner error, precision of the matches, and how many there were."""

    def __init__(
        self,
        *,
        name: str,
        estimator: Estimator[MatrixEstimate],
        working_size: WorkingSize | None,
        corners: Corners,
        headline: Headline,
        thresholds: Sequence[float | int],
        rounding: Rounding,
        comparison: Comparison,
        precision_thresholds: Sequence[float | int],
        workers: int | None = None,
    ) -> None:
        """Choose the variant.

        Args:
            name: as results name it.
            estimator: of the homography.
            working_size: the size whose pixels all errors are in; None for the original files.
            corners: which four points.
            headline: what comes first.
            thresholds: of the corner error in pixels; the first is the headline's.
            rounding: of AUC.
            comparison: of accuracy.
            precision_thresholds: of the mean transfer error of matches there and back, in pixels (`<`).
            workers: processes; None takes all cores. The numbers do not depend on it.

        Raises:
            ConfigError: a choice that does not exist.
        """
        corner_error(np.eye(3), np.eye(3), (2, 2), corners=corners)
        self.name = name
        self._estimator = estimator
        self._working_size = working_size or WorkingSize()
        self._corners: Corners = corners
        self._errors = ErrorScores(
            thresholds=tuple(thresholds),
            unit="px",
            headline=headline,
            rounding=rounding,
            comparison=comparison,
        )
        self._precision_thresholds = tuple(precision_thresholds)
        self._workers = workers

    def score(self, records: Sequence[Record]) -> Scored:
        """Score all pairs.

        Raises:
            ShapeError: a record without matches or homography.
            MissingDependencyError: the library of the estimator is not installed.
        """
        columns = self._columns(records)
        errors = columns["corner error"]
        return Scored(
            scores=[
                *self._errors.scores(records, errors),
                *(mean_score(name, columns[name]) for name in columns if name.startswith("precision")),
                mean_score("matches per pair", columns["matches"], unit=""),
                mean_score("inliers per pair", columns["inliers"], unit=""),
            ],
            per_sample=columns,
            curves={"recall over corner error": self._errors.curve(errors)},
            quality=-errors,
            settings={
                **self._estimator.settings(),
                "pixels of": str(self._working_size),
                "corners": self._corners,
                **self._errors.settings(),
                "precision": "mean of the transfer errors there and back, <; per pair, 0 without matches",
            },
        )

    def _columns(self, records: Sequence[Record]) -> dict[str, np.ndarray]:
        truth = [true_homography(record, self._working_size) for record in records]
        pairs = [matched_pair(record, self._working_size) for record in records]
        estimates = estimate_all(self._estimator, pairs, workers=self._workers)
        errors = [
            np.inf if found is None else corner_error(found.matrix, H, size, corners=self._corners)
            for found, H, size in zip(
                estimates, truth, (self._working_size.of(file_size(each, 0)) for each in records), strict=True
            )
        ]
        names = [f"precision@{threshold:g}px" for threshold in self._precision_thresholds]
        shares = np.array(
            [
                match_precision(
                    symmetric_transfer_error(pair.xy0, pair.xy1, H),
                    self._precision_thresholds,
                    comparison="<",
                )
                for pair, H in zip(pairs, truth, strict=True)
            ]
        ).reshape(-1, len(names))
        inliers = [0 if found is None else int(found.inlier.sum()) for found in estimates]
        return {
            "corner error": np.array(errors, dtype=np.float64),
            **dict(zip(names, shares.T, strict=True)),
            "matches": np.array([len(pair.xy0) for pair in pairs], dtype=np.float64),
            "inliers": np.array(inliers, dtype=np.float64),
        }
