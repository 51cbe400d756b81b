"""How a camera is led around what it films."""

import numpy as np
from jaxtyping import Float64

from homolog.core.coords import Size
from homolog.synthetic.motion import Curves, Seconds
from homolog.synthetic.room import Room
from homolog.synthetic.viewpoint import Viewpoint

_MARGIN = 0.4
"""Nearest that it comes to a wall, in units of the world."""


def drawn_camera_path(
    random: np.random.Generator,
    seconds: Seconds,
    *,
    centre: Float64[np.ndarray, "T 2"],
    room: Room,
    size: Size,
) -> list[Viewpoint]:
    """Draw a camera for each time: around what is filmed, up and down, nearer and farther, held by hand.

    Args:
        random: decides how.
        seconds: when.
        centre: x and z of what is filmed, at those times.
        room: that it stays in.
        size: (height, width) of the frames in pixels.
    """
    azimuth, sweep = float(random.uniform(0, 2 * np.pi)), float(random.uniform(-0.35, 0.35))
    elevation, distance = float(np.radians(random.uniform(6, 28))), float(random.uniform(3.0, 4.6))
    height, focal = (
        float(random.uniform(0.35, 0.7)),
        float(np.exp(random.uniform(np.log(0.75), np.log(1.25)))),
    )
    follows = float(random.uniform(0.2, 1.0))
    lead = Curves.drawn(random, 3, slowest=0.05, fastest=0.4).at(seconds) * (0.25, np.radians(5), 0.4)
    shake = Curves.drawn(random, 4, slowest=0.5, fastest=4.0).at(seconds) * (
        0.02,
        0.02,
        0.02,
        np.radians(0.6),
    )
    roll = np.radians(2 * random.standard_normal())
    middle = follows * centre + (1 - follows) * centre.mean(axis=0)
    path: list[Viewpoint] = []
    for time, around, wobble, (x, z) in zip(seconds.tolist(), lead, shake, middle, strict=True):
        target = np.array((x, height, z)) + wobble[:3]
        turn, rise = azimuth + sweep * time + around[0], elevation + around[1]
        away = np.array((np.cos(rise) * np.cos(turn), np.sin(rise), np.cos(rise) * np.sin(turn)))
        path.append(
            Viewpoint.towards(
                target,
                azimuth=float(turn),
                elevation=float(rise),
                distance=min(distance + around[2], room.way_to_wall(target, away, margin=_MARGIN)),
                focal=focal,
                size=size,
                roll=float(roll + wobble[3]),
            )
        )
    return path
