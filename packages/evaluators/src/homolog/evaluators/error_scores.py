"""What protocols that have one error for each pair say of it: area, accuracy, median, curve."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from homolog.core.errors import ConfigError
from homolog.evaluators.error_recall import Rounding, pose_accuracy, pose_auc
from homolog.evaluators.record import Record
from homolog.evaluators.score import Curve, Score
from homolog.evaluators.threshold import Comparison

Headline = Literal["AUC", "accuracy"]
"""Which of the two a protocol is known for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorScores:
    """Scores of one error for each pair.

    Attributes:
        thresholds: of areas and accuracies, in `unit`; the first is the headline's.
        unit: of the error: `deg` or `px`.
        headline: what comes first.
        rounding: of the areas.
        comparison: of the accuracies.
    """

    thresholds: tuple[float | int, ...]
    unit: str
    headline: Headline
    rounding: Rounding
    comparison: Comparison

    def __post_init__(self) -> None:
        """Refuse what cannot be scored, before hours of matching."""
        if not self.thresholds or min(self.thresholds) <= 0 or self.headline not in ("AUC", "accuracy"):
            raise ConfigError(
                f"expected thresholds above 0 and the headline AUC or accuracy, got {list(self.thresholds)} and "
                f"{self.headline!r}"
            )
        nothing = np.zeros(0)
        pose_auc(nothing, self.thresholds, rounding=self.rounding)
        pose_accuracy(nothing, self.thresholds, comparison=self.comparison)

    def scores(self, records: Sequence[Record], errors: np.ndarray) -> list[Score]:
        """Return the headline, the other one, the median error, and the headline by category.

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
            Score(
                name="failures",
                value=float(np.isinf(errors).mean()) if len(errors) else float("nan"),
                higher_is_better=False,
                count=len(errors),
            ),
            *(
                row
                for category in np.unique(categories[categories != ""])
                for row in self._rows(self.headline, errors[categories == category], category=str(category))
            ),
        ]

    def curve(self, errors: np.ndarray) -> Curve:
        """Return the share of pairs within each error, up to the largest threshold."""
        x = np.linspace(0, max(self.thresholds), 101)
        return Curve(
            x=x,
            y=pose_accuracy(errors, x.tolist(), comparison="<="),
            x_label=f"error in {self.unit}",
            y_label="share of pairs",
        )

    def settings(self) -> dict[str, str]:
        """Return the choices as text."""
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


def mean_score(name: str, values: np.ndarray, *, unit: str = "share") -> Score:
    """Return the mean over the pairs that have a number."""
    known = values[np.isfinite(values)]
    return Score(
        name=name, value=float(known.mean()) if len(known) else float("nan"), unit=unit, count=len(known)
    )
