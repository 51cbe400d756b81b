"""The fraction of matches or points that are right, and whether confidence predicts it.

Official codes disagree on whether an error exactly on the threshold counts, so it is always an argument.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Real

from homolog.core.errors import ConfigError, ShapeError, one_of
from homolog.evaluators.records import Curve

Comparison = Literal["<", "<="]
"""Whether an error of exactly the threshold counts: not with `<`, but with `<=`."""


def within(error: np.ndarray, limit: np.ndarray | float, comparison: Comparison) -> np.ndarray:
    """Return which errors are within the limit; NaN never is.

    Args:
        error: any shape.
        limit: in the same unit; broadcasts against `error`.
        comparison: `<` or `<=`.

    Raises:
        ConfigError: an unknown comparison.

    >>> within(np.array([1.0, 2.0, np.nan]), 2.0, "<").tolist()
    [True, False, False]
    """
    one_of("comparison", comparison, get_args(Comparison))
    return error < limit if comparison == "<" else error <= limit


def finite_or_inf(errors: Real[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Return errors as float64 with infinity in place of NaN.

    Raises:
        ShapeError: a negative error.
    """
    errors = np.asarray(errors, dtype=np.float64)
    errors = np.where(np.isnan(errors), np.inf, errors)
    if errors.size and errors.min() < 0:
        raise ShapeError(f"expected errors of 0 or more, got {errors.min():g}")
    return errors


def match_precision(
    errors: Real[np.ndarray, " M"], thresholds: Sequence[float | int], *, comparison: Comparison
) -> Float[np.ndarray, " T"]:
    """Return the fraction of the matches of one pair whose error is within each threshold.

    Args:
        errors: of M matches, in any unit; NaN never counts.
        thresholds: T of them in the same unit.
        comparison: whether an error on the threshold counts.

    Returns:
        Fractions in [0, 1]; 0 for a pair without matches, as in LoFTR (`epidist_prec`) and glue-factory.
    """
    if len(errors) == 0:
        return np.zeros(len(thresholds))
    limits = np.array(thresholds, dtype=np.float64)[:, None]
    return within(finite_or_inf(errors), limits, comparison).mean(axis=1)


def mean_match_precision(
    errors: Sequence[Real[np.ndarray, " _"]], thresholds: Sequence[float | int], *, comparison: Comparison
) -> Float[np.ndarray, " T"]:
    """Return the mean over pairs of `match_precision`.

    With forward homography distances, thresholds of 1 to 10 pixels and `<=` it is the mean matching
    accuracy (MMA) of mihaidusmanu/d2-net's HPatches notebook. The notebook divides by 5 pairs per sequence,
    which is the same as long as no pair is missing.

    Args:
        errors: of the matches of each pair.
        thresholds: T of them in the same unit.
        comparison: whether an error on the threshold counts.

    Returns:
        Fractions in [0, 1]; NaN without pairs.
    """
    if not errors:
        return np.full(len(thresholds), np.nan)
    return np.mean([match_precision(each, thresholds, comparison=comparison) for each in errors], axis=0)


def calibration(
    confidence: Real[np.ndarray, " N"], correct: Bool[np.ndarray, " N"], *, bins: int = 10
) -> Curve:
    """Compare a matcher's confidence with how often it was right.

    Args:
        confidence: in [0, 1].
        correct: whether each answer was right.
        bins: number of equal bins of [0, 1]; empty ones are left out.

    Returns:
        The mean confidence of each bin and the fraction of right answers in it. On the diagonal, a confidence
        of 0.8 is right in 8 of 10 cases.

    Raises:
        ShapeError: arrays of different lengths, or confidence outside [0, 1].
        ConfigError: `bins` below 1.
    """
    if bins < 1:
        raise ConfigError(f"calibration: expected at least 1 bin, got {bins}")
    if confidence.ndim != 1 or confidence.shape != correct.shape:
        raise ShapeError(
            f"calibration: expected confidence [N] and correct [N], got {list(confidence.shape)} and {list(correct.shape)}"
        )
    confidence = np.asarray(confidence, dtype=np.float64)
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ShapeError(
            f"calibration: expected confidence in [0, 1], got {confidence.min():g} to {confidence.max():g}"
        )
    part = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    count = np.bincount(part, minlength=bins)
    held = count > 0
    return Curve(
        x=np.bincount(part, weights=confidence, minlength=bins)[held] / count[held],
        y=np.bincount(part, weights=correct, minlength=bins)[held] / count[held],
        x_label="confidence",
        y_label="fraction of right answers",
    )
