"""PCK of tracked points over the videos of a run, every frame taken for an image pair with the first."""

from collections.abc import Sequence

import numpy as np

from homolog.core.errors import ConfigError
from homolog.evaluators.record import Record
from homolog.evaluators.score import Curve, Score, Scored
from homolog.evaluators.threshold import Comparison
from homolog.evaluators.track_accuracy import tracks_pck
from homolog.evaluators.video_record import check_queries, raster_scale, rasters_seen

CURVE = np.linspace(0, 0.2, 41)
"""Thresholds of the curve, as shares of the side."""


class TracksPckProtocol:
    """Per image: the mean over all (video, frame) pairs of the share of points found on that frame."""

    def __init__(
        self, *, name: str, alphas: Sequence[float], comparison: Comparison, raster: Sequence[int]
    ) -> None:
        """Choose the variant.

        Args:
            name: as results name it.
            alphas: thresholds as shares of the raster's longer side; the first is the headline.
            comparison: whether an error on the threshold counts.
            raster: (height, width) that every video is stretched to.

        Raises:
            ConfigError: no alphas, or a raster that is none.
        """
        if not alphas or len(raster) != 2 or min(raster) < 1:
            raise ConfigError(
                f"{name}: expected alphas and a raster [height, width], got {list(alphas)} and {list(raster)}"
            )
        self.name = name
        self.alphas = tuple(alphas)
        self.comparison: Comparison = comparison
        self.raster = (raster[0], raster[1])

    def score(self, records: Sequence[Record]) -> Scored:
        """Score all videos.

        Raises:
            ShapeError: a record that lacks tracks.
            ConfigError: a record whose queries are not on the first frames.
        """
        frames = [self._frames(record) for record in records]
        every = np.concatenate(frames, axis=1) if frames else np.full((self._wanted.size, 0), np.nan)
        every = every[:, np.isfinite(every).all(axis=0)]
        pooled = _mean_of_columns(every)
        per_video = [_mean_of_columns(found[:, np.isfinite(found).all(axis=0)]) for found in frames]
        names = [f"PCK@{alpha:g} per image" for alpha in self.alphas]
        columns = {name: np.array([video[row] for video in per_video]) for row, name in enumerate(names)}
        return Scored(
            scores=[
                Score(name=name, value=float(pooled[row]), count=every.shape[1])
                for row, name in enumerate(names)
            ],
            per_sample=columns,
            curves={
                "PCK": Curve(
                    x=CURVE,
                    y=pooled[len(self.alphas) :],
                    x_label="threshold as a share of the side",
                    y_label="PCK per image",
                )
            },
            quality=columns[names[0]],
            settings={
                "comparison": self.comparison,
                "side": f"image, {max(self.raster)}",
                "raster": f"{self.raster[1]} x {self.raster[0]}, stretched",
                "average": "per image: over all (video, frame)",
                "points": "seen on the first frame and on the compared one",
                "frames as the tracker saw them": rasters_seen(records),
            },
        )

    @property
    def _wanted(self) -> np.ndarray:
        return np.concatenate((np.array(self.alphas, dtype=np.float64), CURVE))

    def _frames(self, record: Record) -> np.ndarray:
        check_queries(record, {"first", "initial"}, protocol=self.name)
        scale = raster_scale(record, self.raster)
        rows = np.asarray(record["query_frame"]) == 0
        return tracks_pck(
            visible=record["visible"][rows],
            xy=record["xy"][rows] * scale,
            predicted=record["predicted"][rows] * scale,
            side=float(max(self.raster)),
            alphas=self._wanted.tolist(),
            comparison=self.comparison,
        )


def _mean_of_columns(shares: np.ndarray) -> np.ndarray:
    return shares.mean(axis=1) if shares.shape[1] else np.full(len(shares), np.nan)
