"""Where a synthetic camera stands, in arrays."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from homolog.core.camera import Camera, RelativePose
from homolog.core.coords import Size
from homolog.core.errors import ShapeError
from homolog.synthetic.compiled import compiled

World = Float[np.ndarray, "N 3"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Viewpoint:
    """A pinhole camera in the world: X_camera = R X_world + t; x right, y down, z forward.

    Attributes:
        K: [3 3] intrinsics in the pixels of `homolog.core.coords` (integer = centre of the pixel).
        R: [3 3] rotation from the world to the camera.
        t: [3] translation from the world to the camera.
        size: (height, width) of the image in pixels.
    """

    K: Float[np.ndarray, "3 3"]
    R: Float[np.ndarray, "3 3"]
    t: Float[np.ndarray, "3"]
    size: Size

    def __post_init__(self) -> None:
        """Refuse an image without pixels and intrinsics that turn an image over.

        Raises:
            ShapeError: see above.
        """
        if min(self.size) < 1 or self.K[0, 0] <= 0 or self.K[1, 1] <= 0:
            raise ShapeError(
                f"expected an image of at least 1 x 1 and positive focal lengths, got {self.size}"
            )

    @classmethod
    def towards(
        cls,
        target: Float[np.ndarray, "3"],
        *,
        azimuth: float | int,
        elevation: float | int,
        distance: float | int,
        focal: float | int,
        size: Size,
        roll: float | int = 0.0,
    ) -> "Viewpoint":
        """Return a camera that looks at a point; the world's y axis points up.

        Args:
            target: what lies on the optical axis.
            azimuth: of the camera around the target, radians; 0 is on the world's x axis, a quarter
                turn on its z axis.
            elevation: of the camera above the horizon, radians.
            distance: from the target.
            focal: focal length as a multiple of the image's longer side.
            size: (height, width) in pixels.
            roll: rotation of the image about the optical axis, radians.
        """
        ca, sa, ce, se = math.cos(azimuth), math.sin(azimuth), math.cos(elevation), math.sin(elevation)
        cr, sr = math.cos(roll), math.sin(roll)
        right, down, ahead = (sa, 0.0, -ca), (se * ca, -ce, se * sa), (-ce * ca, -se, -ce * sa)
        R = np.array(
            (
                [cr * x - sr * y for x, y in zip(right, down, strict=True)],
                [sr * x + cr * y for x, y in zip(right, down, strict=True)],
                ahead,
            )
        )
        height, width = size
        long = focal * max(size)
        K = np.array(((long, 0, (width - 1) / 2), (0, long, (height - 1) / 2), (0, 0, 1)))
        return cls(K=K, R=R, t=np.array((0.0, 0.0, distance)) - R @ target, size=size)

    @property
    def centre(self) -> Float[np.ndarray, "3"]:
        """Where the camera stands in the world."""
        return -self.R.T @ self.t

    def project(self, points: World) -> tuple[Float[np.ndarray, "N 2"], Float[np.ndarray, " N"]]:
        """Return pixel coordinates (x, y) and depth (z in the camera's frame) of points of the world."""
        seen = self.homogeneous(points)
        with np.errstate(divide="ignore", invalid="ignore"):
            return seen[:, :2] / seen[:, 2:], seen[:, 2]

    def homogeneous(self, points: World) -> World:
        """Return (x z, y z, z) of points of the world, with the pixel (x, y) and the depth z."""
        seen = np.empty(points.shape)
        _project(points, self.K @ self.R, self.K @ self.t, seen)
        return seen

    def resized(self, size: Size) -> "Viewpoint":
        """Return the same camera with another number of pixels over the same field of view."""
        scale = np.array((size[1] / self.size[1], size[0] / self.size[0]))
        K = self.K.copy()
        K[:2] *= scale[:, None]
        # Centres of pixels are integers: the corner of the image, not its first centre, stays where it is.
        K[:2, 2] += (scale - 1) / 2
        return Viewpoint(K=K, R=self.R, t=self.t, size=size)

    def camera(self) -> Camera:
        """Return the intrinsics as `homolog.core` knows them."""
        return Camera(K=torch.from_numpy(self.K.astype(np.float32)))

    def pose_to(self, other: "Viewpoint") -> RelativePose:
        """Return the motion from this camera's frame to that of `other`."""
        R = other.R @ self.R.T
        t = other.t - R @ self.t
        return RelativePose(
            R=torch.from_numpy(R.astype(np.float32)), t=torch.from_numpy(t.astype(np.float32))
        )


@compiled
def _project(points: np.ndarray, turn: np.ndarray, shift: np.ndarray, seen: np.ndarray) -> None:
    for n in range(len(points)):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        for c in range(3):
            seen[n, c] = turn[c, 0] * x + turn[c, 1] * y + turn[c, 2] * z + shift[c]
