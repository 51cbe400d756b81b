"""New cameras near those that a scene was fitted to."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from homolog.core.coords import Size
from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.splats.gates import axis_angle


def reframed(camera: Viewpoint, size: Size) -> Viewpoint:
    """Return a camera at the same place whose picture of another size and shape is cut out of the old one."""
    height, width = size
    # Whichever side is scaled more fills the picture; the other one is cut.
    scale = max(height / camera.size[0], width / camera.size[1])
    focal_x, focal_y = camera.K[0, 0] * scale, camera.K[1, 1] * scale
    K = np.array(((focal_x, 0, (width - 1) / 2), (0, focal_y, (height - 1) / 2), (0, 0, 1)))
    return Viewpoint(K=K, R=camera.R, t=camera.t, size=size)


def strayed(
    camera: Viewpoint, random: np.random.Generator, *, shift: float | int, turn: float | int
) -> Viewpoint:
    """Return a camera that has moved and looked elsewhere.

    Args:
        camera: where it was.
        random: decides how.
        shift: standard deviation of the way along each axis.
        turn: standard deviation of the angle about each axis, radians.
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
    """Draw two cameras, each near one of two different fitted ones.

    Args:
        fitted: cameras of the scene, at least two.
        random: decides everything.
        turn: largest angle between the optical axes of the two fitted cameras, degrees; where no other camera
            is within it, the one at the smallest angle is taken.
        stray: how far they move, as a multiple of the distance to the next fitted camera; they turn by up to
            about 15 degrees, for 1.
        size: (height, width) in pixels.
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
        # Standard deviations: of three axes together the way is 1.7 times as far.
        camera = strayed(fitted[index], random, shift=stray * gap / 1.7, turn=float(np.radians(5 * stray)))
        chosen.append(reframed(camera, size))
    return chosen[0], chosen[1]


def nearest(viewpoint: Viewpoint, fitted: Sequence[Viewpoint]) -> Viewpoint:
    """Return the fitted camera that is nearest in place, among those that look the same way if there are any."""
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
