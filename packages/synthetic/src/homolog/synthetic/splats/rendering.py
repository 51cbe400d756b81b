"""Render Gaussians with numba: colours, and the depth of the blended planes.

Each Gaussian becomes an ellipse in the image (EWA splatting, Zwicker et al. 2001) with the constants of 3D Gaussian
Splatting (Kerbl et al. 2023). Colours are blended together with depths, normals and distances of planes.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int32

from homolog.core.errors import ShapeError
from homolog.synthetic.compiled import Real, compiled, inlined
from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.splats.gaussians import Gaussians

SMALLEST_ALPHA = 1 / 255
"""Smaller alphas are not blended; this rule and the next ones are those of 3D Gaussian Splatting."""
LARGEST_ALPHA = 0.999
SMALLEST_LIGHT = 1e-4
"""A Gaussian that would leave less transmittance than this is not blended, and ends the pixel."""
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
        alpha: [H W] fraction of the pixel that Gaussians cover.
        expected_depth: [H W] mean depth (z) of the blended centres, NaN where alpha < 0.95. It is biased on
            every surface that is not parallel to the image.
        plane_depth: [H W] depth (z) of the blended plane, NaN where alpha < 0.95 or where the plane is seen
            edge on; see the function `plane_depth`.
        normal: [H W 3] blended normals in the camera's frame, not normalised.
        distance: [H W] blended distances of the planes from the camera, not normalised.
        gaussian_id: [H W] the Gaussian with the largest weight in the pixel, -1 for none.
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

    Each Gaussian stands for a plane across its shortest axis, with its normal towards the camera; normals
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


COLUMNS = 13
"""Of a splat: x, y, its inverse covariance (xx, xy, yy), its half extents (x, y), opacity; then what is
blended beside the colour: depth, normal (3), distance."""


def render(
    gaussians: Gaussians,
    viewpoint: Viewpoint,
    background: Float32[np.ndarray, "H W 3"] | None = None,
) -> Rendering:
    """Render Gaussians from a viewpoint, on a CPU: front to back, in loops that always give the same bits.

    The background is RGB of the viewpoint's size, black by default.

    Raises:
        ShapeError: a background of another size.
    """
    size = viewpoint.size
    if background is not None and background.shape != (*size, 3):
        raise ShapeError(f"expected a background {[*size, 3]}, got {list(background.shape)}")
    splats = projected(gaussians, viewpoint)
    # Equal depths keep the order of the file.
    order = np.argsort(splats[:, 8], kind="stable")
    order = order[: int(np.isfinite(splats[:, 8]).sum())]
    blended = np.zeros((*size, 8))
    light, weight = np.ones(size), np.zeros(size)
    winner = np.full(size, -1, np.int32)
    _blend(splats, gaussians.colours(viewpoint.centre), order, blended, light, weight, winner)
    light = np.abs(light)
    alpha = 1 - light
    rgb = blended[..., :3] if background is None else blended[..., :3] + light[..., None] * background
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.where(alpha >= SOLID, blended[..., 3] / alpha, np.nan)
    planes = plane_depth(blended[..., 4:7], blended[..., 7], alpha, viewpoint.K)
    return Rendering(
        rgb=np.minimum(rgb, 1).astype(np.float32),
        alpha=alpha.astype(np.float32),
        expected_depth=expected.astype(np.float32),
        plane_depth=planes.astype(np.float32),
        normal=blended[..., 4:7].astype(np.float32),
        distance=blended[..., 7].astype(np.float32),
        gaussian_id=winner,
    )


def projected(gaussians: Gaussians, viewpoint: Viewpoint) -> Float64[np.ndarray, "N 13"]:
    """Return the splat of each Gaussian (see `COLUMNS`); its depth is infinite where it is not visible."""
    splats = np.empty((len(gaussians), COLUMNS))
    _project(
        gaussians.means,
        gaussians.scales,
        gaussians.rotations,
        gaussians.opacity,
        np.ascontiguousarray(viewpoint.K, np.float64),
        np.ascontiguousarray(viewpoint.R, np.float64),
        np.ascontiguousarray(viewpoint.t, np.float64),
        viewpoint.size,
        splats,
    )
    return splats


@compiled
def _project(
    means: np.ndarray,
    scales: np.ndarray,
    rotations: np.ndarray,
    opacity: np.ndarray,
    K: np.ndarray,
    R: np.ndarray,
    t: np.ndarray,
    size: tuple[int, int],
    splats: np.ndarray,
) -> None:
    height, width = size
    own, turn = np.empty((3, 3)), np.empty((3, 3))
    fx, skew, fy, cx, cy = K[0, 0], K[0, 1], K[1, 1], K[0, 2], K[1, 2]
    # How far outside the image, as x / z and y / z, the projection is still linearised where it is.
    low_x, high_x = _reach(-0.5 - cx, width - 0.5 - cx, fx)
    low_y, high_y = _reach(-0.5 - cy, height - 0.5 - cy, fy)
    for n in range(len(means)):
        splats[n, 8] = np.inf
        x = R[0, 0] * means[n, 0] + R[0, 1] * means[n, 1] + R[0, 2] * means[n, 2] + t[0]
        y = R[1, 0] * means[n, 0] + R[1, 1] * means[n, 1] + R[1, 2] * means[n, 2] + t[1]
        z = R[2, 0] * means[n, 0] + R[2, 1] * means[n, 1] + R[2, 2] * means[n, 2] + t[2]
        if z < NEAR or opacity[n] < SMALLEST_ALPHA:
            continue
        u, v = (fx * x + skew * y) / z + cx, fy * y / z + cy
        _axes(rotations[n, 0], rotations[n, 1], rotations[n, 2], rotations[n, 3], own)
        for i in range(3):
            for j in range(3):
                turn[i, j] = R[i, 0] * own[0, j] + R[i, 1] * own[1, j] + R[i, 2] * own[2, j]
        tx, ty = min(max(x / z, low_x), high_x), min(max(y / z, low_y), high_y)
        xx, xy, yy = BLUR, 0.0, BLUR
        for k in range(3):
            across = (fx * (turn[0, k] - tx * turn[2, k]) + skew * (turn[1, k] - ty * turn[2, k])) / z
            down = fy * (turn[1, k] - ty * turn[2, k]) / z
            across, down = across * scales[n, k], down * scales[n, k]
            xx, xy, yy = xx + across * across, xy + across * down, yy + down * down
        determinant = xx * yy - xy * xy
        # Where alpha falls to its smallest blended value: the ellipse q(x, y) = reach^2.
        reach = np.sqrt(2 * np.log(opacity[n] / SMALLEST_ALPHA))
        half_x, half_y = reach * np.sqrt(xx), reach * np.sqrt(yy)
        if u + half_x < 0 or v + half_y < 0 or u - half_x > width - 1 or v - half_y > height - 1:
            continue
        thin = 0
        for k in range(1, 3):
            if scales[n, k] < scales[n, thin]:
                thin = k
        nx, ny, nz = turn[0, thin], turn[1, thin], turn[2, thin]
        distance = -(nx * x + ny * y + nz * z)
        if distance < 0:
            nx, ny, nz, distance = -nx, -ny, -nz, -distance
        splats[n, 0], splats[n, 1] = u, v
        splats[n, 2], splats[n, 3], splats[n, 4] = yy / determinant, -xy / determinant, xx / determinant
        splats[n, 5], splats[n, 6], splats[n, 7] = half_x, half_y, opacity[n]
        splats[n, 8], splats[n, 9], splats[n, 10], splats[n, 11], splats[n, 12] = z, nx, ny, nz, distance


@inlined
def _reach(low: Real, high: Real, focal: Real) -> tuple[Real, Real]:
    margin = (BEYOND - 1) * 0.5 * (high - low)
    return (low - margin) / focal, (high + margin) / focal


@inlined
def _axes(w: Real, x: Real, y: Real, z: Real, own: np.ndarray) -> None:
    own[0, 0], own[0, 1], own[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    own[1, 0], own[1, 1], own[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    own[2, 0], own[2, 1], own[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)


@compiled
def _blend(
    splats: np.ndarray,
    colours: np.ndarray,
    order: np.ndarray,
    blended: np.ndarray,
    light: np.ndarray,
    weight: np.ndarray,
    winner: np.ndarray,
) -> None:
    """Add splat after splat; the light of a finished pixel becomes negative."""
    height, width = light.shape
    for n in order:
        u, v, a, b, c = splats[n, 0], splats[n, 1], splats[n, 2], splats[n, 3], splats[n, 4]
        opacity, z, nx, ny, nz = splats[n, 7], splats[n, 8], splats[n, 9], splats[n, 10], splats[n, 11]
        distance, red, green, blue = splats[n, 12], colours[n, 0], colours[n, 1], colours[n, 2]
        limit, shrink = 2 * np.log(opacity / SMALLEST_ALPHA), np.exp(-a)
        top = max(int(np.ceil(v - splats[n, 6])), 0)
        bottom = min(int(np.floor(v + splats[n, 6])), height - 1)
        for y in range(top, bottom + 1):
            dy = y - v
            # Within a row the ellipse a dx^2 + 2 b dx dy + c dy^2 <= limit is an interval.
            middle = -b * dy / a
            square = middle * middle - (c * dy * dy - limit) / a
            half = np.sqrt(max(square, 0.0)) + 1e-6
            first = max(int(np.ceil(u + middle - half)), 0)
            last = min(int(np.floor(u + middle + half)), width - 1)
            # Along a row the Gaussian is a product of ratios, and the ratios shrink by one factor: no exp.
            dx = first - u
            value = opacity * np.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)
            ratio = np.exp(-a * (dx + 0.5) - b * dy)
            for x in range(first, last + 1):
                alpha, through = min(value, LARGEST_ALPHA), light[y, x]
                value, ratio = value * ratio, ratio * shrink
                if through < 0 or alpha < SMALLEST_ALPHA:
                    continue
                if through * (1 - alpha) <= SMALLEST_LIGHT:
                    light[y, x] = -through
                    continue
                weighted = alpha * through
                light[y, x] = through - weighted
                pixel = blended[y, x]
                pixel[0], pixel[1], pixel[2] = (
                    pixel[0] + weighted * red,
                    pixel[1] + weighted * green,
                    pixel[2] + weighted * blue,
                )
                pixel[3], pixel[7] = pixel[3] + weighted * z, pixel[7] + weighted * distance
                pixel[4], pixel[5], pixel[6] = (
                    pixel[4] + weighted * nx,
                    pixel[5] + weighted * ny,
                    pixel[6] + weighted * nz,
                )
                if weighted > weight[y, x]:
                    weight[y, x] = weighted
                    winner[y, x] = n
