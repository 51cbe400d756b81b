"""How objects and cameras move: smooth curves through time, in seconds and not in frames."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from homolog.core.coords import Size
from homolog.synthetic.category import Category, Numbers
from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.scenes.room import Room

Seconds = Float64[np.ndarray, " T"]

_WEIGHTS = np.array((0.62, 0.27, 0.11))
"""Of the slow, the medium and the fast wave of a curve."""

_STEP = 1 / 120
"""Seconds between the points that a walk is integrated from."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curves:
    """N numbers between -1 and 1 that vary smoothly: each a sum of three waves, with their phase at time 0."""

    hertz: Float64[np.ndarray, "N 3"]
    phase: Float64[np.ndarray, "N 3"]

    @classmethod
    def drawn(cls, random: np.random.Generator, count: int, *, slowest: float, fastest: float) -> "Curves":
        """Draw curves; frequencies lie between both."""
        edges = np.geomspace(slowest, fastest, 4)
        fraction = random.uniform(0, 1, (count, 3))
        return cls(
            hertz=edges[:-1] ** (1 - fraction) * edges[1:] ** fraction,
            phase=random.uniform(0, 2 * np.pi, (count, 3)),
        )

    def at(self, seconds: Seconds) -> Float64[np.ndarray, "T N"]:
        """Return the numbers at some times."""
        waves = np.sin(2 * np.pi * self.hertz * seconds[:, None, None] + self.phase)
        return waves @ _WEIGHTS


def moving_poses(
    kind: Category,
    random: np.random.Generator,
    seconds: Seconds,
    *,
    slowest: float = 0.25,
    fastest: float = 1.4,
) -> list[Numbers]:
    """Return poses at some times; each number oscillates within its range, in waves of the given hertz."""
    fraction = 0.5 + 0.5 * Curves.drawn(random, len(kind.poses), slowest=slowest, fastest=fastest).at(seconds)
    return [
        {
            name: low + part * (high - low)
            for (name, (low, _, high)), part in zip(kind.poses.items(), fractions, strict=True)
        }
        for fractions in fraction.tolist()
    ]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Walk:
    """The path (x, z) of an object on the floor, and its heading: 0 along x, a quarter turn along z, radians."""

    place: Float64[np.ndarray, "T 2"]
    heading: Float64[np.ndarray, " T"]

    @classmethod
    def drawn(cls, random: np.random.Generator, seconds: Seconds, *, speed: float, reach: float) -> "Walk":
        """Draw a walk at nearly constant speed, straight ahead where it looks, in gentle turns.

        Its middle is at most `reach` from the origin, in x and in z.
        """
        turns = Curves.drawn(random, 2, slowest=0.05, fastest=0.5)
        start = random.uniform(0, 2 * np.pi)
        fine = np.arange(0.0, float(seconds[-1]) + 2 * _STEP, _STEP)
        curve = turns.at(fine)
        heading = start + 1.6 * curve[:, 0]
        pace = speed * (1 + 0.35 * curve[:, 1])
        way = np.cumsum(np.stack((pace * np.cos(heading), pace * np.sin(heading)), 1), axis=0) * _STEP
        place = np.stack([np.interp(seconds, fine, way[:, axis]) for axis in (0, 1)], 1)
        middle = random.uniform(-reach, reach, 2)
        return cls(
            place=place - (place.min(axis=0) + place.max(axis=0)) / 2 + middle,
            heading=np.interp(seconds, fine, heading),
        )


_MARGIN = 0.4
"""Smallest distance of the camera to a wall, in units of the world."""


def drawn_camera_path(
    random: np.random.Generator,
    seconds: Seconds,
    *,
    centre: Float64[np.ndarray, "T 2"],
    room: Room,
    size: Size,
) -> list[Viewpoint]:
    """Draw a camera for each time: moving around the subject, up and down, closer and farther, hand-held.

    `centre` has x and z of the subject at those times; the camera stays in the room.
    """
    azimuth, sweep = float(random.uniform(0, 2 * np.pi)), float(random.uniform(-0.35, 0.35))
    elevation, distance = float(np.radians(random.uniform(6, 28))), float(random.uniform(3.0, 4.6))
    height = float(random.uniform(0.35, 0.7))
    focal = float(np.exp(random.uniform(np.log(0.75), np.log(1.25))))
    follows = float(random.uniform(0.2, 1.0))
    lead = Curves.drawn(random, 3, slowest=0.05, fastest=0.4).at(seconds) * (0.25, np.radians(5), 0.4)
    amplitude = (0.02, 0.02, 0.02, np.radians(0.6))
    shake = Curves.drawn(random, 4, slowest=0.5, fastest=4.0).at(seconds) * amplitude
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
