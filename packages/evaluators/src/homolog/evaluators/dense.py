"""Dense correspondence: end-point error, PCK of flow, and the colour error of warped images."""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Real

from homolog.core.errors import ConfigError, ShapeError, one_of
from homolog.evaluators.precision import Comparison, calibration, within
from homolog.evaluators.records import Curve, Record, Score, Scored, mean_or_nan


def endpoint_error(
    predicted: Real[np.ndarray, "*batch 2"], truth: Real[np.ndarray, "*batch 2"]
) -> Float[np.ndarray, "*batch"]:
    """Return the distance between predicted and true places, in pixels (float64); infinite if not finite.

    Raises:
        ShapeError: arrays of different shapes.
    """
    if predicted.shape != truth.shape or predicted.shape[-1:] != (2,):
        raise ShapeError(
            f"endpoint_error: expected two arrays [... 2], got {list(predicted.shape)} and {list(truth.shape)}"
        )
    with np.errstate(invalid="ignore"):
        offset = np.asarray(predicted, dtype=np.float64) - truth
    return np.nan_to_num(np.hypot(offset[..., 0], offset[..., 1]), nan=np.inf, posinf=np.inf)


def flow_pck(
    error: Real[np.ndarray, " N"], *, side: float, alphas: Sequence[float], comparison: Comparison
) -> Float[np.ndarray, " A"]:
    """Return the fraction of the pixels of one pair with an error within each alpha * side.

    With `<=` and the longer side of the source image this is what Junyi42/sd-dino:pck_tss.py averages over
    the pairs of TSS. Its "per dataset" number is not reproduced: it compares the pixels of all pairs with
    the side of the last pair only.

    Args:
        error: of the foreground pixels, in pixels.
        side: the length that alphas are fractions of.
        alphas: A thresholds.
        comparison: whether an error on the threshold counts.

    Returns:
        NaN for a pair without pixels.
    """
    if len(error) == 0:
        return np.full(len(alphas), np.nan)
    limits = np.array(alphas, dtype=np.float64)[:, None] * side
    return within(np.asarray(error, dtype=np.float64), limits, comparison).mean(axis=1)


def warp_error(predicted: Real[np.ndarray, "N C"], truth: Real[np.ndarray, "N C"]) -> Float[np.ndarray, " N"]:
    """Return the squared colour distance of each pixel, summed over the channels (float64).

    Synthetic Dense of the VGGT-prior matcher (section 4) warps the reference by the predicted and by the true
    grid and reports a "sum of squared errors" without its range, mask or normalisation. Ours is defined as:
    RGB in [0, 1], bilinear, zeros outside the reference, the mean over the valid foreground pixels of a pair,
    then the mean over pairs. Never compare its value with the paper's.

    Args:
        predicted: colours of the reference at the predicted places.
        truth: colours of the reference at the true places.

    Raises:
        ShapeError: arrays of different shapes.
    """
    if predicted.ndim != 2 or predicted.shape != truth.shape:
        raise ShapeError(
            f"warp_error: expected two arrays [N C], got {list(predicted.shape)} and {list(truth.shape)}"
        )
    return np.square(np.asarray(predicted, dtype=np.float64) - truth).sum(axis=1)


Side = Literal["image0", "image1"]
"""The image whose longer side alphas are fractions of: `image0` (source) or `image1` (target)."""

CURVE = np.linspace(0, 0.2, 41)
"""Thresholds of the curve, as fractions of the side."""


class FlowPckProtocol:
    """PCK and end-point error over pairs. Per image: the mean over pairs. Per point: over the pixels of all pairs.

    Each pixel is compared with the side of its own pair.
    """

    def __init__(
        self,
        *,
        name: str,
        alphas: Sequence[float],
        comparison: Comparison,
        side: Side,
        group_by: str | None = None,
    ) -> None:
        """Choose the variant.

        Args:
            name: as in results.
            alphas: thresholds as fractions of the side; the first is the headline.
            comparison: whether an error on the threshold counts.
            side: the image whose longer side alphas are fractions of.
            group_by: the fact that pairs are grouped by (`subset`); None for the category.

        Raises:
            ConfigError: no alphas, or an unknown side or comparison.
        """
        if not alphas:
            raise ConfigError(f"{name}: expected at least one alpha, got none")
        one_of("side", side, get_args(Side))
        one_of("comparison", comparison, get_args(Comparison))
        self.name = name
        self.alphas = tuple(alphas)
        self.comparison: Comparison = comparison
        self.side: Side = side
        self.group_by = group_by

    def score(self, records: Sequence[Record]) -> Scored:
        """Score all pairs; those without a known pixel are left out.

        Raises:
            ShapeError: a record without predicted points.
        """
        errors = [endpoint_error(record["predicted"], record["xy1"]) for record in records]
        sides = np.array([float(max(record[f"size{self.side[-1]}"])) for record in records])
        fractions = self._fractions(errors, sides)
        columns = {f"PCK@{alpha:g}": fractions[:, row] for row, alpha in enumerate(self.alphas)}
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
            curves=self._curves(records, errors, sides, fractions),
            quality=columns[f"PCK@{self.alphas[0]:g}"],
            settings={
                "comparison": self.comparison,
                "side": f"longer side of {self.side}",
                "points": "foreground pixels of image0 whose truth is known",
                "lattice": ", ".join(
                    sorted({record.facts.get("lattice", "not recorded") for record in records})
                )
                or "none",
                "groups": self.group_by or "category",
                "pairs without a known pixel": ", ".join(
                    record.name for record, count in zip(records, counts, strict=True) if not count
                )
                or "none",
            },
        )

    def _fractions(self, errors: Sequence[np.ndarray], sides: np.ndarray) -> np.ndarray:
        wanted = [*self.alphas, *CURVE.tolist()]
        fractions = [
            flow_pck(error, side=float(side), alphas=wanted, comparison=self.comparison)
            for error, side in zip(errors, sides, strict=True)
        ]
        return np.array(fractions).reshape(len(errors), len(wanted))

    def _overall(
        self, columns: Mapping[str, np.ndarray], counts: np.ndarray, groups: np.ndarray
    ) -> list[Score]:
        some = counts > 0
        pairs, pixels = int(some.sum()), int(counts.sum())
        kept = {name: values[some] for name, values in columns.items()}
        names = [f"PCK@{alpha:g}" for alpha in self.alphas]

        def weighted(values: np.ndarray) -> float:
            return float(np.average(values, weights=counts[some])) if pairs else float("nan")

        def macro(values: np.ndarray) -> float:
            means = [values[groups[some] == group].mean() for group in np.unique(groups[some])]
            return float(np.mean(means)) if means else float("nan")

        return [
            *(Score(name=f"{name} per image", value=mean_or_nan(kept[name]), count=pairs) for name in names),
            Score(
                name="EPE per image",
                value=mean_or_nan(kept["EPE"]),
                unit="px",
                higher_is_better=False,
                count=pairs,
            ),
            *(Score(name=f"{name} per point", value=weighted(kept[name]), count=pixels) for name in names),
            *(
                Score(name=f"{name} macro", value=macro(kept[name]), count=len(np.unique(groups[some])))
                for name in names
                if (groups != "").all() and pairs
            ),
        ]

    def _of(self, columns: Mapping[str, np.ndarray], groups: np.ndarray, group: str) -> list[Score]:
        rows = (groups == group) & np.isfinite(columns[f"PCK@{self.alphas[0]:g}"])
        return [
            Score(
                name=f"{name} per image",
                value=mean_or_nan(values[rows]),
                unit="px" if name == "EPE" else "share",
                higher_is_better=name != "EPE",
                category=str(group),
                count=int(rows.sum()),
            )
            for name, values in columns.items()
        ]

    def _group(self, record: Record) -> str:
        return record.category if self.group_by is None else record.facts.get(self.group_by, "")

    def _curves(
        self,
        records: Sequence[Record],
        errors: Sequence[np.ndarray],
        sides: np.ndarray,
        fractions: np.ndarray,
    ) -> dict[str, Curve]:
        some = [row for row, error in enumerate(errors) if len(error)]
        if not some:
            return {}
        curves = {
            "PCK": Curve(
                x=CURVE,
                y=fractions[some, len(self.alphas) :].mean(axis=0),
                x_label="threshold as a fraction of the side",
                y_label="PCK per image",
            )
        }
        if all("confidence" in record for record in records):
            limit = self.alphas[0]
            right = [within(errors[row], limit * sides[row], self.comparison) for row in some]
            confidence = [records[row]["confidence"] for row in some]
            curves["calibration"] = calibration(np.concatenate(confidence), np.concatenate(right))
        return curves


class DenseProtocol:
    """Synthetic Dense as homolog defines it: the warp error, then PCK and end-point error.

    The paper's data and formula are not public; see `warp_error` for ours. Never compare its value with the
    paper's.
    """

    def __init__(self, *, name: str, alphas: Sequence[float], comparison: Comparison, side: Side) -> None:
        """Choose the variant.

        Args:
            name: as in results.
            alphas: thresholds of PCK as fractions of the side.
            comparison: whether an error on the threshold counts.
            side: the image whose longer side alphas are fractions of.

        Raises:
            ConfigError: no alphas, or an unknown side or comparison.
        """
        self.name = name
        self._flow = FlowPckProtocol(name=name, alphas=alphas, comparison=comparison, side=side)

    def score(self, records: Sequence[Record]) -> Scored:
        """Score all pairs; those without a known pixel are left out.

        Raises:
            ShapeError: a record without predicted points or warp errors.
        """
        flow = self._flow.score(records)
        error = np.array([mean_or_nan(record["warp_error"]) for record in records])
        known = error[np.isfinite(error)]
        return Scored(
            scores=[
                Score(
                    name="warp error",
                    value=mean_or_nan(known),
                    unit="",
                    higher_is_better=False,
                    count=len(known),
                ),
                *flow.scores,
            ],
            per_sample={"warp error": error, **flow.per_sample},
            curves=flow.curves,
            quality=-error,
            settings={
                "warp error": "squared colour distance summed over RGB in [0, 1], bilinear, zeros outside image1; "
                "mean per pair, then over pairs; not comparable with the paper's",
                **flow.settings,
            },
        )
