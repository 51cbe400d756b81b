"""From the errors of all pairs to one number: area under the recall curve, and accuracy."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import numpy as np
from jaxtyping import Float, Real

from homolog.core.errors import ConfigError, ShapeError
from homolog.evaluators.threshold import Comparison, within

Rounding = Literal["exact", "4 decimals"]
"""`exact`: LoFTR, SuperGlue and XFeat. `4 decimals`: glue-factory rounds every area before it averages."""

Key = TypeVar("Key")


def pose_auc(
    errors: Real[np.ndarray, " N"], thresholds: Sequence[float | int], *, rounding: Rounding
) -> Float[np.ndarray, " T"]:
    """Return the area under the recall curve up to each threshold, as a share of the threshold.

    The curve starts at (0, 0) and is linear between the sorted errors, at the i-th of which recall is
    i / N; behind the last error below the threshold it stays level. An error of exactly the threshold
    does not count. With angles this is the AUC of SuperGlue (section 5.2), with corner errors that of
    homographies.

    LoFTR and XFeat sort a NaN to wherever it stood, so that their area depends on the order of the
    pairs; here NaN is infinite, as a failure has to be.

    Args:
        errors: of N pairs, in any unit; infinite for a failure.
        thresholds: T of them in the same unit.
        rounding: whose digits.

    Returns:
        Shares in [0, 1]; NaN when there are no pairs.

    Raises:
        ConfigError: a threshold that is not positive, or another rounding.

    >>> pose_auc(np.array([2.5]), [5, 10], rounding="exact").tolist()
    [0.75, 0.875]
    """
    if rounding not in ("exact", "4 decimals"):
        raise ConfigError(f"expected rounding exact or '4 decimals', got {rounding!r}")
    if not all(threshold > 0 for threshold in thresholds):
        raise ConfigError(f"expected thresholds above 0, got {list(thresholds)}")
    ordered = np.sort(finite_or_inf(errors))
    if len(ordered) == 0:
        return np.full(len(thresholds), np.nan)
    x = np.concatenate(([0.0], ordered))
    y = np.concatenate(([0.0], (np.arange(len(ordered)) + 1) / len(ordered)))
    areas = np.array([_area(x, y, float(threshold)) for threshold in thresholds])
    return areas if rounding == "exact" else np.round(areas, 4)


def pose_accuracy(
    errors: Real[np.ndarray, " N"], thresholds: Sequence[float | int], *, comparison: Comparison
) -> Float[np.ndarray, " T"]:
    """Return the share of pairs within each threshold.

    XFeat compares with `<=` on MegaDepth-1500 (`compute_maa`) and with `<` on ScanNet-1500
    (`pose_accuracy`); DIFT takes `<=` for homographies.

    Args:
        errors: of N pairs; NaN never counts.
        thresholds: T of them in the same unit.
        comparison: whether an error on the threshold counts.

    Returns:
        Shares in [0, 1]; NaN when there are no pairs.
    """
    limits = np.array(thresholds, dtype=np.float64)[:, None]
    inside = within(finite_or_inf(errors), limits, comparison)
    return inside.mean(axis=1) if inside.shape[1] else np.full(len(limits), np.nan)


def best_mean_auc(
    errors: Mapping[Key, Real[np.ndarray, " N"]], thresholds: Sequence[float | int], *, rounding: Rounding
) -> Key:
    """Return the key whose errors have the largest mean area, the first one of equals.

    This is how glue-factory (`gluefactory/eval/utils.py::eval_poses`) chooses a RANSAC threshold on the
    test set itself. A number found so must say so.

    Args:
        errors: of the same N pairs, for each setting that was tried.
        thresholds: of the areas.
        rounding: of the areas, before their mean is taken.

    Raises:
        ConfigError: nothing to choose from.
    """
    if not errors:
        raise ConfigError("expected the errors of at least one setting to choose from, got none")
    means = {key: pose_auc(each, thresholds, rounding=rounding).mean() for key, each in errors.items()}
    return max(means, key=lambda key: float(means[key]))


def finite_or_inf(errors: Real[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Return errors as float64 with infinity for whatever is no number.

    Raises:
        ShapeError: a negative error.
    """
    errors = np.asarray(errors, dtype=np.float64)
    errors = np.where(np.isnan(errors), np.inf, errors)
    if errors.size and errors.min() < 0:
        raise ShapeError(f"expected errors of 0 or more, got {errors.min():g}")
    return errors


def _area(x: np.ndarray, y: np.ndarray, threshold: float) -> float:
    last = int(np.searchsorted(x, threshold))
    return float(np.trapezoid([*y[:last], y[last - 1]], [*x[:last], threshold]) / threshold)
