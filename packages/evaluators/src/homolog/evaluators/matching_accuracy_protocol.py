"""Mean matching accuracy under true homographies, over the pairs of a run."""

from collections.abc import Sequence

import numpy as np

from homolog.core.errors import ConfigError
from homolog.evaluators.error_scores import mean_score
from homolog.evaluators.homography_accuracy import transfer_error
from homolog.evaluators.match_quality import match_precision
from homolog.evaluators.record import Record
from homolog.evaluators.score import Curve, Score, Scored
from homolog.evaluators.threshold import Comparison
from homolog.evaluators.working_size import WorkingSize, matched_pair, true_homography


class MatchingAccuracyProtocol:
    """MMA: the share of matches that land near their true place, per pair, then over pairs.

    mihaidusmanu/d2-net's HPatches notebook divides by 5 pairs for each sequence; here by the pairs there
    are, which is the same for whole sequences. Only the forward error counts.
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
            name: as results name it.
            headline: the threshold that comes first.
            thresholds: in pixels, ascending.
            comparison: whether an error on the threshold counts.
            working_size: the size whose pixels all errors are in; None for the original files.

        Raises:
            ConfigError: a headline that is no threshold, or another comparison.
        """
        if headline not in thresholds:
            raise ConfigError(
                f"{name}: expected a headline among the thresholds {list(thresholds)}, got {headline}"
            )
        match_precision(np.zeros(1), thresholds, comparison=comparison)
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
        shares = np.array(
            [match_precision(each, self._thresholds, comparison=self._comparison) for each in errors]
        ).reshape(-1, len(self._thresholds))
        columns = dict(zip((f"MMA@{each:g}px" for each in self._thresholds), shares.T, strict=True))
        matches = np.array([len(each) for each in errors], dtype=np.float64)
        first = f"MMA@{self._headline:g}px"
        scores = {name: mean_score(name, values) for name, values in columns.items()}
        return Scored(
            scores=[
                scores.pop(first),
                *scores.values(),
                mean_score("matches per pair", matches, unit=""),
                *self._by_category(records, columns[first], first),
            ],
            per_sample={**columns, "matches": matches},
            curves={
                "MMA over error": Curve(
                    x=np.array(self._thresholds, dtype=np.float64),
                    y=np.array([mean_score(name, values).value for name, values in columns.items()]),
                    x_label="error in px",
                    y_label="share of right matches",
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
