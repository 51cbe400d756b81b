"""Pinhole cameras and the pose of one relative to another.

Intrinsics follow `homolog.core.coords`: the pixel centre is an integer, so the principal point of a
centred 512 x 512 image is (255.5, 255.5).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.coords import invert_affine
from homolog.core.errors import ShapeError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Camera:
    """A pinhole camera.

    Attributes:
        K: [3 3] intrinsics; a point (X, Y, Z) in camera coordinates is at pixel K (X, Y, Z) / Z.
    """

    K: Float[Tensor, "3 3"]

    def __post_init__(self) -> None:
        """Raise a ShapeError unless K is 3 x 3."""
        if self.K.shape != (3, 3):
            raise ShapeError(f"Camera: expected K [3 3], got {list(self.K.shape)}")

    def project(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 2"]:
        """Project points in camera coordinates to pixels; undefined for points behind the camera."""
        seen = points @ self.K.T
        return seen[..., :2] / seen[..., 2:]

    def rays(self, xy: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 3"]:
        """Return the direction with Z = 1 through each pixel."""
        return torch.cat((xy, torch.ones_like(xy[..., :1])), dim=-1) @ torch.linalg.inv(self.K).T

    def resampled(self, to_original: Float[Tensor, "2 3"]) -> "Camera":
        """Return the camera of a resized or cropped image.

        Args:
            to_original: from the pixels of the image to those of this camera.
        """
        inverse = torch.eye(3, dtype=torch.float64, device=self.K.device)
        inverse[:2] = invert_affine(to_original).to(inverse)
        return Camera(K=(inverse @ self.K.to(torch.float64)).to(self.K.dtype))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RelativePose:
    """The rigid motion from camera 0 to camera 1: X1 = R X0 + t.

    Attributes:
        R: [3 3] rotation.
        t: [3] translation; its length is unknown if it was estimated from two photos.
    """

    R: Float[Tensor, "3 3"]
    t: Float[Tensor, "3"]

    def __post_init__(self) -> None:
        """Raise a ShapeError unless R is 3 x 3 and t has length 3."""
        if self.R.shape != (3, 3) or self.t.shape != (3,):
            raise ShapeError(
                f"RelativePose: expected R [3 3], t [3], got {list(self.R.shape)}, {list(self.t.shape)}"
            )

    def inverse(self) -> "RelativePose":
        """Return the pose from camera 1 to camera 0."""
        return RelativePose(R=self.R.T, t=-(self.R.T @ self.t))

    def compose(self, inner: "RelativePose") -> "RelativePose":
        """Return the pose that applies `inner` first and this one second."""
        return RelativePose(R=self.R @ inner.R, t=self.R @ inner.t + self.t)

    def apply(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """Map points in coordinates of camera 0 to those of camera 1."""
        return points @ self.R.T + self.t

    def essential(self) -> Float[Tensor, "3 3"]:
        """Return E = [t]x R, so that rays of the same point satisfy ray1^T E ray0 = 0."""
        x, y, z = self.t.unbind()
        zero = torch.zeros_like(x)
        cross = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero)).reshape(3, 3)
        return cross @ self.R


def fundamental(pose: RelativePose, camera0: Camera, camera1: Camera) -> Float[Tensor, "3 3"]:
    """Return F = K1^-T E K0^-1, so that pixels of the same point satisfy p1^T F p0 = 0."""
    return torch.linalg.inv(camera1.K).T @ pose.essential() @ torch.linalg.inv(camera0.K)


def epipolar_distance(
    xy0: Float[Tensor, "N 2"], xy1: Float[Tensor, "N 2"], F: Float[Tensor, "3 3"]
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Return the distances of matched points from each other's epipolar lines.

    Args:
        xy0: points of image 0.
        xy1: points of image 1.
        F: maps a point of image 0 to its line in image 1; the essential matrix for rays with Z = 1.

    Returns:
        The distance in image 0 and the distance in image 1, in the unit of the points. Protocols
        combine them differently (sum of squares, mean, maximum), so both are returned.
    """
    p0 = torch.cat((xy0, torch.ones_like(xy0[:, :1])), dim=1)
    p1 = torch.cat((xy1, torch.ones_like(xy1[:, :1])), dim=1)
    line1, line0 = p0 @ F.T, p1 @ F
    residual = (line1 * p1).sum(dim=1).abs()
    tiny = torch.finfo(F.dtype).tiny
    return residual / line0[:, :2].norm(dim=1).clamp_min(tiny), residual / line1[:, :2].norm(dim=1).clamp_min(
        tiny
    )
