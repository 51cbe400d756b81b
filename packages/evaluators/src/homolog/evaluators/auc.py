"""From the errors of all pairs to one number: area under the recall curve (AUC), accuracy, median."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import numpy as np
from jaxtyping import Float, Real

from homolog.core.errors import ConfigError, one_of
from homolog.evaluators.precision import Comparison, finite_or_inf, within
from homolog.evaluators.records import Curve, Record, Score, mean_score

Rounding = Literal["exact", "4 decimals"]
"""`exact`: LoFTR, SuperGlue and XFeat. `4 decimals`: glue-factory rounds every area before it averages."""

Key = TypeVar("Key")


def pose_auc(
    errors: Real[np.ndarray, " N"], thresholds: Sequence[float | int], *, rounding: Rounding
) -> Float[np.ndarray, " T"]:
    """Return the area under the recall curve up to each threshold, divided by the threshold.

    The curve starts at (0, 0) and is linear between the sorted errors; recall is i / N at the i-th. After
    the last error below the threshold it stays constant. An error of exactly the threshold does not count.
    With angles this is the AUC of SuperGlue (section 5.2); with corner errors, that of homographies.

    LoFTR and XFeat leave a NaN where it was when they sort, so their area depends on the order of the
    pairs. Here NaN is infinite, like any failure.

    Args:
        errors: of N pairs, in any unit; infinite for a failure.
        thresholds: T of them in the same unit.
        rounding: of the areas.

    Returns:
        Fractions in [0, 1]; NaN without pairs.

    Raises:
        ConfigError: a threshold that is not positive, or an unknown rounding.

    >>> pose_auc(np.array([2.5]), [5, 10], rounding="exact").tolist()
    [0.75, 0.875]
    """
    one_of("rounding", rounding, get_args(Rounding))
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
    """Return the fraction of pairs within each threshold.

    XFeat compares with `<=` on MegaDepth-1500 (`compute_maa`) and with `<` on ScanNet-1500
    (`pose_accuracy`); DIFT uses `<=` for homographies.

    Args:
        errors: of N pairs; NaN never counts.
        thresholds: T of them in the same unit.
        comparison: whether an error on the threshold counts.

    Returns:
        Fractions in [0, 1]; NaN without pairs.
    """
    limits = np.array(thresholds, dtype=np.float64)[:, None]
    inside = within(finite_or_inf(errors), limits, comparison)
    return inside.mean(axis=1) if inside.shape[1] else np.full(len(limits), np.nan)


def best_mean_auc(
    errors: Mapping[Key, Real[np.ndarray, " N"]], thresholds: Sequence[float | int], *, rounding: Rounding
) -> Key:
    """Return the key whose errors have the largest mean area; the first of equal ones.

    This is how glue-factory (`gluefactory/eval/utils.py::eval_poses`) chooses a RANSAC threshold on the
    test set itself. A number found this way must be reported as such.

    Args:
        errors: of the same N pairs, for each setting tried.
        thresholds: of the areas.
        rounding: of the areas, before their mean is taken.

    Raises:
        ConfigError: an empty mapping.
    """
    if not errors:
        raise ConfigError("expected the errors of at least one setting to choose from, got none")
    means = {key: pose_auc(each, thresholds, rounding=rounding).mean() for key, each in errors.items()}
    return max(means, key=lambda key: float(means[key]))


Headline = Literal["AUC", "accuracy"]
"""The score that a protocol reports first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorScores:
    """Scores of one error for each pair.

    Attributes:
        thresholds: of AUC and accuracy, in `unit`; the headline uses the first.
        unit: of the error: `deg` or `px`.
        headline: the score to report first.
        rounding: of AUC.
        comparison: of accuracy.
    """

    thresholds: tuple[float | int, ...]
    unit: str
    headline: Headline
    rounding: Rounding
    comparison: Comparison

    def __post_init__(self) -> None:
        if not self.thresholds or min(self.thresholds) <= 0:
            raise ConfigError(f"expected thresholds above 0, got {list(self.thresholds)}")
        one_of("headline", self.headline, get_args(Headline))
        one_of("rounding", self.rounding, get_args(Rounding))
        one_of("comparison", self.comparison, get_args(Comparison))

    def scores(self, records: Sequence[Record], errors: np.ndarray) -> list[Score]:
        """Return AUC and accuracy (headline first), the median error, failures, and the headline by category.

        Args:
            records: for their categories.
            errors: [N] of the records; infinite for a failure.
        """
        other: Headline = "accuracy" if self.headline == "AUC" else "AUC"
        finite = float(np.median(errors)) if len(errors) else float("nan")
        categories = np.array([record.category for record in records], dtype=np.str_)
        return [
            *self._rows(self.headline, errors),
            *self._rows(other, errors),
            Score(
                name="median error", value=finite, unit=self.unit, higher_is_better=False, count=len(errors)
            ),
            mean_score("failures", np.isinf(errors).astype(np.float64), higher_is_better=False),
            *(
                row
                for category in np.unique(categories[categories != ""])
                for row in self._rows(self.headline, errors[categories == category], category=str(category))
            ),
        ]

    def curve(self, errors: np.ndarray) -> Curve:
        """Return the fraction of pairs within each error, up to the largest threshold."""
        x = np.linspace(0, max(self.thresholds), 101)
        return Curve(
            x=x,
            y=pose_accuracy(errors, x.tolist(), comparison="<="),
            x_label=f"error in {self.unit}",
            y_label="fraction of pairs",
        )

    def settings(self) -> dict[str, str]:
        """Return the settings as text."""
        return {
            "thresholds": f"{', '.join(f'{threshold:g}' for threshold in self.thresholds)} {self.unit}",
            "rounding of AUC": self.rounding,
            "comparison of accuracy": self.comparison,
        }

    def _rows(self, metric: Headline, errors: np.ndarray, *, category: str = "") -> list[Score]:
        values = (
            pose_auc(errors, self.thresholds, rounding=self.rounding)
            if metric == "AUC"
            else pose_accuracy(errors, self.thresholds, comparison=self.comparison)
        )
        return [
            Score(
                name=f"{metric}@{threshold:g}{self.unit}",
                value=float(value),
                category=category,
                count=len(errors),
            )
            for threshold, value in zip(self.thresholds, values, strict=True)
        ]


def _area(x: np.ndarray, y: np.ndarray, threshold: float) -> float:
    last = int(np.searchsorted(x, threshold))
    return float(np.trapezoid([*y[:last], y[last - 1]], [*x[:last], threshold]) / threshold)
