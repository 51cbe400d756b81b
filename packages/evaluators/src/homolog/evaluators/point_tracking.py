"""TAP-Vid: how well points are followed through a video, and how well their occlusion is told."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Real

from homolog.core.errors import ConfigError, ShapeError

THRESHOLDS = (1, 2, 4, 8, 16)
"""Pixels of the 256 x 256 raster."""

EvaluatedFrames = Literal["first", "strided"]
"""`first`: the frames after the query's. `strided`: all frames but the query's."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TapVidScores:
    """Shares in [0, 1] of one video, or of each of its N tracks; NaN where there is nothing to score.

    Attributes:
        occlusion_accuracy: [] or [N] share of evaluated points whose visibility was told rightly (OA).
        within: [5] or [5 N] share of the truly visible ones that were found within each threshold,
            whatever was said of their visibility.
        jaccard: [5] or [5 N] points found and said to be visible, over the truly visible ones plus those
            that were said to be visible and are not, or were not found.
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
    mode: EvaluatedFrames,
    per_track: bool = False,
) -> TapVidScores:
    """Score the tracks of one video as TAP-Vid does.

    Reproduces `compute_tapvid_metrics` of google-deepmind/tapnet:tapnet/tapvid/evaluation_datasets.py
    (trackwise too), in float64. A point is found when its squared distance is strictly below the squared
    threshold. The benchmark's number is the plain mean over videos of each video's.

    The copy in facebookresearch/co-tracker (`cotracker/evaluation/core/eval_utils.py`) differs in one
    thing: it divides OA by the evaluated points of the whole batch, so its OA is right for one video
    at a time only. It is not reproduced.

    Args:
        query_frame: frame of each query; fractions are rounded half to even.
        visible: whether a point is truly seen.
        xy: true positions in pixels of the **256 x 256 raster**; where its origin lies does not matter,
            as long as `predicted` has the same.
        predicted_visible: whether the tracker says that it is seen.
        predicted: positions in the same pixels; NaN is never within a threshold.
        mode: which frames count.
        per_track: score every track on its own.

    Raises:
        ShapeError: arrays that do not belong together, or a query beside the video.
        ConfigError: another mode.
    """
    _check(query_frame, visible, xy, predicted_visible, predicted)
    evaluated = _evaluated(np.rint(query_frame).astype(np.int64), visible.shape[1], mode)
    axes = -1 if per_track else (-2, -1)

    def count(chosen: np.ndarray) -> np.ndarray:
        return np.asarray(np.sum(chosen & evaluated, axis=axes))

    with np.errstate(over="ignore", invalid="ignore"):  # a tracker's infinities are far away, no more
        squared = np.square(predicted.astype(np.float64) - xy).sum(axis=-1)
    found = (squared < np.square(np.array(THRESHOLDS, dtype=np.float64))[:, None, None]) & visible
    truly_visible = count(visible)
    return TapVidScores(
        occlusion_accuracy=_share(count(predicted_visible == visible), count(np.ones_like(visible))),
        within=_share(count(found), truly_visible),
        jaccard=_share(count(found & predicted_visible), truly_visible + count(predicted_visible & ~found)),
    )


def _evaluated(query_frame: Int[np.ndarray, " N"], frames: int, mode: str) -> Bool[np.ndarray, "N T"]:
    if mode == "first":
        return np.arange(frames) > query_frame[:, None]
    if mode == "strided":
        return np.arange(frames) != query_frame[:, None]
    raise ConfigError(f"tapvid: expected the mode first or strided, got {mode!r}")


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
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
