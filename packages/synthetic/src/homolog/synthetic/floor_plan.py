"""Where things stand on a floor, so that none stands in another."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

_TRIES = 24


@dataclass(frozen=True, slots=True)
class Disc:
    """Room that something takes up: a cylinder on the floor.

    Attributes:
        x: of its axis.
        z: of its axis.
        radius: around it.
        top: its height.
    """

    x: float
    z: float
    radius: float
    top: float = np.inf


@dataclass(slots=True)
class FloorPlan:
    """What is taken already.

    Attributes:
        discs: one for each thing.
    """

    discs: list[Disc] = field(default_factory=list[Disc])

    def clearance(
        self, places: Float64[np.ndarray, "N 2"], *, above: float = -np.inf
    ) -> Float64[np.ndarray, " N"]:
        """Return the distance from places (x, z) to the nearest thing, negative within one.

        Args:
            places: on the floor.
            above: things that reach no higher than this do not count.
        """
        counting = [(disc.x, disc.z, disc.radius) for disc in self.discs if disc.top > above]
        taken = np.array(counting, np.float64).reshape(-1, 3)
        ways = np.linalg.norm(places[:, None] - taken[:, :2], axis=2) - taken[:, 2]
        return ways.min(axis=1, initial=np.inf)

    def place(
        self,
        random: np.random.Generator,
        radius: float,
        *,
        reach: tuple[float, float],
        top: float = np.inf,
    ) -> tuple[float, float]:
        """Find a place for something and take it.

        Args:
            random: decides where.
            radius: of the thing.
            reach: half of the sizes, along x and z, of the rectangle around the origin where its middle may be.
            top: its height.

        Returns:
            The first free place of the 24 that were drawn; the freest one if none is free.
        """
        places = random.uniform(-1, 1, (_TRIES, 2)) * reach
        ways = self.clearance(places)
        free = np.flatnonzero(ways > radius)
        x, z = places[free[0] if len(free) else ways.argmax()].tolist()
        self.discs.append(Disc(x, z, radius, top))
        return x, z
