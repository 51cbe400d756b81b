"""PCK of asked keypoints over the pairs of a run, in one of the ways that official codes take it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from homolog.core.errors import ConfigError
from homolog.evaluators.error_frame import ErrorFrame, Placement
from homolog.evaluators.keypoint_accuracy import (
    AVERAGES,
    Average,
    Precision,
    average_pck,
    box_side,
    keypoint_error,
    keypoint_side,
    pck,
    share_per_image,
)
from homolog.evaluators.record import Record
from homolog.evaluators.reliability import calibration
from homolog.evaluators.score import Curve, Score, Scored
from homolog.evaluators.threshold import Comparison

Side = Literal["box", "image", "keypoints"]
"""What alphas are shares of, always of image 1: the longer side of its object's box or of the image, or
the longer extent of its annotated keypoints."""

CURVE = np.linspace(0, 0.2, 41)
"""Thresholds of the curve, as shares of the side."""

AWARE = "geometry_aware"
"""The group of keypoints that have a look-alike in image 1; see `homolog.data.symmetric_keypoints`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Points:
    """The visible keypoints of all pairs, end to end, in the frame of the error.

    Attributes:
        predicted: [N 2].
        target: [N 2].
        image: [N] the number of the pair.
        sides: of every pair [P], by name.
        aware: [N] whether a point is in the geometry-aware group; None if no record tells.
    """

    predicted: np.ndarray
    target: np.ndarray
    image: np.ndarray
    sides: Mapping[str, np.ndarray]
    aware: np.ndarray | None


class PckProtocol:
    """One variant leads; every other average, and the other side, are scored beside it.

    Published tables mix averages (per image, per point, macro), so that a bare "PCK" says little. Pairs
    without a keypoint that is seen in both images are left out and named.
    """

    def __init__(
        self,
        *,
        name: str,
        alphas: Sequence[float],
        comparison: Comparison,
        side: Side,
        average: Average,
        frame: ErrorFrame,
        precision: Precision,
        note: str = "",
    ) -> None:
        """Choose the variant.

        Args:
            name: as results name it.
            alphas: thresholds as shares of the side; the first is the headline.
            comparison: whether an error on the threshold counts.
            side: what alphas are shares of, in the headline.
            average: of the headline.
            frame: in which errors and sides are measured.
            precision: in which they are compared.
            note: what else has to be known, such as what is assumed.

        Raises:
            ConfigError: no alphas, or a side, average, comparison or precision that there is not.
        """
        choices = (
            ("side", side, get_args(Side)),
            ("average", average, AVERAGES),
            ("comparison", comparison, get_args(Comparison)),
            ("precision", precision, get_args(Precision)),
        )
        for what, value, known in choices:
            if value not in known:
                raise ConfigError(f"{name}: expected {what} to be {' or '.join(known)}, got {value!r}")
        if not alphas or min(alphas) <= 0:
            raise ConfigError(f"{name}: expected alphas above 0, got {list(alphas)}")
        self.name = name
        self.alphas = tuple(alphas)
        self.comparison: Comparison = comparison
        self.side: Side = side
        self.average: Average = average
        self.frame = frame
        self.precision: Precision = precision
        self.note = note

    def score(self, records: Sequence[Record]) -> Scored:
        """Score all pairs.

        Raises:
            ShapeError: a record that lacks points, or a box where the side is the box.
        """
        points = self._points(records)
        hits = {side: self._hits(points, side) for side in points.sides}
        categories = [record.category for record in records]
        shares = {
            side: share_per_image(found, points.image, count=len(records)) for side, found in hits.items()
        }
        counts = np.bincount(points.image, minlength=len(records))
        return Scored(
            scores=[
                *self._averages(hits, points.image, categories),
                *self._aware(hits[self.side], points, categories),
                *self._categories(hits[self.side], points.image, categories),
            ],
            per_sample={
                **self._columns(shares),
                "mean error px": self._mean_error(points, counts),
                "points": counts.astype(np.float64),
                **{f"side px, {side}": sides for side, sides in points.sides.items()},
            },
            curves=self._curves(hits[self.side], points, records),
            # Finer than the share at one threshold, at which most pairs tie.
            quality=shares[self.side][len(self.alphas) :].mean(axis=0),
            settings=self._settings(records, counts),
        )

    def _points(self, records: Sequence[Record]) -> _Points:
        none = np.zeros((0, 2), dtype=self.precision)
        predicted, target, aware = [none], [none], [np.zeros(0, dtype=np.bool_)]
        sides: dict[Side, list[float]] = {side: [] for side in self._sides(records)}
        for record in records:
            place = self.frame((int(record["size1"][0]), int(record["size1"][1])))
            rows = _seen(record)
            for kept, key in ((predicted, "predicted"), (target, "xy1")):
                kept.append(place.points(record[key][rows].astype(self.precision)))
            aware.append(record[AWARE][rows] if AWARE in record else np.zeros(len(rows), dtype=np.bool_))
            for side, lengths in sides.items():
                lengths.append(_length(side, record, place, target[-1]))
        return _Points(
            predicted=np.concatenate(predicted),
            target=np.concatenate(target),
            image=np.repeat(np.arange(len(records)), [len(xy) for xy in target[1:]]),
            sides={side: np.array(lengths, dtype=np.float64) for side, lengths in sides.items()},
            aware=np.concatenate(aware) if any(AWARE in record for record in records) else None,
        )

    def _sides(self, records: Sequence[Record]) -> Iterator[Side]:
        yield self.side
        # Where keypoints stand for a box there is no other.
        if self.side == "image" and all("box1" in record for record in records):
            yield "box"
        if self.side != "image":
            yield "image"

    def _hits(self, points: _Points, side: str) -> np.ndarray:
        return pck(
            points.predicted,
            points.target,
            side=points.sides[side][points.image],
            alphas=[*self.alphas, *CURVE.tolist()],
            comparison=self.comparison,
            precision=self.precision,
        ).hits

    def _averages(
        self, hits: Mapping[str, np.ndarray], image: np.ndarray, categories: Sequence[str]
    ) -> Iterator[Score]:
        averages = sorted(AVERAGES, key=lambda average: average != self.average)
        # Without categories a macro average is none.
        named = "" not in categories
        for side in hits:
            for average in averages:
                if named or average == self.average or not average.startswith("macro"):
                    yield from self._average(hits[side], image, categories, average, side)

    def _average(
        self,
        hits: np.ndarray,
        image: np.ndarray,
        categories: Sequence[str],
        average: Average,
        side: str,
        *,
        suffix: str = "",
        category: str = "",
    ) -> Iterator[Score]:
        shares = average_pck(hits[: len(self.alphas)], image, categories).of(average)
        seen = np.unique(image)
        counts: dict[Average, int] = {"per image": len(seen), "per point": len(image)}
        count = counts.get(average, len({categories[row] for row in seen}))
        for alpha, share in zip(self.alphas, shares, strict=True):
            name = f"PCK@{alpha:g} {average}, {side}{suffix}"
            yield Score(name=name, value=float(share), category=category, count=count)

    def _aware(self, hits: np.ndarray, points: _Points, categories: Sequence[str]) -> Iterator[Score]:
        if points.aware is None:
            return
        averages: tuple[Average, ...] = ("per image", "per point")
        for average in averages:
            yield from self._average(
                hits[:, points.aware],
                points.image[points.aware],
                categories,
                average,
                self.side,
                suffix=", geometry-aware",
            )

    def _categories(self, hits: np.ndarray, image: np.ndarray, categories: Sequence[str]) -> Iterator[Score]:
        of_point = np.array(categories, dtype=np.str_)[image]
        averages: tuple[Average, ...] = ("per image", "per point")
        # The headline's average first; a macro average of one category is its own.
        averages = averages if self.average.endswith("image") else averages[::-1]
        for category in sorted(set(of_point.tolist()) - {""}):
            rows = of_point == category
            for average in averages:
                yield from self._average(
                    hits[:, rows], image[rows], categories, average, self.side, category=category
                )

    def _columns(self, shares: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {
            f"PCK@{alpha:g}, {side}": share[row]
            for side, share in shares.items()
            for row, alpha in enumerate(self.alphas)
        }

    def _mean_error(self, points: _Points, counts: np.ndarray) -> np.ndarray:
        error = keypoint_error(points.predicted, points.target, precision=self.precision)
        total = np.bincount(points.image, weights=error, minlength=len(counts))
        return np.divide(total, counts, out=np.full(len(counts), np.nan), where=counts > 0)

    def _curves(self, hits: np.ndarray, points: _Points, records: Sequence[Record]) -> dict[str, Curve]:
        if not len(points.image):
            return {}
        categories = [record.category for record in records]
        shares = average_pck(hits[len(self.alphas) :], points.image, categories).of(self.average)
        label = "threshold as a share of the side"
        curves = {"PCK": Curve(x=CURVE, y=shares, x_label=label, y_label=f"PCK {self.average}, {self.side}")}
        if all("confidence" in record for record in records):
            sure = np.concatenate([record["confidence"][_seen(record)] for record in records])
            curves["calibration"] = calibration(sure, hits[0])
        return curves

    def _settings(self, records: Sequence[Record], counts: np.ndarray) -> dict[str, str]:
        absent = [record.name for record, count in zip(records, counts, strict=True) if not count]
        return {
            "comparison": self.comparison,
            "side": {
                "box": "longer side of the box of image 1",
                "image": "longer side of image 1",
                "keypoints": "longer extent of the keypoints of image 1",
            }[self.side],
            "average": self.average,
            "frame of the error": str(self.frame),
            "precision": self.precision,
            "points": "annotated and seen in both images",
            "pairs without a point": ", ".join(absent) or "none",
            **({"note": self.note} if self.note else {}),
        }


def _seen(record: Record) -> np.ndarray:
    """Return the rows that have a truth."""
    if "visible" not in record:
        return np.arange(len(record["xy1"]))
    return np.flatnonzero(record["visible"])


def _length(side: Side, record: Record, place: Placement, target: np.ndarray) -> float:
    """Return a side of image 1, in pixels of the frame."""
    if side == "box":
        width_height = place.lengths(record["box1"][2:])
        return box_side(np.concatenate((np.zeros(2), width_height)))
    return place.side if side == "image" else keypoint_side(target)
