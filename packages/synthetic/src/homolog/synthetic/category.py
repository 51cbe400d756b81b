"""A category: how its instances are built from numbers, and how those numbers vary."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float64

from homolog.core.errors import ConfigError, did_you_mean
from homolog.synthetic.modelling.solids import Solid
from homolog.synthetic.rendering.scene import Topology, sheets

Numbers = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """Where on a part a keypoint sits; see `Solid.vertex`.

    Attributes:
        part: name of the part.
        along: 0 and 1 are the poles of a tube.
        around: 0 is up, 0.25 to the side, 0.5 down; a slab uses `corner` instead.
        corner: index of a slab's vertex.
    """

    part: str
    along: float = 0.5
    around: float = 0.0
    corner: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """One category: how to build its instances, and how they vary.

    Attributes:
        name: such as `"quadruped"`.
        kinds: typical instances by name (`"horse"`), each with the same numbers. An instance lies between
            two of them.
        spread: standard deviation of a factor on each number of an instance.
        poses: for each number of the pose, the lowest, the resting and the highest value.
        build: makes the parts from the numbers of a shape and of a pose; parts and triangles
            do not depend on the numbers.
        anchors: keypoints by name.
        azimuths: the usual angles between camera and front, on either side: lowest and highest, degrees.
        elevations: the usual angles above the horizon: lowest and highest, degrees.
        turns: standard deviation of the camera's roll, degrees.
    """

    name: str
    kinds: Mapping[str, Numbers]
    poses: Mapping[str, tuple[float, float, float]]
    build: Callable[[Numbers, Numbers], list[Solid]]
    anchors: Mapping[str, Anchor]
    spread: float = 0.08
    azimuths: tuple[float, float] = (0.0, 180.0)
    elevations: tuple[float, float] = (-8.0, 40.0)
    turns: float = 8.0

    def mean_shape(self) -> Numbers:
        """Return the average of the typical instances."""
        kinds = list(self.kinds.values())
        return {name: sum(kind[name] for kind in kinds) / len(kinds) for name in kinds[0]}

    def rest(self) -> Numbers:
        """Return the pose of the mean instance."""
        return {name: rest for name, (_, rest, _) in self.poses.items()}

    def draw_shape(self, random: np.random.Generator) -> Numbers:
        """Draw an instance: a mixture of two kinds, with a random factor on each number."""
        kinds = list(self.kinds.values())
        one, two = (kinds[int(k)] for k in random.integers(len(kinds), size=2))
        fraction = random.uniform(0.55, 1.0)
        factors = np.exp(self.spread * random.standard_normal(len(one))).tolist()
        return {
            name: (fraction * one[name] + (1 - fraction) * two[name]) * factor
            for name, factor in zip(one, factors, strict=True)
        }

    def draw_pose(self, random: np.random.Generator) -> Numbers:
        """Draw a pose: each number from its range, more often near rest."""
        fraction = random.beta(1.5, 1.5, size=len(self.poses)).tolist()
        return {
            name: low + part * (high - low)
            for (name, (low, _, high)), part in zip(self.poses.items(), fraction, strict=True)
        }

    def vertices(self, shape: Numbers, pose: Numbers) -> Float64[np.ndarray, "V 3"]:
        """Return an instance; its topology is `topology(self)`."""
        return np.concatenate([solid.vertices for solid in self.build(shape, pose)])


@lru_cache(maxsize=64)
def category(name: str) -> Category:
    """Return a category by its name: the constant CATEGORY of the file of that name in `categories`.

    Raises:
        ConfigError: no such category.
    """
    chosen([name])
    return importlib.import_module(f"homolog.synthetic.categories.{name}").CATEGORY


def categories() -> tuple[str, ...]:
    """Return the names of all categories."""
    package = importlib.import_module("homolog.synthetic.categories")
    return tuple(sorted(module.name for module in pkgutil.iter_modules(package.__path__)))


def chosen(names: list[str] | None, available: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """Return the requested ones of the available categories; all by default, and of the procedural ones.

    Raises:
        ConfigError: an unknown category, or an empty list.
    """
    known = categories() if available is None else available
    found = known if names is None else tuple(names)
    for name in found:
        if name not in known:
            raise ConfigError(f"no category named {name}{did_you_mean(name, known)}")
    if not found:
        raise ConfigError(f"expected at least one category, got none; choose from {', '.join(known)}")
    return found


@lru_cache(maxsize=64)
def topology(name: str) -> Topology:
    """Return the topology that all instances of a category share.

    Raises:
        ConfigError: no such category.
    """
    made = category(name)
    solids = made.build(made.mean_shape(), made.rest())
    canonical = np.concatenate([solid.vertices for solid in solids])
    canonical = canonical - (canonical.max(axis=0) + canonical.min(axis=0)) / 2
    canonical /= np.ptp(canonical, axis=0).max()
    first = np.cumsum([0, *(len(solid.vertices) for solid in solids)], dtype=np.int32)
    faces = [solid.faces() + start for solid, start in zip(solids, first[:-1], strict=True)]
    joined = np.ascontiguousarray(np.concatenate(faces))
    corners = [_vertex(solids, first, anchor) for anchor in made.anchors.values()]
    landmark_face = np.array([int(np.argmax((joined == corner).any(axis=1))) for corner in corners], np.int32)
    return Topology(
        name=name,
        faces=joined,
        canonical=canonical,
        part=np.repeat(np.arange(len(solids), dtype=np.int32), [len(face) for face in faces]),
        sheet=sheets(joined),
        part_names=tuple(solid.name for solid in solids),
        finishes=tuple(solid.finish for solid in solids),
        closed=True,
        landmark_names=tuple(made.anchors),
        landmark_face=landmark_face,
        landmark_bary=(joined[landmark_face] == np.array(corners)[:, None]).astype(np.float32),
    )


def _vertex(solids: list[Solid], first: np.ndarray, anchor: Anchor) -> int:
    places = {solid.name: index for index, solid in enumerate(solids)}
    if anchor.part not in places:
        raise ConfigError(f"no part named {anchor.part}{did_you_mean(anchor.part, places)}")
    index = places[anchor.part]
    local = anchor.corner if anchor.corner is not None else solids[index].vertex(anchor.along, anchor.around)
    return int(first[index]) + local
