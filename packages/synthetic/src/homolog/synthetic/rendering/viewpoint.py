"""The camera of a synthetic image, and how a photographer would place an object in the picture."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float64

from homolog.core.camera import Camera, RelativePose
from homolog.core.coords import Size
from homolog.core.errors import ShapeError
from homolog.synthetic.compiled import bounds, compiled

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
        """Raise ShapeError for an image without pixels, or intrinsics that mirror it."""
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
            target: point on the optical axis.
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
        """Return the intrinsics as a `homolog.core` camera."""
        return Camera(K=torch.from_numpy(self.K.astype(np.float32)))

    def pose_to(self, other: "Viewpoint") -> RelativePose:
        """Return the motion from this camera's frame to that of `other`."""
        R = other.R @ self.R.T
        t = other.t - R @ self.t
        return RelativePose(
            R=torch.from_numpy(R.astype(np.float32)), t=torch.from_numpy(t.astype(np.float32))
        )


def axis_angle(viewpoint0: Viewpoint, viewpoint1: Viewpoint) -> float:
    """Return the angle between two optical axes, degrees."""
    return float(np.degrees(np.arccos(np.clip(viewpoint0.R[2] @ viewpoint1.R[2], -1, 1))))


@compiled
def _project(points: np.ndarray, turn: np.ndarray, shift: np.ndarray, seen: np.ndarray) -> None:
    for n in range(len(points)):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        for c in range(3):
            seen[n, c] = turn[c, 0] * x + turn[c, 1] * y + turn[c, 2] * z + shift[c]


ANYWHERE = 0.15
"""Probability of a picture from any side, including unusual ones."""

TRIES = 50
"""Turns to draw before both pictures are taken from the same side."""

_ENOUGH = 1000
"""Vertices that are enough to measure how large an object looks."""


def framed(
    vertices: Float64[np.ndarray, "V 3"],
    *,
    azimuth: float,
    elevation: float,
    roll: float,
    focal: float,
    fill: float,
    shift: tuple[float, float],
    size: Size,
) -> Viewpoint:
    """Return a camera that shows an object at a given size and position in the picture.

    Angles are in radians. `focal` is a multiple of the picture's longer side: 0.8 is wide, 3 is long. `fill`
    is the fraction of the picture's width or height, whichever is larger, that the object takes; beyond 1 it
    is cropped. `shift` is where its middle lies relative to that of the picture, in widths and heights.
    """
    low, high = bounds(vertices)
    centre, radius = (low + high) / 2, math.dist(low, high) / 2
    distance = 2.5 * focal * radius
    camera = Viewpoint.towards(
        centre, azimuth=azimuth, elevation=elevation, distance=distance, focal=focal, size=size, roll=roll
    )
    x, y, farther = _fitted(
        camera.homogeneous(vertices[:: max(1, len(vertices) // _ENOUGH)]),
        camera.K,
        distance,
        1.15 * radius,
        fill,
        (size[1] - 1) / 2 + shift[0] * size[1],
        (size[0] - 1) / 2 + shift[1] * size[0],
        size[1],
        size[0],
    )
    return replace(camera, t=camera.t + np.array((x, y, farther)))


def drawn_azimuth(random: np.random.Generator, azimuths: tuple[float, float]) -> float:
    """Draw from which side an object is photographed, radians; 0 is its front.

    `azimuths` are the smallest and the largest usual angle from the front, on either side, degrees. A
    fraction `ANYWHERE` of all pictures is taken from any side.
    """
    anywhere, place = random.random(2).tolist()
    low, high = (0.0, 180.0) if anywhere < ANYWHERE else azimuths
    across = (2 * place - 1) * (high - low)
    return math.radians(across + math.copysign(low, across))


def drawn_turn(
    random: np.random.Generator, azimuth: float, azimuths: tuple[float, float], widest: float
) -> float:
    """Draw how much farther around an object its second picture is taken, radians.

    It is `widest` degrees at most. If the first picture, from `azimuth` in radians, is taken from a usual
    side (see `drawn_azimuth`), so is the second.
    """
    for _ in range(TRIES):
        turn = math.radians(random.uniform(-widest, widest))
        if not _is_usual(azimuth, azimuths) or _is_usual(azimuth + turn, azimuths):
            return turn
    return 0.0


def _is_usual(azimuth: float, azimuths: tuple[float, float]) -> bool:
    aside = math.degrees(abs(math.remainder(azimuth, 2 * math.pi)))
    return azimuths[0] <= aside <= azimuths[1]


def drawn_camera(
    vertices: Float64[np.ndarray, "V 3"],
    random: np.random.Generator,
    *,
    azimuth: float,
    elevations: tuple[float, float],
    roll: float,
    size: Size,
) -> Viewpoint:
    """Draw how an object is photographed from a given azimuth, radians.

    `elevations` are the lowest and the highest angle above the horizon, `roll` is the standard deviation of
    the camera's roll, both in degrees.
    """
    elevation, tilt = random.uniform(*elevations), random.standard_normal()
    long, large, right, down = random.random(4).tolist()
    return framed(
        vertices,
        azimuth=azimuth,
        elevation=math.radians(elevation),
        roll=math.radians(roll * tilt),
        focal=0.9 * (2.8 / 0.9) ** long,
        fill=0.6 + 0.42 * large,
        shift=(0.16 * right - 0.08, 0.16 * down - 0.08),
        size=size,
    )


@compiled
def _fitted(
    seen: np.ndarray,
    K: np.ndarray,
    distance: float,
    nearest: float,
    fill: float,
    x: float,
    y: float,
    width: float,
    height: float,
) -> tuple[float, float, float]:
    """Return how to move a camera so that points fill the picture and are centred on (x, y).

    A step back by s adds s times the third column of K to the homogeneous pixels `seen`.
    """
    farther, u, v = 0.0, 0.0, 0.0
    # Perspective makes the extent depend on the distance a little more than inversely: twice is enough.
    for turn in range(3):
        left, top, right, bottom = np.inf, np.inf, -np.inf, -np.inf
        for n in range(len(seen)):
            z = seen[n, 2] + farther
            u, v = (seen[n, 0] + farther * K[0, 2]) / z, (seen[n, 1] + farther * K[1, 2]) / z
            left, top, right, bottom = min(left, u), min(top, v), max(right, u), max(bottom, v)
        if turn < 2:
            extent = max((right - left) / width, (bottom - top) / height)
            farther = max((distance + farther) * extent / fill, nearest) - distance
        else:
            u, v = (left + right) / 2, (top + bottom) / 2
    return (x - u) * (distance + farther) / K[0, 0], (y - v) * (distance + farther) / K[0, 0], farther
