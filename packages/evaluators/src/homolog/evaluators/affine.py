"""Registration of two images by an affine map: PCK of annotated points."""

from collections.abc import Sequence
from typing import get_args

import numpy as np
from jaxtyping import Float, Real

from homolog.core.errors import ConfigError, one_of
from homolog.evaluators.image_sizes import WorkingSize, file_size, matched_pair
from homolog.evaluators.precision import Comparison, finite_or_inf, match_precision
from homolog.evaluators.records import Curve, Record, Scored, count_scores, mean_score
from homolog.evaluators.solvers import Estimator, MatrixEstimate, estimate_all, failures, match_columns


def affine_error(
    A: Real[np.ndarray, "2 3"] | None, xy0: Real[np.ndarray, "N 2"], xy1: Real[np.ndarray, "N 2"]
) -> Float[np.ndarray, " N"]:
    """Return the distance of each mapped point of image 0 from its true place in image 1, in pixels.

    Args:
        A: from pixels of image 0 to pixels of image 1; None gives infinite errors.
        xy0: points of image 0.
        xy1: their true places in image 1.
    """
    if A is None:
        return np.full(len(xy0), np.inf)
    points = np.asarray(xy0, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        offset = points @ A[:, :2].T + A[:, 2] - xy1
    return finite_or_inf(np.hypot(offset[:, 0], offset[:, 1]))


def affine_pck(
    A: Real[np.ndarray, "2 3"] | None,
    xy0: Real[np.ndarray, "N 2"],
    xy1: Real[np.ndarray, "N 2"],
    size: tuple[int, int],
    alphas: Sequence[float | int],
    *,
    comparison: Comparison,
) -> Float[np.ndarray, " T"]:
    """Return the fraction of the points of one pair with an error within alpha * max(height, width).

    OmniGlue scores registered aerial photos this way (section 4.2): 20 points, alphas 0.01, 0.03 and 0.05.

    Args:
        A: from pixels of image 0 to pixels of image 1, or None for a failure.
        xy0: points of image 0.
        xy1: their true places in image 1.
        size: (height, width); alphas are fractions of the longer side.
        alphas: T of them.
        comparison: whether an error on the threshold counts; unknown in the paper.
    """
    return match_precision(
        affine_error(A, xy0, xy1), [alpha * max(size) for alpha in alphas], comparison=comparison
    )


CURVE = np.linspace(0, 0.1, 51)
"""Thresholds of the curve, as fractions of the side."""


class AffineProtocol:
    """PCK of annotated points mapped by the estimated affine map; 0 without an estimate.

    DeepAerial in OmniGlue (section 4.2). Its points, rotations and comparison are not published, so numbers
    are comparable to a few percent at best.
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
            name: as in results.
            estimator: of the affine map, in pixels of the original files.
            alphas: thresholds as fractions of the longer side of image 1; the first is the headline.
            comparison: whether an error on the threshold counts.
            workers: threads; None for all cores. Scores do not depend on it.

        Raises:
            ConfigError: no alphas, or an unknown comparison.
        """
        if not alphas:
            raise ConfigError(f"{name}: expected at least one alpha, got none")
        one_of("comparison", comparison, get_args(Comparison))
        self.name = name
        self._estimator = estimator
        self._alphas = tuple(alphas)
        self._comparison: Comparison = comparison
        self._workers = workers

    def score(self, records: Sequence[Record]) -> Scored:
        """Score all pairs.

        Raises:
            ShapeError: a record without matches or annotated points.
            MissingDependencyError: the estimator's library is not installed.
        """
        pairs = [matched_pair(record, WorkingSize()) for record in records]
        estimates = estimate_all(self._estimator, pairs, workers=self._workers)
        maps = [None if found is None else found.matrix for found in estimates]
        fractions = np.array([self._fractions(record, A) for record, A in zip(records, maps, strict=True)])
        fractions = fractions.reshape(len(records), len(self._alphas) + len(CURVE))
        errors = [
            affine_error(A, record["xy0"], record["xy1"]) for record, A in zip(records, maps, strict=True)
        ]
        columns = {f"PCK@{alpha:g}": fractions[:, row] for row, alpha in enumerate(self._alphas)}
        columns["mean error"] = np.array([each.mean() if len(each) else np.nan for each in errors])
        columns |= match_columns(pairs, estimates)
        return Scored(
            scores=[
                *(mean_score(name, columns[name]) for name in columns if name.startswith("PCK")),
                failures(estimates),
                *count_scores(columns),
            ],
            per_sample=columns,
            curves={
                "PCK over alpha": Curve(
                    x=CURVE,
                    y=fractions[:, len(self._alphas) :].mean(axis=0)
                    if records
                    else np.full(len(CURVE), np.nan),
                    x_label="threshold as a fraction of the longer side",
                    y_label="fraction of points",
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

    def _fractions(self, record: Record, A: np.ndarray | None) -> np.ndarray:
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
