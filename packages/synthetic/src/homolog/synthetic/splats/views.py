"""New cameras near those that a scene was fitted to, and the gates that check their views.

A gate returns why a view is rejected, or None. The default thresholds were chosen, not fitted to any data.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Float32, Float64
from scipy.ndimage import maximum_filter

from homolog.core.coords import Size
from homolog.synthetic.correspondence import world_points
from homolog.synthetic.rendering.viewpoint import Viewpoint, axis_angle
from homolog.synthetic.splats.rendering import Rendering


def reframed(camera: Viewpoint, size: Size) -> Viewpoint:
    """Return a camera at the same place with another image size, whose view lies within the old one."""
    height, width = size
    # The side that is scaled more fills the image; the other one is cropped.
    scale = max(height / camera.size[0], width / camera.size[1])
    focal_x, focal_y = camera.K[0, 0] * scale, camera.K[1, 1] * scale
    K = np.array(((focal_x, 0, (width - 1) / 2), (0, focal_y, (height - 1) / 2), (0, 0, 1)))
    return Viewpoint(K=K, R=camera.R, t=camera.t, size=size)


def perturbed(
    camera: Viewpoint, random: np.random.Generator, *, shift: float | int, turn: float | int
) -> Viewpoint:
    """Return a camera that is shifted and turned at random.

    `shift` is the standard deviation along each axis, `turn` that of the angle about each axis, radians.
    """
    R = _rotation(turn * random.standard_normal(3)) @ camera.R
    centre = camera.centre + shift * random.standard_normal(3)
    return replace(camera, R=R, t=-R @ centre)


def drawn_pair(
    fitted: Sequence[Viewpoint],
    random: np.random.Generator,
    *,
    turn: float | int,
    stray: float | int,
    size: Size,
) -> tuple[Viewpoint, Viewpoint]:
    """Draw two cameras, each near one of two different fitted ones, of which there are at least two.

    `turn` is the largest angle between the optical axes of the two fitted cameras, degrees; where no other
    camera is within it, the one at the smallest angle is taken. `stray` is how far they move, as a multiple
    of the distance to the next fitted camera; they turn by up to about 15 degrees, for 1.
    """
    first = int(random.integers(len(fitted)))
    angles = np.array([axis_angle(fitted[first], camera) for camera in fitted])
    angles[first] = np.inf
    near = np.flatnonzero(angles <= turn)
    second = int(random.choice(near)) if len(near) else int(angles.argmin())
    chosen: list[Viewpoint] = []
    for index in (first, second):
        gap = min(
            float(np.linalg.norm(fitted[index].centre - other.centre))
            for n, other in enumerate(fitted)
            if n != index
        )
        # Standard deviations: over three axes together the shift is 1.7 times as long.
        camera = perturbed(fitted[index], random, shift=stray * gap / 1.7, turn=float(np.radians(5 * stray)))
        chosen.append(reframed(camera, size))
    return chosen[0], chosen[1]


def nearest(viewpoint: Viewpoint, fitted: Sequence[Viewpoint]) -> Viewpoint:
    """Return the nearest fitted camera, among those with a similar direction if there are any."""
    away = [float(np.linalg.norm(viewpoint.centre - camera.centre)) for camera in fitted]
    aside = [axis_angle(viewpoint, camera) for camera in fitted]
    alike = [n for n, angle in enumerate(aside) if angle <= 45] or range(len(fitted))
    return fitted[min(alike, key=lambda n: away[n])]


def _rotation(vector: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3 3"]:
    """Return the rotation about a vector by its length (Rodrigues)."""
    angle = float(np.sqrt((vector**2).sum()))
    x, y, z = vector / max(angle, 1e-12)
    cross = np.array(((0, -z, y), (z, 0, -x), (-y, x, 0)))
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


class Cause(StrEnum):
    """The gate that a view did not pass."""

    holes = "holes"
    far = "far from what was fitted"
    blurred = "blurred"
    inconsistent = "inconsistent depth"
    little_overlap = "hardly any overlap"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """The gate that rejected a view or a pair, and why: what was expected and what was found."""

    cause: Cause
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """Gaussians cover the image.

    Attributes:
        alpha: that a covered pixel exceeds.
        fraction: of the pixels that must be covered.
    """

    alpha: float | int = 0.98
    fraction: float | int = 0.95

    def __call__(self, rendering: Rendering) -> Rejection | None:
        """Return why a view is rejected, or None."""
        fraction = float((rendering.alpha > self.alpha).mean())
        if fraction >= self.fraction:
            return None
        reason = f"expected alpha > {self.alpha:g} on {self.fraction:.0%} of the pixels, got {fraction:.1%}"
        return Rejection(cause=Cause.holes, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class NearFitted:
    """The camera is near one that the scene was fitted to: elsewhere Gaussians can have any appearance.

    Attributes:
        distance: to the nearest camera, at most, as a multiple of the extent of the scene: the largest distance of
            a fitted camera from their centroid.
        angle: between both optical axes at most, degrees.
    """

    distance: float | int = 0.5
    angle: float | int = 35.0

    def __call__(self, viewpoint: Viewpoint, fitted: Sequence[Viewpoint]) -> Rejection | None:
        """Return why a view is rejected, or None."""
        reach = self.distance * extent(fitted)
        for camera in fitted:
            away = float(np.linalg.norm(viewpoint.centre - camera.centre))
            if away <= reach and axis_angle(viewpoint, camera) <= self.angle:
                return None
        reason = (
            f"expected a fitted camera within {self.distance:g} of the extent and {self.angle:g} degrees, "
            f"got none of {len(fitted)}"
        )
        return Rejection(cause=Cause.far, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharp:
    """The view is not much more blurred than the image of the nearest fitted camera.

    Attributes:
        ratio: of the sharpness of both, at least.
    """

    ratio: float | int = 0.5

    def __call__(
        self, rgb: Float32[np.ndarray, "H W 3"], reference: Float32[np.ndarray, "h w 3"]
    ) -> Rejection | None:
        """Return why a view is rejected, or None.

        Args:
            rgb: the view.
            reference: the image of the nearest fitted camera, with as many pixels per angle.
        """
        ratio = sharpness(rgb) / max(sharpness(reference), 1e-12)
        if ratio >= self.ratio:
            return None
        reason = f"expected {self.ratio:g} of the sharpness of the nearest fitted view, got {ratio:.2f}"
        return Rejection(cause=Cause.blurred, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Consistent:
    """The depths of two views agree: a pixel that is projected to the other view and back returns to its place.

    Attributes:
        pixels: by which it may miss its place.
        fraction: of the pixels visible in both that must not be.
    """

    pixels: float | int = 1.0
    fraction: float | int = 0.9

    def __call__(
        self,
        depth0: Float32[np.ndarray, "H W"],
        viewpoint0: Viewpoint,
        depth1: Float32[np.ndarray, "h w"],
        viewpoint1: Viewpoint,
    ) -> Rejection | None:
        """Return why a pair is rejected, or None."""
        for way in ((depth0, viewpoint0, depth1, viewpoint1), (depth1, viewpoint1, depth0, viewpoint0)):
            error = reprojection_error(*way)
            known = error[np.isfinite(error)]
            fraction = float((known < self.pixels).mean()) if len(known) else 0.0
            if fraction < self.fraction:
                reason = (
                    f"expected {self.fraction:.0%} of the co-visible pixels to come back within {self.pixels:g} px, "
                    f"got {fraction:.1%}"
                )
                return Rejection(cause=Cause.inconsistent, reason=reason)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlapping:
    """Both views show enough of the same surfaces.

    Attributes:
        fraction: of the pixels of either view that must have a label.
    """

    fraction: float | int = 0.1

    def __call__(self, fraction0: float | int, fraction1: float | int) -> Rejection | None:
        """Return why a pair is rejected, or None; the arguments are the fractions of pixels with a label."""
        if min(fraction0, fraction1) >= self.fraction:
            return None
        reason = (
            f"expected labels on {self.fraction:.0%} of either view, got {fraction0:.1%} and {fraction1:.1%}"
        )
        return Rejection(cause=Cause.little_overlap, reason=reason)


def extent(fitted: Sequence[Viewpoint]) -> float:
    """Return the largest distance of a camera from the centroid of all of them."""
    centres = np.stack([camera.centre for camera in fitted])
    return float(np.linalg.norm(centres - centres.mean(0), axis=1).max())


def sharpness(rgb: Float32[np.ndarray, "H W 3"]) -> float:
    """Return the variance of the Laplacian of the gray image (Pech-Pacheco et al. 2000)."""
    grey = rgb.mean(2, dtype=np.float64)
    middle = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * middle).var())


def reprojection_error(
    depth0: Float32[np.ndarray, "H W"],
    viewpoint0: Viewpoint,
    depth1: Float32[np.ndarray, "h w"],
    viewpoint1: Viewpoint,
    *,
    hidden: float | int = 0.05,
) -> Float64[np.ndarray, "H W"]:
    """Return how many pixels each pixel of view 0 misses its place by, after going to view 1 and back.

    Depths are z, NaN where unknown. A surface of view 1 that is nearer by `hidden`, relatively, hides the
    point; any other has a wrong depth.

    Returns:
        NaN where a depth is unknown, or where the point is hidden in view 1 or outside it.
    """
    points = world_points(depth0, viewpoint0)
    xy, z = viewpoint1.project(points)
    seen = depth_at(depth1, np.where((z > 0)[:, None], xy, np.nan))
    seen = np.where(seen < (1 - hidden) * z, np.nan, seen)
    inverse = np.linalg.inv(viewpoint1.K)
    rays = xy @ inverse[:, :2].T + inverse[:, 2]
    back = (rays * seen[:, None] - viewpoint1.t) @ viewpoint1.R
    home, _ = viewpoint0.project(back)
    rows, columns = np.indices(depth0.shape)
    start = np.stack((columns, rows), -1).reshape(-1, 2)
    return np.sqrt(((home - start) ** 2).sum(1)).reshape(depth0.shape)


def depth_at(depth: np.ndarray, xy: np.ndarray) -> Float64[np.ndarray, " N"]:
    """Interpolate a depth; NaN where one of the four pixels around is unknown. Exact on planes."""
    height, width = depth.shape
    with np.errstate(invalid="ignore"):
        within = (xy >= 0).all(1) & (xy[:, 0] <= width - 1) & (xy[:, 1] <= height - 1)
    x, y = np.where(within, xy[:, 0], 0), np.where(within, xy[:, 1], 0)
    left, top = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    u, v = x - left, y - top
    # Inverse depth, not depth, is an affine function of the pixel on a plane.
    inverse = 1 / depth.astype(np.float64)
    upper = (1 - u) * inverse[top, left] + u * inverse[top, left + 1]
    lower = (1 - u) * inverse[top + 1, left] + u * inverse[top + 1, left + 1]
    return np.where(within, 1 / ((1 - v) * upper + v * lower), np.nan)


def depth_edges(
    depth: Float32[np.ndarray, "H W"], *, radius: int = 2, bend: float | int = 0.03
) -> Bool[np.ndarray, "H W"]:
    """Return which pixels lie near a depth step or near a pixel without depth: there both sides blend.

    On a plane, however slanted, the inverse depth is an affine function of the pixel, so that its second
    difference is zero: this distinguishes steps from slopes. There is a step where it exceeds `bend`,
    relatively; `radius` pixels around an edge are edges too.
    """
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
