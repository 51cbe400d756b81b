"""Registration of two images by an affine map, over the pairs of a run."""

from collections.abc import Sequence

import numpy as np

from homolog.core.errors import ConfigError
from homolog.evaluators.affine_accuracy import affine_error, affine_pck
from homolog.evaluators.error_scores import mean_score
from homolog.evaluators.match_quality import match_precision
from homolog.evaluators.record import Record
from homolog.evaluators.score import Curve, Score, Scored
from homolog.evaluators.solver_pool import estimate_all
from homolog.evaluators.threshold import Comparison
from homolog.evaluators.two_view import Estimator, MatrixEstimate
from homolog.evaluators.working_size import WorkingSize, file_size, matched_pair

CURVE = np.linspace(0, 0.1, 51)
"""Thresholds of the curve, as shares of the side."""


class AffineProtocol:
    """PCK of annotated points that the estimated map moves; without a map none is right.

    DeepAerial in OmniGlue (section 4.2). Its points, rotations and the sign of the comparison are not
    published: numbers are comparable to a few percent at best.
    """

    def __init__(
        self,
        *,
        name: str,
        estimator: Estimator[MatrixEstimate],
        alphas: Sequence[float | int],
        comparison: Comparison,
        workers: int | None = None,
    ) -> None:
        """Choose the variant.

        Args:
            name: as results name it.
            estimator: of the affine map, in pixels of the original files.
            alphas: thresholds as shares of the longer side of image 1; the first is the headline.
            comparison: whether an error on the threshold counts.
            workers: processes; None takes all cores. The numbers do not depend on it.

        Raises:
            ConfigError: no alphas, or another comparison.
        """
        if not alphas:
            raise ConfigError(f"{name}: expected at least one alpha, got none")
        match_precision(np.zeros(1), alphas, comparison=comparison)
        self.name = name
        self._estimator = estimator
        self._alphas = tuple(alphas)
        self._comparison: Comparison = comparison
        self._workers = workers

    def score(self, records: Sequence[Record]) -> Scored:
        """Score all pairs.

        Raises:
            ShapeError: a record without matches or annotated points.
            MissingDependencyError: the library of the estimator is not installed.
        """
        pairs = [matched_pair(record, WorkingSize()) for record in records]
        estimates = estimate_all(self._estimator, pairs, workers=self._workers)
        maps = [None if found is None else found.matrix for found in estimates]
        shares = np.array([self._shares(record, A) for record, A in zip(records, maps, strict=True)])
        shares = shares.reshape(len(records), len(self._alphas) + len(CURVE))
        errors = [
            affine_error(A, record["xy0"], record["xy1"]) for record, A in zip(records, maps, strict=True)
        ]
        columns = {f"PCK@{alpha:g}": shares[:, row] for row, alpha in enumerate(self._alphas)}
        inliers = [0 if found is None else int(found.inlier.sum()) for found in estimates]
        columns["mean error"] = np.array([each.mean() if len(each) else np.nan for each in errors])
        columns["matches"] = np.array([len(pair.xy0) for pair in pairs], dtype=np.float64)
        columns["inliers"] = np.array(inliers, dtype=np.float64)
        return Scored(
            scores=[
                *(mean_score(name, columns[name]) for name in columns if name.startswith("PCK")),
                Score(
                    name="failures",
                    value=float(np.mean([A is None for A in maps])) if maps else float("nan"),
                    higher_is_better=False,
                    count=len(maps),
                ),
                mean_score("matches per pair", columns["matches"], unit=""),
                mean_score("inliers per pair", columns["inliers"], unit=""),
            ],
            per_sample=columns,
            curves={
                "PCK over alpha": Curve(
                    x=CURVE,
                    y=shares[:, len(self._alphas) :].mean(axis=0) if records else np.full(len(CURVE), np.nan),
                    x_label="threshold as a share of the longer side",
                    y_label="share of points",
                )
            },
            quality=-columns["mean error"],
            settings={
                **self._estimator.settings(),
                "side": "longer side of image 1",
                "comparison": self._comparison,
                "average": "per pair, then over pairs",
            },
        )

    def _shares(self, record: Record, A: np.ndarray | None) -> np.ndarray:
        if len(record["xy0"]) == 0:
            return np.full(len(self._alphas) + len(CURVE), np.nan)
        return affine_pck(
            A,
            record["xy0"],
            record["xy1"],
            file_size(record, 1),
            [*self._alphas, *CURVE.tolist()],
            comparison=self._comparison,
        )
