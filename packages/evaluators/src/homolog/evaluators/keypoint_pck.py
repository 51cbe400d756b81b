"""PCK: the fraction of keypoints that are found close enough, and its four averages over many pairs.

Official codes agree on the formula and on little else. The choices on which they disagree have no default:
whether an error exactly on the threshold counts, and which side the thresholds are fractions of. All averages
are returned together, because published tables mix them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Float, Integer, Real

from homolog.core.errors import ConfigError, ShapeError, one_of
from homolog.evaluators.image_sizes import ErrorFrame, Placement
from homolog.evaluators.precision import Comparison, calibration, within
from homolog.evaluators.records import Curve, Record, Score, Scored, mean_of_columns

Precision = Literal["float32", "float64"]
"""Float type of errors and thresholds; it matters for errors almost equal to the threshold."""

Average = Literal["per image", "per point", "macro per image", "macro per point"]
"""Mean over pairs or over all keypoints; `macro` averages within each category first, then over categories."""

AVERAGES: tuple[Average, ...] = get_args(Average)


class Pck(NamedTuple):
    """Which keypoints are found at each of A thresholds.

    Attributes:
        hits: [A N] whether a keypoint is within the threshold.
        fraction: [A] in [0, 1], of keypoints found; NaN without keypoints.
    """

    hits: Bool[np.ndarray, "A N"]
    fraction: Float[np.ndarray, " A"]


class PckAverages(NamedTuple):
    """The averages over many pairs, each [A] in [0, 1]; pairs without keypoints are left out.

    Attributes:
        per_image: mean over pairs of each pair's PCK; every pair has the same weight.
        per_point: PCK of all keypoints together; pairs with many keypoints weigh more.
        macro_per_image: mean over categories of their `per_image`.
        macro_per_point: mean over categories of their `per_point`.
    """

    per_image: Float[np.ndarray, " A"]
    per_point: Float[np.ndarray, " A"]
    macro_per_image: Float[np.ndarray, " A"]
    macro_per_point: Float[np.ndarray, " A"]

    def of(self, average: Average) -> Float[np.ndarray, " A"]:
        """Return the average with this name."""
        return self[AVERAGES.index(average)]


def pck(
    predicted: Real[np.ndarray, "N 2"],
    target: Real[np.ndarray, "N 2"],
    *,
    side: float | int | Real[np.ndarray, " N"],
    alphas: Sequence[float],
    comparison: Comparison,
    precision: Precision = "float64",
) -> Pck:
    """Compare predicted keypoints with annotated ones.

    A keypoint counts at alpha when its distance is less than (or equal to) alpha * side. GeoAware-SC
    (`pck_train.py::compute_pck`) and sd-dino use `<`; HPF (`model/evaluation.py::correct_kps`), DIFT
    (`eval_spair.py`), Visual-AI and DistillDIFT use `<=`.

    Args:
        predicted: (x, y) in pixels of any frame; a keypoint that is not finite is missed.
        target: (x, y) of the annotation, in the same pixels.
        side: the length that alphas are fractions of, in the same pixels, of the pair or for each keypoint.
            See `box_side`, `image_side` and `keypoint_side`.
        alphas: A thresholds, such as 0.1.
        comparison: whether an error on the threshold counts.
        precision: float32 reproduces GeoAware-SC, HPF, Visual-AI and DistillDIFT for errors on the threshold.

    Raises:
        ShapeError: arrays of different shapes, or a side that is negative or NaN.
        ConfigError: an unknown comparison or precision.

    >>> target = np.zeros((3, 2))
    >>> predicted = np.array([[1.0, 0.0], [5.0, 0.0], [30.0, 40.0]])
    >>> pck(predicted, target, side=50.0, alphas=[0.1, 1.0], comparison="<").fraction.tolist()
    [0.3333333333333333, 0.6666666666666666]
    >>> pck(predicted, target, side=50.0, alphas=[0.1, 1.0], comparison="<=").hits.tolist()
    [[True, True, False], [True, True, True]]
    """
    one_of("precision", precision, get_args(Precision))
    if predicted.shape != target.shape or predicted.ndim != 2 or predicted.shape[1] != 2:
        raise ShapeError(
            f"pck: expected two arrays [N 2], got {list(predicted.shape)} and {list(target.shape)}"
        )
    sides = np.broadcast_to(np.asarray(side, dtype=precision), (len(target),))
    if not (sides >= 0).all():
        raise ShapeError(f"pck: expected sides of 0 pixels or more, got {sides[~(sides >= 0)][0]:g}")
    error = keypoint_error(predicted, target, precision=precision)
    limits = np.asarray(alphas, dtype=precision)[:, None] * sides
    hits = within(error, limits, comparison)
    return Pck(hits, hits.mean(axis=1) if len(error) else np.full(len(limits), np.nan))


def keypoint_error(
    predicted: Real[np.ndarray, "N 2"],
    target: Real[np.ndarray, "N 2"],
    *,
    precision: Precision = "float64",
) -> Float[np.ndarray, " N"]:
    """Return the distance of each keypoint from its annotation; infinite where it is not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        offset = predicted.astype(precision) - target.astype(precision)
        error = np.sqrt(np.square(offset).sum(axis=1))
    return np.nan_to_num(error, nan=np.inf, posinf=np.inf)


def pck_per_image(
    hits: Bool[np.ndarray, "A N"], image: Integer[np.ndarray, " N"], *, count: int
) -> Float[np.ndarray, "A P"]:
    """Return the fraction of keypoints found in each pair.

    Args:
        hits: whether each keypoint of all pairs is found, at A thresholds.
        image: index of each keypoint's pair, from 0.
        count: the number of pairs, P.

    Returns:
        Fractions in [0, 1]; NaN for a pair without keypoints.
    """
    points = np.bincount(image, minlength=count)
    found = np.array([np.bincount(image, weights=row, minlength=count) for row in hits])
    found = found.reshape(len(hits), count)
    return np.divide(found, points, out=np.full(found.shape, np.nan), where=points > 0)


def average_pck(
    hits: Bool[np.ndarray, "A N"], image: Integer[np.ndarray, " N"], categories: Sequence[str]
) -> PckAverages:
    """Average PCK over pairs in all four ways that published tables use.

    GeoAware-SC's weighted total is `per_image`, or `per_point` with its `KPT_RESULT`; HPF's average is
    `per_image`; DIFT prints both; DistillDIFT's number is `per_point`. The last column of tables that average
    18 category columns is `macro_per_image` or `macro_per_point`.

    Args:
        hits: whether each keypoint of all pairs is found, at A thresholds.
        image: index of each keypoint's pair, from 0.
        categories: of each pair.

    Returns:
        NaN without keypoints.

    >>> hits = np.array([[True, False, False, False, True]])
    >>> average = average_pck(hits, np.array([0, 0, 1, 1, 2]), ["cat", "cat", "dog"])
    >>> [round(float(part[0]), 3) for part in average]
    [0.5, 0.4, 0.625, 0.625]
    """
    fractions = pck_per_image(hits, image, count=len(categories))
    points = np.bincount(image, minlength=len(categories))
    names = np.array(categories, dtype=np.str_)
    parts = [np.flatnonzero((names == name) & (points > 0)) for name in np.unique(names[points > 0])]
    every = np.flatnonzero(points > 0)
    return PckAverages(
        per_image=mean_of_columns(fractions[:, every]),
        per_point=_weighted(fractions[:, every], points[every]),
        macro_per_image=mean_of_columns(
            np.array([mean_of_columns(fractions[:, rows]) for rows in parts]).reshape(-1, len(hits)).T
        ),
        macro_per_point=mean_of_columns(
            np.array([_weighted(fractions[:, rows], points[rows]) for rows in parts]).reshape(-1, len(hits)).T
        ),
    )


def box_side(box: Real[np.ndarray, " 4"]) -> float:
    """Return the longer side of a box given as x, y, width, height.

    >>> box_side(np.array([5.0, 6.0, 200.0, 150.0]))
    200.0
    """
    return float(max(box[2], box[3]))


def image_side(size: Integer[np.ndarray, " 2"] | tuple[int, int]) -> float:
    """Return the longer side of an image of `size` (height, width)."""
    return float(max(size[0], size[1]))


def keypoint_side(xy: Real[np.ndarray, "N 2"]) -> float:
    """Return the longer side of the bounding box of the keypoints, used where a data set has no boxes (PF-WILLOW); NaN without keypoints.

    >>> keypoint_side(np.array([[1.0, 2.0], [4.0, 9.0]]))
    7.0
    """
    return float(np.ptp(xy, axis=0).max()) if len(xy) else float("nan")


Side = Literal["box", "image", "keypoints"]
"""The length that alphas are fractions of, always in image 1: the longer side of the object's box or of the
image, or the longer extent of the annotated keypoints."""

CURVE = np.linspace(0, 0.2, 41)
"""Thresholds of the curve, as fractions of the side."""

AWARE = "geometry_aware"
"""The group of keypoints with a symmetric counterpart in image 1; see `homolog.data.symmetric_keypoints`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Points:
    """The visible keypoints of all pairs, concatenated, in the frame of the error.

    Attributes:
        predicted: [N 2].
        target: [N 2].
        image: [N] index of the pair.
        sides: of every pair [P], by name.
        aware: [N] whether a point is in the geometry-aware group; None if no record says.
    """

    predicted: np.ndarray
    target: np.ndarray
    image: np.ndarray
    sides: Mapping[str, np.ndarray]
    aware: np.ndarray | None


class PckProtocol:
    """PCK over the pairs of a run: the chosen variant is reported first, then the other averages and sides.

    Published tables mix averages (per image, per point, macro), so "PCK" alone says little. Pairs without a
    keypoint that is visible in both images are left out; the settings list them.
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
            name: as in results.
            alphas: thresholds as fractions of the side; the first is the headline.
            comparison: whether an error on the threshold counts.
            side: the length that alphas are fractions of, in the headline.
            average: of the headline.
            frame: the frame in which errors and sides are measured.
            precision: of errors and thresholds.
            note: anything else worth knowing, such as what is assumed.

        Raises:
            ConfigError: no alphas, or an unknown side, average, comparison or precision.
        """
        one_of("side", side, get_args(Side))
        one_of("average", average, AVERAGES)
        one_of("comparison", comparison, get_args(Comparison))
        one_of("precision", precision, get_args(Precision))
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
            ShapeError: a record without points, or without a box if the side is the box.
        """
        points = self._points(records)
        hits = {side: self._hits(points, side) for side in points.sides}
        categories = [record.category for record in records]
        fractions = {
            side: pck_per_image(found, points.image, count=len(records)) for side, found in hits.items()
        }
        counts = np.bincount(points.image, minlength=len(records))
        return Scored(
            scores=[
                *self._averages(hits, points.image, categories),
                *self._aware(hits[self.side], points, categories),
                *self._categories(hits[self.side], points.image, categories),
            ],
            per_sample={
                **self._columns(fractions),
                "mean error px": self._mean_error(points, counts),
                "points": counts.astype(np.float64),
                **{f"side px, {side}": sides for side, sides in points.sides.items()},
            },
            curves=self._curves(hits[self.side], points, records),
            # The mean over the whole curve: at a single threshold most pairs tie.
            quality=fractions[self.side][len(self.alphas) :].mean(axis=0),
            settings=self._settings(records, counts),
        )

    def _points(self, records: Sequence[Record]) -> _Points:
        none = np.zeros((0, 2), dtype=self.precision)
        predicted, target, aware = [none], [none], [np.zeros(0, dtype=np.bool_)]
        sides: dict[Side, list[float]] = {side: [] for side in self._sides(records)}
        for record in records:
            place = self.frame((int(record["size1"][0]), int(record["size1"][1])))
            rows = _visible(record)
            predicted.append(place.points(record["predicted"][rows].astype(self.precision)))
            target.append(place.annotated(record["xy1"][rows].astype(self.precision)))
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
        # Data sets whose side is the keypoints' extent have no boxes.
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
        # Without categories there is no macro average.
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
        values = average_pck(hits[: len(self.alphas)], image, categories).of(average)
        pairs = np.unique(image)
        counts: dict[Average, int] = {"per image": len(pairs), "per point": len(image)}
        count = counts.get(average, len({categories[row] for row in pairs}))
        for alpha, value in zip(self.alphas, values, strict=True):
            name = f"PCK@{alpha:g} {average}, {side}{suffix}"
            yield Score(name=name, value=float(value), category=category, count=count)

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
        # The headline's average first. The macro average of one category is its plain average.
        averages = averages if self.average.endswith("image") else averages[::-1]
        for category in sorted(set(of_point.tolist()) - {""}):
            rows = of_point == category
            for average in averages:
                yield from self._average(
                    hits[:, rows], image[rows], categories, average, self.side, category=category
                )

    def _columns(self, fractions: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {
            f"PCK@{alpha:g}, {side}": fraction[row]
            for side, fraction in fractions.items()
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
        fractions = average_pck(hits[len(self.alphas) :], points.image, categories).of(self.average)
        label = "threshold as a fraction of the side"
        curves = {
            "PCK": Curve(x=CURVE, y=fractions, x_label=label, y_label=f"PCK {self.average}, {self.side}")
        }
        if all("confidence" in record for record in records):
            confidence = np.concatenate([record["confidence"][_visible(record)] for record in records])
            curves["calibration"] = calibration(confidence, hits[0])
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
            "points": "annotated and visible in both images",
            "pairs without a point": ", ".join(absent) or "none",
            **({"note": self.note} if self.note else {}),
        }


def _visible(record: Record) -> np.ndarray:
    """Return the rows whose ground truth is visible."""
    if "visible" not in record:
        return np.arange(len(record["xy1"]))
    return np.flatnonzero(record["visible"])


def _length(side: Side, record: Record, place: Placement, target: np.ndarray) -> float:
    """Return a side of image 1, in pixels of the frame."""
    if side == "box":
        width_height = place.lengths(record["box1"][2:])
        return box_side(np.concatenate((np.zeros(2), width_height)))
    return place.side if side == "image" else keypoint_side(target)


def _weighted(fractions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return fractions @ weights / weights.sum() if weights.sum() else np.full(len(fractions), np.nan)
