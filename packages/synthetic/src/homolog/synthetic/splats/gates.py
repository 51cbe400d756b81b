"""Which rendered views may be learnt from: each gate says why not, or nothing.

The thresholds by default are those of the project's design notes; they were chosen, not fitted to any data.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float32, Float64

from homolog.synthetic.correspondence import world_points
from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.splats.rendering import Rendering


class Cause(StrEnum):
    """Which gate a view did not pass."""

    holes = "holes"
    strange = "far from what was fitted"
    blurred = "blurred"
    inconsistent = "inconsistent depth"
    apart = "hardly any overlap"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why a view or a pair is not used.

    Attributes:
        cause: which gate it was.
        letter: what was expected and what came.
    """

    cause: Cause
    letter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """Gaussians cover the picture.

    Attributes:
        alpha: that a covered pixel exceeds.
        share: of the pixels that must be covered.
    """

    alpha: float | int = 0.98
    share: float | int = 0.95

    def __call__(self, rendering: Rendering) -> Rejection | None:
        """Return why a view is rejected, or None."""
        share = float((rendering.alpha > self.alpha).mean())
        if share >= self.share:
            return None
        letter = f"expected alpha > {self.alpha:g} on {self.share:.0%} of the pixels, got {share:.1%}"
        return Rejection(cause=Cause.holes, letter=letter)


@dataclass(frozen=True, slots=True, kw_only=True)
class NearFitted:
    """The camera is near one that the scene was fitted to: elsewhere Gaussians may look like anything.

    Attributes:
        distance: that the nearest camera may be away, as a multiple of the scene's extent: the largest distance of
            a fitted camera from their middle.
        angle: between both optical axes, degrees.
    """

    distance: float | int = 0.5
    angle: float | int = 35.0

    def __call__(self, viewpoint: Viewpoint, fitted: Sequence[Viewpoint]) -> Rejection | None:
        """Return why a view is rejected, or None."""
        if any(self._near(viewpoint, camera, fitted) for camera in fitted):
            return None
        letter = (
            f"expected a fitted camera within {self.distance:g} of the extent and {self.angle:g} degrees, "
            f"got none of {len(fitted)}"
        )
        return Rejection(cause=Cause.strange, letter=letter)

    def _near(self, viewpoint: Viewpoint, camera: Viewpoint, fitted: Sequence[Viewpoint]) -> bool:
        away = float(np.linalg.norm(viewpoint.centre - camera.centre))
        return away <= self.distance * extent(fitted) and axis_angle(viewpoint, camera) <= self.angle


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharp:
    """The view is not much more blurred than the picture of the nearest fitted camera.

    Attributes:
        ratio: of the sharpness of both that is still good enough.
    """

    ratio: float | int = 0.5

    def __call__(
        self, rgb: Float32[np.ndarray, "H W 3"], reference: Float32[np.ndarray, "h w 3"]
    ) -> Rejection | None:
        """Return why a view is rejected, or None.

        Args:
            rgb: the view.
            reference: what the nearest fitted camera shows, on as many pixels per angle.
        """
        ratio = sharpness(rgb) / max(sharpness(reference), 1e-12)
        if ratio >= self.ratio:
            return None
        letter = f"expected {self.ratio:g} of the sharpness of the nearest fitted view, got {ratio:.2f}"
        return Rejection(cause=Cause.blurred, letter=letter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Consistent:
    """The depths of two views lead there and back again.

    Attributes:
        pixels: that a pixel may be off after both ways.
        share: of the pixels in sight of both that must not be.
    """

    pixels: float | int = 1.0
    share: float | int = 0.9

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
            share = float((known < self.pixels).mean()) if len(known) else 0.0
            if share < self.share:
                letter = (
                    f"expected {self.share:.0%} of the co-visible pixels to come back within {self.pixels:g} px, "
                    f"got {share:.1%}"
                )
                return Rejection(cause=Cause.inconsistent, letter=letter)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlapping:
    """Both views show enough of the same.

    Attributes:
        share: of the pixels of either view that must have a label.
    """

    share: float | int = 0.1

    def __call__(self, share0: float | int, share1: float | int) -> Rejection | None:
        """Return why a pair is rejected, or None; the arguments are the shares of pixels with a label."""
        if min(share0, share1) >= self.share:
            return None
        letter = f"expected labels on {self.share:.0%} of either view, got {share0:.1%} and {share1:.1%}"
        return Rejection(cause=Cause.apart, letter=letter)


def extent(fitted: Sequence[Viewpoint]) -> float:
    """Return the largest distance of a camera from the middle of all of them."""
    centres = np.stack([camera.centre for camera in fitted])
    return float(np.linalg.norm(centres - centres.mean(0), axis=1).max())


def axis_angle(viewpoint0: Viewpoint, viewpoint1: Viewpoint) -> float:
    """Return the angle between two optical axes, degrees."""
    return float(np.degrees(np.arccos(np.clip(viewpoint0.R[2] @ viewpoint1.R[2], -1, 1))))


def sharpness(rgb: Float32[np.ndarray, "H W 3"]) -> float:
    """Return the variance of the Laplacian of the grey picture (Pech-Pacheco et al. 2000)."""
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
    """Return how many pixels from home a pixel of view 0 comes that goes to view 1 and back, by either depth.

    Args:
        depth0: z of view 0, NaN where unknown.
        viewpoint0: camera 0.
        depth1: z of view 1.
        viewpoint1: camera 1.
        hidden: what is so much nearer in view 1, relatively, hides the place; otherwise its depth is wrong.

    Returns:
        NaN where a depth is unknown, where the place is hidden or out of view 1.
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
