"""Synthetic Dense, as homolog defines it, over the pairs of a run."""

from collections.abc import Sequence

import numpy as np

from homolog.evaluators.flow_pck_protocol import FlowPckProtocol, Side
from homolog.evaluators.record import Record
from homolog.evaluators.score import Score, Scored
from homolog.evaluators.threshold import Comparison


class DenseProtocol:
    """The warp error of every pair and its mean over pairs; then PCK and end-point error.

    The VGGT-prior matcher reports a warp error on data and by a formula that are not public; see
    `homolog.evaluators.dense_accuracy.warp_error` for ours. Its value must not be compared with the paper's.
    """

    def __init__(self, *, name: str, alphas: Sequence[float], comparison: Comparison, side: Side) -> None:
        """Choose the variant.

        Args:
            name: as results name it.
            alphas: thresholds of PCK as shares of the side.
            comparison: whether an error on the threshold counts.
            side: whose longer side.

        Raises:
            ConfigError: no alphas, or another side.
        """
        self.name = name
        self._places = FlowPckProtocol(name=name, alphas=alphas, comparison=comparison, side=side)

    def score(self, records: Sequence[Record]) -> Scored:
        """Score all pairs; those without a known pixel are left out.

        Raises:
            ShapeError: a record that lacks places or warp errors.
        """
        places = self._places.score(records)
        error = np.array([_mean(record["warp_error"]) for record in records])
        known = error[np.isfinite(error)]
        return Scored(
            scores=[
                Score(
                    name="warp error", value=_mean(known), unit="", higher_is_better=False, count=len(known)
                ),
                *places.scores,
            ],
            per_sample={"warp error": error, **places.per_sample},
            curves=places.curves,
            quality=-error,
            settings={
                "warp error": "squared colour distance summed over RGB in [0, 1], bilinear, zeros beyond image1; "
                "mean per pair, then over pairs; not comparable with the paper's",
                **places.settings,
            },
        )


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values, dtype=np.float64)) if len(values) else float("nan")
