"""How a photographer places an object in the picture."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from homolog.core.coords import Size
from homolog.data.synthetic.bounds import bounds
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
    outline = vertices[:: max(1, len(vertices) // _ENOUGH)]
    distance = 2.5 * focal * radius

    camera = Viewpoint.towards(
        centre, azimuth=azimuth, elevation=elevation, distance=distance, focal=focal, size=size, roll=roll
    )
    # Perspective makes the extent depend on the distance a little more than inversely: twice is enough.
    for _ in range(2):
        left_top, right_bottom = bounds(camera.project(outline)[0])
        extent = (right_bottom - left_top) / (size[1], size[0])
        farther = max(distance * float(extent.max()) / fill, 1.15 * radius) - distance
        distance += farther
        camera = replace(camera, t=camera.t + np.array((0.0, 0.0, farther)))
    left_top, right_bottom = bounds(camera.project(outline)[0])
    wanted = (np.array((size[1], size[0])) - 1) / 2 + np.array(shift) * (size[1], size[0])
    offset = (wanted - (left_top + right_bottom) / 2) * distance / camera.K[0, 0]
    return replace(camera, t=camera.t + np.append(offset, 0.0))


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
