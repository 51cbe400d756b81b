"""Point tracking: which points are queried, TAP-Vid's scores, and PCK of tracked points."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Float, Int, Real

from homolog.core.errors import ConfigError, ShapeError, one_of
from homolog.evaluators.precision import Comparison, within
from homolog.evaluators.records import (
    Curve,
    Record,
    Score,
    Scored,
    mean_of_columns,
    mean_or_nan,
    threshold_columns,
)

QueryMode = Literal["first", "strided", "initial"]
"""`first`: each track is queried where it is first visible. `strided`: on every fifth frame where it is visible,
so a track has several queries. `initial`: only tracks that are visible on the first frame."""

STRIDE = 5
"""Frames between the query frames of `strided`, as in TAP-Vid."""


class SampledQueries(NamedTuple):
    """Q queries.

    Attributes:
        track: [Q] row of the annotated track.
        frame: [Q] frame of the query; the track is visible there.
    """

    track: Int[np.ndarray, " Q"]
    frame: Int[np.ndarray, " Q"]


def sample_queries(visible: Bool[np.ndarray, "N T"], *, query_mode: QueryMode) -> SampledQueries:
    """Choose the queries of a video.

    Reproduces `sample_queries_first` and `sample_queries_strided` of
    google-deepmind/tapnet:tapnet/tapvid/evaluation_datasets.py, including their order: by track for `first`,
    by frame and then by track for `strided`. Tracks that are never visible are left out. `initial` is what
    MATCHA does on TAP-Vid (table 4 and its release).

    Args:
        visible: whether track n is visible on frame t.
        query_mode: how queries are chosen.

    Raises:
        ShapeError: not [N T].
        ConfigError: an unknown mode.

    >>> sample_queries(np.array([[False, True], [False, False]]), query_mode="first")
    SampledQueries(track=array([0]), frame=array([1]))
    """
    if visible.ndim != 2:
        raise ShapeError(f"sample_queries: expected visible [N T], got {list(visible.shape)}")
    one_of("query_mode", query_mode, get_args(QueryMode))
    if query_mode == "first":
        track = np.flatnonzero(visible.any(axis=1))
        return SampledQueries(track, visible[track].argmax(axis=1) if len(track) else track)
    if query_mode == "strided":
        step, track = np.nonzero(visible[:, ::STRIDE].T)
        return SampledQueries(track, step * STRIDE)
    track = np.flatnonzero(visible[:, :1].any(axis=1))
    return SampledQueries(track, np.zeros_like(track))


THRESHOLDS = (1, 2, 4, 8, 16)
"""Pixels of the 256 x 256 raster."""

EvaluatedFrames = Literal["first", "strided"]
"""`first`: the frames after the query's. `strided`: all frames but the query's."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TapVidScores:
    """Scores in [0, 1] of one video, or of each of its N tracks; NaN if there is nothing to score.

    Attributes:
        occlusion_accuracy: [] or [N] fraction of evaluated points whose visibility is predicted correctly (OA).
        within: [5] or [5 N] fraction of the truly visible points that are within each threshold, whatever their
            predicted visibility.
        jaccard: [5] or [5 N] true positives over true positives, false negatives and false positives. A true
            positive is visible, predicted visible and within the threshold.
    """

    occlusion_accuracy: Float[np.ndarray, "*tracks"]
    within: Float[np.ndarray, "5 *tracks"]
    jaccard: Float[np.ndarray, "5 *tracks"]

    @property
    def average_within(self) -> Float[np.ndarray, "*tracks"]:
        """The mean over the thresholds, written <delta_avg>."""
        return np.asarray(self.within.mean(axis=0))

    @property
    def average_jaccard(self) -> Float[np.ndarray, "*tracks"]:
        """The mean over the thresholds, AJ."""
        return np.asarray(self.jaccard.mean(axis=0))


def tapvid(
    *,
    query_frame: Real[np.ndarray, " N"],
    visible: Bool[np.ndarray, "N T"],
    xy: Real[np.ndarray, "N T 2"],
    predicted_visible: Bool[np.ndarray, "N T"],
    predicted: Real[np.ndarray, "N T 2"],
    query_mode: EvaluatedFrames,
    per_track: bool = False,
) -> TapVidScores:
    """Score the tracks of one video as TAP-Vid does.

    Reproduces `compute_tapvid_metrics` of google-deepmind/tapnet:tapnet/tapvid/evaluation_datasets.py
    (including trackwise scores) in float64. A point is found if its squared distance is strictly below the
    squared threshold. The benchmark's score is the mean over videos.

    The copy in facebookresearch/co-tracker (`cotracker/evaluation/core/eval_utils.py`) divides OA by the
    evaluated points of the whole batch, so its OA is right only for one video at a time. That is not
    reproduced.

    Args:
        query_frame: frame of each query; fractions are rounded half to even.
        visible: whether a point is truly visible.
        xy: true positions in pixels of the **256 x 256 raster**; its origin does not matter as long as
            `predicted` has the same.
        predicted_visible: whether the tracker predicts that it is visible.
        predicted: positions in the same pixels; NaN is never within a threshold.
        query_mode: which frames count.
        per_track: score every track on its own.

    Raises:
        ShapeError: arrays whose shapes do not match, or a query outside the video.
        ConfigError: an unknown mode.
    """
    _check(query_frame, visible, xy, predicted_visible, predicted)
    evaluated = _evaluated(np.rint(query_frame).astype(np.int64), visible.shape[1], query_mode)
    axes = -1 if per_track else (-2, -1)

    def count(chosen: np.ndarray) -> np.ndarray:
        return np.asarray(np.sum(chosen & evaluated, axis=axes))

    with np.errstate(over="ignore", invalid="ignore"):  # infinite predictions are simply far away
        squared = np.square(predicted.astype(np.float64) - xy).sum(axis=-1)
    found = (squared < np.square(np.array(THRESHOLDS, dtype=np.float64))[:, None, None]) & visible
    truly_visible = count(visible)
    return TapVidScores(
        occlusion_accuracy=_fraction(count(predicted_visible == visible), count(np.ones_like(visible))),
        within=_fraction(count(found), truly_visible),
        jaccard=_fraction(
            count(found & predicted_visible), truly_visible + count(predicted_visible & ~found)
        ),
    )


RASTER = (256, 256)
"""(height, width) that every video is stretched to; thresholds are in its pixels."""


class TapVidProtocol:
    """TAP-Vid: AJ, <delta_avg> and OA of every video, and their mean over videos.

    A video without any truly visible point to score has no score; it is left out of all means, and the
    settings list it. This depends on the annotation only, not on the tracker.
    """

    def __init__(self, *, name: str, query_mode: EvaluatedFrames) -> None:
        """Choose the variant.

        Args:
            name: as in results.
            query_mode: `first` or `strided`; records of the other raise an error.

        Raises:
            ConfigError: an unknown mode.
        """
        self.name = name
        self.query_mode: EvaluatedFrames = one_of("query_mode", query_mode, get_args(EvaluatedFrames))

    def score(self, records: Sequence[Record]) -> Scored:
        """Score all videos.

        Raises:
            ShapeError: a record without tracks.
            ConfigError: a record of another query mode.
        """
        columns = _columns([self._video(record) for record in records])
        whole: np.ndarray = np.all(np.isfinite(list(columns.values())), axis=0)
        kept = {name: values[whole] for name, values in columns.items()}
        left_out = [record.name for record, fine in zip(records, whole, strict=True) if not fine]
        return Scored(
            scores=[
                Score(name=name, value=mean_or_nan(values), count=len(values))
                for name, values in kept.items()
            ],
            per_sample=columns,
            curves={
                "points found": _curve(kept, "delta", "fraction of visible points found"),
                "jaccard": _curve(kept, "jaccard", "Jaccard"),
            },
            quality=columns["AJ"],
            settings={
                "queries": self.query_mode,
                "evaluated": "frames after the query"
                if self.query_mode == "first"
                else "all frames but the query's",
                "raster": f"{RASTER[1]} x {RASTER[0]}",
                "comparison": "<",
                "average": "per video, then over videos",
                "videos without a score": ", ".join(left_out) or "none",
                "frames resized for the tracker": _rasters(records),
            },
        )

    def _video(self, record: Record) -> TapVidScores:
        _check_queries(record, {self.query_mode}, protocol=self.name)
        scale = _raster_scale(record, RASTER)
        return tapvid(
            query_frame=record["query_frame"],
            visible=record["visible"],
            xy=record["xy"] * scale,
            predicted_visible=record["predicted_visible"],
            predicted=record["predicted"] * scale,
            query_mode=self.query_mode,
        )


class TracksPck(NamedTuple):
    """How many points of one video are found on each frame after the first.

    Attributes:
        found: [A T-1] points within each of A thresholds.
        points: [T-1] points that count.
    """

    found: Int[np.ndarray, "A T-1"]
    points: Int[np.ndarray, " T-1"]


def tracks_pck(
    *,
    visible: Bool[np.ndarray, "N T"],
    xy: Real[np.ndarray, "N T 2"],
    predicted: Real[np.ndarray, "N T 2"],
    side: float,
    alphas: Sequence[float],
    comparison: Comparison,
) -> TracksPck:
    """Count the points that are found on each frame after the first.

    Of the points visible on the first frame, those that are also visible on the later frame count, as in
    MATCHA's release.

    Args:
        visible: whether a point is truly visible.
        xy: true positions, in pixels of one raster.
        predicted: predicted positions in the same pixels, for queries on the first frame.
        side: the length that alphas are fractions of, in those pixels.
        alphas: A thresholds.
        comparison: whether an error on the threshold counts.

    Raises:
        ShapeError: arrays whose shapes do not match.
    """
    if visible.ndim != 2 or xy.shape != (*visible.shape, 2) or predicted.shape != xy.shape:
        raise ShapeError(
            "tracks_pck: expected visible [N T], xy [N T 2] and predicted [N T 2], got "
            f"{list(visible.shape)}, {list(xy.shape)} and {list(predicted.shape)}"
        )
    counted = visible[:, :1] & visible[:, 1:]
    error = np.linalg.norm(predicted[:, 1:].astype(np.float64) - xy[:, 1:], axis=-1)
    limits = np.array(alphas, dtype=np.float64)[:, None, None] * side
    found = within(error, limits, comparison) & counted
    return TracksPck(found=found.sum(axis=1), points=counted.sum(axis=0))


CURVE = np.linspace(0, 0.2, 41)
"""Thresholds of the curve, as fractions of the side."""


TracksAverage = Literal["per point", "per video", "per image"]
"""`per point`: over all points of all frames and videos. `per video`: within each video, then over videos.
`per image`: within each (video, frame), then over these."""


class TracksPckProtocol:
    """PCK of tracked points in three averages, the chosen one first; see `tracks_pck`.

    MATCHA's release averages over all points and prints each video's value too. Its paper says neither.
    """

    def __init__(
        self,
        *,
        name: str,
        alphas: Sequence[float],
        comparison: Comparison,
        average: TracksAverage,
        raster: Sequence[int],
    ) -> None:
        """Choose the variant.

        Args:
            name: as in results.
            alphas: thresholds as fractions of the raster's longer side; the first is the headline.
            comparison: whether an error on the threshold counts.
            average: of the headline.
            raster: (height, width) that every video is stretched to.

        Raises:
            ConfigError: no alphas, an invalid raster, or an unknown comparison or average.
        """
        if not alphas or len(raster) != 2 or min(raster) < 1:
            raise ConfigError(
                f"{name}: expected alphas and a raster [height, width], got {list(alphas)} and {list(raster)}"
            )
        one_of("comparison", comparison, get_args(Comparison))
        self.name = name
        self.alphas = tuple(alphas)
        self.comparison: Comparison = comparison
        self.average: TracksAverage = one_of("average", average, get_args(TracksAverage))
        self.raster = (raster[0], raster[1])

    def score(self, records: Sequence[Record]) -> Scored:
        """Score all videos.

        Raises:
            ShapeError: a record without tracks.
            ConfigError: a record with `strided` queries.
        """
        videos = [self._video(record) for record in records]
        points = np.array([video.points.sum() for video in videos], dtype=np.int64)
        found = np.array([video.found.sum(axis=1) for video in videos])
        found = found.reshape(-1, len(self._thresholds)).T
        of_videos = _fraction(found, points)
        of_frames = [_fraction(video.found, video.points)[:, video.points > 0] for video in videos]
        frames = np.concatenate([np.zeros((len(found), 0)), *of_frames], axis=1)
        averages: dict[TracksAverage, tuple[np.ndarray, int]] = {
            "per point": (_fraction(found.sum(axis=1), points.sum(keepdims=True)), int(points.sum())),
            "per video": (mean_of_columns(of_videos[:, points > 0]), int((points > 0).sum())),
            "per image": (mean_of_columns(frames), frames.shape[1]),
        }
        columns: dict[str, np.ndarray] = {}
        for row, alpha in enumerate(self.alphas):
            columns[f"PCK@{alpha:g} per point"] = of_videos[row]
            columns[f"PCK@{alpha:g} per image"] = np.array([mean_of_columns(each)[row] for each in of_frames])
        ordered = sorted(averages, key=lambda average: average != self.average)
        headline = "per image" if self.average == "per image" else "per point"
        return Scored(
            scores=[
                Score(
                    name=f"PCK@{alpha:g} {average}",
                    value=float(averages[average][0][row]),
                    count=averages[average][1],
                )
                for average in ordered
                for row, alpha in enumerate(self.alphas)
            ],
            per_sample={**columns, "points": points.astype(np.float64)},
            curves={
                "PCK": Curve(
                    x=CURVE,
                    y=averages[self.average][0][len(self.alphas) :],
                    x_label="threshold as a fraction of the side",
                    y_label=f"PCK {self.average}",
                )
            },
            quality=columns[f"PCK@{self.alphas[0]:g} {headline}"],
            settings={
                "comparison": self.comparison,
                "side": f"image, {max(self.raster)}",
                "raster": f"{self.raster[1]} x {self.raster[0]}, stretched",
                "average": self.average,
                "points": "visible on the first frame and on the compared one",
                "frames resized for the tracker": _rasters(records),
            },
        )

    @property
    def _thresholds(self) -> np.ndarray:
        return np.concatenate((np.array(self.alphas, dtype=np.float64), CURVE))

    def _video(self, record: Record) -> TracksPck:
        _check_queries(record, {"first", "initial"}, protocol=self.name)
        scale = _raster_scale(record, self.raster)
        rows = np.asarray(record["query_frame"]) == 0
        return tracks_pck(
            visible=record["visible"][rows],
            xy=record["xy"][rows] * scale,
            predicted=record["predicted"][rows] * scale,
            side=float(max(self.raster)),
            alphas=self._thresholds.tolist(),
            comparison=self.comparison,
        )


def _check_queries(record: Record, allowed: Collection[str], *, protocol: str) -> None:
    """Validate the query mode of a record, which is its fact `queries`."""
    mode = record.facts.get("queries", "none")
    if mode not in allowed:
        raise ConfigError(
            f"{protocol}: expected records of {' or '.join(sorted(allowed))} queries, got {mode} in {record.name}; "
            "choose the task with these queries"
        )


def _raster_scale(record: Record, raster: Sequence[int]) -> Float[np.ndarray, "2"]:
    """Return the factors (x, y) from pixels of a record's video to those of a raster (height, width).

    They scale distances, for which the half pixel between the origins cancels.
    """
    height, width = (float(side) for side in record["size"])
    if height <= 0 or width <= 0:
        raise ShapeError(f"{record.name}: expected a size above 0, got {width:g} x {height:g}")
    return np.array([raster[1] / width, raster[0] / height])


def _rasters(records: Sequence[Record]) -> str:
    return ", ".join(sorted({record.facts.get("raster", "not recorded") for record in records})) or "none"


def _evaluated(
    query_frame: Int[np.ndarray, " N"], frames: int, query_mode: EvaluatedFrames
) -> Bool[np.ndarray, "N T"]:
    one_of("query_mode", query_mode, get_args(EvaluatedFrames))
    frame = np.arange(frames)
    return frame > query_frame[:, None] if query_mode == "first" else frame != query_frame[:, None]


def _fraction(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    whole = np.broadcast_to(whole, part.shape)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _check(
    query_frame: np.ndarray,
    visible: np.ndarray,
    xy: np.ndarray,
    predicted_visible: np.ndarray,
    predicted: np.ndarray,
) -> None:
    shapes = [list(array.shape) for array in (query_frame, visible, xy, predicted_visible, predicted)]
    tracks, frames = visible.shape if visible.ndim == 2 else (-1, -1)
    grid = [tracks, frames]
    if shapes != [[tracks], grid, [*grid, 2], grid, [*grid, 2]]:
        raise ShapeError(
            "tapvid: expected query_frame [N], visible [N T], xy [N T 2], predicted_visible [N T] and "
            f"predicted [N T 2], got {', '.join(map(str, shapes))}"
        )
    rounded = np.rint(query_frame)
    if not ((rounded >= 0) & (rounded < frames)).all():
        raise ShapeError(f"tapvid: expected query frames from 0 to {frames - 1}, got {query_frame.tolist()}")


def _columns(videos: Sequence[TapVidScores]) -> dict[str, np.ndarray]:
    return {
        "AJ": np.array([float(video.average_jaccard) for video in videos]),
        "<delta_avg": np.array([float(video.average_within) for video in videos]),
        "OA": np.array([float(video.occlusion_accuracy) for video in videos]),
        **threshold_columns("delta", THRESHOLDS, [video.within for video in videos], unit="px"),
        **threshold_columns("jaccard", THRESHOLDS, [video.jaccard for video in videos], unit="px"),
    }


def _curve(columns: Mapping[str, np.ndarray], name: str, label: str) -> Curve:
    return Curve(
        x=np.array(THRESHOLDS, dtype=np.float64),
        y=np.array([mean_or_nan(columns[f"{name}@{threshold}px"]) for threshold in THRESHOLDS]),
        x_label=f"threshold in pixels of {RASTER[1]} x {RASTER[0]}",
        y_label=label,
    )
