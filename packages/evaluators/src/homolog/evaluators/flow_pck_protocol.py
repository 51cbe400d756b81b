"""PCK and end-point error of a dense correspondence over the pairs of a run."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from homolog.core.errors import ConfigError
from homolog.evaluators.dense_accuracy import endpoint_error, flow_pck
from homolog.evaluators.record import Record
from homolog.evaluators.reliability import calibration
from homolog.evaluators.score import Curve, Score, Scored
from homolog.evaluators.threshold import Comparison, within

Side = Literal["image0", "image1"]
"""Whose longer side the alphas are shares of: `image0`, which the pixels are of, or `image1`, where
they are looked for."""

CURVE = np.linspace(0, 0.2, 41)
"""Thresholds of the curve, as shares of the side."""


class FlowPckProtocol:
    """Per image: the mean over pairs of each pair's share. Per point: over the pixels of all pairs.

    Each pixel is compared with the side of its own pair.
    """

    def __init__(
        self,
        *,
        name: str,
        alphas: Sequence[float],
        comparison: Comparison,
        side: Side,
        by: str | None = None,
    ) -> None:
        """Choose the variant.

        Args:
            name: as results name it.
            alphas: thresholds as shares of the side; the first is the headline.
            comparison: whether an error on the threshold counts.
            side: whose longer side.
            by: the fact that pairs are grouped by (`subset`); None groups them by category.

        Raises:
            ConfigError: no alphas, or another side.
        """
        if not alphas or side not in ("image0", "image1"):
            raise ConfigError(
                f"{name}: expected alphas and the side image0 or image1, got {list(alphas)}, {side}"
            )
        self.name = name
        self.alphas = tuple(alphas)
        self.comparison: Comparison = comparison
        self.side: Side = side
        self.by = by

    def score(self, records: Sequence[Record]) -> Scored:
        """Score all pairs; those without a known pixel are left out.

        Raises:
            ShapeError: a record that lacks places.
        """
        errors = [endpoint_error(record["predicted"], record["xy1"]) for record in records]
        sides = np.array([float(max(record[f"size{self.side[-1]}"])) for record in records])
        shares = self._shares(errors, sides)
        columns = {f"PCK@{alpha:g}": shares[:, row] for row, alpha in enumerate(self.alphas)}
        columns["EPE"] = np.array([error.mean() if len(error) else np.nan for error in errors])
        counts = np.array([len(error) for error in errors], dtype=np.float64)
        groups = np.array([self._group(record) for record in records], dtype=np.str_)
        return Scored(
            scores=[
                *self._overall(columns, counts, groups),
                *(
                    score
                    for group in np.unique(groups[groups != ""])
                    for score in self._of(columns, groups, group)
                ),
            ],
            per_sample={**columns, "pixels": counts, "side": sides},
            curves=self._curves(records, errors, sides, shares),
            quality=columns[f"PCK@{self.alphas[0]:g}"],
            settings={
                "comparison": self.comparison,
                "side": f"longer side of {self.side}",
                "points": "foreground pixels of image0 whose truth is known",
                "lattice": ", ".join(
                    sorted({record.facts.get("lattice", "not recorded") for record in records})
                ),
                "groups": self.by or "category",
                "pairs without a known pixel": ", ".join(
                    record.name for record, count in zip(records, counts, strict=True) if not count
                )
                or "none",
            },
        )

    def _shares(self, errors: Sequence[np.ndarray], sides: np.ndarray) -> np.ndarray:
        wanted = [*self.alphas, *CURVE.tolist()]
        shares = [
            flow_pck(error, side=float(side), alphas=wanted, comparison=self.comparison)
            for error, side in zip(errors, sides, strict=True)
        ]
        return np.array(shares).reshape(len(errors), len(wanted))

    def _overall(
        self, columns: Mapping[str, np.ndarray], counts: np.ndarray, groups: np.ndarray
    ) -> list[Score]:
        some = counts > 0
        pairs, pixels = int(some.sum()), int(counts.sum())
        rated = {name: values[some] for name, values in columns.items()}
        names = [f"PCK@{alpha:g}" for alpha in self.alphas]

        def weighted(values: np.ndarray) -> float:
            return float(np.average(values, weights=counts[some])) if pairs else float("nan")

        def macro(values: np.ndarray) -> float:
            means = [values[groups[some] == group].mean() for group in np.unique(groups[some])]
            return float(np.mean(means)) if means else float("nan")

        return [
            *(Score(name=f"{name} per image", value=_mean(rated[name]), count=pairs) for name in names),
            Score(
                name="EPE per image",
                value=_mean(rated["EPE"]),
                unit="px",
                higher_is_better=False,
                count=pairs,
            ),
            *(Score(name=f"{name} per point", value=weighted(rated[name]), count=pixels) for name in names),
            *(
                Score(name=f"{name} macro", value=macro(rated[name]), count=len(np.unique(groups[some])))
                for name in names
                if (groups != "").all() and pairs
            ),
        ]

    def _of(self, columns: Mapping[str, np.ndarray], groups: np.ndarray, group: str) -> list[Score]:
        rows = (groups == group) & np.isfinite(columns[f"PCK@{self.alphas[0]:g}"])
        return [
            Score(
                name=f"{name} per image",
                value=_mean(values[rows]),
                unit="px" if name == "EPE" else "share",
                higher_is_better=name != "EPE",
                category=str(group),
                count=int(rows.sum()),
            )
            for name, values in columns.items()
        ]

    def _group(self, record: Record) -> str:
        return record.category if self.by is None else record.facts.get(self.by, "")

    def _curves(
        self, records: Sequence[Record], errors: Sequence[np.ndarray], sides: np.ndarray, shares: np.ndarray
    ) -> dict[str, Curve]:
        some = [row for row, error in enumerate(errors) if len(error)]
        if not some:
            return {}
        curves = {
            "PCK": Curve(
                x=CURVE,
                y=shares[some, len(self.alphas) :].mean(axis=0),
                x_label="threshold as a share of the side",
                y_label="PCK per image",
            )
        }
        if all("confidence" in record for record in records):
            limit = self.alphas[0]
            right = [within(errors[row], limit * sides[row], self.comparison) for row in some]
            sure = [records[row]["confidence"] for row in some]
            curves["calibration"] = calibration(np.concatenate(sure), np.concatenate(right))
        return curves


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
