"""What a renderer of Gaussians returns, and the rule that turns blended planes into depth."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int32

SMALLEST_ALPHA = 1 / 255
"""Less than this of a Gaussian is not blended; the rules are those of 3D Gaussian Splatting."""
LARGEST_ALPHA = 0.999
SMALLEST_LIGHT = 1e-4
"""A Gaussian that would let less than this through is not blended, and ends the pixel."""
BLUR = 0.3
"""Variance in square pixels that is added to every splat, so that none falls between pixels."""
NEAR = 0.01
"""Gaussians nearer than this to the camera's plane are not drawn."""
BEYOND = 1.3
"""Splats further outside than this many times the image's half extent are linearised at that place."""

SOLID = 0.95
"""A pixel with a smaller alpha has no depth."""
GRAZING = 0.05
"""A pixel whose blended plane is seen at a smaller slope has no plane depth."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rendering:
    """Gaussians as one camera sees them.

    Attributes:
        rgb: [H W 3] in [0, 1], over the background.
        alpha: [H W] share of the pixel that Gaussians cover.
        expected_depth: [H W] mean depth (z) of the blended centres, NaN where alpha < 0.95. It is biased on
            every surface that is not parallel to the image.
        plane_depth: [H W] depth (z) of the blended plane, NaN where alpha < 0.95 or where that is seen edge on;
            see `plane_depth`.
        normal: [H W 3] blended normals in the camera's frame, not normalised.
        distance: [H W] blended distances of the planes from the camera, not normalised.
        gaussian_id: [H W] the Gaussian that has most weight in the pixel, -1 for none.
    """

    rgb: Float32[np.ndarray, "H W 3"]
    alpha: Float32[np.ndarray, "H W"]
    expected_depth: Float32[np.ndarray, "H W"]
    plane_depth: Float32[np.ndarray, "H W"]
    normal: Float32[np.ndarray, "H W 3"]
    distance: Float32[np.ndarray, "H W"]
    gaussian_id: Int32[np.ndarray, "H W"]


def plane_depth(
    normal: Float64[np.ndarray, "H W 3"],
    distance: Float64[np.ndarray, "H W"],
    alpha: Float64[np.ndarray, "H W"],
    K: Float64[np.ndarray, "3 3"],
) -> Float64[np.ndarray, "H W"]:
    """Return z = -Dist / (N . r), where r = K^-1 (x, y, 1) is the ray through the pixel's centre.

    Each Gaussian is taken for a plane across its shortest axis, with its normal towards the camera; normals
    and distances are blended with the weights of the colours, whose sum cancels (MatchGS, after PGSR,
    whose normals point away).

    Args:
        normal: N, the blended normals.
        distance: Dist, the blended distances, positive.
        alpha: the sum of the weights.
        K: intrinsics, for pixels whose centres are integers.

    Returns:
        NaN where alpha < 0.95 or where N . r is not below -0.05: never a clamped value.
    """
    slope = (normal * rays(K, alpha.shape)).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((alpha >= SOLID) & (slope <= -GRAZING), -distance / slope, np.nan)


def rays(K: Float64[np.ndarray, "3 3"], size: tuple[int, ...]) -> Float64[np.ndarray, "H W 3"]:
    """Return the direction with z = 1 through the centre of every pixel of an image (height, width)."""
    rows, columns = np.indices((size[0], size[1]), dtype=np.float64)
    inverse = np.linalg.inv(K)
    return columns[..., None] * inverse[:, 0] + rows[..., None] * inverse[:, 1] + inverse[:, 2]
