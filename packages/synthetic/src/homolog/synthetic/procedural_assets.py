"""The made-up categories as a source of assets."""

import numpy as np

from homolog.core.errors import ConfigError, did_you_mean
from homolog.synthetic.assets import Asset
from homolog.synthetic.category import Numbers, category, chosen, topology


class ProceduralAssets:
    """An `AssetSource`: every category has one topology, whose left and right are known."""

    def __init__(self, *, names: list[str] | None = None) -> None:
        """Choose categories.

        Args:
            names: all by default.

        Raises:
            ConfigError: a category that does not exist, or none.
        """
        self._names = chosen(names)

    def categories(self) -> tuple[str, ...]:
        """Return the names of the chosen categories."""
        return self._names

    def sample(self, category: str, seed: int, *, topology: str | None = None) -> Asset:
        """Return one instance.

        Raises:
            ConfigError: there is no such category or topology.
        """
        if category not in self._names:
            raise ConfigError(f"no category named {category}{did_you_mean(category, self._names)}")
        return _asset(category, seed, topology)


def _asset(name: str, seed: int, wanted: str | None) -> Asset:
    kind, shared = category(name), topology(name)
    if wanted not in (None, shared.name):
        raise ConfigError(f"{name}: expected the topology {shared.name}, got {wanted}")
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    shape = kind.draw_shape(random)

    def build(pose: Numbers) -> np.ndarray:
        return kind.vertices(shape, {**kind.rest(), **pose})

    return Asset(
        category=name,
        topology=shared,
        shape=shape,
        build=build,
        draw_pose=kind.draw_pose,
        licence="made by homolog",
        azimuths=kind.azimuths,
        elevations=kind.elevations,
        turns=kind.turns,
    )
