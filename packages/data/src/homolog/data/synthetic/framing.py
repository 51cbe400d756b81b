"""How a photographer places an object in the picture."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from homolog.core.coords import Size
from homolog.data.synthetic.bounds import bounds
from homolog.data.synthetic.compiled import compiled
from homolog.data.synthetic.viewpoint import Viewpoint

_ENOUGH = 1000
"""Vertices that tell well enough how large an object looks."""


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
    """Return a camera that shows an object at a given size and place of the picture.

    Args:
        vertices: of the object, in the world.
        azimuth: of the camera around the object, radians.
        elevation: of the camera above the horizon, radians.
        roll: of the camera, radians.
        focal: focal length as a multiple of the picture's longer side: 0.8 is wide, 3 is long.
        fill: which share of the picture's width or height the object takes, whichever is more; beyond 1
            the picture crops it.
        shift: where the middle of the object is, relative to the middle of the picture, in widths and heights.
        size: (height, width) in pixels.
    """
    low, high = bounds(vertices)
    centre, radius = (low + high) / 2, float(np.linalg.norm(high - low)) / 2
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


def drawn_camera(
    vertices: Float64[np.ndarray, "V 3"],
    random: np.random.Generator,
    *,
    azimuth: float,
    elevations: tuple[float, float],
    roll: float,
    size: Size,
) -> Viewpoint:
    """Draw how an object is photographed from a given side.

    Args:
        vertices: of the object, in the world.
        random: decides the rest.
        azimuth: of the camera around the object, radians.
        elevations: lowest and highest angle above the horizon, degrees.
        roll: standard deviation of the camera's roll, degrees.
        size: (height, width) in pixels.
    """
    return framed(
        vertices,
        azimuth=azimuth,
        elevation=float(np.radians(random.uniform(*elevations))),
        roll=float(np.radians(roll * random.standard_normal())),
        focal=float(np.exp(random.uniform(np.log(0.9), np.log(2.8)))),
        fill=float(random.uniform(0.6, 1.02)),
        shift=tuple(random.uniform(-0.08, 0.08, 2).tolist()),
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
    """Return how a camera has to move so that points fill the picture and have (x, y) in their middle.

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
