"""How far matches are from the true epipolar geometry."""

from typing import Literal

import numpy as np
from jaxtyping import Float, Real

from homolog.core.errors import ConfigError
from homolog.evaluators.error_recall import finite_or_inf

EpipolarDistance = Literal["squared sum", "mean", "root of squared sum"]
"""How the distances of two matched points to each other's epipolar line become one number.

`squared sum`: the sum of their squares; LoFTR, SuperGlue.
`mean`: their mean, with the gradients of a line kept at 1e-3 or more; glue-factory.
`root of squared sum`: the root of the first; kornia, and with it the WxBS benchmark.
Thresholds on one mean nothing on another: 5e-4 on the first is about 2e-2 on the last."""

SMALLEST_SQUARED_GRADIENT = 1e-6
"""glue-factory's `clamp`, which matters only near the epipole."""


def symmetric_epipolar_distance(
    xy0: Real[np.ndarray, "M 2"],
    xy1: Real[np.ndarray, "M 2"],
    F: Real[np.ndarray, "3 3"],
    *,
    definition: EpipolarDistance,
) -> Float[np.ndarray, " M"]:
    """Return one distance for each match, infinite where it is no number (float64).

    Args:
        xy0: points of image 0: pixels with a fundamental matrix, or points of the plane Z = 1 (see
            `on_normalised_plane`) with an essential one.
        xy1: their matches in image 1, in the same kind of coordinates.
        F: maps a point of image 0 to its line in image 1; true matches have xy1^T F xy0 = 0.
        definition: how two distances become one.

    Raises:
        ConfigError: another definition.
    """
    matrix = np.asarray(F, dtype=np.float64)
    (x0, y0), (x1, y1) = (np.asarray(xy, dtype=np.float64).T for xy in (xy0, xy1))
    # Column by column: ten times as fast as products of M small vectors.
    a1, b1, c1 = (row[0] * x0 + row[1] * y0 + row[2] for row in matrix)
    a0, b0 = (row[0] * x1 + row[1] * y1 + row[2] for row in matrix.T[:2])
    residual = np.abs(x1 * a1 + y1 * b1 + c1)
    square0, square1 = a0 * a0 + b0 * b0, a1 * a1 + b1 * b1
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if definition == "mean":
            square0, square1 = (
                np.maximum(square, SMALLEST_SQUARED_GRADIENT) for square in (square0, square1)
            )
            return finite_or_inf(residual * (1 / np.sqrt(square1) + 1 / np.sqrt(square0)) / 2)
        squared = finite_or_inf(np.square(residual) * (1 / square1 + 1 / square0))
    if definition == "squared sum":
        return squared
    if definition == "root of squared sum":
        return np.sqrt(squared)
    raise ConfigError(
        f"expected the epipolar distance 'squared sum', 'mean' or 'root of squared sum', got {definition!r}"
    )


def on_normalised_plane(xy: Real[np.ndarray, "M 2"], K: Real[np.ndarray, "3 3"]) -> Float[np.ndarray, "M 2"]:
    """Return where the rays through pixels meet the plane Z = 1 of their camera (float64).

    As in all official codes the camera has no skew: only its focal lengths and principal point count.
    """
    rays = np.array(xy, dtype=np.float64)
    for axis in (0, 1):
        rays[:, axis] -= float(K[axis, 2])
        rays[:, axis] /= float(K[axis, axis])
    return rays


def essential_matrix(R: Real[np.ndarray, "3 3"], t: Real[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Return [t]x R of the pose from camera 0 to camera 1: X1 = R X0 + t (float64)."""
    x, y, z = np.asarray(t, dtype=np.float64)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return cross @ np.asarray(R, dtype=np.float64)
