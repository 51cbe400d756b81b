"""The raw outcome of a run (`Record`), from which every protocol computes its scores (`Score`, `Scored`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import numpy as np

from homolog.core.atomic import atomic
from homolog.core.errors import DataError, ShapeError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Record:
    """The raw outcome of one sample. Coordinates are (x, y) in pixels of the original files.

    Arrays have the same names in all tasks:

    * all pairs: `size0`, `size1` [2], (height, width) of the files;
    * annotated points: `xy0`, `xy1` [N 2], `visible` [N]; `predicted` [N 2] and `confidence` [N];
      `box0`, `box1` [4] as x, y, width, height;
    * matches: `match0`, `match1` [M 2], `score` [M]; `keypoints0`, `keypoints1` [K 2] if the matcher has keypoints;
    * geometry: `K0`, `K1`, `R` [3 3], `t` [3], or `H` [3 3], the true homography from image 0 to image 1;
    * videos: `size` [2], `xy` [N T 2], `visible` [N T], `query_frame` [N]; `predicted` [N T 2],
      `predicted_visible` [N T].

    Attributes:
        name: of the sample, unique within its data set.
        category: of the object or scene, or empty.
        arrays: by name, as above.
        facts: annotation by which protocols may group their scores.
        seconds: time of the prediction, without reading the files.
    """

    name: str
    category: str = ""
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    seconds: float = 0.0

    def __getitem__(self, key: str) -> np.ndarray:
        """Return one of the arrays.

        Raises:
            ShapeError: the record does not have it.
        """
        if key not in self.arrays:
            raise ShapeError(
                f"{self.name}: expected a record with {key}, got {', '.join(self.arrays) or 'none'}; "
                "choose a protocol that fits the task"
            )
        return self.arrays[key]

    def __contains__(self, key: object) -> bool:
        return key in self.arrays


def save_records(path: Path, records: Sequence[Record]) -> None:
    """Write records to a compressed npz without Python objects.

    Arrays of the same name are concatenated into one member, because a zip of a hundred thousand members
    is slow to open.
    """
    members: dict[str, np.ndarray] = {
        "name": np.array([record.name for record in records], dtype=np.str_),
        "category": np.array([record.category for record in records], dtype=np.str_),
        "seconds": np.array([record.seconds for record in records], dtype=np.float64),
    }
    for key in sorted({key for record in records for key in record.facts}):
        members[f"fact/{key}"] = np.array([record.facts.get(key, "") for record in records], dtype=np.str_)
    for key in sorted({key for record in records for key in record.arrays}):
        rows = [index for index, record in enumerate(records) if key in record.arrays]
        arrays = [np.asarray(records[row].arrays[key]) for row in rows]
        members[f"array/{key}/row"] = np.array(rows, dtype=np.int64)
        members[f"array/{key}/shape"] = np.array([array.shape for array in arrays], dtype=np.int64)
        members[f"array/{key}/values"] = np.concatenate([array.reshape(-1) for array in arrays])
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **members)


def load_records(path: Path) -> list[Record]:
    """Read the records that `save_records` wrote.

    Raises:
        DataError: the file is missing, damaged or not a file of records.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            members = {str(name): cast(np.ndarray, file[name]) for name in file.files}
        arrays: list[dict[str, np.ndarray]] = [{} for _ in members["name"]]
        for key in [name.split("/")[1] for name in members if name.endswith("/values")]:
            for row, array in _split(members, key):
                arrays[row][key] = array
        facts = {name.removeprefix("fact/"): members[name] for name in members if name.startswith("fact/")}
        return [
            Record(
                name=str(name),
                category=str(members["category"][row]),
                arrays=arrays[row],
                facts={key: str(values[row]) for key, values in facts.items() if values[row]},
                seconds=float(members["seconds"][row]),
            )
            for row, name in enumerate(members["name"])
        ]
    except (OSError, ValueError, KeyError, IndexError, EOFError) as error:
        raise DataError(
            f"{path}: expected the raw records of an evaluation, got {type(error).__name__} ({error}); evaluate again"
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One number of one protocol.

    Attributes:
        name: complete and unique within its protocol: `PCK@0.1 per image`, `AUC@5`.
        value: in `unit`; NaN if nothing could be scored.
        unit: `share` (a fraction in [0, 1]), `px`, `deg`, `s`, or empty.
        higher_is_better: False for errors.
        category: the part of the data set it covers; empty for all of it.
        count: how many pairs, points or videos it is the mean of.
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
    """The scores of one protocol for the records of a run.

    Attributes:
        scores: the headline first; then other averages, then categories.
        per_sample: raw numbers by name, one for each record; NaN where a record has none.
            Every average can be recomputed from them.
        curves: by name.
        quality: [n] of each sample, higher is better, NaN if unknown; ranks the examples of a report.
        settings: the settings of the protocol, as text: comparison, side, estimator, threshold.
    """

    scores: Sequence[Score]
    per_sample: Mapping[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    curves: Mapping[str, Curve] = field(default_factory=dict[str, Curve])
    quality: np.ndarray | None = None
    settings: Mapping[str, str] = field(default_factory=dict[str, str])


@runtime_checkable
class ScoringProtocol(Protocol):
    """Scores the records of a run, without matcher or images.

    Attributes:
        name: as in results, such as `spair/geoaware`.
    """

    @property
    def name(self) -> str:
        """The name in results."""
        ...

    def score(self, records: Sequence[Record]) -> Scored:
        """Score all records together.

        Raises:
            ShapeError: a record lacks what the protocol needs.
        """
        ...


def mean_score(name: str, values: np.ndarray, *, unit: str = "share", higher_is_better: bool = True) -> Score:
    """Return the mean over the samples that have a finite value."""
    known = values[np.isfinite(values)]
    return Score(
        name=name,
        value=float(known.mean()) if len(known) else float("nan"),
        unit=unit,
        higher_is_better=higher_is_better,
        count=len(known),
    )


def mean_or_nan(values: np.ndarray) -> float:
    """Return the mean in float64; NaN without values."""
    return float(np.mean(values, dtype=np.float64)) if len(values) else float("nan")


def mean_of_columns(fractions: np.ndarray) -> np.ndarray:
    """Return the mean over the second axis; NaN if it is empty."""
    return fractions.mean(axis=1) if fractions.shape[1] else np.full(len(fractions), np.nan)


def count_scores(columns: Mapping[str, np.ndarray]) -> list[Score]:
    """Return the mean numbers of matches and of inliers, as far as there are such columns."""
    return [
        mean_score(f"{kind} per pair", columns[kind], unit="")
        for kind in ("matches", "inliers")
        if kind in columns
    ]


def threshold_columns(
    name: str,
    thresholds: Sequence[float | int],
    fractions: Sequence[np.ndarray] | np.ndarray,
    *,
    unit: str = "",
) -> dict[str, np.ndarray]:
    """Return a column for each threshold.

    Args:
        name: of the score, such as `precision`.
        thresholds: T of them.
        fractions: [T] of each record.
        unit: of the thresholds.
    """
    table = np.array(fractions).reshape(len(fractions), len(thresholds))
    return {f"{name}@{threshold:g}{unit}": table[:, row] for row, threshold in enumerate(thresholds)}


def _split(members: Mapping[str, np.ndarray], key: str) -> list[tuple[int, np.ndarray]]:
    values, shapes = members[f"array/{key}/values"], members[f"array/{key}/shape"]
    sizes = [int(np.prod(shape)) for shape in shapes]
    parts = np.split(values, np.cumsum(sizes)[:-1]) if sizes else []
    rows = members[f"array/{key}/row"]
    return [
        (int(row), part.reshape(tuple(shape))) for row, part, shape in zip(rows, parts, shapes, strict=True)
    ]
