"""TAP-Vid over the videos of a run."""

from collections.abc import Mapping, Sequence

import numpy as np

from homolog.evaluators.point_tracking import THRESHOLDS, EvaluatedFrames, TapVidScores, tapvid
from homolog.evaluators.record import Record
from homolog.evaluators.score import Curve, Score, Scored
from homolog.evaluators.video_record import check_queries, raster_scale, rasters_seen

RASTER = (256, 256)
"""(height, width) that every video is stretched to; the thresholds are pixels of it."""


class TapVidProtocol:
    """AJ, <delta_avg> and OA of every video, and their plain mean over videos.

    A video without any truly visible point to score has no number; it is left out of all means, and the
    settings name it. Which videos those are depends on the annotation only, not on the tracker.
    """

    def __init__(self, *, name: str, mode: EvaluatedFrames) -> None:
        """Choose the variant.

        Args:
            name: as results name it.
            mode: `first` or `strided`; records of the other one are refused.
        """
        self.name = name
        self.mode: EvaluatedFrames = mode

    def score(self, records: Sequence[Record]) -> Scored:
        """Score all videos.

        Raises:
            ShapeError: a record that lacks tracks.
            ConfigError: a record of another query mode.
        """
        columns = _columns([self._video(record) for record in records])
        whole: np.ndarray = np.all(np.isfinite(list(columns.values())), axis=0)
        kept = {name: values[whole] for name, values in columns.items()}
        left_out = [record.name for record, fine in zip(records, whole, strict=True) if not fine]
        return Scored(
            scores=[
                Score(name=name, value=_mean(values), count=len(values)) for name, values in kept.items()
            ],
            per_sample=columns,
            curves={
                "points found": _curve(kept, "delta", "share of visible points found"),
                "jaccard": _curve(kept, "jaccard", "Jaccard"),
            },
            quality=columns["AJ"],
            settings={
                "queries": self.mode,
                "evaluated": "frames after the query"
                if self.mode == "first"
                else "all frames but the query's",
                "raster": f"{RASTER[1]} x {RASTER[0]}",
                "comparison": "<",
                "average": "per video, then the plain mean over videos",
                "videos without a number": ", ".join(left_out) or "none",
                "frames as the tracker saw them": rasters_seen(records),
            },
        )

    def _video(self, record: Record) -> TapVidScores:
        check_queries(record, {self.mode}, protocol=self.name)
        scale = raster_scale(record, RASTER)
        return tapvid(
            query_frame=record["query_frame"],
            visible=record["visible"],
            xy=record["xy"] * scale,
            predicted_visible=record["predicted_visible"],
            predicted=record["predicted"] * scale,
            mode=self.mode,
        )


def _columns(videos: Sequence[TapVidScores]) -> dict[str, np.ndarray]:
    columns = {
        "AJ": np.array([float(video.average_jaccard) for video in videos]),
        "<delta_avg": np.array([float(video.average_within) for video in videos]),
        "OA": np.array([float(video.occlusion_accuracy) for video in videos]),
    }
    for row, threshold in enumerate(THRESHOLDS):
        columns[f"delta@{threshold}px"] = np.array([float(video.within[row]) for video in videos])
    for row, threshold in enumerate(THRESHOLDS):
        columns[f"jaccard@{threshold}px"] = np.array([float(video.jaccard[row]) for video in videos])
    return columns


def _curve(columns: Mapping[str, np.ndarray], name: str, label: str) -> Curve:
    return Curve(
        x=np.array(THRESHOLDS, dtype=np.float64),
        y=np.array([_mean(columns[f"{name}@{threshold}px"]) for threshold in THRESHOLDS]),
        x_label=f"threshold in pixels of {RASTER[1]} x {RASTER[0]}",
        y_label=label,
    )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
