"""Where shapes come from: made up, read from a folder of meshes, or whatever else makes assets."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from homolog.synthetic.category import Numbers
from homolog.synthetic.colours import Colours
from homolog.synthetic.surface import Topology


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asset:
    """One instance of a category.

    Attributes:
        category: what it is called.
        topology: faces, canonical positions, parts and keypoints; two assets correspond to each other if
            theirs have the same name, and to nothing otherwise.
        shape: the numbers that make this instance differ from others.
        build: makes its vertices from the numbers of a pose.
        draw_pose: draws those; none for what does not move.
        colours: those that it came with, or None.
        licence: of what it is made from.
        azimuths: between which angles from its front, on either side, people photograph it mostly, degrees.
        elevations: between which angles above the horizon they do, degrees.
        turns: standard deviation of the camera's roll, degrees.
    """

    category: str
    topology: Topology
    shape: Numbers
    build: Callable[[Numbers], Float64[np.ndarray, "V 3"]]
    draw_pose: Callable[[np.random.Generator], Numbers]
    colours: Colours | None = None
    licence: str
    azimuths: tuple[float, float] = (0.0, 180.0)
    elevations: tuple[float, float] = (-8.0, 40.0)
    turns: float = 8.0

    def vertices(self, pose: Numbers | None = None) -> Float64[np.ndarray, "V 3"]:
        """Return the positions of the vertices; at rest without a pose."""
        return self.build(pose or {})


@runtime_checkable
class AssetSource(Protocol):
    """Makes assets; equal arguments give equal assets."""

    def categories(self) -> tuple[str, ...]:
        """Return the names of all categories."""
        ...

    def sample(self, category: str, seed: int, *, topology: str | None = None) -> Asset:
        """Return one instance.

        Args:
            category: what it should be.
            seed: decides which one.
            topology: name of the topology that it has to have, for a partner of another asset; any by default.

        Raises:
            ConfigError: there is no such category or topology.
        """
        ...
