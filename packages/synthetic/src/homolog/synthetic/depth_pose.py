"""Dense truth of one rigid scene from depth and pose alone, as real scans have it."""

import numpy as np
from jaxtyping import Bool, Float32, Float64

from homolog.synthetic.correspondence import DenseTruth, OneWay, both_ways
from homolog.synthetic.transfer import REACH
from homolog.synthetic.viewpoint import Viewpoint


def truth_from_depth(
    depth0: Float32[np.ndarray, "H W"],
    viewpoint0: Viewpoint,
    depth1: Float32[np.ndarray, "h w"],
    viewpoint1: Viewpoint,
    *,
    tolerance: float = 0.01,
    two_way: float | None = None,
) -> tuple[DenseTruth, DenseTruth]:
    """Return the truth that lives on view 0 and points to view 1, and the one from 1 to 0.

    Without bodies there are no parts: every pixel with a depth is foreground, of one part.

    Args:
        depth0: z in camera 0's frame (not the length of the ray), NaN where unknown.
        viewpoint0: camera 0.
        depth1: z in camera 1's frame.
        viewpoint1: camera 1.
        tolerance: of the depths of one place, relative.
        two_way: drop labels that do not lead back to within so many pixels; None keeps them.
    """
    there = _labels(depth0, viewpoint0, depth1, viewpoint1, tolerance)
    back = _labels(depth1, viewpoint1, depth0, viewpoint0, tolerance)
    return both_ways(there, back, two_way=two_way)


def world_points(depth: Float32[np.ndarray, "H W"], viewpoint: Viewpoint) -> Float64[np.ndarray, "N 3"]:
    """Return where each pixel's surface is in the world, row by row; NaN where the depth is unknown."""
    rows, columns = np.indices(depth.shape, dtype=np.float64)
    rays = np.stack((columns, rows, np.ones_like(rows)), -1).reshape(-1, 3) @ np.linalg.inv(viewpoint.K).T
    return (rays * depth.reshape(-1, 1).astype(np.float64) - viewpoint.t) @ viewpoint.R


def _labels(
    depth: np.ndarray, viewpoint: Viewpoint, far_depth: np.ndarray, far: Viewpoint, tolerance: float
) -> OneWay:
    xy, z = far.project(world_points(depth, viewpoint))
    xy = np.where((z > 0)[:, None], xy, np.nan)
    known = np.isfinite(depth)
    return OneWay(
        xy=xy.astype(np.float32).reshape(*depth.shape, 2),
        covisible=_in_sight(xy, z, far_depth, tolerance).reshape(depth.shape),
        part=np.where(known, np.int32(0), np.int32(-1)),
    )


def _in_sight(xy: np.ndarray, z: np.ndarray, depth: np.ndarray, tolerance: float) -> Bool[np.ndarray, " N"]:
    height, width = depth.shape
    with np.errstate(invalid="ignore"):
        within = (xy >= -0.5).all(1) & (xy[:, 0] <= width - 0.5) & (xy[:, 1] <= height - 0.5)
    corner = np.floor(np.where(within[:, None], xy, 0)).astype(np.int64)
    seen = np.zeros(len(xy), np.bool_)
    for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        column, row = corner[:, 0] + right, corner[:, 1] + down
        near = (np.abs(column - xy[:, 0]) <= REACH) & (np.abs(row - xy[:, 1]) <= REACH)
        there = within & near & (column >= 0) & (row >= 0) & (column < width) & (row < height)
        found = depth[np.where(there, row, 0), np.where(there, column, 0)]
        with np.errstate(invalid="ignore"):
            seen |= there & (np.abs(found - z) < tolerance * z)
    return seen
