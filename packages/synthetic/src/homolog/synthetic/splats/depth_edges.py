"""Where a rendered depth is not to be trusted: at its edges, where splats of both sides are blended."""

import numpy as np
from jaxtyping import Bool, Float32

from homolog.core.errors import MissingDependencyError


def depth_edges(
    depth: Float32[np.ndarray, "H W"], *, radius: int = 2, bend: float | int = 0.03
) -> Bool[np.ndarray, "H W"]:
    """Tell which pixels lie near a step, or near a pixel without depth.

    On a plane, however slanted, the inverse depth is an affine function of the pixel, so that its second
    difference is zero: steps are told from slopes by it.

    Args:
        depth: z, NaN where unknown.
        radius: how many pixels around an edge are edges too.
        bend: second difference of the inverse depth, relative to it, from which on there is a step.

    Raises:
        MissingDependencyError: scipy is not installed.
    """
    try:
        from scipy.ndimage import maximum_filter
    except ImportError as error:
        raise MissingDependencyError("homolog-synthetic[synthetic]", "synthetic data") from error
    inverse = 1 / depth.astype(np.float64)
    edge = np.isnan(inverse)
    for axis in (0, 1):
        steps = np.abs(np.diff(inverse, n=2, axis=axis))
        middle = inverse[1:-1] if axis == 0 else inverse[:, 1:-1]
        with np.errstate(invalid="ignore"):
            found = steps > bend * middle
        edge |= np.pad(found, [(1, 1), (0, 0)] if axis == 0 else [(0, 0), (1, 1)])
    return maximum_filter(edge, size=2 * radius + 1, mode="nearest")


def without_edges(
    depth: Float32[np.ndarray, "H W"], *, radius: int = 2, bend: float | int = 0.03
) -> Float32[np.ndarray, "H W"]:
    """Return the depth with NaN at its edges; see `depth_edges`."""
    return np.where(depth_edges(depth, radius=radius, bend=bend), np.float32(np.nan), depth)
