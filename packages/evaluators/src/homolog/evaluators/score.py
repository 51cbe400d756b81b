"""A number that says what it is: which protocol, which average, over how many samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from homolog.evaluators.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One number of one protocol.

    Attributes:
        name: unique within its protocol, and complete: `PCK@0.1 per image`, `AUC@5`.
        value: in `unit`; NaN where nothing could be scored.
        unit: `share` in [0, 1], `px`, `deg`, `s`, or empty.
        higher_is_better: False for errors.
        category: the part of the data set that it is about; empty for all of it.
        count: how many things (pairs, points, videos) it is the mean of.
    """

    name: str
    value: float
    unit: str = "share"
    higher_is_better: bool = True
    category: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """A score as a function of its threshold.

    Attributes:
        x: thresholds, ascending.
        y: the score at each.
        x_label: with the unit.
        y_label: with the unit.
    """

    x: np.ndarray
    y: np.ndarray
    x_label: str
    y_label: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """All that one protocol says of the records of a run.

    Attributes:
        scores: the headline first; then other averages, then categories.
        per_sample: raw numbers by name, one for each record; NaN where a record has none.
            Every average can be recomputed from them.
        curves: by name.
        quality: [n] how good each sample came out, higher is better, NaN where a record says nothing;
            ranks the examples of a report.
        settings: the choices that make up the protocol, as text: comparison, side, estimator, threshold.
    """

    scores: Sequence[Score]
    per_sample: Mapping[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    curves: Mapping[str, Curve] = field(default_factory=dict[str, Curve])
    quality: np.ndarray | None = None
    settings: Mapping[str, str] = field(default_factory=dict[str, str])


@runtime_checkable
class ScoringProtocol(Protocol):
    """Scores the records of a run; needs no matcher and no image.

    Attributes:
        name: as results name it, such as `spair/geoaware`.
    """

    @property
    def name(self) -> str:
        """Where the numbers come from."""
        ...

    def score(self, records: Sequence[Record]) -> Scored:
        """Score all records together.

        Raises:
            ShapeError: a record lacks what the protocol needs.
        """
        ...
