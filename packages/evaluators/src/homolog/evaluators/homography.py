"""Homographies: corner and transfer errors, the direct linear transform (DLT), and the protocols of HPatches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Real

from homolog.core.errors import ConfigError, MissingDependencyError, ShapeError, one_of
from homolog.evaluators.auc import ErrorScores, Headline, Rounding
from homolog.evaluators.image_sizes import WorkingSize, file_size, matched_pair, true_homography
from homolog.evaluators.precision import Comparison, finite_or_inf, match_precision
from homolog.evaluators.records import (
    Curve,
    Record,
    Score,
    Scored,
    count_scores,
    mean_score,
    threshold_columns,
)
from homolog.evaluators.solvers import Estimator, MatchedPair, MatrixEstimate, estimate_all, match_columns

Corners = Literal["last pixels", "width and height"]
"""The four corners of an image: (0, 0) to (w - 1, h - 1) in DIFT, (0, 0) to (w, h) in glue-factory."""


def apply_homography(xy: Real[np.ndarray, "N 2"], H: Real[np.ndarray, "3 3"]) -> Float[np.ndarray, "N 2"]:
    """Map points by a homography (float64); points on its horizon are not finite afterwards."""
    points = np.asarray(xy, dtype=np.float64)
    moved = np.concatenate((points, np.ones_like(points[:, :1])), axis=1) @ np.asarray(H, dtype=np.float64).T
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return moved[:, :2] / moved[:, 2:]


def transfer_error(
    xy0: Real[np.ndarray, "M 2"], xy1: Real[np.ndarray, "M 2"], H: Real[np.ndarray, "3 3"]
) -> Float[np.ndarray, " M"]:
    """Return the distance of each match from the mapped point of image 0, in pixels of image 1."""
    with np.errstate(invalid="ignore"):
        offset = apply_homography(xy0, H) - np.asarray(xy1, dtype=np.float64)
    return finite_or_inf(np.hypot(offset[:, 0], offset[:, 1]))


def symmetric_transfer_error(
    xy0: Real[np.ndarray, "M 2"], xy1: Real[np.ndarray, "M 2"], H: Real[np.ndarray, "3 3"]
) -> Float[np.ndarray, " M"]:
    """Return the mean of the forward and the backward transfer error.

    glue-factory:gluefactory/geometry/homography.py::sym_homography_error. A singular homography has infinite
    errors.
    """
    try:
        back = np.linalg.inv(np.asarray(H, dtype=np.float64))
    except np.linalg.LinAlgError:
        back = np.full((3, 3), np.nan)
    return (transfer_error(xy0, xy1, H) + transfer_error(xy1, xy0, back)) / 2


def corner_error(
    H: Real[np.ndarray, "3 3"],
    H_true: Real[np.ndarray, "3 3"],
    size: tuple[int, int],
    *,
    corners: Corners,
) -> float:
    """Return the mean distance between the corners of image 0 mapped by two homographies, in pixels of image 1.

    Args:
        H: estimated.
        H_true: true.
        size: (height, width) of image 0.
        corners: the four corners of an image.

    Returns:
        Infinity if a mapped corner is not finite.

    Raises:
        ConfigError: unknown corners.
    """
    height, width = size
    if one_of("corners", corners, get_args(Corners)) == "last pixels":
        height, width = height - 1, width - 1
    square = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)
    with np.errstate(invalid="ignore"):
        offset = apply_homography(square, H) - apply_homography(square, H_true)
    return float(finite_or_inf(np.hypot(offset[:, 0], offset[:, 1])).mean())


MINIMUM = 4
"""Matches needed for a homography."""


def fit_homography(
    xy0: Real[np.ndarray, "M 2"], xy1: Real[np.ndarray, "M 2"], weight: Real[np.ndarray, " M"]
) -> Float[np.ndarray, "3 3"] | None:
    """Fit a homography to all matches by the direct linear transform (float64).

    Minimises the weighted squared algebraic error. Points are first normalised to mean 0 and mean distance
    sqrt(2) with the same weights (Hartley and Zisserman, Multiple View Geometry, algorithm 4.2); the solution
    is the singular vector of the smallest singular value. It is not robust: a single wrong match of large
    weight spoils it. glue-factory reports it beside RANSAC as a measure of match quality.

    Args:
        xy0: points of image 0.
        xy1: their matches in image 1.
        weight: of each match, 0 or more; only ratios matter.

    Returns:
        The homography with H[2, 2] = 1 (unscaled if that is 0), or None for fewer than four matches of
        positive weight and for degenerate points.

    Raises:
        ShapeError: a negative weight.
    """
    weight = np.asarray(weight, dtype=np.float64)
    if (weight < 0).any():
        raise ShapeError(f"fit_homography: expected weights of 0 or more, got {weight.min():g}")
    used = (weight > 0) & np.isfinite(xy0).all(axis=1) & np.isfinite(xy1).all(axis=1) & np.isfinite(weight)
    if used.sum() < MINIMUM:
        return None
    weight = weight[used]
    (points0, move0), (points1, move1) = (
        _normalised(np.asarray(xy, dtype=np.float64)[used], weight) for xy in (xy0, xy1)
    )
    if move0 is None or move1 is None:
        return None
    rows = _equations(points0, points1) * np.sqrt(np.tile(weight, 2))[:, None]
    # Four matches give eight equations; only the full matrices contain the ninth singular vector.
    _, values, vectors = np.linalg.svd(rows, full_matrices=len(rows) < 9)
    if values[7] <= 1e-12 * values[0]:
        return None
    H = np.linalg.inv(move1) @ vectors[8].reshape(3, 3) @ move0
    return H / H[2, 2] if abs(H[2, 2]) > 1e-8 else H


def _normalised(xy: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    centre = np.average(xy, axis=0, weights=weight)
    radius = np.average(np.linalg.norm(xy - centre, axis=1), weights=weight)
    if radius == 0:
        return xy, None
    scale = np.sqrt(2) / radius
    move = np.array([[scale, 0, -scale * centre[0]], [0, scale, -scale * centre[1]], [0, 0, 1]])
    return (xy - centre) * scale, move


def _equations(points0: np.ndarray, points1: np.ndarray) -> np.ndarray:
    p0 = np.concatenate((points0, np.ones_like(points0[:, :1])), axis=1)
    zero = np.zeros_like(p0)
    upper = np.concatenate((zero, -p0, points1[:, 1:] * p0), axis=1)
    lower = np.concatenate((p0, zero, -points1[:, :1] * p0), axis=1)
    return np.concatenate((upper, lower))


Solver = Literal["homolog", "kornia"]
"""`homolog`: singular values in float64. `kornia`: kornia's default in float32, as glue-factory calls it. They
minimise different errors on noisy matches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DltHomography:
    """Estimates a homography from all matches by weighted DLT; the weight of a match is its score.

    Attributes:
        solver: the implementation.
    """

    solver: Solver

    def __post_init__(self) -> None:
        one_of("solver", self.solver, get_args(Solver))

    def estimate(self, pair: MatchedPair, /) -> MatrixEstimate | None:
        """Return the homography, or None for fewer than four matches; every match is an inlier.

        Raises:
            MissingDependencyError: the solver is kornia, which is not installed.
            ShapeError: a negative score.
        """
        xy0, xy1, usable = pair.usable()
        if len(xy0) < MINIMUM:
            return None
        fit = fit_homography if self.solver == "homolog" else _by_kornia
        H = fit(xy0, xy1, pair.score[usable])
        return None if H is None else MatrixEstimate(matrix=H, inlier=usable)

    def settings(self) -> dict[str, str]:
        """Return the settings as text."""
        return {"estimator": "weighted DLT", "solver": self.solver, "weight": "score of the match"}


def _by_kornia(xy0: np.ndarray, xy1: np.ndarray, weight: np.ndarray) -> np.ndarray | None:
    try:
        import torch
        from kornia.geometry.homography import find_homography_dlt
    except ImportError as error:
        raise MissingDependencyError("kornia", "the solver kornia") from error
    points0, points1, weights = (
        torch.from_numpy(part.astype(np.float32))[None] for part in (xy0, xy1, weight)
    )
    H = find_homography_dlt(points0, points1, weights)[0].double().numpy()
    return H if np.isfinite(H).all() else None


class HomographyProtocol:
    """AUC and accuracy of the corner error, precision of the matches, and numbers of matches and inliers."""

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
            name: as in results.
            estimator: of the homography.
            working_size: the image size at which all errors are in pixels; None for the files' own.
            corners: the four corners of an image.
            headline: the score to report first.
            thresholds: of the corner error in pixels; the headline uses the first.
            rounding: of AUC.
            comparison: of accuracy.
            precision_thresholds: of the symmetric transfer error of matches, in pixels (`<`).
            workers: threads; None for all cores. Scores do not depend on it.

        Raises:
            ConfigError: an unknown choice, or no thresholds.
        """
        one_of("corners", corners, get_args(Corners))
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
            MissingDependencyError: the estimator's library is not installed.
        """
        columns = self._columns(records)
        errors = columns["corner error"]
        return Scored(
            scores=[
                *self._errors.scores(records, errors),
                *(mean_score(name, columns[name]) for name in columns if name.startswith("precision")),
                *count_scores(columns),
            ],
            per_sample=columns,
            curves={"recall over corner error": self._errors.curve(errors)},
            quality=-errors,
            settings={
                **self._estimator.settings(),
                "pixels of": str(self._working_size),
                "corners": self._corners,
                **self._errors.settings(),
                "precision": "symmetric transfer error, <; per pair, 0 without matches",
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
        limits = self._precision_thresholds
        fractions = [
            match_precision(symmetric_transfer_error(pair.xy0, pair.xy1, H), limits, comparison="<")
            for pair, H in zip(pairs, truth, strict=True)
        ]
        return {
            "corner error": np.array(errors, dtype=np.float64),
            **threshold_columns("precision", limits, fractions, unit="px"),
            **match_columns(pairs, estimates),
        }


class MatchingAccuracyProtocol:
    """Mean matching accuracy (MMA): the fraction of matches close to their true place, averaged over pairs.

    mihaidusmanu/d2-net's HPatches notebook divides by 5 pairs per sequence; this divides by the number of
    pairs, which is the same for complete sequences. Only the forward error counts.
    """

    def __init__(
        self,
        *,
        name: str,
        headline: float | int,
        thresholds: Sequence[float | int],
        comparison: Comparison,
        working_size: WorkingSize | None,
    ) -> None:
        """Choose the variant.

        Args:
            name: as in results.
            headline: the threshold to report first.
            thresholds: in pixels, ascending.
            comparison: whether an error on the threshold counts.
            working_size: the image size at which all errors are in pixels; None for the files' own.

        Raises:
            ConfigError: a headline that is not among the thresholds, or an unknown comparison.
        """
        if headline not in thresholds:
            raise ConfigError(
                f"{name}: expected a headline among the thresholds {list(thresholds)}, got {headline}"
            )
        one_of("comparison", comparison, get_args(Comparison))
        self.name = name
        self._thresholds = tuple(thresholds)
        self._headline = headline
        self._comparison: Comparison = comparison
        self._working_size = working_size or WorkingSize()

    def score(self, records: Sequence[Record]) -> Scored:
        """Score all pairs.

        Raises:
            ShapeError: a record without matches or homography.
        """
        pairs = [matched_pair(record, self._working_size) for record in records]
        truth = [true_homography(record, self._working_size) for record in records]
        errors = [transfer_error(pair.xy0, pair.xy1, H) for pair, H in zip(pairs, truth, strict=True)]
        fractions = [match_precision(each, self._thresholds, comparison=self._comparison) for each in errors]
        columns = threshold_columns("MMA", self._thresholds, fractions, unit="px")
        counts = {"matches": np.array([len(each) for each in errors], dtype=np.float64)}
        first = f"MMA@{self._headline:g}px"
        scores = {name: mean_score(name, values) for name, values in columns.items()}
        return Scored(
            scores=[
                scores.pop(first),
                *scores.values(),
                *count_scores(counts),
                *self._by_category(records, columns[first], first),
            ],
            per_sample={**columns, **counts},
            curves={
                "MMA over error": Curve(
                    x=np.array(self._thresholds, dtype=np.float64),
                    y=np.array([mean_score(name, values).value for name, values in columns.items()]),
                    x_label="error in px",
                    y_label="fraction of right matches",
                )
            },
            quality=columns[first],
            settings={
                "error": "forward, in image 1",
                "comparison": self._comparison,
                "pixels of": str(self._working_size),
                "average": "per pair, 0 without matches, then over pairs",
            },
        )

    def _by_category(self, records: Sequence[Record], values: np.ndarray, name: str) -> list[Score]:
        categories = np.array([record.category for record in records], dtype=np.str_)
        return [
            Score(
                name=name,
                value=float(values[categories == category].mean()),
                category=str(category),
                count=int((categories == category).sum()),
            )
            for category in np.unique(categories[categories != ""])
        ]
