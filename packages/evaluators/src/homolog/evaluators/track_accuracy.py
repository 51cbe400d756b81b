"""PCK of tracked points, each frame taken for an image pair with the first one."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Real

from homolog.core.errors import ShapeError
from homolog.evaluators.threshold import Comparison, within


def tracks_pck(
    *,
    visible: Bool[np.ndarray, "N T"],
    xy: Real[np.ndarray, "N T 2"],
    predicted: Real[np.ndarray, "N T 2"],
    side: float,
    alphas: Sequence[float],
    comparison: Comparison,
) -> Float[np.ndarray, "A T-1"]:
    """Return the share of points that were found on each frame after the first.

    MATCHA (table 4) reports PCK on TAP-Vid without saying side, raster, occluded
    targets or average; this is our reading: the points seen on the first frame, on each later frame
    those of them that are seen there.

    Args:
        visible: whether a point is truly seen.
        xy: true positions, in pixels of one raster.
        predicted: found positions, in the same pixels; they answer queries on the first frame.
        side: what the alphas are shares of, in those pixels.
        alphas: A thresholds.
        comparison: whether an error on the threshold counts.

    Returns:
        Shares in [0, 1]; NaN on a frame that shows none of the points.

    Raises:
        ShapeError: arrays that do not belong together.
    """
    if visible.ndim != 2 or xy.shape != (*visible.shape, 2) or predicted.shape != xy.shape:
        raise ShapeError(
            "tracks_pck: expected visible [N T], xy [N T 2] and predicted [N T 2], got "
            f"{list(visible.shape)}, {list(xy.shape)} and {list(predicted.shape)}"
        )
    asked = visible[:, :1] & visible[:, 1:]
    error = np.linalg.norm(predicted[:, 1:].astype(np.float64) - xy[:, 1:], axis=-1)
    limits = np.array(alphas, dtype=np.float64)[:, None, None] * side
    found = (within(error, limits, comparison) & asked).sum(axis=1)
    seen = np.broadcast_to(asked.sum(axis=0), found.shape)
    return np.divide(found, seen, out=np.full(found.shape, np.nan), where=seen > 0)
