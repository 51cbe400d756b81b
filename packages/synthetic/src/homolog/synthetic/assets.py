"""Where the shapes of semantic and aligned pairs come from: the procedural categories, or any other source."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from homolog.core.errors import ConfigError
from homolog.synthetic.category import Numbers, category, chosen, topology
from homolog.synthetic.meshes.colours import Colours
from homolog.synthetic.rendering.scene import Topology


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asset:
    """One instance of a category.

    Attributes:
        category: its name.
        topology: faces, canonical positions, parts and keypoints; two assets correspond to each other only if
            their topologies have the same name.
        shape: the numbers that make this instance differ from others.
        build: makes its vertices from the numbers of a pose.
        draw_pose: draws those numbers; none for a rigid object.
        colours: of the mesh it was read from, or None.
        licence: of that mesh.
        azimuths: the usual angles between camera and front, on either side: lowest and highest, degrees.
        elevations: the usual angles above the horizon: lowest and highest, degrees.
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
            category: its name.
            seed: decides which instance.
            topology: name of the topology it must have, to correspond to another asset; any by default.

        Raises:
            ConfigError: no such category or topology.
        """
        ...


class ProceduralAssets:
    """The procedural categories as an `AssetSource`: one topology each, whose left and right are known."""

    def __init__(self, *, names: list[str] | None = None) -> None:
        """Choose categories; all by default.

        Raises:
            ConfigError: an unknown category, or an empty list.
        """
        self._names = chosen(names)

    def categories(self) -> tuple[str, ...]:
        """Return the names of the chosen categories."""
        return self._names

    def sample(self, category: str, seed: int, *, topology: str | None = None) -> Asset:
        """Return one instance.

        Raises:
            ConfigError: no such category or topology.
        """
        chosen([category], self._names)
        asset = procedural_asset(category, np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed))))
        if topology not in (None, asset.topology.name):
            raise ConfigError(f"{category}: expected the topology {asset.topology.name}, got {topology}")
        return asset


def procedural_asset(name: str, random: np.random.Generator) -> Asset:
    """Draw an instance of a procedural category.

    Raises:
        ConfigError: no such category.
    """
    kind = category(name)
    shape = kind.draw_shape(random)

    return Asset(
        category=name,
        topology=topology(name),
        shape=shape,
        build=lambda pose: kind.vertices(shape, {**kind.rest(), **pose}),
        draw_pose=kind.draw_pose,
        licence="made by homolog",
        azimuths=kind.azimuths,
        elevations=kind.elevations,
        turns=kind.turns,
    )
